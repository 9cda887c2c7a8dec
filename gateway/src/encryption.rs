//! Server-side encryption: what a request or a bucket asks for, the data key of an object with the envelope that gives it again, and
//! what the answers say about it. The bytes are encrypted in storage.
//!
//! Source: "Protecting data with server-side encryption", Amazon S3 User Guide.

mod envelope;
mod request;

pub use envelope::Envelope;
pub use request::{Asked, CustomerKey, Whose, hide_secrets, refuse_on_read};

use crate::error::{Error, Result};
use crate::s3::Service;
use crate::s3::named::Named;
use authn::kms::{DEFAULT_KEY, DataKey, KmsError, OWN_KEYS, SSE_S3_KEY, parse_name};
use cluster::Bucket;
use common::{Algorithm, BucketId, ObjectKey, SecretKey};
use http::{HeaderMap, HeaderValue};
use storage::{ObjectInfo, Sealing};

const NOT_APPLICABLE: &str = "The encryption parameters are not applicable to this object.";

/// What a new object is to be encrypted by.
pub struct Seal {
    sealing: Sealing,
    answer: HeaderMap,
}

impl Seal {
    /// What the request asks for, else what its bucket does by itself, else nothing.
    pub async fn begin(
        service: &Service,
        headers: &HeaderMap,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Option<Self>> {
        let asked = Asked::parse(headers)?.or_default_of(bucket);
        let (keys, context) = (&*service.keys, Context { bucket: bucket.id, key });
        let (data_key, envelope, customer) = match asked {
            Asked::Nothing { .. } => return Ok(None),
            Asked::S3 => {
                let DataKey { plain, wrapped } = keys.generate_data_key(SSE_S3_KEY, &context.bytes(None)).await?;
                (plain, Envelope::S3 { wrapped }, None)
            }
            Asked::Kms { key, context: extra, bucket_key } => {
                let name = parse_name(key.as_deref().unwrap_or(DEFAULT_KEY))?.to_owned();
                if name.starts_with(OWN_KEYS) {
                    return Err(KmsError::NotFound(name).into());
                }
                let DataKey { plain, wrapped } =
                    keys.generate_data_key(&name, &context.bytes(extra.as_deref())).await?;
                (plain, Envelope::Kms { key: name, context: extra, bucket_key, wrapped }, None)
            }
            Asked::Customer(customer) => {
                service.check_customer_keys_allowed()?;
                let random = &*service.parts.random;
                let plain = SecretKey::random(random);
                let wrapped = customer.key.wrap(random, &context.bytes(None), plain.expose());
                (plain, Envelope::Customer { wrapped }, Some(customer))
            }
        };
        let mut answer = answer_headers(&envelope, customer.as_ref());
        if let Envelope::Kms { context: Some(context), .. } = &envelope {
            insert(&mut answer, "x-amz-server-side-encryption-context", context);
        }
        let sealing = Sealing { key: data_key, hides_md5: envelope.hides_md5(), envelope: envelope.encode() };
        Ok(Some(Self { sealing, answer }))
    }

    /// For storage, and the headers of the answer.
    pub fn split(seal: Option<Self>) -> (Option<Sealing>, HeaderMap) {
        seal.map_or((None, HeaderMap::new()), |seal| (Some(seal.sealing), seal.answer))
    }
}

/// What a part is to be encrypted by: as its upload is.
pub async fn seal_part(
    service: &Service,
    headers: &HeaderMap,
    bucket: &Bucket,
    key: &ObjectKey,
    envelope: Option<Vec<u8>>,
) -> Result<(Option<Sealing>, HeaderMap)> {
    const LACKS: &str = "The multipart upload initiate requested encryption. Subsequent part requests must include the \
                         appropriate encryption parameters.";
    const OTHER: &str = "The provided encryption parameters did not match the ones used originally.";
    let customer = CustomerKey::parse(headers, Whose::Target)?;
    let Some(envelope) = envelope else {
        let wrong = customer.map(|_| Error::InvalidRequest(OTHER.to_owned()));
        return wrong.map_or(Ok((None, HeaderMap::new())), Err);
    };
    let envelope = Envelope::decode(&envelope)?;
    let opened = open(service, bucket.id, key, &envelope, customer.as_ref()).await;
    let data_key = opened.map_err(|error| match (&envelope, &customer, error) {
        (Envelope::Customer { .. }, None, _) => Error::InvalidRequest(LACKS.to_owned()),
        (Envelope::Customer { .. }, _, Error::AccessDenied) | (_, Some(_), Error::InvalidRequest(_)) => {
            Error::InvalidRequest(OTHER.to_owned())
        }
        (_, _, error) => error,
    })?;
    let sealing = Sealing { key: data_key, envelope: Vec::new(), hides_md5: envelope.hides_md5() };
    Ok((Some(sealing), answer_headers(&envelope, customer.as_ref())))
}

/// Whether an upload may be completed, which needs no key of its bytes: a customer shows his where the upload has a checksum, as in
/// S3, and wherever he shows one it is the right one.
pub async fn check_completion(
    service: &Service,
    headers: &HeaderMap,
    bucket: &Bucket,
    key: &ObjectKey,
    (envelope, algorithm): (Option<Vec<u8>>, Option<Algorithm>),
) -> Result<()> {
    let is_shown = CustomerKey::parse(headers, Whose::Target)?.is_some();
    let is_customers =
        matches!(envelope.as_deref().map(Envelope::decode).transpose()?, Some(Envelope::Customer { .. }));
    if is_shown || (is_customers && algorithm.is_some()) {
        seal_part(service, headers, bucket, key, envelope).await?;
    }
    Ok(())
}

/// What an answer says of an object that was completed.
pub fn described(headers: &HeaderMap, envelope: Option<&[u8]>) -> Result<HeaderMap> {
    let customer = CustomerKey::parse(headers, Whose::Target)?;
    let envelope = envelope.map(Envelope::decode).transpose()?;
    Ok(envelope.map_or_else(HeaderMap::new, |envelope| answer_headers(&envelope, customer.as_ref())))
}

/// An object whose bytes or metadata a request wants.
pub struct Wanted<'a> {
    bucket: BucketId,
    key: &'a ObjectKey,
    envelope: Option<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    pub fn of(named: &'a Named, info: &'a ObjectInfo) -> Self {
        Self { bucket: named.bucket.id, key: &named.key, envelope: info.envelope.as_deref() }
    }

    /// The key of the object's bytes, `None` if they are plain, and what the answer says of it. A customer's key is asked for
    /// by whatever tells something about the object.
    pub async fn open(
        &self,
        service: &Service,
        headers: &HeaderMap,
        whose: Whose,
    ) -> Result<(Option<SecretKey>, HeaderMap)> {
        let customer = CustomerKey::parse(headers, whose)?;
        let Some(envelope) = self.envelope else {
            let wrong = customer.map(|_| Error::InvalidRequest(NOT_APPLICABLE.to_owned()));
            return wrong.map_or(Ok((None, HeaderMap::new())), Err);
        };
        let envelope = Envelope::decode(envelope)?;
        let key = open(service, self.bucket, self.key, &envelope, customer.as_ref()).await?;
        Ok((Some(key), answer_headers(&envelope, customer.as_ref())))
    }

    /// The same without the bytes: only a customer has to show a key.
    pub async fn look(&self, service: &Service, headers: &HeaderMap) -> Result<HeaderMap> {
        let envelope = self.envelope.map(Envelope::decode).transpose()?;
        match envelope {
            Some(envelope @ (Envelope::S3 { .. } | Envelope::Kms { .. })) => {
                match CustomerKey::parse(headers, Whose::Target)? {
                    Some(_) => Err(Error::InvalidRequest(NOT_APPLICABLE.to_owned())),
                    None => Ok(answer_headers(&envelope, None)),
                }
            }
            Some(Envelope::Customer { .. }) | None => Ok(self.open(service, headers, Whose::Target).await?.1),
        }
    }
}

async fn open(
    service: &Service,
    bucket: BucketId,
    key: &ObjectKey,
    envelope: &Envelope,
    customer: Option<&CustomerKey>,
) -> Result<SecretKey> {
    const NEEDS_KEY: &str = "The object was stored using a form of Server Side Encryption. The correct parameters must be \
                             provided to retrieve the object.";
    let (keys, of) = (&*service.keys, Context { bucket, key });
    match (envelope, customer) {
        (Envelope::Customer { wrapped }, Some(customer)) => {
            service.check_customer_keys_allowed()?;
            customer.key.unwrap_key(&of.bytes(None), wrapped).map_err(|_| Error::AccessDenied)
        }
        (Envelope::Customer { .. }, None) => Err(Error::InvalidRequest(NEEDS_KEY.to_owned())),
        (_, Some(_)) => Err(Error::InvalidRequest(NOT_APPLICABLE.to_owned())),
        (Envelope::S3 { wrapped }, None) => Ok(keys.decrypt(SSE_S3_KEY, &of.bytes(None), wrapped).await?),
        (Envelope::Kms { key, context, wrapped, .. }, None) => {
            Ok(keys.decrypt(key, &of.bytes(context.as_deref()), wrapped).await?)
        }
    }
}

/// What an envelope is bound to: it opens nothing under another name.
struct Context<'a> {
    bucket: BucketId,
    key: &'a ObjectKey,
}

impl Context<'_> {
    fn bytes(&self, extra: Option<&str>) -> Vec<u8> {
        let key = self.key.as_str().as_bytes();
        let length = u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes();
        let extra = extra.unwrap_or("").as_bytes();
        [b"weir object 1".as_slice(), &self.bucket.0.to_be_bytes(), &length, key, extra].concat()
    }
}

fn answer_headers(envelope: &Envelope, customer: Option<&CustomerKey>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match (envelope, customer) {
        (Envelope::S3 { .. }, _) => insert(&mut headers, "x-amz-server-side-encryption", "AES256"),
        (Envelope::Kms { key, bucket_key, .. }, _) => {
            insert(&mut headers, "x-amz-server-side-encryption", "aws:kms");
            insert(&mut headers, "x-amz-server-side-encryption-aws-kms-key-id", key);
            if *bucket_key {
                insert(&mut headers, "x-amz-server-side-encryption-bucket-key-enabled", "true");
            }
        }
        (Envelope::Customer { .. }, customer) => {
            insert(&mut headers, "x-amz-server-side-encryption-customer-algorithm", "AES256");
            if let Some(customer) = customer {
                insert(&mut headers, "x-amz-server-side-encryption-customer-key-md5", &customer.md5);
            }
        }
    }
    headers
}

/// Names of keys, and Base64.
fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl From<KmsError> for Error {
    fn from(error: KmsError) -> Self {
        match error {
            // What is stored is not what its key has wrapped.
            KmsError::Forged => Self::Internal("an object's data key does not belong to its key and name"),
            other => Self::Kms(other),
        }
    }
}
