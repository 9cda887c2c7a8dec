//! Why a key was refused. The caller's fault, all of it; no variant carries a secret.

use crate::limits;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("an access key has {min} to {max} characters, and this has {0}", min = limits::ACCESS_KEY_ID_BYTES_MIN, max = limits::ACCESS_KEY_ID_BYTES_MAX)]
    AccessKeyIdLength(usize),
    #[error("an access key holds only letters, digits, dots, underscores and hyphens")]
    AccessKeyIdCharacters,
    #[error("a secret key has {min} to {max} characters, and this has {0}", min = limits::SECRET_KEY_BYTES_MIN, max = limits::SECRET_KEY_BYTES_MAX)]
    SecretKeyLength(usize),
    #[error("a secret key holds only printable ASCII characters and no space")]
    SecretKeyCharacters,
}
