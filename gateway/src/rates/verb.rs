//! What kind of request an operation is, and what it costs: a listing reads as much as many keys.

/// The classes of requests that a rule can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    List,
    Get,
    Head,
    Put,
    Delete,
    MultipartControl,
    /// The admin API.
    Admin,
    /// STS and IAM.
    Auth,
}

/// What a request costs where it is no multiple.
pub const COST: u32 = 1;
const LIST_COST: u32 = 5;
const COPY_COST: u32 = 2;
/// Keys of a DeleteObjects that cost as much as one request.
const KEYS_PER_COST: usize = 100;
const DELETE_COST_MAX: u32 = crate::limits::DELETE_KEYS_MAX.div_ceil(KEYS_PER_COST) as u32;

/// What a failed authentication costs its address.
pub const FAILED_AUTHENTICATION_COST: u32 = 10;

impl Verb {
    pub const ALL: [Self; 8] =
        [Self::List, Self::Get, Self::Head, Self::Put, Self::Delete, Self::MultipartControl, Self::Admin, Self::Auth];

    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::MultipartControl => "multipart-control",
            Self::Admin => "admin",
            Self::Auth => "auth",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == text)
    }

    /// Of an operation of S3, by its name.
    pub fn of(operation: &str) -> Self {
        let begins = |word: &str| operation.starts_with(word);
        match operation {
            "CreateMultipartUpload" | "CompleteMultipartUpload" | "AbortMultipartUpload" => Self::MultipartControl,
            _ if begins("List") => Self::List,
            _ if begins("Head") => Self::Head,
            _ if begins("Get") || begins("Select") => Self::Get,
            _ if begins("Delete") => Self::Delete,
            _ => Self::Put,
        }
    }

    /// The most that one request of this kind can cost.
    pub fn cost_max(self) -> u32 {
        match self {
            Self::List => LIST_COST,
            Self::Put => COPY_COST,
            Self::Delete => DELETE_COST_MAX,
            _ => COST,
        }
    }
}

/// What a request costs before its document is read.
pub fn cost(operation: &str) -> u32 {
    match operation {
        "CopyObject" | "UploadPartCopy" => COPY_COST,
        _ if Verb::of(operation) == Verb::List => LIST_COST,
        _ => COST,
    }
}

/// What a DeleteObjects of so many keys costs in all.
pub fn cost_of_keys(keys: usize) -> u32 {
    u32::try_from(keys.div_ceil(KEYS_PER_COST)).unwrap_or(u32::MAX).clamp(COST, DELETE_COST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_class_and_a_price() {
        for (operation, verb, price) in [
            ("GetObject", Verb::Get, 1),
            ("GetBucketAcl", Verb::Get, 1),
            ("HeadObject", Verb::Head, 1),
            ("ListObjectsV2", Verb::List, 5),
            ("ListParts", Verb::List, 5),
            ("PutObject", Verb::Put, 1),
            ("PostObject", Verb::Put, 1),
            ("CopyObject", Verb::Put, 2),
            ("UploadPartCopy", Verb::Put, 2),
            ("CreateBucket", Verb::Put, 1),
            ("DeleteObjects", Verb::Delete, 1),
            ("CompleteMultipartUpload", Verb::MultipartControl, 1),
        ] {
            assert_eq!((Verb::of(operation), cost(operation)), (verb, price), "{operation}");
        }
        for rule in crate::admission::action::RULES {
            assert!(cost(rule.operation) <= Verb::of(rule.operation).cost_max(), "{}", rule.operation);
        }
    }

    #[test]
    fn a_deletion_of_many_keys_costs_one_for_each_hundred() {
        for (keys, cost) in [(0, 1), (1, 1), (100, 1), (101, 2), (1000, 10), (usize::MAX, 10)] {
            assert_eq!(cost_of_keys(keys), cost, "{keys}");
        }
        assert_eq!((cost("DeleteObjects"), Verb::Delete.cost_max()), (cost_of_keys(0), 10));
    }
}
