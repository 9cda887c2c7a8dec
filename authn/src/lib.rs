//! Who somebody is and what they may do. Knows access keys and owners; knows no objects, no HTTP and no store: the
//! records of keys are the control plane's, and callers hand over the values.

#![forbid(unsafe_code)]

pub mod acl;
pub mod audit;
mod authorize;
pub mod builtin;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod generate;
pub mod identity;
pub mod kms;
pub mod limits;
pub mod policy;
mod secret;
pub mod session;
pub mod simulation;
pub mod web_identity;

pub use authorize::{By, Question, RESOURCE_POLICY, Verdict, authorize, authorize_assumption};
pub use error::{Error, Result};
pub use generate::{access_key_id, secret_key, unique_id};
pub use identity::{Caller, Identity};
pub use kms::{KeyService, KmsError};
pub use secret::{Secret, parse_access_key_id};
