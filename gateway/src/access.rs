//! s3s's two questions: the secret of an access key, for the signature, and whether an operation may be done. Who sent a
//! request is found out here; what that allows is decided in `admission.rs`.

use crate::admission::{Admission, Admitted, Scene, scene};
use crate::audit;
use crate::audit::Trail;
use crate::concurrency::{Concurrency, Stay, Work};
use crate::directory;
use crate::error::{Error, Result};
use crate::lenient::Verified;
use crate::own_line::Shares;
use crate::peer::Peer;
use crate::rates::{self, Arrival, Asker, Rates, Shape, Taken, Throttle, Verb};
use crate::s3::{dates, rename_object};
use crate::sessions::{self, Sessions};
use authn::policy::Context;
use authn::{Identity, Question, Verdict, authorize};
use cluster::{Bucket, ControlPlane};
use common::{BucketName, OwnerId, Random, Stamp};
use http::{Extensions, HeaderMap, HeaderValue};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3Request, S3Result, dto};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Whether the identity may do this, where no policy but its own speaks: the one decision, made by `authn`.
pub fn verdict(identity: &Identity, action: &str, owner: Option<&OwnerId>) -> Verdict {
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
}

/// The name of the operation that a request turned out to be, for the line in the log.
#[derive(Clone, Default)]
pub struct OperationName(pub Arc<OnceLock<String>>);

/// What was found out about a request, for its operation, the access log and the audit: in the request's extensions.
#[derive(Clone, Default)]
pub struct Requester(pub Arc<Findings>);

#[derive(Debug, Default)]
pub struct Findings {
    /// The owner id of the key that signed.
    pub owner: OnceLock<String>,
    pub admitted: OnceLock<Admitted>,
    /// As the rules of its address have it.
    pub arrival: OnceLock<Arrival>,
    /// What it has taken from the rules of rates.
    taken: Mutex<Taken>,
    /// Which rule of rates refused it.
    pub throttled: OnceLock<Throttle>,
    /// How fast its bodies pass, where a rule says so.
    pub shape: OnceLock<Shape>,
    /// The record of the object whose access control list was asked.
    pub seen: OnceLock<Stamp>,
    /// For the audit log.
    pub trail: Trail,
    /// Its place at the target.
    pub stay: Stay,
}

impl Findings {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_back(&self) -> Taken {
        std::mem::take(&mut *self.taken())
    }
}

/// The object that is read or changed must be the one whose list was asked: another one by now may be for others. A client
/// that is told to come again meets the new list.
pub fn check_seen(extensions: &Extensions, stamp: Stamp) -> Result<()> {
    if seen(extensions).is_none_or(|seen| seen == stamp) { Ok(()) } else { Err(storage::Error::Busy.into()) }
}

/// The record whose list was asked, if one was.
pub fn seen(extensions: &Extensions) -> Option<Stamp> {
    extensions.get::<Requester>().and_then(|requester| requester.0.seen.get()).copied()
}

/// What was decided about a request that has these extensions. Where nothing was, nothing was allowed.
pub fn admitted(extensions: &Extensions) -> Option<&Admitted> {
    extensions.get::<Requester>().and_then(|requester| requester.0.admitted.get())
}

/// The key whose signature was verified before s3s, which sees none then.
pub fn verified_key(extensions: &Extensions) -> Option<&str> {
    extensions.get::<Verified>().map(|verified| verified.0.as_str())
}

#[derive(Clone)]
pub struct Access {
    control: Arc<dyn ControlPlane>,
    sessions: Sessions,
    admission: Arc<Admission>,
    rates: Arc<Rates>,
    /// Places at the target, where their number is limited.
    concurrency: Option<Shares<Concurrency>>,
    region: HeaderValue,
    /// What signatures of unknown keys are compared with: nobody has it.
    no_ones_secret: SecretKey,
}

impl Access {
    pub fn new(
        control: Arc<dyn ControlPlane>,
        sessions: Sessions,
        admission: Arc<Admission>,
        rates: Arc<Rates>,
        concurrency: Option<Arc<Concurrency>>,
        random: &dyn Random,
        region: &str,
    ) -> Result<Self> {
        let region = HeaderValue::from_str(region);
        let region = region.map_err(|_| Error::InvalidArgument("the region is not a header's value".to_owned()))?;
        let mut secret = [0; 32];
        random.fill(&mut secret);
        Ok(Self {
            control,
            sessions,
            admission,
            rates,
            concurrency: concurrency.as_ref().map(Shares::of),
            region,
            no_ones_secret: SecretKey::from(hex::encode(secret)),
        })
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

    /// Whether the rules of rates let a request of somebody who is known through, which costs so much in all. What it takes and
    /// what shapes its bodies is told to its findings.
    pub fn admit_rate(
        &self,
        (verb, cost): (Verb, u32),
        bucket: Option<&str>,
        identity: &Identity,
        (headers, extensions): (&HeaderMap, &Extensions),
    ) -> Result<()> {
        if !self.rates.asks_by_identity() {
            return Ok(());
        }
        let address = extensions.get::<Peer>().map(|peer| peer.address);
        let asker = Asker { identity, address, bucket, verb, headers: Some(headers) };
        let requester = extensions.get::<Requester>();
        let before = requester.map(|requester| requester.0.take_back()).unwrap_or_default();
        match self.rates.admits(&asker, cost, before) {
            Ok((taken, shape)) => {
                if let Some(requester) = requester {
                    *requester.0.taken() = taken;
                    if let Some(shape) = shape {
                        let _ = requester.0.shape.set(shape);
                    }
                }
                Ok(())
            }
            Err(throttle) => {
                audit::reason(extensions, throttle.reason());
                if let Some(requester) = requester {
                    let _ = requester.0.throttled.set(throttle.clone());
                }
                Err(Error::Throttled(throttle))
            }
        }
    }

    /// Who sent it, before anything is decided: told to its findings too. `signed` is the key whose signature s3s verified.
    pub fn identify(&self, signed: Option<&str>, extensions: &mut Extensions) -> Result<Identity> {
        let key = signed.or_else(|| verified_key(extensions));
        let identity = key.map_or(Ok(Identity::Anonymous), |key| identity(&*self.control, key))?;
        if let (Some(requester), Some(owner)) = (extensions.get::<Requester>(), identity.owner()) {
            let _ = requester.0.owner.set(owner.0.clone());
        }
        audit::identified(extensions, &identity);
        extensions.insert(identity.clone());
        Ok(identity)
    }

    /// Waits for a place at the target, which the request has from here on. Before any policy is asked: that reads, too. Who gets
    /// none has not asked for anything, and gets back what the rules of rates took.
    pub async fn enter(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
        identity: &Identity,
        operation: &str,
    ) -> Result<()> {
        let (Some(concurrency), Some(requester)) = (&self.concurrency, extensions.get::<Requester>()) else {
            return Ok(());
        };
        let concurrency = concurrency.here();
        let key = concurrency.key(identity, extensions.get::<Peer>().map(|peer| peer.address));
        let work = Work::of(operation, || declared_bytes(operation, headers));
        let permit = Concurrency::acquire(concurrency, key, work).await.inspect_err(|refused| {
            self.rates.give_back(requester.0.take_back());
            let _ = requester.0.throttled.set(Throttle::from(*refused));
        })?;
        requester.0.stay.begin(permit);
        Ok(())
    }

    async fn decide(&self, context: &mut S3AccessContext<'_>, operation: &str) -> Result<()> {
        let signed = context.credentials().map(|signed| signed.access_key.clone());
        let identity = self.identify(signed.as_deref(), context.extensions_mut())?;
        // The scene is of what was parsed, and the extensions can only be had from all of the context at once.
        let extensions = std::mem::take(context.extensions_mut());
        let decided = {
            let path = context.s3_path();
            let place = (path.get_bucket_name(), path.get_object_key());
            let scene = Scene::new(operation, place, context.headers(), context.uri(), &extensions, &identity);
            let price = (Verb::of(operation), rates::cost(operation));
            let limited = self.admit_rate(price, place.0, &identity, (context.headers(), &extensions));
            let limited = match limited {
                Ok(()) => self.enter(&extensions, context.headers(), &identity, operation).await,
                refused => refused,
            };
            match limited
                .and_then(|()| waits_for(operation).map_or(Ok(false), |keys| self.admission.depends_on(&scene, keys)))
            {
                Ok(true) => Ok(()),
                Ok(false) => self.admission.admit(&scene).await,
                Err(error) => Err(error),
            }
        };
        *context.extensions_mut() = extensions;
        decided
    }

    /// Decides what waited for the request's document. `document` has the condition keys that are in it.
    async fn decide_with<I>(
        &self,
        request: &S3Request<I>,
        operation: &str,
        place: (&str, Option<&str>),
        document: Vec<(String, Vec<String>)>,
    ) -> Result<()> {
        let identity = request.extensions.get::<Identity>().ok_or(Error::AccessDenied)?;
        let place = (Some(place.0), place.1);
        let mut scene = Scene::new(operation, place, &request.headers, &request.uri, &request.extensions, identity);
        if scene.findings.as_ref().is_some_and(|findings| findings.admitted.get().is_some()) {
            return Ok(());
        }
        scene.document = document;
        self.admission.admit(&scene).await
    }
}

/// How long a request says that its body is. Only framing makes the other header true, and a form has none: its price would be
/// what it likes.
fn declared_bytes(operation: &str, headers: &HeaderMap) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_framed =
        operation != "PostObject" && text("x-amz-content-sha256").is_some_and(|hash| hash.starts_with("STREAMING-"));
    let decoded = is_framed.then(|| text("x-amz-decoded-content-length")).flatten();
    let bytes = |text: &str| text.parse().ok();
    decoded.and_then(bytes).or_else(|| text("content-length").and_then(bytes))
}

/// Condition keys that are in an operation's document: where a policy speaks of one, the decision waits until it is read.
fn waits_for(operation: &str) -> Option<&'static [&'static str]> {
    Some(match operation {
        "PutObjectTagging" => &["s3:RequestObjectTag/", "s3:RequestObjectTagKeys"],
        "PutObjectRetention" => {
            &["s3:object-lock-mode", "s3:object-lock-retain-until-date", "s3:object-lock-remaining-retention-days"]
        }
        "PutObjectLegalHold" => &["s3:object-lock-legal-hold"],
        "CreateBucket" => &["s3:LocationConstraint"],
        _ => return None,
    })
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
        // To s3s a rename is a PutObject.
        let renames = operation == "PutObject" && rename_object::is_asked_for(context.uri());
        let decided = if renames { "RenameObject" } else { &operation };
        if let Some(name) = context.extensions_mut().get::<OperationName>() {
            let _ = name.0.set(operation.clone());
        }
        if operation == "PostObject" {
            // Forms do not go through s3s, which would ask about the bucket and never about the key.
            return Err(Error::AccessDenied.into());
        }
        self.decide(context, decided).await.map_err(|error| {
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

    /// How many keys it names is known when its document is read.
    async fn delete_objects(&self, request: &mut S3Request<dto::DeleteObjectsInput>) -> S3Result<()> {
        let cost = rates::cost_of_keys(request.input.delete.objects.len());
        if cost == rates::cost("DeleteObjects") {
            return Ok(());
        }
        let identity = request.extensions.get::<Identity>().ok_or(Error::AccessDenied)?;
        let asked = (&request.headers, &request.extensions);
        Ok(self.admit_rate((Verb::Delete, cost), Some(&request.input.bucket), identity, asked)?)
    }

    async fn put_object_tagging(&self, request: &mut S3Request<dto::PutObjectTaggingInput>) -> S3Result<()> {
        let input = &request.input;
        let tags = input.tagging.tag_set.iter();
        let tags: Vec<_> = tags.filter_map(|tag| tag.key.clone().zip(tag.value.clone())).collect();
        let place = (input.bucket.as_str(), Some(input.key.as_str()));
        Ok(self.decide_with(request, "PutObjectTagging", place, scene::of_tags(&tags)).await?)
    }

    async fn put_object_retention(&self, request: &mut S3Request<dto::PutObjectRetentionInput>) -> S3Result<()> {
        let input = &request.input;
        let mut document = Vec::new();
        if let Some(retention) = &input.retention {
            let until = retention.retain_until_date.as_ref().map(dates::iso_date);
            let days = until.as_deref().and_then(|until| scene::remaining_days(until, self.admission.now_ms()));
            let mode = retention.mode.as_ref().map(|mode| mode.as_str().to_owned());
            let keys = ["mode", "retain-until-date", "remaining-retention-days"];
            let values = [mode, until, days.map(|days| days.to_string())];
            for (key, value) in keys.into_iter().zip(values) {
                document.extend(value.map(|value| (format!("s3:object-lock-{key}"), vec![value])));
            }
        }
        let place = (input.bucket.as_str(), Some(input.key.as_str()));
        Ok(self.decide_with(request, "PutObjectRetention", place, document).await?)
    }

    async fn put_object_legal_hold(&self, request: &mut S3Request<dto::PutObjectLegalHoldInput>) -> S3Result<()> {
        let input = &request.input;
        let status = input.legal_hold.as_ref().and_then(|hold| hold.status.as_ref());
        let key = |status: &dto::ObjectLockLegalHoldStatus| {
            ("s3:object-lock-legal-hold".to_owned(), vec![status.as_str().to_owned()])
        };
        let document = status.map(key).into_iter().collect();
        let place = (input.bucket.as_str(), Some(input.key.as_str()));
        Ok(self.decide_with(request, "PutObjectLegalHold", place, document).await?)
    }

    async fn create_bucket(&self, request: &mut S3Request<dto::CreateBucketInput>) -> S3Result<()> {
        let configuration = request.input.create_bucket_configuration.as_ref();
        let constraint = configuration.and_then(|configuration| configuration.location_constraint.as_ref());
        let key = |constraint: &dto::BucketLocationConstraint| {
            ("s3:LocationConstraint".to_owned(), vec![constraint.as_str().to_owned()])
        };
        let document = constraint.map(key).into_iter().collect();
        Ok(self.decide_with(request, "CreateBucket", (&request.input.bucket, None), document).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_framing_says_another_length_than_http() {
        let declared = |operation: &str, pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
            declared_bytes(operation, &pairs.collect())
        };
        let (decoded, length) = (("x-amz-decoded-content-length", "1"), ("content-length", "5000"));
        let framed = ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        assert_eq!(declared("PutObject", &[decoded, length, framed]), Some(1));
        assert_eq!(declared("PutObject", &[decoded, length]), Some(5000), "nothing takes that header away here");
        assert_eq!(declared("PostObject", &[decoded, length]), Some(5000));
        assert_eq!(declared("PostObject", &[decoded, length, framed]), Some(5000));
        assert_eq!(declared("PostObject", &[decoded]), None);
        assert_eq!(declared("PutObject", &[framed, length]), Some(5000));
    }
}
