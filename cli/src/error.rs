//! What a person reads when a command fails, and the exit statuses:
//!
//! | status | meaning                                                            |
//! |--------|--------------------------------------------------------------------|
//! | 0      | done; for `serve`: drained                                         |
//! | 1      | failed                                                             |
//! | 2      | usage: flags, configuration or environment are wrong               |
//! | 3      | what was named does not exist                                      |
//! | 4      | refused: it exists already, is in use, or the credentials do not allow it |
//! | 5      | the server cannot be reached                                       |

use http::StatusCode;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Refused(String),
    #[error("{endpoint} cannot be reached: {why}. Is `weir serve` running? WEIR_ENDPOINT names another one")]
    Unreachable { endpoint: String, why: String },
    #[error("{0}")]
    Failed(String),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error(transparent)]
    Control(#[from] cluster::Error),
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Gateway(#[from] gateway::Error),
    #[error(transparent)]
    Certs(#[from] certs::Error),
}

impl Error {
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Certs(certs::Error::PlainHttp(_) | certs::Error::Name(_)) => 2,
            Self::NotFound(_) => 3,
            Self::Refused(_) | Self::Storage(storage::Error::Refused(_)) => 4,
            Self::Failed(_)
            | Self::Io { .. }
            | Self::Control(_)
            | Self::Storage(_)
            | Self::Gateway(_)
            | Self::Certs(_) => 1,
            Self::Unreachable { .. } => 5,
        }
    }

    /// What an answer's status means.
    pub fn of_status(status: StatusCode, detail: String) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound(detail),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT => Self::Refused(detail),
            StatusCode::PRECONDITION_FAILED => Self::Refused(detail),
            StatusCode::BAD_REQUEST => Self::Usage(detail),
            _ => Self::Failed(detail),
        }
    }

    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
