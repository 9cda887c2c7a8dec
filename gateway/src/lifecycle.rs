//! Lifecycle of a bucket's objects: what its rules say (`rules.rs`), what that means for one version at one moment
//! (`evaluate.rs`, pure), and who goes over all of them (`scan.rs`).
//!
//! Source: "Managing the lifecycle of objects" and "Lifecycle configuration elements", Amazon S3 User Guide.

pub mod evaluate;
pub mod header;
pub mod rules;
pub mod scan;
