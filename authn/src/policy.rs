//! Policies of the AWS grammar: parsing and evaluation. (Being written: parses nothing yet.)

use thiserror::Error;

/// A policy that was understood as a whole.
#[derive(Debug, PartialEq)]
pub struct Policy {}

/// What a policy is for: it decides which elements it must and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'p> {
    /// Of a user, a group or a role, a boundary, or of a session: no principal.
    Identity,
    /// Of this bucket: principals, and resources in it only.
    Bucket(&'p str),
    /// Who may assume a role: principals, no resource.
    Trust,
}

/// Why a text is no policy, in a sentence that names the statement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

impl Policy {
    pub fn parse(_text: &str, _purpose: Purpose<'_>) -> Result<Self, PolicyError> {
        Err(PolicyError("policies are not known yet".to_owned()))
    }
}

/// The condition keys of a request. Those that Weir itself knows (`aws:`, the proof's) are kept apart from those that were made
/// of the request's headers and query, so that a header can never pass for one.
#[derive(Debug, Default, Clone)]
pub struct Context {
    trusted: Vec<(String, Vec<String>)>,
    requested: Vec<(String, Vec<String>)>,
}

impl Context {
    /// A key that Weir vouches for.
    pub fn trust(&mut self, key: impl Into<String>, values: Vec<String>) {
        self.trusted.push((key.into(), values));
    }

    /// A key whose value the client chose.
    pub fn request(&mut self, key: impl Into<String>, values: Vec<String>) {
        self.requested.push((key.into(), values));
    }

    /// Without regard to case. What is trusted wins.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        let found =
            |keys: &'_ [(String, Vec<String>)]| keys.iter().position(|(name, _)| name.eq_ignore_ascii_case(key));
        let trusted = found(&self.trusted).map(|at| &*self.trusted[at].1);
        trusted.or_else(|| found(&self.requested).map(|at| &*self.requested[at].1))
    }
}
