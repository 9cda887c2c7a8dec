//! What the edge refuses and what fails behind it, and the one table that turns either into an S3 answer.

use crate::guard::FormError;
use crate::rates::Throttle;
use common::{BucketName, ETag};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode};
use std::io;
use std::net::SocketAddr;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    // The client's: who it is.
    #[error("Access Denied")]
    AccessDenied,
    #[error("There were headers present in the request which were not signed: {0}")]
    HeadersNotSigned(String),
    #[error("The header {0} is said to be signed, and there is none of this name.")]
    SignedHeaderAbsent(String),
    #[error("{0}")]
    QueryAuthorization(&'static str),
    #[error("{0}")]
    AuthorizationMalformed(String),
    #[error("The audit log cannot take the record of this request. Please try again.")]
    NotAudited,
    #[error("Please reduce your request rate.")]
    TooManyStreams,
    /// A trusted proxy's word that cannot be understood.
    #[error("The header {0} of the proxy in front does not say who the client is.")]
    BadForwarded(&'static str),
    /// A client that is told the right region signs again with it.
    #[error("The authorization header is malformed; the region '{given}' is wrong; expecting '{expected}'")]
    WrongRegion { given: String, expected: String },
    #[error("The AWS access key ID that you provided does not exist in our records.")]
    InvalidAccessKeyId,
    #[error("The provided token is malformed or otherwise not valid.")]
    InvalidToken,
    #[error("The provided token has expired.")]
    ExpiredToken,
    #[error("The session's policies, tags and claims are too large: together they make a token of {bytes} bytes.")]
    PackedPolicyTooLarge { bytes: usize },

    /// A rule of `rates.rs` refuses it.
    #[error("Please reduce your request rate.")]
    Throttled(Throttle),

    // The client's: what it asks for.
    #[error("The specified bucket does not exist")]
    NoSuchBucket,
    #[error("The specified version does not exist.")]
    NoSuchVersion,
    #[error("bucket {0} exists and you own it")]
    BucketAlreadyOwnedByYou(BucketName),
    #[error("The bucket you tried to delete is not empty")]
    BucketNotEmpty,
    #[error("The {0} location constraint is incompatible for the region specific endpoint this request was sent to.")]
    IllegalLocationConstraint(String),
    /// A configuration document that the bucket does not have: S3 has a code of its own for each.
    #[error("The {1} configuration was not found")]
    NoSuchDocument(&'static str, &'static str),
    #[error("The bucket policy does not exist")]
    NoSuchBucketPolicy,
    /// A bucket's policy that is none, in a sentence.
    #[error("{0}")]
    MalformedPolicy(String),
    #[error("{0}")]
    InvalidBucketState(&'static str),
    #[error("{0}")]
    InvalidRetentionPeriod(&'static str),
    #[error("The Versioning element must be specified")]
    IllegalVersioning,
    #[error("The bucket does not allow ACLs")]
    AclNotSupported,
    #[error("Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")]
    AclWithOwnership,
    #[error("Bucket cannot have public ACLs set with BlockPublicAccess enabled")]
    AclWithBlock,
    #[error("{0}")]
    MalformedAcl(&'static str),
    #[error("The e-mail address you provided does not match any account on record.")]
    UnresolvableEmail,
    #[error("The e-mail address you provided is associated with more than one account.")]
    AmbiguousEmail,
    #[error("This request does not support content")]
    UnexpectedContent,
    #[error("Your request was missing a required header")]
    MissingSecurityHeader,
    #[error("{0}")]
    CorsRequest(String),
    #[error("CORSResponse: {0}")]
    CorsForbidden(&'static str),
    #[error("{0}")]
    InvalidTag(&'static str),
    #[error("{0}")]
    InvalidTargetBucket(&'static str),
    #[error("The specified configuration id is invalid.")]
    InvalidConfigurationId,
    #[error("Document ID does not match the specified configuration ID.")]
    IdMismatch,
    #[error(
        "You are attempting to create a new configuration but have already reached the {limit}-configuration limit."
    )]
    TooManyConfigurations { limit: usize },
    #[error("{0} is not implemented")]
    NotImplemented(String),
    #[error("The specified method is not allowed against this resource.")]
    MethodNotAllowed,
    #[error("{0}")]
    InvalidArgument(String),
    #[error("{0}")]
    InvalidRequest(String),
    #[error("Couldn't parse the specified URI: {0}")]
    InvalidUri(&'static str),
    #[error(transparent)]
    Name(#[from] common::NameError),
    #[error("The encryption request that you specified is not valid. The valid value is AES256.")]
    InvalidEncryptionAlgorithm,
    #[error(transparent)]
    Kms(authn::KmsError),
    #[error("The storage class you specified is not valid")]
    InvalidStorageClass,
    #[error("Parameters on this idempotent request are inconsistent with parameters used in previous request(s).")]
    IdempotencyParameterMismatch,
    #[error("Object tags cannot be greater than {limit}")]
    TooManyTags { limit: usize },
    #[error("The specified object does not have a ObjectLock configuration")]
    NoSuchObjectLock,
    #[error("Your metadata headers exceed the maximum allowed metadata size of {limit_bytes} bytes")]
    MetadataTooLarge { limit_bytes: usize },
    #[error("Invalid Policy: {0}")]
    InvalidPolicyDocument(&'static str),
    #[error("Invalid according to Policy: {0}")]
    PolicyRefused(String),
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    )]
    SignatureDoesNotMatch,
    /// Of Signature Version 2: what is wrong with it beside what it signs.
    #[error("{0}")]
    OldSignature(&'static str),
    #[error("The difference between the request time and the current time is too large.")]
    RequestTimeTooSkewed,
    #[error("The body of your POST request is not well-formed multipart/form-data: {0}")]
    MalformedForm(FormError),
    #[error("Your proposed upload is smaller than the minimum allowed object size of {least_bytes} bytes")]
    EntityTooSmall { least_bytes: u64 },
    #[error("Your proposed upload exceeds the maximum allowed object size of {limit_bytes} bytes")]
    EntityTooLarge { limit_bytes: u64 },
    #[error("You must provide the Content-Length HTTP header.")]
    MissingContentLength,
    #[error("{0}")]
    MalformedXml(&'static str),
    #[error("Your request was too big: this document may have {limit_bytes} bytes")]
    DocumentTooLarge { limit_bytes: usize },
    #[error("An error occurred when parsing the HTTP request: {0}")]
    BadHttp(&'static str),
    #[error("Your request header and query parameters exceed the maximum allowed size: {0}")]
    HeaderSectionTooLarge(&'static str),
    #[error("Expect has nothing beside 100-continue")]
    ExpectationFailed,
    #[error("Not Modified")]
    NotModified { etag: ETag, modified_ms: u64 },
    #[error("At least one of the pre-conditions you specified did not hold: {0}")]
    PreconditionFailed(&'static str),
    #[error("The requested range is not satisfiable")]
    InvalidRange { size: u64 },
    #[error("The requested partnumber is not satisfiable")]
    InvalidPartNumber,

    // The client's: its body.
    #[error("The {0} you specified was not valid.")]
    InvalidDigest(&'static str),
    #[error("The {0} you specified did not match the calculated checksum.")]
    BadDigest(&'static str),
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    PayloadHashMismatch,
    #[error("The signature of a chunk or of the trailer does not match what was computed.")]
    ChunkSignature,
    #[error("You did not provide the number of bytes specified by the Content-Length HTTP header: {0}")]
    IncompleteBody(String),
    #[error("Your socket connection to the server was not read from or written to within the timeout period.")]
    RequestTimeout,

    // Below.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Cluster(#[from] cluster::Error),

    // Ours.
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Internal(&'static str),
}

/// Whose fault a failed request is, which decides how it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Caller,
    Us,
}

/// An error that the S3 protocol knows by code and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub code: &'static str,
    pub status: StatusCode,
}

impl Error {
    /// The table. Source: "Error responses", Amazon S3 API Reference.
    pub fn answer(&self) -> Answer {
        use StatusCode as S;
        let (code, status) = match self {
            Self::AccessDenied | Self::HeadersNotSigned(_) => ("AccessDenied", S::FORBIDDEN),
            Self::OldSignature(_) => ("AccessDenied", S::FORBIDDEN),
            Self::RequestTimeTooSkewed => ("RequestTimeTooSkewed", S::FORBIDDEN),
            Self::QueryAuthorization(_) => ("AuthorizationQueryParametersError", S::BAD_REQUEST),
            Self::AuthorizationMalformed(_) | Self::WrongRegion { .. } => {
                ("AuthorizationHeaderMalformed", S::BAD_REQUEST)
            }
            Self::Throttled(_) => ("SlowDown", S::SERVICE_UNAVAILABLE),
            Self::NotAudited => ("ServiceUnavailable", S::SERVICE_UNAVAILABLE),
            Self::BadForwarded(_) => ("InvalidRequest", S::BAD_REQUEST),
            Self::TooManyStreams => ("SlowDown", S::SERVICE_UNAVAILABLE),
            Self::InvalidAccessKeyId => ("InvalidAccessKeyId", S::FORBIDDEN),
            Self::InvalidToken => ("InvalidToken", S::BAD_REQUEST),
            Self::ExpiredToken => ("ExpiredToken", S::BAD_REQUEST),
            Self::PackedPolicyTooLarge { .. } => ("PackedPolicyTooLarge", S::BAD_REQUEST),
            Self::NoSuchBucket => ("NoSuchBucket", S::NOT_FOUND),
            Self::NoSuchVersion => ("NoSuchVersion", S::NOT_FOUND),
            Self::BucketAlreadyOwnedByYou(_) => ("BucketAlreadyOwnedByYou", S::CONFLICT),
            Self::BucketNotEmpty => ("BucketNotEmpty", S::CONFLICT),
            Self::IllegalLocationConstraint(_) => ("IllegalLocationConstraintException", S::BAD_REQUEST),
            Self::NoSuchDocument(code, _) => (*code, S::NOT_FOUND),
            Self::NoSuchBucketPolicy => ("NoSuchBucketPolicy", S::NOT_FOUND),
            Self::MalformedPolicy(_) => ("MalformedPolicy", S::BAD_REQUEST),
            Self::InvalidBucketState(_) => ("InvalidBucketState", S::CONFLICT),
            Self::InvalidRetentionPeriod(_) => ("InvalidRetentionPeriod", S::BAD_REQUEST),
            Self::IllegalVersioning => ("IllegalVersioningConfigurationException", S::BAD_REQUEST),
            Self::AclNotSupported => ("AccessControlListNotSupported", S::BAD_REQUEST),
            Self::AclWithOwnership => ("InvalidBucketAclWithObjectOwnership", S::BAD_REQUEST),
            Self::AclWithBlock => ("InvalidBucketAclWithBlockPublicAccessError", S::BAD_REQUEST),
            Self::MalformedAcl(_) => ("MalformedACLError", S::BAD_REQUEST),
            Self::UnresolvableEmail => ("UnresolvableGrantByEmailAddress", S::BAD_REQUEST),
            Self::AmbiguousEmail => ("AmbiguousGrantByEmailAddress", S::BAD_REQUEST),
            Self::UnexpectedContent => ("UnexpectedContent", S::BAD_REQUEST),
            Self::MissingSecurityHeader => ("MissingSecurityHeader", S::BAD_REQUEST),
            Self::CorsRequest(_) => ("BadRequest", S::BAD_REQUEST),
            Self::CorsForbidden(_) => ("AccessForbidden", S::FORBIDDEN),
            Self::InvalidTag(_) => ("InvalidTag", S::BAD_REQUEST),
            Self::InvalidTargetBucket(_) => ("InvalidTargetBucketForLogging", S::BAD_REQUEST),
            Self::InvalidConfigurationId => ("InvalidConfigurationId", S::BAD_REQUEST),
            Self::IdMismatch => ("IdMismatch", S::BAD_REQUEST),
            Self::TooManyConfigurations { .. } => ("TooManyConfigurations", S::BAD_REQUEST),
            Self::NotImplemented(_) => ("NotImplemented", S::NOT_IMPLEMENTED),
            Self::MethodNotAllowed => ("MethodNotAllowed", S::METHOD_NOT_ALLOWED),
            Self::InvalidArgument(_) => ("InvalidArgument", S::BAD_REQUEST),
            Self::InvalidRequest(_) => ("InvalidRequest", S::BAD_REQUEST),
            Self::InvalidUri(_) => ("InvalidURI", S::BAD_REQUEST),
            Self::Name(error) => return name(error),
            Self::InvalidEncryptionAlgorithm => ("InvalidEncryptionAlgorithmError", S::BAD_REQUEST),
            Self::Kms(authn::KmsError::NotFound(_)) => ("KMS.NotFoundException", S::BAD_REQUEST),
            Self::Kms(authn::KmsError::Name) => ("InvalidArgument", S::BAD_REQUEST),
            Self::Kms(_) => ("InternalError", S::INTERNAL_SERVER_ERROR),
            Self::InvalidStorageClass => ("InvalidStorageClass", S::BAD_REQUEST),
            Self::IdempotencyParameterMismatch => ("IdempotencyParameterMismatch", S::BAD_REQUEST),
            Self::TooManyTags { .. } => ("BadRequest", S::BAD_REQUEST),
            Self::NoSuchObjectLock => ("NoSuchObjectLockConfiguration", S::NOT_FOUND),
            Self::MetadataTooLarge { .. } => ("MetadataTooLarge", S::BAD_REQUEST),
            Self::InvalidPolicyDocument(_) => ("InvalidPolicyDocument", S::BAD_REQUEST),
            Self::PolicyRefused(_) => ("AccessDenied", S::FORBIDDEN),
            Self::SignatureDoesNotMatch => ("SignatureDoesNotMatch", S::FORBIDDEN),
            Self::MalformedForm(FormError::TooLarge) => ("MaxPostPreDataLengthExceeded", S::BAD_REQUEST),
            Self::MalformedForm(FormError::SecondFile) => ("IncorrectNumberOfFilesInPostRequest", S::BAD_REQUEST),
            Self::MalformedForm(FormError::Short) => ("IncompleteBody", S::BAD_REQUEST),
            Self::MalformedForm(_) => ("MalformedPOSTRequest", S::BAD_REQUEST),
            Self::EntityTooSmall { .. } => ("EntityTooSmall", S::BAD_REQUEST),
            Self::EntityTooLarge { .. } => ("EntityTooLarge", S::BAD_REQUEST),
            Self::MissingContentLength => ("MissingContentLength", S::LENGTH_REQUIRED),
            Self::MalformedXml(_) => ("MalformedXML", S::BAD_REQUEST),
            Self::DocumentTooLarge { .. } => ("MaxMessageLengthExceeded", S::BAD_REQUEST),
            Self::BadHttp(_) => ("BadRequest", S::BAD_REQUEST),
            Self::HeaderSectionTooLarge(_) => ("RequestHeaderSectionTooLarge", S::BAD_REQUEST),
            Self::ExpectationFailed => ("ExpectationFailed", S::EXPECTATION_FAILED),
            Self::NotModified { .. } => ("NotModified", S::NOT_MODIFIED),
            Self::PreconditionFailed(_) => ("PreconditionFailed", S::PRECONDITION_FAILED),
            Self::InvalidRange { .. } => ("InvalidRange", S::RANGE_NOT_SATISFIABLE),
            Self::InvalidPartNumber => ("InvalidPartNumber", S::RANGE_NOT_SATISFIABLE),
            Self::InvalidDigest(_) => ("InvalidDigest", S::BAD_REQUEST),
            Self::BadDigest(_) => ("BadDigest", S::BAD_REQUEST),
            Self::PayloadHashMismatch => ("XAmzContentSHA256Mismatch", S::BAD_REQUEST),
            Self::ChunkSignature | Self::SignedHeaderAbsent(_) => ("SignatureDoesNotMatch", S::FORBIDDEN),
            Self::IncompleteBody(_) => ("IncompleteBody", S::BAD_REQUEST),
            Self::RequestTimeout => ("RequestTimeout", S::BAD_REQUEST),
            Self::Storage(error) => return storage(error),
            Self::Cluster(error) => return cluster(error),
            Self::Listen { .. } | Self::Internal(_) => ("InternalError", S::INTERNAL_SERVER_ERROR),
        };
        Answer { code, status }
    }

    /// For who may not know what a bucket holds: what is not there is refused as what is not the caller's.
    pub fn without_absence(self) -> Self {
        use storage::Error as E;
        match self {
            Self::NoSuchVersion
            | Self::Storage(E::NoSuchKey | E::NoSuchVersion | E::IsDeleteMarker { was_named: false, .. }) => {
                Self::AccessDenied
            }
            other => other,
        }
    }

    /// Headers that belong to the error itself.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // s3s replaces its own headers by these, so the document's type has to be said again.
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        match self {
            Self::NotModified { etag, modified_ms } => {
                headers.insert(header::ETAG, ascii(&format!("\"{etag}\"")));
                headers.insert(header::LAST_MODIFIED, ascii(&crate::s3::dates::http_date(*modified_ms)));
            }
            Self::InvalidRange { size } => {
                headers.insert(header::CONTENT_RANGE, ascii(&format!("bytes */{size}")));
            }
            Self::WrongRegion { expected, .. } => {
                headers.insert("x-amz-bucket-region", ascii(expected));
            }
            Self::Storage(storage::Error::IsDeleteMarker { version, modified_ms, was_named }) => {
                headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
                headers.insert("x-amz-version-id", ascii(&version.to_string()));
                if *was_named {
                    headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
                    headers.insert(header::LAST_MODIFIED, ascii(&crate::s3::dates::http_date(*modified_ms)));
                }
            }
            // So that a client can tell a key that is hidden by a marker from one that was never there.
            Self::Storage(storage::Error::NoSuchKey) => {
                headers.insert("x-amz-delete-marker", HeaderValue::from_static("false"));
            }
            Self::Throttled(throttle) => {
                headers.extend(throttle.headers());
            }
            error if error.answer().code == "SlowDown" => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                headers.insert("x-amz-retry-after", HeaderValue::from_static("1"));
            }
            _ => {}
        }
        headers
    }

    /// An error that a body's stream ended with. s3s's types for them are private, so their text decides; whatever is not
    /// known is a connection that broke.
    pub fn body(error: s3s::StdError) -> Self {
        let text = error.to_string();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["Sha256Mismatch"]) {
            Self::PayloadHashMismatch
        } else if says(&["SignatureMismatch"]) {
            Self::ChunkSignature
        } else if says(&["FormatError", "TooLarge", "TooMany", crate::guard::CHUNKING_ERROR]) {
            Self::InvalidRequest(format!("the aws-chunked body is malformed: {text}"))
        } else {
            Self::IncompleteBody(text)
        }
    }
}

impl Answer {
    pub fn fault(self) -> Fault {
        let ours = self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED;
        if ours { Fault::Us } else { Fault::Caller }
    }
}

fn name(error: &common::NameError) -> Answer {
    use common::NameError as E;
    let (code, status) = match error {
        E::BucketLength(_) | E::BucketCharacters | E::BucketReserved => ("InvalidBucketName", StatusCode::BAD_REQUEST),
        E::KeyLength(_) => ("KeyTooLongError", StatusCode::BAD_REQUEST),
        E::PartNumber(_) => ("InvalidArgument", StatusCode::BAD_REQUEST),
        E::UploadId => ("NoSuchUpload", StatusCode::NOT_FOUND),
        E::VersionId => ("InvalidArgument", StatusCode::BAD_REQUEST),
    };
    Answer { code, status }
}

fn storage(error: &storage::Error) -> Answer {
    use StatusCode as S;
    use storage::Error as E;
    let (code, status) = match error {
        E::NoSuchKey => ("NoSuchKey", S::NOT_FOUND),
        E::NoSuchUpload => ("NoSuchUpload", S::NOT_FOUND),
        E::NoSuchVersion => ("NoSuchVersion", S::NOT_FOUND),
        E::IsDeleteMarker { was_named: false, .. } => ("NoSuchKey", S::NOT_FOUND),
        E::IsDeleteMarker { was_named: true, .. } => ("MethodNotAllowed", S::METHOD_NOT_ALLOWED),
        E::Locked(_) => ("AccessDenied", S::FORBIDDEN),
        E::NoObjectLock => ("InvalidRequest", S::BAD_REQUEST),
        E::NoSuchBucket(_) => ("NoSuchBucket", S::NOT_FOUND),
        E::PreconditionFailed(_) => ("PreconditionFailed", S::PRECONDITION_FAILED),
        E::InvalidPart(_) => ("InvalidPart", S::BAD_REQUEST),
        E::InvalidPartOrder => ("InvalidPartOrder", S::BAD_REQUEST),
        E::PartTooSmall(_) => ("EntityTooSmall", S::BAD_REQUEST),
        E::TooLarge { .. } => ("EntityTooLarge", S::BAD_REQUEST),
        E::WrongLength { .. } => ("IncompleteBody", S::BAD_REQUEST),
        E::CursorExpired => ("CursorExpired", S::GONE),
        // A retry finds the new map, the finished index or the next process. SDKs retry 503 with this code and back off.
        E::StaleEpoch { .. } | E::Incomplete(_) | E::IndexRebuilding | E::IndexBroken(_) | E::Busy | E::Stopping => {
            ("SlowDown", S::SERVICE_UNAVAILABLE)
        }
        E::WrongOffset => ("InvalidWriteOffset", S::BAD_REQUEST),
        E::TooManyChunks => ("TooManyParts", S::BAD_REQUEST),
        E::UploadChanged | E::ObjectChanged | E::BucketInUse(_) | E::Sealed => ("OperationAborted", S::CONFLICT),
        // 507 and not 503: SDKs retry 500, 502, 503 and 504 for minutes, and a retry cannot make space. This way the person
        // sees at once what is wrong. MinIO and RustFS answer 507 too.
        E::OutOfSpace => ("InsufficientStorage", S::INSUFFICIENT_STORAGE),
        E::Damaged(_) | E::DiskFailed(_) | E::OutcomeUnknown(_) | E::Refused(_) | E::Io { .. } => {
            ("InternalError", S::INTERNAL_SERVER_ERROR)
        }
    };
    Answer { code, status }
}

fn cluster(error: &cluster::Error) -> Answer {
    use StatusCode as S;
    use cluster::Error as E;
    let (code, status) = match error {
        E::BucketExists { .. } => ("BucketAlreadyExists", S::CONFLICT),
        E::NoSuchBucket(_) => ("NoSuchBucket", S::NOT_FOUND),
        E::BucketDeleting(_) | E::BucketChanged(_) => ("OperationAborted", S::CONFLICT),
        E::TooManyBuckets { .. } => ("TooManyBuckets", S::BAD_REQUEST),
        E::KmsKeyExists(_) => ("OperationAborted", S::CONFLICT),
        E::NoSuchKmsKey(_) => ("KMS.NotFoundException", S::BAD_REQUEST),
        E::KeyExists(_) | E::NoSuchKey(_) | E::LastAdminKey(_) | E::Invalid(_) => ("InvalidRequest", S::BAD_REQUEST),
        E::NoSuchEntity(_) => ("NoSuchEntity", S::NOT_FOUND),
        E::EntityExists(_) => ("EntityAlreadyExists", S::CONFLICT),
        E::DeleteConflict(_) => ("DeleteConflict", S::CONFLICT),
        E::LimitExceeded { .. } => ("LimitExceeded", S::CONFLICT),
        // The admin API's alone.
        E::NoSuchLimit(_) => ("InvalidRequest", S::BAD_REQUEST),
        E::LimitChanged { .. } => ("OperationAborted", S::CONFLICT),
        E::TermsExhausted | E::Store(_) | E::NewerFormat { .. } | E::Locked => {
            ("InternalError", S::INTERNAL_SERVER_ERROR)
        }
    };
    Answer { code, status }
}

impl From<Error> for S3Error {
    fn from(error: Error) -> Self {
        let Answer { code, status } = error.answer();
        let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
        let message = match &error {
            Error::Storage(storage::Error::NoSuchKey | storage::Error::IsDeleteMarker { was_named: false, .. }) => {
                "The specified key does not exist.".to_owned()
            }
            Error::Storage(storage::Error::IsDeleteMarker { was_named: true, .. }) => {
                Error::MethodNotAllowed.to_string()
            }
            Error::Storage(storage::Error::WrongOffset) => {
                "The write offset value that you specified does not match the current object size.".to_owned()
            }
            Error::Storage(storage::Error::TooManyChunks) => {
                "You have attempted to add more parts than the maximum of 10000 that are allowed for this object. You can \
                 upload a copy of it with fewer parts, and then add more data to that."
                    .to_owned()
            }
            Error::Storage(storage::Error::NoSuchVersion) => Error::NoSuchVersion.to_string(),
            Error::Storage(storage::Error::Locked(_)) => {
                "Access Denied because object protected by object lock.".to_owned()
            }
            Error::Storage(storage::Error::NoObjectLock) => "Bucket is missing Object Lock Configuration".to_owned(),
            // The name of the bucket's owner is nobody else's business.
            Error::Cluster(cluster::Error::BucketExists { .. }) => {
                "The requested bucket name is not available. Select a different name and try again.".to_owned()
            }
            other => other.to_string(),
        };
        let mut answer = S3Error::with_message(code, message);
        answer.set_status_code(status);
        answer.set_headers(error.headers());
        answer
    }
}

/// Text of this program's own: numbers, digits, the configured region.
fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{BucketId, PartNumber};

    fn code_and_status(error: impl Into<Error>) -> (&'static str, u16) {
        let answer = error.into().answer();
        (answer.code, answer.status.as_u16())
    }

    #[test]
    fn storage_errors_have_the_codes_of_s3() {
        use storage::Error as E;
        assert_eq!(code_and_status(E::NoSuchKey), ("NoSuchKey", 404));
        assert_eq!(code_and_status(E::NoSuchBucket(BucketId(1))), ("NoSuchBucket", 404));
        assert_eq!(code_and_status(E::PreconditionFailed("If-Match")), ("PreconditionFailed", 412));
        assert_eq!(
            code_and_status(E::PartTooSmall(PartNumber::new(1).expect("a part number"))),
            ("EntityTooSmall", 400)
        );
        assert_eq!(code_and_status(E::WrongLength { declared: 2, actual: 1 }), ("IncompleteBody", 400));
        assert_eq!(code_and_status(E::IndexRebuilding), ("SlowDown", 503));
        assert_eq!(code_and_status(E::Busy), ("SlowDown", 503));
        assert_eq!(code_and_status(E::OutOfSpace), ("InsufficientStorage", 507));
        assert_eq!(code_and_status(E::Damaged("x".into())), ("InternalError", 500));
    }

    #[test]
    fn faults_decide_the_log_level() {
        assert_eq!(Error::NotImplemented("x".into()).answer().fault(), Fault::Caller);
        assert_eq!(Error::from(storage::Error::NoSuchKey).answer().fault(), Fault::Caller);
        assert_eq!(Error::from(storage::Error::DiskFailed("x".into())).answer().fault(), Fault::Us);
        assert_eq!(Error::from(cluster::Error::Store("x".into())).answer().fault(), Fault::Us);
    }

    #[test]
    fn answers_carry_their_headers() {
        let range = S3Error::from(Error::InvalidRange { size: 7 });
        assert_eq!(range.headers().expect("set")["content-range"], "bytes */7");
        let not_modified = S3Error::from(Error::NotModified { etag: ETag::of_md5([0; 16]), modified_ms: 0 });
        let headers = not_modified.headers().expect("set");
        assert_eq!(headers["last-modified"], "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(headers["etag"], "\"00000000000000000000000000000000\"");
        let marker = |was_named| {
            let version = common::VersionId::Null;
            S3Error::from(Error::from(storage::Error::IsDeleteMarker { version, modified_ms: 0, was_named }))
        };
        let (named, current) = (marker(true), marker(false));
        assert_eq!((named.code().as_str(), current.code().as_str()), ("MethodNotAllowed", "NoSuchKey"));
        let (named, current) = (named.headers().expect("set"), current.headers().expect("set"));
        assert_eq!(
            (&named["x-amz-delete-marker"], &current["x-amz-delete-marker"]),
            (&"true".parse().expect("a value"), &"true".parse().expect("a value"))
        );
        assert_eq!(
            (&named["allow"], &named["last-modified"]),
            (&"DELETE".parse().expect("a value"), &"Thu, 01 Jan 1970 00:00:00 GMT".parse().expect("a value"))
        );
        assert_eq!(current["x-amz-version-id"], "null");
        assert!(!current.contains_key("allow"));
        let busy = S3Error::from(Error::from(storage::Error::Stopping));
        assert_eq!(busy.headers().expect("set")["retry-after"], "1");
    }

    #[test]
    fn unknown_codes_keep_their_name() {
        let full = S3Error::from(Error::from(storage::Error::OutOfSpace));
        assert_eq!(full.code().as_str(), "InsufficientStorage");
        assert_eq!(full.status_code(), Some(StatusCode::INSUFFICIENT_STORAGE));
    }

    #[test]
    fn body_errors_are_told_apart() {
        let code = |text: &str| Error::body(text.to_owned().into()).answer().code;
        assert_eq!(code("UploadStreamError: Sha256Mismatch"), "XAmzContentSHA256Mismatch");
        assert_eq!(code("AwsChunkedStreamError: SignatureMismatch"), "SignatureDoesNotMatch");
        assert_eq!(code("AwsChunkedStreamError: FormatError"), "InvalidRequest");
        assert_eq!(code("UploadStreamError: Incomplete"), "IncompleteBody");
        assert_eq!(code("connection reset by peer"), "IncompleteBody");
    }
}
