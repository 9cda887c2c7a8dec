//! The bytes of one row of the control store: a version byte, then the record in postcard.
//!
//! | offset | length | content                                                        |
//! |--------|--------|----------------------------------------------------------------|
//! | 0      | 1      | version of the row's layout: 1, and 3 for an `AccessKey`       |
//! | 1      | rest   | postcard of `Bucket`, `Owner`, `AccessKey`, `Limit`, or of what is in `iam.rs` |
//!
//! Postcard names no fields: a change of one of these types is a new version here, with the old type kept to read it. No row has
//! version 2: that is the byte of a sealed one (`seal.rs`).

use crate::error::{Error, Result};
use crate::iam::{Account, Group, ManagedPolicy, OidcProvider, Role, User};
use crate::state::{AccessKey, Bucket, KmsKey, Limit, Owner};
use common::{AccessKeyId, OwnerId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a row can hold.
pub(crate) trait Record: Serialize + DeserializeOwned {
    const VERSION: u8 = 1;

    /// A row of an older version.
    fn decode_old(version: u8, _body: &[u8]) -> Result<Self> {
        Err(damaged(&format!("its version is {version}")))
    }
}

impl Record for Bucket {}
impl Record for Owner {}
impl Record for KmsKey {}
impl Record for Limit {}
impl Record for Account {}
impl Record for User {}
impl Record for Group {}
impl Record for ManagedPolicy {}
impl Record for Role {}
impl Record for OidcProvider {}

impl Record for AccessKey {
    const VERSION: u8 = 3;

    fn decode_old(version: u8, body: &[u8]) -> Result<Self> {
        if version != 1 {
            return Err(damaged(&format!("its version is {version}")));
        }
        let AccessKey1 { id, secret, owner, admin, created_ms } = parse(body)?;
        Ok(Self { id, secret, owner, admin, created_ms, user: None, active: true })
    }
}

/// Before there were users.
#[derive(Deserialize)]
struct AccessKey1 {
    id: AccessKeyId,
    secret: String,
    owner: OwnerId,
    admin: bool,
    created_ms: u64,
}

pub(crate) fn encode<T: Record>(record: &T) -> Result<Vec<u8>> {
    let body =
        postcard::to_allocvec(record).map_err(|error| Error::Store(format!("a row cannot be written: {error}")))?;
    Ok([&[T::VERSION], body.as_slice()].concat())
}

pub(crate) fn decode<T: Record>(row: &[u8]) -> Result<T> {
    match row.split_first() {
        Some((&found, body)) if found == T::VERSION => parse(body),
        Some((&found, _)) if found > T::VERSION => {
            Err(Error::NewerFormat { found: u32::from(found), known: u32::from(T::VERSION) })
        }
        Some((&found, body)) => T::decode_old(found, body),
        None => Err(damaged("it is empty")),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let (record, rest) = postcard::take_from_bytes(body).map_err(|error| damaged(&error.to_string()))?;
    if rest.is_empty() { Ok(record) } else { Err(damaged("bytes follow its end")) }
}

fn damaged(why: &str) -> Error {
    Error::Store(format!("a row is damaged: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{AccessKey, Bucket, BucketState, Owner};
    use common::{AccessKeyId, BucketId, BucketName, OwnerId};

    fn bucket() -> Bucket {
        Bucket {
            id: BucketId(300),
            name: BucketName::parse("photos").unwrap(),
            owner: OwnerId("ann".into()),
            created_ms: 5,
            version: 9,
            state: BucketState::Deleting,
            region: "r".into(),
            documents: [("cors".to_owned(), vec![1, 2])].into(),
        }
    }

    #[test]
    fn rows_have_these_bytes() {
        let expected = b"\x01\xac\x02\x06photos\x03ann\x05\x09\x01\x01r\x01\x04cors\x02\x01\x02";
        assert_eq!(encode(&bucket()).unwrap(), expected);
        assert_eq!(decode::<Bucket>(expected).unwrap(), bucket());

        let owner = Owner { id: OwnerId("ann".into()), display_name: "Ann".into(), email: Some("a@b".into()) };
        assert_eq!(encode(&owner).unwrap(), b"\x01\x03ann\x03Ann\x01\x03a@b");

        let (id, owner) = (AccessKeyId("WK".into()), OwnerId("ann".into()));
        let key = AccessKey {
            id,
            secret: "s".into(),
            owner,
            admin: true,
            created_ms: 2,
            user: Some("u".into()),
            active: true,
        };
        assert_eq!(encode(&key).unwrap(), b"\x03\x02WK\x01s\x03ann\x01\x02\x01\x01u\x01");
        let of_the_root = AccessKey { user: None, ..key };
        assert_eq!(decode::<AccessKey>(b"\x01\x02WK\x01s\x03ann\x01\x02").unwrap(), of_the_root);
        assert!(matches!(decode::<AccessKey>(b"\x02\x02WK\x01s\x03ann\x01\x02"), Err(Error::Store(_))));
    }

    #[test]
    fn strange_rows_are_refused() {
        let good = encode(&bucket()).unwrap();
        let longer = [good.as_slice(), &[0]].concat();
        for bad in [&[][..], &[0, 1], &good[..good.len() - 1], &longer] {
            assert!(matches!(decode::<Bucket>(bad), Err(Error::Store(_))), "{bad:?}");
        }
        let newer = [&[2], &good[1..]].concat();
        assert_eq!(decode::<Bucket>(&newer), Err(Error::NewerFormat { found: 2, known: 1 }));
    }
}
