//! One file per verb.

pub mod backup;
pub mod bucket;
pub mod disk;
pub mod key;
pub mod kms;
pub mod serve;
pub mod why;
