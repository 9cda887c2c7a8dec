//! One decision for every request: what it needs (`admission/action.rs`), what is known of it (`admission/scene.rs`), and
//! `authn::authorize` for each need. Where no policy is in force, ownership decides, and nothing is looked up.
//!
//! Source: "How Amazon S3 authorizes a request", Amazon S3 User Guide.

pub mod action;
pub mod explanation;
mod policies;
pub mod scene;

pub use policies::BucketPolicy;
pub use scene::{Proof, ProofKind, Scene};

use crate::access::find;
use crate::acl::{self, About, Said};
use crate::documents;
use crate::error::{Error, Result};
use crate::route::{Router, Target};
use crate::s3::named::wanted_version;
use crate::s3::put_public_access_block::PublicAccessBlock;
use crate::s3::rename_object;
use action::{Names, Need, On, Place, Rule, Source};
use authn::policy::{Context, Policy};
use authn::{By, Identity, Question, RESOURCE_POLICY, Verdict, authorize};
use cluster::iam::Account;
use cluster::{Bucket, ControlPlane};
use common::{Clock, ObjectKey, OwnerId, Stamp};
use http::HeaderMap;
use policies::Policies;
use scene::Stored;
use std::sync::Arc;

/// What was decided, and what it does not include.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    pub by: By,
    /// Whether the caller may know that a key is not there.
    pub sees_absence: bool,
    /// Whether a header that goes past governance retention counts.
    pub bypasses_governance: bool,
    /// Whether the tags of a copy's source may come along.
    pub moves_tags: bool,
}

impl Admitted {
    fn full(by: By) -> Self {
        Self { by, sees_absence: true, bypasses_governance: true, moves_tags: true }
    }

    fn bare(by: By) -> Self {
        Self { by, sees_absence: false, bypasses_governance: false, moves_tags: false }
    }
}

pub struct Admission {
    control: Arc<dyn ControlPlane>,
    clock: Arc<dyn Clock>,
    router: Router,
    policies: Policies,
}

/// A question about one right, for an explanation.
pub struct Explained<'e> {
    pub identity: &'e Identity,
    /// One of the table's.
    pub action: &'static str,
    pub bucket: &'e str,
    pub key: Option<&'e str>,
    pub version: Option<&'e str>,
    /// Condition keys with their values. What Weir knows itself wins.
    pub context: Vec<(String, Vec<String>)>,
}

/// A bucket that a request is about, with what speaks of it.
struct Ground {
    bucket: Arc<Bucket>,
    policy: Option<Arc<BucketPolicy>>,
    /// The policy is public, and only the bucket's own account may use that.
    restricts: bool,
}

impl Admission {
    pub fn new(control: Arc<dyn ControlPlane>, clock: Arc<dyn Clock>, router: Router) -> Self {
        Self { control, clock, router, policies: Policies::default() }
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Whether this request may be done. The decision is told to the scene's findings, also where it is a refusal.
    pub async fn admit(&self, scene: &Scene<'_>) -> Result<()> {
        let admitted = self.decide(scene).await?;
        scene.record(admitted);
        Ok(())
    }

    async fn decide(&self, scene: &Scene<'_>) -> Result<Admitted> {
        let rule = action::of(scene.operation).ok_or(Error::AccessDenied)?;
        let Some(name) = scene.bucket else {
            return self.decide_in_account(scene, rule, "*").await;
        };
        if rule.on == On::NewBucket {
            return self.decide_in_account(scene, rule, name).await;
        }
        let target = self.ground(find(&*self.control, name)?)?;
        self.expect_owner(&target.bucket, scene.headers, "x-amz-expected-bucket-owner")?;
        if rule.on == On::Keys {
            // The operation asks for each key.
            return Ok(Admitted::bare(By::Nothing));
        }
        let source = if rule.has_source() { source_of(rule, name, scene.headers)? } else { None };
        let other = match &source {
            Some(source) if source.bucket != name => Some(self.ground(find(&*self.control, &source.bucket)?)?),
            _ => None,
        };
        let from = other.as_ref().unwrap_or(&target);
        if source.is_some() {
            self.expect_owner(&from.bucket, scene.headers, "x-amz-source-expected-bucket-owner")?;
        }
        if let (Some(by), Some(_)) = (target.settled(scene.identity), from.settled(scene.identity)) {
            return Ok(Admitted::full(by));
        }

        let version = scene.version();
        let names = Names { bucket: name, key: scene.key, version: version.as_deref() };
        let needs = rule.needs(names, source.as_ref(), scene.headers);
        let ground = |need: &Need<'_>| if need.place == Place::Source { from } else { &target };
        let mut first = None;
        for need in &needs {
            let verdict = self.ask(scene, need, ground(need)).await?;
            if !verdict.allowed {
                scene.denies(need, &verdict.by);
                scene.record(Admitted::bare(verdict.by));
                return Err(self.refusal(scene, rule, need, ground(need)).await);
            }
            first.get_or_insert(verdict.by);
        }
        let mut admitted = Admitted::bare(first.unwrap_or(By::Nothing));
        if rule.tells_of_absence(scene.headers) {
            let (bucket, key) = source.as_ref().map_or((name, scene.key), |source| (&source.bucket, Some(&source.key)));
            admitted.sees_absence = self.sees_absence(scene, bucket, key, from).await?;
        }
        if let Some(source) = source.as_ref().filter(|_| rule.moves_tags()) {
            admitted.moves_tags = true;
            for need in action::to_move_tags(names, source) {
                admitted.moves_tags &= self.ask(scene, &need, ground(&need)).await?.allowed;
            }
        }
        if scene.headers.contains_key("x-amz-bypass-governance-retention") {
            let bypass = Need { action: "s3:BypassGovernanceRetention", ..needs[0].clone() };
            admitted.bypasses_governance = self.ask(scene, &bypass, &target).await?.allowed;
        }
        Ok(admitted)
    }

    /// What would be decided about one right of a request that has nothing beside it but the condition keys given here.
    pub async fn explain(&self, explained: Explained<'_>) -> Result<Verdict> {
        let Explained { identity, action, bucket, key, version, context } = explained;
        let ground = self.ground(find(&*self.control, bucket)?)?;
        let headers = HeaderMap::new();
        let signed = Proof { kind: ProofKind::Header, signed_ms: Some(self.now_ms()) };
        let scene = Scene {
            // A new object is nobody's yet.
            operation: if action == "s3:PutObject" { "PutObject" } else { "" },
            bucket: Some(bucket),
            key,
            headers: &headers,
            query: "",
            identity,
            proof: Some(if identity.is_anonymous() { Proof::NONE } else { signed }),
            peer: None,
            is_secure: false,
            tls_version: None,
            document: context,
            findings: None,
        };
        let need = Need { action, bucket, key, version, place: Place::Target };
        self.ask(&scene, &need, &ground).await
    }

    /// Of one key of a DeleteObjects: whether it may be deleted, and whether past governance retention.
    pub async fn may_delete(
        &self,
        scene: &Scene<'_>,
        key: &str,
        version: Option<&str>,
        has_etag: bool,
    ) -> Result<bool> {
        let name = scene.bucket.ok_or(Error::NoSuchBucket)?;
        let ground = self.ground(find(&*self.control, name)?)?;
        if ground.settled(scene.identity).is_some() {
            return Ok(true);
        }
        let action = if version.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
        let need = |action| Need { action, bucket: name, key: Some(key), version, place: Place::Target };
        for action in [Some(action), has_etag.then_some("s3:GetObject")].into_iter().flatten() {
            let verdict = self.ask(scene, &need(action), &ground).await?;
            if !verdict.allowed {
                scene.denies_key(&need(action), &verdict.by);
                return Err(Error::AccessDenied);
            }
        }
        if !scene.headers.contains_key("x-amz-bypass-governance-retention") {
            return Ok(false);
        }
        Ok(self.ask(scene, &need("s3:BypassGovernanceRetention"), &ground).await?.allowed)
    }

    /// Whether a policy that is in force for this request speaks of one of these keys, which its document holds.
    pub fn depends_on(&self, scene: &Scene<'_>, keys: &[&str]) -> Result<bool> {
        let bucket = scene.bucket.and_then(|name| find(&*self.control, name).ok());
        let policy = bucket.map(|bucket| self.policies.of(&bucket)).transpose()?.flatten();
        let policy = policy.as_ref().map(|policy| &policy.policy);
        Ok(in_force(scene.identity, policy).any(|policy| keys.iter().any(|key| policy.mentions(key))))
    }

    /// What a policy that is to be a bucket's would say to its caller about changing it again.
    pub async fn would_lock_out(&self, scene: &Scene<'_>, policy: BucketPolicy) -> Result<bool> {
        let bucket = find(&*self.control, scene.bucket.ok_or(Error::NoSuchBucket)?)?;
        let ground = Ground { policy: Some(Arc::new(policy)), restricts: false, bucket };
        let (action, name) = ("s3:PutBucketPolicy", ground.bucket.name.as_str());
        let need = Need { action, bucket: name, key: None, version: None, place: Place::Target };
        Ok(!self.ask(scene, &need, &ground).await?.allowed)
    }

    /// Whether everybody may do something with this bucket, by its policy or its list.
    pub fn is_public(&self, bucket: &Bucket) -> Result<bool> {
        Ok(self.policies.of(bucket)?.is_some_and(|policy| policy.is_public) || acl::is_public(bucket)?)
    }

    fn ground(&self, bucket: Arc<Bucket>) -> Result<Ground> {
        let policy = self.policies.of(&bucket)?;
        let restricts = match &policy {
            Some(policy) if policy.is_public => PublicAccessBlock::of(&bucket)?.restricts,
            _ => false,
        };
        Ok(Ground { bucket, policy, restricts })
    }

    /// The number of a bucket's account, or its id as lists name it.
    fn expect_owner(&self, bucket: &Bucket, headers: &HeaderMap, header: &str) -> Result<()> {
        let Some(expected) = headers.get(header) else { return Ok(()) };
        let expected = expected.to_str().unwrap_or("");
        let is_owner = expected == bucket.owner.0;
        if is_owner || self.account(&bucket.owner).is_some_and(|account| account.number == expected) {
            return Ok(());
        }
        Err(Error::AccessDenied)
    }

    fn account(&self, owner: &OwnerId) -> Option<Arc<Account>> {
        self.control.current().iam.accounts.get(owner).cloned()
    }

    /// What is about no bucket that is there.
    async fn decide_in_account(&self, scene: &Scene<'_>, rule: &Rule, name: &str) -> Result<Admitted> {
        let is_allowed = |action: &'static str, resource: &str, context: &Context| {
            authorize(&Question {
                identity: scene.identity,
                action,
                resource,
                context,
                owner: None,
                bucket_policy: None,
                restrict_public: false,
                acl_grants: false,
            })
        };
        let names = Names { bucket: name, key: None, version: None };
        let mut first = None;
        for need in rule.needs(names, None, scene.headers) {
            let stored = Stored { now_ms: self.now_ms(), account: None, tags: &[] };
            let context = scene.context(in_force(scene.identity, None).flat_map(Policy::keys), &need, stored);
            let verdict = is_allowed(need.action, &need.resource(), &context);
            if !verdict.allowed {
                scene.denies(&need, &verdict.by);
                scene.record(Admitted::bare(verdict.by));
                return Err(Error::AccessDenied);
            }
            first.get_or_insert(verdict.by);
        }
        Ok(Admitted::full(first.unwrap_or(By::Nothing)))
    }

    /// One need of a request, with all that speaks of it.
    async fn ask(&self, scene: &Scene<'_>, need: &Need<'_>, ground: &Ground) -> Result<Verdict> {
        let policy = ground.policy.as_ref().map(|policy| &policy.policy);
        let in_force = || in_force(scene.identity, policy);
        let tags = match in_force().any(|policy| policy.mentions("s3:ExistingObjectTag/")) {
            true => self.tags(scene, need, ground).await?,
            false => Vec::new(),
        };
        let said = self.said(scene, need, ground).await?;
        let account = self.account(&ground.bucket.owner);
        let account = account.as_ref().map(|account| account.number.as_str());
        let stored = Stored { now_ms: self.now_ms(), account, tags: &tags };
        let context = scene.context(in_force().flat_map(Policy::keys), need, stored);
        let resource = need.resource();
        let mut question = Question {
            identity: scene.identity,
            action: need.action,
            resource: &resource,
            context: &context,
            owner: Some(&said.owner),
            bucket_policy: policy,
            restrict_public: ground.restricts,
            acl_grants: said.grants,
        };
        let verdict = authorize(&question);
        // Of an object of another account the bucket's policy may refuse something, and not allow it.
        let by_bucket = matches!(&verdict.by, By::Statement { policy, .. } if policy == RESOURCE_POLICY);
        if verdict.allowed && by_bucket && said.owner != ground.bucket.owner {
            question.bucket_policy = None;
            return Ok(authorize(&question));
        }
        Ok(verdict)
    }

    /// What the lists say: whose it is, and whether they grant it.
    async fn said(&self, scene: &Scene<'_>, need: &Need<'_>, ground: &Ground) -> Result<Said> {
        let key = need.key.and_then(|key| ObjectKey::parse(key).ok());
        let makes = need.place == Place::Target && need.action != "s3:GetObject";
        let about = match &key {
            // A key that is none is refused by the operation.
            None => About::Bucket,
            Some(_) if makes && action::of(scene.operation).is_some_and(Rule::makes_object) => About::NewObject,
            Some(key) => About::Object(key, wanted_version(need.version)?),
        };
        let said = acl::ask(&self.router, &ground.bucket, about, need.action, scene.identity).await?;
        said.seen.map_or(Ok(()), |seen| see(scene, need, seen))?;
        Ok(said)
    }

    /// The tags of the object that a right is about. What is not there has none.
    async fn tags(&self, scene: &Scene<'_>, need: &Need<'_>, ground: &Ground) -> Result<Vec<(String, String)>> {
        let Some(key) = need.key.and_then(|key| ObjectKey::parse(key).ok()) else { return Ok(Vec::new()) };
        let Target::Here(target) = self.router.owner_of(ground.bucket.id, &key);
        match target.head(ground.bucket.id, &key, wanted_version(need.version)?).await {
            Ok(info) => {
                see(scene, need, info.stamp)?;
                Ok(info.attributes.tags)
            }
            Err(error) if is_absence(&error) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the caller may list the bucket, and so know what is not in it.
    async fn sees_absence(&self, scene: &Scene<'_>, bucket: &str, key: Option<&str>, ground: &Ground) -> Result<bool> {
        let need = Need { action: "s3:ListBucket", bucket, key: None, version: None, place: Place::Target };
        let prefix = key.map(|key| ("s3:prefix".to_owned(), vec![key.to_owned()]));
        let listing = Scene { query: "", document: prefix.into_iter().collect(), findings: None, ..*scene };
        Ok(self.ask(&listing, &need, ground).await?.allowed)
    }

    /// A key that is not there is 404 also for who may not read it, if the caller may list the bucket.
    async fn refusal(&self, scene: &Scene<'_>, rule: &Rule, need: &Need<'_>, ground: &Ground) -> Error {
        let reads = matches!(rule.operation, "GetObject" | "HeadObject") && need.version.is_none();
        let Some(key) = need.key.filter(|_| reads).and_then(|key| ObjectKey::parse(key).ok()) else {
            return Error::AccessDenied;
        };
        if !matches!(self.sees_absence(scene, need.bucket, need.key, ground).await, Ok(true)) {
            return Error::AccessDenied;
        }
        let Target::Here(target) = self.router.owner_of(ground.bucket.id, &key);
        match target.head(ground.bucket.id, &key, None).await {
            Err(storage::Error::NoSuchKey) => storage::Error::NoSuchKey.into(),
            _ => Error::AccessDenied,
        }
    }
}

impl Ground {
    /// Where no policy is in force, it does not matter what the request says: ownership decides. Where lists count, the
    /// objects of a bucket may be other accounts'.
    fn settled(&self, identity: &Identity) -> Option<By> {
        let has_lists = documents::ownership(&self.bucket).has_lists() && !identity.is_admin();
        if self.policy.is_some() || has_lists || has_policies(identity) {
            return None;
        }
        let verdict = authorize(&Question {
            identity,
            action: "s3:*",
            resource: "arn:aws:s3:::*",
            context: &Context::default(),
            owner: Some(&self.bucket.owner),
            bucket_policy: None,
            restrict_public: false,
            acl_grants: false,
        });
        verdict.allowed.then_some(verdict.by)
    }
}

/// Remembers which record was decided about, where the operation goes on to this one object: of a copy that is the source. One
/// that was replaced between two looks is decided about anew.
fn see(scene: &Scene<'_>, need: &Need<'_>, seen: Stamp) -> Result<()> {
    let reads = |rule: &Rule| rule.on == On::Object && (need.place == Place::Source || !rule.has_source());
    let is_read = action::of(scene.operation).is_some_and(reads);
    let Some(findings) = scene.findings.as_ref().filter(|_| is_read) else { return Ok(()) };
    if *findings.seen.get_or_init(|| seen) == seen { Ok(()) } else { Err(storage::Error::Busy.into()) }
}

fn has_policies(identity: &Identity) -> bool {
    in_force(identity, None).next().is_some()
}

/// Every policy that has a say.
fn in_force<'i>(identity: &'i Identity, of_bucket: Option<&'i Policy>) -> impl Iterator<Item = &'i Policy> {
    let standing = identity.caller().map(|caller| &caller.standing);
    let named = standing.into_iter().flat_map(|standing| {
        standing.identity.iter().chain(&standing.boundary).chain(&standing.session).map(|(_, policy)| &**policy)
    });
    named.chain(of_bucket)
}

/// A rename without a source is refused by its operation.
fn source_of(rule: &Rule, bucket: &str, headers: &HeaderMap) -> Result<Option<Source>> {
    if rule.operation == "RenameObject" {
        let key = rename_object::source_key(headers, bucket);
        return Ok(key.map(|key| Source { bucket: bucket.to_owned(), key, version: None }));
    }
    Source::of_copy(headers).map(Some)
}

/// The errors that say that a key or a version is not there.
pub fn is_absence(error: &storage::Error) -> bool {
    use storage::Error as E;
    matches!(error, E::NoSuchKey | E::NoSuchVersion | E::IsDeleteMarker { .. })
}
