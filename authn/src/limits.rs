//! Lengths of access keys, of tokens and of policies, in bytes unless a name says otherwise.

/// Source: AWS IAM API reference, `AccessKey`, allows 16 to 128; other stores accept 3, and their suites use it.
pub const ACCESS_KEY_ID_BYTES_MIN: usize = 3;
pub const ACCESS_KEY_ID_BYTES_MAX: usize = 128;

pub const SECRET_KEY_BYTES_MIN: usize = 8;
pub const SECRET_KEY_BYTES_MAX: usize = 128;

/// Random characters of a made access key id, after its prefix: 90 bits.
pub const MADE_ID_CHARACTERS: usize = 18;
/// Random characters of the id of a user, a group, a role or a policy, as AWS has them: 85 bits.
pub const MADE_UNIQUE_CHARACTERS: usize = 17;
/// Characters of a made secret: 238 bits.
pub const MADE_SECRET_CHARACTERS: usize = 40;

/// Random characters of a session's access key id, after its prefix: 80 bits.
pub const SESSION_ID_CHARACTERS: usize = 16;
/// Of a session token: clients send it in a header with each request.
pub const TOKEN_BYTES_MAX: usize = 2048;

/// Of a web identity's token.
pub const WEB_IDENTITY_BYTES_MAX: usize = 8 * 1024;
/// Of the `kid` of a token.
pub const KEY_ID_BYTES_MAX: usize = 256;
pub const SUBJECT_BYTES_MAX: usize = 255;
/// Keys, not bytes.
pub const ISSUER_KEYS_MAX: usize = 100;
/// Of an RSA modulus: 2048 to 8192 bits.
pub const RSA_BYTES_MIN: usize = 256;
pub const RSA_BYTES_MAX: usize = 1024;

const _: () = assert!(MADE_SECRET_CHARACTERS >= SECRET_KEY_BYTES_MIN && MADE_SECRET_CHARACTERS <= SECRET_KEY_BYTES_MAX);

/// Source: "Bucket policies", Amazon S3 User Guide: 20 KB.
pub const BUCKET_POLICY_BYTES_MAX: usize = 20 * 1024;

/// Characters without white space. Source: "IAM and AWS STS quotas", AWS IAM User Guide: all inline policies of a role.
pub const IDENTITY_POLICY_CHARACTERS_MAX: usize = 10_240;
/// Of a managed policy.
pub const MANAGED_POLICY_CHARACTERS_MAX: usize = 6144;
/// Of all inline policies of a user, of a group and of a role together.
pub const USER_INLINE_CHARACTERS_MAX: usize = 2048;
pub const GROUP_INLINE_CHARACTERS_MAX: usize = 5120;
pub const ROLE_INLINE_CHARACTERS_MAX: usize = 10_240;
/// Of a role's trust policy: AWS's quota, as far as it can be raised.
pub const TRUST_POLICY_CHARACTERS_MAX: usize = 4096;
/// What is read at all of a text whose white space does not count.
pub const POLICY_TEXT_BYTES_MAX: usize = 128 * 1024;

/// Maps and lists in each other. The grammar needs six.
pub const POLICY_DEPTH_MAX: usize = 8;
pub const SID_BYTES_MAX: usize = 256;

const _: () = assert!(MANAGED_POLICY_CHARACTERS_MAX <= IDENTITY_POLICY_CHARACTERS_MAX);
const _: () = assert!(ROLE_INLINE_CHARACTERS_MAX <= IDENTITY_POLICY_CHARACTERS_MAX);
const _: () = assert!(BUCKET_POLICY_BYTES_MAX <= POLICY_TEXT_BYTES_MAX);
