//! Sessions: given out as sealed tokens, which any gateway opens without having seen them (`authn/src/session.rs`). What its role,
//! user or account is allowed, and whether they are there still, is as of the state that a request meets: what was opened is
//! kept for the next request with the same token, as long as nothing has changed that it depends on.
//!
//! The keys that seal tokens are named keys of the key service, `weir/sessions/N`. The newest one seals. One that has a
//! successor opens until the longest session has ended that it can have sealed.

use crate::directory;
use crate::error::{Error, Result};
use crate::kms::NamedKeys;
use crate::limits::SESSIONS_KEPT_MAX;
use authn::identity::{Caller, Kind, Session, SessionOf, Standing};
use authn::policy::{Policy, Purpose};
use authn::session::{self, Grant, GrantedTo, Opened, TokenError, sealing_key_name, sealing_key_number};
use authn::web_identity;
use cluster::iam::Iam;
use cluster::{AccessKey, ControlPlane, KmsKey, State};
use common::{AccessKeyId, Clock, Random, SecretKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// No session is longer: 12 hours, as in AWS.
pub const SESSION_SECONDS_MAX: u64 = 43_200;

/// A sealing key gets a successor when it is so old: 30 days.
const SEALING_KEY_MS_MAX: u64 = 30 * 24 * 3_600_000;

tokio::task_local! {
    /// The session of the request that this task answers.
    static CURRENT: Option<Arc<Current>>;
}

/// A session whose token came with a request. Only the signature can prove that it is the caller's.
#[derive(Debug)]
pub struct Current {
    opened: Opened,
    caller: Result<Arc<Caller>, Void>,
}

impl Current {
    pub fn secret(&self) -> &str {
        self.opened.secret.expose()
    }

    /// As it was when the request came.
    pub fn caller(&self) -> Result<Arc<Caller>> {
        self.caller.clone().map_err(Error::from)
    }

    /// As it is now, for what takes longer than a request.
    pub fn caller_now(&self, state: &State, now_ms: u64) -> Result<Arc<Caller>> {
        if now_ms >= self.opened.grant.expires_ms {
            return Err(Error::ExpiredToken);
        }
        Ok(Arc::new(caller(state, &self.opened)?))
    }
}

/// Why a session that opened is not good any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Void {
    /// It began before its role, user, account or issuer said that sessions begin.
    Revoked,
    /// Its role, user or account is gone, or a policy that limits it.
    Gone,
}

impl From<Void> for Error {
    fn from(void: Void) -> Self {
        match void {
            // AWS revokes by a policy that denies what is done with older sessions.
            Void::Revoked | Void::Gone => Self::AccessDenied,
        }
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Foreign => Self::InvalidToken,
            TokenError::Expired => Self::ExpiredToken,
            TokenError::TooLarge(bytes) => Self::PackedPolicyTooLarge { bytes },
        }
    }
}

/// The session of the request that is being answered, if it has signed with this access key.
pub fn current(access_key: &str) -> Option<Arc<Current>> {
    let current = CURRENT.try_with(Clone::clone).ok().flatten();
    current.filter(|current| current.opened.access_key.0 == access_key)
}

/// Answers a request with its session at hand.
pub async fn within<T>(session: Option<Arc<Current>>, answer: impl Future<Output = T>) -> T {
    CURRENT.scope(session, answer).await
}

#[derive(Clone)]
pub struct Sessions {
    control: Arc<dyn ControlPlane>,
    keys: Arc<NamedKeys>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    kept: Arc<Mutex<Kept>>,
}

/// What was opened in one state, by access key, with the token that it was.
#[derive(Default)]
struct Kept {
    keys: Arc<BTreeMap<AccessKeyId, Arc<AccessKey>>>,
    kms: Arc<BTreeMap<String, Arc<KmsKey>>>,
    iam: Iam,
    opened: HashMap<String, (String, Arc<Current>)>,
}

impl Kept {
    /// Forgets everything if the state is another one in what sessions depend on. Maps are never changed while they are held.
    fn follow(&mut self, state: &State) {
        let same = Arc::ptr_eq(&self.keys, &state.keys)
            && Arc::ptr_eq(&self.kms, &state.kms)
            && self.iam.is_the_same(&state.iam);
        if !same {
            let (keys, kms, iam) = (state.keys.clone(), state.kms.clone(), state.iam.clone());
            *self = Self { keys, kms, iam, opened: HashMap::new() };
        }
    }
}

impl Sessions {
    pub fn new(
        control: Arc<dyn ControlPlane>,
        keys: Arc<NamedKeys>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self { control, keys, clock, random, kept: Arc::default() }
    }

    /// The session that an access key's token is. A token with an access key that has none is nobody's.
    pub fn open(&self, access_key: Option<&str>, token: &str) -> Result<Arc<Current>> {
        let access_key = access_key.filter(|id| session::is_session_id(id)).ok_or(Error::InvalidToken)?;
        let (state, now_ms) = (self.control.current(), self.clock.now_ms());
        let number = session::key_number(token)?;
        if let Some(current) = self.kept(&state, access_key, token, (number, now_ms)) {
            return Ok(current);
        }
        let key = self.sealing_key(&state, number, now_ms).ok_or(Error::InvalidToken)?;
        let opened = session::open(&key, access_key, token, now_ms)?;
        let caller = caller(&state, &opened).map(Arc::new);
        let current = Arc::new(Current { opened, caller });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.follow(&state);
        if kept.opened.len() >= SESSIONS_KEPT_MAX {
            kept.opened.clear();
        }
        kept.opened.insert(access_key.to_owned(), (token.to_owned(), current.clone()));
        Ok(current)
    }

    /// What this very token was when it was opened in the same state, if it has not ended since.
    fn kept(&self, state: &State, access_key: &str, token: &str, (number, now_ms): (u32, u64)) -> Option<Arc<Current>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.follow(state);
        let (known, current) = kept.opened.get(access_key)?;
        let is_good = known == token && now_ms < current.opened.grant.expires_ms && !is_over(state, number, now_ms);
        is_good.then(|| current.clone())
    }

    /// What the token of an access key is, for an explanation: opened also where it has ended, with whether it is good.
    pub fn explain(&self, access_key: &str, token: &str) -> Result<Explained> {
        let (state, now_ms) = (self.control.current(), self.clock.now_ms());
        let access_key = Some(access_key).filter(|id| session::is_session_id(id)).ok_or(Error::InvalidToken)?;
        let key = self.sealing_key(&state, session::key_number(token)?, now_ms).ok_or(Error::InvalidToken)?;
        // As at its beginning, when no token has ended.
        let opened = session::open(&key, access_key, token, 0)?;
        let (caller, void) = match caller(&state, &opened) {
            Ok(caller) => (Some(caller.arn()), None),
            Err(Void::Revoked) => (None, Some("revoked")),
            Err(Void::Gone) => (None, Some("gone")),
        };
        let ended = (now_ms >= opened.grant.expires_ms).then_some("expired");
        Ok(Explained { caller, wrong: void.or(ended), grant: opened.grant })
    }

    /// Gives a session out: its access key and secret, and its token.
    pub async fn give(&self, grant: Grant) -> Result<Given> {
        let state = self.control.current();
        let number = match newest(&state) {
            Some((number, created_ms)) if grant.issued_ms.saturating_sub(created_ms) < SEALING_KEY_MS_MAX => number,
            _ => self.rotate().await?,
        };
        let state = self.control.read().await?;
        let key = self.sealing_key(&state, number, grant.issued_ms);
        let key = key.ok_or(Error::Internal("the newest sealing key cannot be opened"))?;
        let (opened, token) = session::seal((number, &key), &*self.random, grant)?;
        Ok(Given { opened, token })
    }

    /// Makes the next sealing key, and gives its number.
    pub async fn rotate(&self) -> Result<u32> {
        let state = self.control.read().await?;
        let number = newest(&state).map_or(1, |(number, _)| number.saturating_add(1));
        match self.keys.create(&sealing_key_name(number)).await {
            // Somebody else did it at the same time.
            Ok(()) | Err(cluster::Error::KmsKeyExists(_)) => Ok(number),
            Err(error) => Err(error.into()),
        }
    }

    fn sealing_key(&self, state: &State, number: u32, now_ms: u64) -> Option<SecretKey> {
        let sealed = state.kms.get(&sealing_key_name(number))?.versions.first()?;
        session::sealing_key(self.keys.root(), number, sealed).ok().filter(|_| !is_over(state, number, now_ms))
    }
}

/// Whether all sessions have ended that this sealing key can have sealed.
fn is_over(state: &State, number: u32, now_ms: u64) -> bool {
    // There is no number behind the last one: no key of it is good.
    let Some(next) = number.checked_add(1) else { return true };
    let successor = state.kms.get(&sealing_key_name(next));
    successor.is_some_and(|next| now_ms >= next.created_ms.saturating_add(SESSION_SECONDS_MAX * 1000))
}

/// A session without its secret.
pub struct Explained {
    /// The ARN of who it is, unless it is void.
    pub caller: Option<String>,
    /// `revoked`, `gone` or `expired`.
    pub wrong: Option<&'static str>,
    pub grant: Grant,
}

/// The number of the newest sealing key, and when it was made.
fn newest(state: &State) -> Option<(u32, u64)> {
    state.kms.values().filter_map(|key| Some((sealing_key_number(&key.name)?, key.created_ms))).max()
}

/// What a client gets.
#[derive(Debug)]
pub struct Given {
    pub opened: Opened,
    pub token: String,
}

/// Who the session is, and what it may do now.
fn caller(state: &State, opened: &Opened) -> Result<Caller, Void> {
    let Grant { owner, of, issued_ms, expires_ms, policy, policy_arns, tags, claims, issuer, chained: _ } =
        &opened.grant;
    let iam = &state.iam;
    let account = iam.accounts.get(owner).ok_or(Void::Gone)?;
    let since = |not_before_ms: u64| if *issued_ms < not_before_ms { Err(Void::Revoked) } else { Ok(()) };
    since(account.not_before_ms)?;
    if let Some(issuer) = issuer {
        let name = web_identity::provider_name(issuer).to_owned();
        since(iam.providers.get(&(owner.clone(), name)).ok_or(Void::Gone)?.not_before_ms)?;
    }
    let mut all_tags = BTreeMap::new();
    let mut admin = false;
    let (of, mut standing) = match of {
        GrantedTo::Root { admin: was_admin } => {
            // A session is no longer an administrator's when nobody of the account is.
            let is_admin = |key: &AccessKey| key.admin && key.active && key.user.is_none() && key.owner == *owner;
            admin = *was_admin && state.keys.values().any(|key| is_admin(key));
            (SessionOf::Root, Standing { unlimited: true, ..Standing::default() })
        }
        GrantedTo::User { name, id } => {
            let user = iam.user(owner, name).filter(|user| user.id == *id).ok_or(Void::Gone)?;
            since(user.not_before_ms)?;
            all_tags.extend(user.tags.clone());
            (SessionOf::User(directory::user_name(user)), directory::standing(iam, user))
        }
        GrantedTo::Role { name, id, session } => {
            let role = iam.role(owner, name).filter(|role| role.id == *id).ok_or(Void::Gone)?;
            since(role.not_before_ms)?;
            all_tags.extend(role.tags.clone());
            let identity = directory::policies(iam, owner, &role.attached);
            let boundary = role.boundary.as_ref().map(|arn| directory::managed(iam, owner, arn));
            let (name, path, id, session) = (name.clone(), role.path.clone(), id.clone(), session.clone());
            let of = SessionOf::Role { name, path, id, session };
            (of, Standing { identity, boundary, ..Standing::default() })
        }
    };
    overlay(&mut all_tags, tags);
    if let Some(text) = policy {
        let policy = Policy::parse(text, Purpose::Identity).map_err(|_| Void::Gone)?;
        standing.session.push(("the session's policy".to_owned(), Arc::new(policy)));
    }
    standing.session.extend(policy_arns.iter().map(|arn| directory::managed(iam, owner, arn)));
    let claims = issuer.as_deref().map(|issuer| web_identity::condition_keys(issuer, claims)).unwrap_or_default();
    Ok(Caller {
        access_key: Some(opened.access_key.clone()),
        owner: owner.clone(),
        account: account.number.clone(),
        tenant: account.tenant.clone(),
        admin,
        kind: Kind::Session(Session { of, issued_ms: *issued_ms, expires_ms: *expires_ms, tags: all_tags, claims }),
        standing,
    })
}

/// Adds a session's own tags to those of its role or user. Policies do not tell the case of a tag's key, so one of its own takes
/// the place of every one that differs in case only: the role's trust policy was asked about its own.
fn overlay(tags: &mut BTreeMap<String, String>, own: &BTreeMap<String, String>) {
    let keys: BTreeSet<String> = own.keys().map(|key| key.to_lowercase()).collect();
    tags.retain(|key, _| !keys.contains(&key.to_lowercase()));
    tags.extend(own.clone());
}

/// The session that a role is asked about with, which nobody has.
pub fn imagined(role: &cluster::iam::Role) -> Kind {
    let (name, path, id) = (role.name.clone(), role.path.clone(), role.id.clone());
    let of = SessionOf::Role { name, path, id, session: authn::simulation::IMAGINED_SESSION.to_owned() };
    let tags = role.tags.clone();
    Kind::Session(Session { of, issued_ms: 0, expires_ms: 0, tags, claims: BTreeMap::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use authn::policy::Context;
    use authn::{Identity, Question, authorize};
    use cluster::EmbeddedControlPlane;
    use cluster::iam::{Account, Attached, OidcProvider, Role, User};
    use common::doors::{SeededRandom, SimulatedClock};
    use common::{AccessKeyId, OwnerId};

    const NOW_MS: u64 = 1_800_000_000_000;

    fn ann() -> OwnerId {
        OwnerId("ann".into())
    }

    fn grant(of: GrantedTo) -> Grant {
        Grant {
            owner: ann(),
            of,
            issued_ms: NOW_MS,
            expires_ms: NOW_MS + 900_000,
            policy: None,
            policy_arns: Vec::new(),
            tags: [("team".to_owned(), "blue".to_owned())].into(),
            claims: [("sub".to_owned(), vec!["s".to_owned()])].into(),
            issuer: None,
            chained: false,
        }
    }

    fn role() -> GrantedTo {
        GrantedTo::Role { name: "reader".into(), id: "AROA1".into(), session: "s".into() }
    }

    fn user() -> GrantedTo {
        GrantedTo::User { name: "bob".into(), id: "AIDA1".into() }
    }

    /// An account with a role, a user and a provider, from which a test takes away.
    fn state() -> State {
        let named = |name: &str| (ann(), name.to_owned());
        let account = Account { owner: ann(), number: "123456789012".into(), tenant: None, not_before_ms: NOW_MS };
        let role = Role {
            account: ann(),
            name: "reader".into(),
            path: "/p/".into(),
            id: "AROA1".into(),
            description: String::new(),
            created_ms: 1,
            trust: "{}".into(),
            attached: Attached::default(),
            boundary: None,
            tags: [("team".to_owned(), "red".to_owned()), ("floor".to_owned(), "2".to_owned())].into(),
            session_seconds_max: 3600,
            not_before_ms: NOW_MS,
        };
        let user = User {
            account: ann(),
            name: "bob".into(),
            path: "/".into(),
            id: "AIDA1".into(),
            created_ms: 1,
            attached: Attached::default(),
            boundary: None,
            tags: BTreeMap::new(),
            not_before_ms: NOW_MS,
        };
        let provider = OidcProvider {
            account: ann(),
            url: "https://idp.example.com".into(),
            client_ids: Default::default(),
            thumbprints: Default::default(),
            created_ms: 1,
            not_before_ms: NOW_MS,
            tags: BTreeMap::new(),
        };
        let mut state = State::default();
        state.iam.accounts = Arc::new([(ann(), Arc::new(account))].into());
        state.iam.roles = Arc::new([(named("reader"), Arc::new(role))].into());
        state.iam.users = Arc::new([(named("bob"), Arc::new(user))].into());
        state.iam.providers = Arc::new([(named("idp.example.com"), Arc::new(provider))].into());
        state
    }

    fn opened(grant: Grant) -> Opened {
        let secret = authn::Secret::parse("correct horse battery".replace(' ', "-").as_str()).expect("a secret");
        Opened { access_key: AccessKeyId("ASIA2222222222222222".into()), secret, grant }
    }

    fn judge(state: &State, grant: Grant) -> Result<Caller, Void> {
        caller(state, &opened(grant))
    }

    #[test]
    fn sessions_are_of_what_is_there_now() {
        let caller = judge(&state(), grant(role())).expect("good");
        assert_eq!(caller.arn(), "arn:aws:sts::123456789012:assumed-role/reader/s");
        assert_eq!(caller.user_id(), "AROA1:s");
        assert!(!caller.standing.unlimited && !caller.admin);
        let Kind::Session(session) = &caller.kind else { panic!("no session") };
        assert_eq!((session.tags["team"].as_str(), session.tags["floor"].as_str()), ("blue", "2"));
        assert!(session.claims.is_empty());

        let gone = |state: &State, of| judge(state, grant(of)).err();
        let mut without = state();
        without.iam.roles = Arc::default();
        assert_eq!((gone(&without, role()), gone(&without, user())), (Some(Void::Gone), None));
        without.iam.users = Arc::default();
        assert_eq!(gone(&without, user()), Some(Void::Gone));
        let another = GrantedTo::Role { name: "reader".into(), id: "AROA2".into(), session: "s".into() };
        assert_eq!(gone(&state(), another), Some(Void::Gone));
        without.iam.accounts = Arc::default();
        assert_eq!(gone(&without, GrantedTo::Root { admin: false }), Some(Void::Gone));
    }

    #[test]
    fn a_tag_of_a_session_takes_the_place_of_its_roles() {
        let tags = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let mut all = tags(&[("Team", "red"), ("TEAM", "white"), ("floor", "2")]);
        overlay(&mut all, &tags(&[("team", "blue"), ("Room", "1")]));
        assert_eq!(all, tags(&[("team", "blue"), ("Room", "1"), ("floor", "2")]));
    }

    #[test]
    fn sessions_end_when_they_are_revoked() {
        let revoked = |change: fn(&mut State), of| {
            let mut state = state();
            change(&mut state);
            let mut grant = grant(of);
            grant.issuer = Some("https://idp.example.com".into());
            judge(&state, grant).err()
        };
        fn later<K: Ord + Clone, T: Clone>(map: &mut Arc<BTreeMap<K, Arc<T>>>, change: fn(&mut T)) {
            Arc::make_mut(map).values_mut().for_each(|record| change(Arc::make_mut(record)));
        }
        assert_eq!(revoked(|_| {}, role()), None);
        let account: fn(&mut State) = |state| later(&mut state.iam.accounts, |account| account.not_before_ms += 1);
        assert_eq!(revoked(account, role()), Some(Void::Revoked));
        assert_eq!(revoked(account, GrantedTo::Root { admin: false }), Some(Void::Revoked));
        let role_: fn(&mut State) = |state| later(&mut state.iam.roles, |role| role.not_before_ms += 1);
        assert_eq!((revoked(role_, role()), revoked(role_, user())), (Some(Void::Revoked), None));
        let user_: fn(&mut State) = |state| later(&mut state.iam.users, |user| user.not_before_ms += 1);
        assert_eq!(revoked(user_, user()), Some(Void::Revoked));
        let provider: fn(&mut State) = |state| later(&mut state.iam.providers, |provider| provider.not_before_ms += 1);
        assert_eq!(revoked(provider, role()), Some(Void::Revoked));
        assert_eq!(revoked(|state| state.iam.providers = Arc::default(), role()), Some(Void::Gone));
    }

    #[test]
    fn what_a_role_may_is_decided_by_all_of_its_policies() {
        let allow = |action: &str| {
            format!(r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"{action}","Resource":"*"}}}}"#)
        };
        let reads = |policy: Option<&str>, arns: &[&str], boundary: Option<&str>, inline: &str| {
            let mut state = state();
            for role in Arc::make_mut(&mut state.iam.roles).values_mut() {
                let role = Arc::make_mut(role);
                role.attached.inline.insert("inline".into(), inline.into());
                role.boundary = boundary.map(str::to_owned);
            }
            let policy_arns = arns.iter().map(|arn| (*arn).to_owned()).collect();
            let grant = Grant { policy: policy.map(str::to_owned), policy_arns, ..grant(role()) };
            let identity = Identity::Known(Arc::new(judge(&state, grant).ok()?));
            let verdict = authorize(&Question {
                identity: &identity,
                action: "s3:GetObject",
                resource: "arn:aws:s3:::b/k",
                context: &Context::default(),
                owner: Some(&ann()),
                bucket_policy: None,
                restrict_public: false,
                acl_grants: false,
            });
            Some(verdict.allowed)
        };
        let (all, put, gone) = (allow("s3:*"), allow("s3:PutObject"), "arn:aws:iam::123456789012:policy/gone");
        assert_eq!(reads(None, &[], None, &all), Some(true));
        assert_eq!(reads(None, &[], None, &put), Some(false));
        assert_eq!(reads(Some(&all), &[], None, &all), Some(true));
        assert_eq!(reads(Some(&all), &[], None, &put), Some(false));
        assert_eq!(reads(Some(&put), &[], None, &all), Some(false));
        // What cannot be read might be what denies.
        assert_eq!(reads(None, &[], None, "{"), Some(false));
        assert_eq!(reads(Some("{"), &[], None, &all), None);
        assert_eq!(reads(None, &[gone], None, &all), Some(false));
        assert_eq!(reads(None, &[], Some(gone), &all), Some(false));
    }

    #[test]
    fn administrators_sessions_end_with_their_keys() {
        let mut state = state();
        let is_admin = |state: &State| judge(state, grant(GrantedTo::Root { admin: true })).expect("good").admin;
        assert!(!is_admin(&state));
        let (id, secret) = (AccessKeyId("WK1".into()), "12345678".to_owned());
        let key =
            AccessKey { id: id.clone(), secret, owner: ann(), admin: true, created_ms: 1, user: None, active: true };
        state.keys = Arc::new([(id, Arc::new(key))].into());
        assert!(is_admin(&state));
        assert!(!judge(&state, grant(GrantedTo::Root { admin: false })).expect("good").admin);
    }

    /// On a store of their own, which goes with the directory.
    fn sessions() -> (tempfile::TempDir, Sessions, Arc<SimulatedClock>) {
        let directory = tempfile::tempdir().expect("a directory");
        let control = EmbeddedControlPlane::open(&directory.path().join("control.redb")).expect("a store");
        let control: Arc<dyn ControlPlane> = Arc::new(control);
        let (clock, random) = (SimulatedClock::starting_at(NOW_MS), SeededRandom::new(1));
        let root = SecretKey::from_slice(&[1; 32]).expect("32 bytes");
        let keys = NamedKeys::new(control.clone(), root, clock.clone(), random.clone());
        (directory, Sessions::new(control, keys, clock.clone(), random), clock)
    }

    #[tokio::test]
    async fn what_was_opened_is_kept_until_something_changes() {
        let (_directory, sessions, clock) = sessions();
        let given = sessions.give(grant(role())).await.expect("given");
        let open = |token: &str| sessions.open(Some(&given.opened.access_key.0), token);
        let first = open(&given.token).expect("good");
        assert!(Arc::ptr_eq(&first, &open(&given.token).expect("good")));
        let mut bent = given.token.clone().into_bytes();
        let last = bent.len() - 1;
        bent[last] = if bent[last] == b'A' { b'B' } else { b'A' };
        assert_eq!(open(&String::from_utf8(bent).expect("ASCII")).expect_err("bent").answer().code, "InvalidToken");
        // The account comes: what was gone is there, as far as it is about the account.
        assert_eq!(first.caller().expect_err("nobody's").answer().code, "AccessDenied");
        let owner = cluster::Owner { id: ann(), display_name: "Ann".into(), email: None };
        sessions.control.propose(cluster::Command::PutOwner { owner }).await.expect("it applies");
        let again = open(&given.token).expect("good");
        assert!(!Arc::ptr_eq(&first, &again) && Arc::ptr_eq(&again, &open(&given.token).expect("good")));
        clock.advance_ms(900_000);
        assert_eq!(open(&given.token).expect_err("over").answer().code, "ExpiredToken");
    }

    #[tokio::test]
    async fn a_replaced_key_opens_until_its_sessions_have_ended() {
        let (_directory, sessions, clock) = sessions();
        let control = sessions.control.clone();
        let forever = || Grant { expires_ms: u64::MAX, ..grant(role()) };
        let code = |given: &Given| {
            let opened = sessions.open(Some(&given.opened.access_key.0), &given.token);
            opened.map_or_else(|error| error.answer().code, |_| "ok")
        };
        let first = sessions.give(forever()).await.expect("given");
        assert_eq!(newest(&control.current()).map(|(number, _)| number), Some(1));
        assert_eq!(code(&first), "ok");
        assert_eq!(sessions.rotate().await.expect("made"), 2);
        let second = sessions.give(forever()).await.expect("given");
        assert_eq!((code(&first), code(&second)), ("ok", "ok"));
        clock.advance_ms(SESSION_SECONDS_MAX * 1000);
        assert_eq!((code(&first), code(&second)), ("InvalidToken", "ok"));
        // Old age replaces it too.
        let month = Grant { issued_ms: NOW_MS + SEALING_KEY_MS_MAX + 60_000, ..forever() };
        sessions.give(month).await.expect("given");
        assert_eq!(newest(&control.current()).map(|(number, _)| number), Some(3));

        assert_eq!(sessions.open(None, &second.token).expect_err("nobody's").answer().code, "InvalidToken");
        assert_eq!(sessions.open(Some("WK2"), &second.token).expect_err("no session").answer().code, "InvalidToken");
        let swapped = sessions.open(Some(&first.opened.access_key.0), &second.token);
        assert_eq!(swapped.expect_err("another one's").answer().code, "InvalidToken");
        let id = &second.opened.access_key.0;
        let current = sessions.open(Some(id), &second.token).expect("good");
        let seen = within(Some(current), async { super::current(id).is_some() && super::current("WK2").is_none() });
        assert!(seen.await && super::current(id).is_none());
    }
}
