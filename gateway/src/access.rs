//! Who may do what: the secret of an access key for the signature, and one decision for every operation.

use crate::directory;
use crate::error::{Error, Result};
use crate::lenient::Verified;
use crate::sessions::{self, Sessions};
use authn::policy::Context;
use authn::{Identity, Question, authorize};
use cluster::{Bucket, ControlPlane};
use common::{BucketName, OwnerId, Random};
use http::{HeaderMap, HeaderValue};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3Result};
use std::sync::{Arc, OnceLock};

/// Whether the identity may do this, where no policy but its own speaks: the one decision, made by `authn`.
pub fn allowed(identity: &Identity, action: &str, owner: Option<&OwnerId>) -> bool {
    authorize(&Question {
        identity,
        action,
        resource: "arn:aws:s3:::*",
        context: &Context::default(),
        owner,
        bucket_policy: None,
        restrict_public: false,
        acl_grants: false,
    })
    .allowed
}

/// The name of the operation that a request turned out to be, for the line in the log.
#[derive(Clone, Default)]
pub struct OperationName(pub Arc<OnceLock<String>>);

/// The owner id of the key that signed a request, for the access log.
#[derive(Clone, Default)]
pub struct Requester(pub Arc<OnceLock<String>>);

#[derive(Clone)]
pub struct Access {
    control: Arc<dyn ControlPlane>,
    sessions: Sessions,
    region: HeaderValue,
    /// What signatures of unknown keys are compared with: nobody has it.
    no_ones_secret: SecretKey,
}

impl Access {
    pub fn new(control: Arc<dyn ControlPlane>, sessions: Sessions, random: &dyn Random, region: &str) -> Result<Self> {
        let region = HeaderValue::from_str(region);
        let region = region.map_err(|_| Error::InvalidArgument("the region is not a header's value".to_owned()))?;
        let mut secret = [0; 32];
        random.fill(&mut secret);
        Ok(Self { control, sessions, region, no_ones_secret: SecretKey::from(hex::encode(secret)) })
    }

    /// What signatures with this key are made with. A key that nobody has is not refused here: that would be quicker than a
    /// wrong signature (`guard/answer.rs` has the reasons).
    pub fn secret(&self, access_key: &str) -> String {
        if let Some(session) = sessions::current(access_key) {
            return session.secret().to_owned();
        }
        let state = self.control.current();
        let known = directory::active_key(&state, access_key);
        known.map_or_else(|| self.no_ones_secret.expose().to_owned(), |key| key.secret.clone())
    }

    pub fn knows(&self, access_key: &str) -> bool {
        sessions::current(access_key).is_some() || directory::active_key(&self.control.current(), access_key).is_some()
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// A bucket by its name, for who may not know of it too: only to answer a request that names it.
    pub fn bucket(&self, name: &str) -> Option<Arc<Bucket>> {
        find(&*self.control, name).ok()
    }

    fn decide(&self, context: &mut S3AccessContext<'_>) -> Result<()> {
        let key = match context.credentials() {
            Some(signed) => Some(signed.access_key.clone()),
            None => context.extensions_mut().get::<Verified>().map(|verified| verified.0.clone()),
        };
        let identity = key.map_or(Ok(Identity::Anonymous), |key| identity(&*self.control, &key))?;
        let creates = context.s3_op().name() == "CreateBucket";
        let bucket = context.s3_path().get_bucket_name().map(str::to_owned);
        let expected_owner = expected_owner(context.headers(), "x-amz-expected-bucket-owner");
        if let (Some(requester), Some(owner)) = (context.extensions_mut().get::<Requester>(), identity.owner()) {
            let _ = requester.0.set(owner.0.clone());
        }
        context.extensions_mut().insert(identity.clone());
        let bucket = match bucket {
            Some(bucket) if !creates => bucket,
            // ListBuckets shows what is the caller's; a new bucket becomes the caller's.
            bucket => {
                let action = if bucket.is_some() { "s3:CreateBucket" } else { "s3:ListAllMyBuckets" };
                return if allowed(&identity, action, None) { Ok(()) } else { Err(Error::AccessDenied) };
            }
        };
        let bucket = find(&*self.control, &bucket)?;
        check(&identity, &bucket, expected_owner.as_deref())
    }
}

/// The holder of an access key.
pub fn identity(control: &dyn ControlPlane, access_key: &str) -> Result<Identity> {
    if let Some(session) = sessions::current(access_key) {
        return session.caller().map(Identity::Known);
    }
    directory::caller(&control.current(), access_key).map(Identity::Known)
}

/// Looks a bucket up in the state that this node has.
pub fn find(control: &dyn ControlPlane, name: &str) -> Result<Arc<Bucket>> {
    let name = BucketName::parse(name)?;
    control.current().buckets.get(&name).cloned().ok_or(Error::NoSuchBucket)
}

/// Whether the caller may use this bucket, and whether it belongs to whom the caller believes.
pub fn check(identity: &Identity, bucket: &Bucket, expected_owner: Option<&str>) -> Result<()> {
    let as_expected = expected_owner.is_none_or(|owner| owner == bucket.owner.0);
    if allowed(identity, "s3:*", Some(&bucket.owner)) && as_expected { Ok(()) } else { Err(Error::AccessDenied) }
}

/// A header that cannot be read names nobody.
pub fn expected_owner(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap_or("").to_owned())
}

#[async_trait::async_trait]
impl S3Auth for Access {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        Ok(SecretKey::from(self.secret(access_key)))
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name().to_owned();
        if let Some(name) = context.extensions_mut().get::<OperationName>() {
            let _ = name.0.set(operation.clone());
        }
        self.decide(context).map_err(|error| {
            let mut answer = S3Error::from(error);
            if operation == "HeadBucket" {
                // SDKs find a bucket's region in this answer, whatever its status.
                let mut headers = answer.headers().cloned().unwrap_or_default();
                headers.insert("x-amz-bucket-region", self.region.clone());
                answer.set_headers(headers);
            }
            answer
        })
    }
}
