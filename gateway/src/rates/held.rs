//! What a request has taken and may have to give back.

use super::quota::Part;

/// What a request has taken from the rules that are about it.
pub type Taken = Vec<Part>;
