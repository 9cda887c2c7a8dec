//! One file per verb.

pub mod audit;
pub mod auth;
pub mod backup;
pub mod bucket;
pub mod disk;
pub mod group;
pub mod key;
pub mod kms;
pub mod limits;
pub mod policy;
pub mod role;
pub mod serve;
pub mod session;
pub mod simulate;
pub mod tls;
pub mod user;
pub mod why;
