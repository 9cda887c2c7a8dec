//! Every limit of the control plane, in one place.

/// Buckets that one owner may have. Source: Amazon S3 User Guide, "Bucket quotas" (the quota that can be asked for).
pub const BUCKETS_PER_OWNER_MAX: usize = 1000;

/// Bytes of one bucket configuration document. The longest that S3 accepts is a lifecycle of 1,000 rules.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of all configuration documents of one bucket, which are written together.
pub const DOCUMENTS_BYTES_MAX: usize = 4 * DOCUMENT_BYTES_MAX;

/// Bytes of the name of a configuration document. The longest is that of one of many of a kind, with its id of 64.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 128;

/// Bytes of an owner's id, display name or e-mail address, of an access key's id and secret, and of a region's name.
pub const TEXT_BYTES_MAX: usize = 256;

/// Named keys of the key service, and versions of one of them: a new one each month for eighty years.
pub const KMS_KEYS_MAX: usize = 1000;
pub const KMS_KEY_VERSIONS_MAX: usize = 1000;
pub const KMS_SEALED_BYTES_MAX: usize = 256;

/// Limits of rates and bandwidths. Each request looks at all of them.
pub const RATE_LIMITS_MAX: usize = 256;
pub const RATE_LIMIT_BYTES_MAX: usize = 8 * 1024;

/// Commands that are decided together.
pub const COMMANDS_TOGETHER_MAX: usize = 64;

// What an account may have. Source: AWS IAM User Guide, "IAM and AWS STS quotas".
pub const USERS_PER_ACCOUNT_MAX: usize = 5000;
pub const GROUPS_PER_ACCOUNT_MAX: usize = 300;
pub const ROLES_PER_ACCOUNT_MAX: usize = 1000;
pub const POLICIES_PER_ACCOUNT_MAX: usize = 1500;
pub const PROVIDERS_PER_ACCOUNT_MAX: usize = 100;
pub const GROUPS_PER_USER_MAX: usize = 10;
pub const KEYS_PER_USER_MAX: usize = 2;
pub const ATTACHED_PER_ENTITY_MAX: usize = 10;
pub const POLICY_VERSIONS_MAX: usize = 5;
pub const TAGS_PER_ENTITY_MAX: usize = 50;
pub const CLIENT_IDS_PER_PROVIDER_MAX: usize = 100;
pub const THUMBPRINTS_PER_PROVIDER_MAX: usize = 5;

// Characters of names and texts. The same source.
pub const USER_NAME_CHARACTERS_MAX: usize = 64;
pub const ROLE_NAME_CHARACTERS_MAX: usize = 64;
pub const GROUP_NAME_CHARACTERS_MAX: usize = 128;
pub const POLICY_NAME_CHARACTERS_MAX: usize = 128;
pub const PATH_CHARACTERS_MAX: usize = 512;
pub const DESCRIPTION_CHARACTERS_MAX: usize = 1000;
pub const TAG_KEY_CHARACTERS_MAX: usize = 128;
pub const TAG_VALUE_CHARACTERS_MAX: usize = 256;
pub const PROVIDER_URL_CHARACTERS_MAX: usize = 255;
pub const CLIENT_ID_CHARACTERS_MAX: usize = 255;
/// Of a SHA-1 in hexadecimal.
pub const THUMBPRINT_CHARACTERS: usize = 40;

// Characters of policies without the white space, which IAM does not count. Inline policies of one entity are counted together.
pub const MANAGED_POLICY_CHARACTERS_MAX: usize = 6144;
pub const USER_POLICIES_CHARACTERS_MAX: usize = 2048;
pub const GROUP_POLICIES_CHARACTERS_MAX: usize = 5120;
pub const ROLE_POLICIES_CHARACTERS_MAX: usize = 10_240;
pub const TRUST_POLICY_CHARACTERS_MAX: usize = 2048;
/// Bytes of a policy with its white space. Source: AWS IAM API reference, `policyDocumentType`.
pub const POLICY_BYTES_MAX: usize = 131_072;

/// Seconds of a role's sessions. Source: AWS IAM API reference, `MaxSessionDuration`.
pub const ROLE_SESSION_SECONDS_MIN: u32 = 3600;
pub const ROLE_SESSION_SECONDS_MAX: u32 = 43_200;
