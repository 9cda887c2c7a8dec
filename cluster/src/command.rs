//! The commands that change the state, and what they give back.

use crate::state::{AccessKey, Bucket, Owner};
use common::{AccessKeyId, BucketId, BucketName, OwnerId, Term};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Applied answer: `Bucket`. `BucketExists` when the name is taken.
    CreateBucket {
        name: BucketName,
        owner: OwnerId,
        region: String,
        created_ms: u64,
        /// Configuration documents that it has from its first moment on.
        documents: BTreeMap<String, Vec<u8>>,
    },
    /// Step 1 of DeleteBucket. Applied answer: `Bucket`, now `Deleting`. Repeating it is no error.
    BeginDeleteBucket {
        name: BucketName,
    },
    /// Step 4 of DeleteBucket: the bucket is gone. The id guards against a name that was created anew; the version is that of
    /// the bucket's document when its emptiness was looked at, and guards against a deletion that was cancelled and begun
    /// again since, with writes in between.
    FinishDeleteBucket {
        name: BucketName,
        id: BucketId,
        version: u64,
    },
    /// Step 4 of DeleteBucket when it was not empty: active again. Applied answer: `Bucket`.
    CancelDeleteBucket {
        name: BucketName,
        id: BucketId,
    },
    /// Sets (`Some`) or removes (`None`) configuration documents, all at once. Applied answer: `Bucket`. The id and the version
    /// are those of the bucket that was decided upon; `BucketChanged` when it is another one by now: decide again.
    SetBucketDocuments {
        name: BucketName,
        id: BucketId,
        version: u64,
        documents: BTreeMap<String, Option<Vec<u8>>>,
    },
    PutOwner {
        owner: Owner,
    },
    /// `KeyExists` if the id is taken; the owner must exist.
    CreateKey {
        key: AccessKey,
    },
    DeleteKey {
        id: AccessKeyId,
    },
    /// A named key with its first version, sealed. `KmsKeyExists` when the name is taken.
    CreateKmsKey {
        name: String,
        created_ms: u64,
        sealed: Vec<u8>,
    },
    /// One more version of a named key, which is to be number `version`: `KmsKeyExists` when there is one.
    RotateKmsKey {
        name: String,
        version: u32,
        sealed: Vec<u8>,
    },
    /// Applied answer: `Term`, greater than `above` and than every one given before.
    NextTerm {
        above: Term,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    Nothing,
    Bucket(Arc<Bucket>),
    Term(Term),
}
