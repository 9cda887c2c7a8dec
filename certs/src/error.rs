//! What can be wrong with certificates. A fault names the file and never what is in it.

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something out of the directory is not served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Fault {
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, String),
    #[error("{0} is missing")]
    Missing(String),
    #[error("{0} is empty")]
    Empty(String),
    #[error("{0} has more than {max} bytes", max = crate::limits::FILE_BYTES_MAX)]
    TooLarge(String),
    #[error("{0} is no PEM file with a certificate")]
    NoCertificate(String),
    #[error("{0} is no PEM file with a private key")]
    NoKey(String),
    #[error("{0} is no PEM file with a revocation list")]
    NoRevocationList(String),
    #[error("{0}: {1}")]
    BadCertificate(String, String),
    #[error("{0} does not belong to the certificate beside it")]
    KeyMismatch(String),
    #[error("{0}: certificate {1} of the chain is not signed by the one behind it")]
    ChainOrder(String, usize),
    #[error("{0} has more than {max} certificates", max = crate::limits::CHAIN_CERTIFICATES_MAX)]
    LongChain(String),
    #[error("{0} expired")]
    Expired(String),
    #[error("{0} is not valid yet")]
    NotYetValid(String),
    #[error("{0} holds more than {max} pairs: the rest is not served", max = crate::limits::PAIRS_MAX)]
    TooManyPairs(String),
    #[error("{0} holds no pair NAME.crt and NAME.key")]
    NoPairs(String),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("the certificate cannot be made: {0}")]
    Issue(String),
    #[error("{0} is no name for a certificate: a host name, *.NAME or an IP address")]
    Name(String),
    #[error("the authority in {0} is damaged: put ca.pem and ca-key.pem right, or remove both")]
    Authority(String),
    #[error("client certificates cannot be asked for: {0}")]
    ClientAuthority(String),
    #[error("{0} is no listener: there are {1}")]
    NoListener(String, String),
    #[error("{0} says how listeners were switched, and is damaged: {1}")]
    Modes(String, String),
    #[error(
        "the listener {0} can be reached by others: keys and data would be open to every listener on the way without TLS. \
         Start with --plain-http to allow it"
    )]
    PlainHttp(&'static str),
    #[error("TLS cannot be configured: {0}")]
    Tls(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
