//! One file per verb.

pub mod key;
pub mod serve;
