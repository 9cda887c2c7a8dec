//! STS without its listener: forms as values, an embedded control plane, an issuer on a socket of the test's own.

use super::*;
use crate::access;
use crate::kms::NamedKeys;
use crate::outbound::Fetcher;
use crate::query_api::Form;
use authn::Identity;
use authn::identity::{Kind, SessionOf};
use authn::session::is_session_id;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use cluster::iam::{Attached, OidcProvider, User};
use cluster::{AccessKey, Command, EmbeddedControlPlane, Holder, IamChange, Owner, Tagged};
use common::doors::{SeededRandom, SimulatedClock};
use common::{AccessKeyId, SecretKey};
use http::Request;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const NOW_MS: u64 = 1_800_000_000_000;

struct Bench {
    control: Arc<dyn ControlPlane>,
    sessions: Sessions,
    sts: Sts,
    clock: Arc<SimulatedClock>,
    number: String,
    _directory: TempDir,
}

fn ann() -> OwnerId {
    OwnerId("ann".into())
}

fn statement(inside: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow",{inside}}}}}"#)
}

/// The accounts ann (root WKANN, user bob with the key WKBOB) and eve (root WKEVE).
async fn bench(local_issuers: &[String]) -> Bench {
    let directory = tempfile::tempdir().expect("a directory");
    let control = EmbeddedControlPlane::open(&directory.path().join("control.redb")).expect("a store");
    let control: Arc<dyn ControlPlane> = Arc::new(control);
    let (clock, random) = (SimulatedClock::starting_at(NOW_MS), SeededRandom::new(1));
    for owner in ["ann", "eve"] {
        let owner = Owner { id: OwnerId(owner.into()), display_name: owner.into(), email: None };
        control.propose(Command::PutOwner { owner }).await.expect("an owner");
    }
    let user = User {
        account: ann(),
        name: "bob".into(),
        path: "/".into(),
        id: "AIDABOBBOBBOBBOBBOBBO".into(),
        created_ms: 1,
        attached: Attached::default(),
        boundary: None,
        tags: BTreeMap::new(),
        not_before_ms: 0,
    };
    control.propose(Command::Iam { account: ann(), change: IamChange::CreateUser(user) }).await.expect("a user");
    for (id, owner, user) in [("WKANN", "ann", None), ("WKBOB", "ann", Some("bob")), ("WKEVE", "eve", None)] {
        let key = AccessKey {
            id: AccessKeyId(id.into()),
            secret: "correct-horse".into(),
            owner: OwnerId(owner.into()),
            admin: false,
            created_ms: 1,
            user: user.map(str::to_owned),
            active: true,
        };
        control.propose(Command::CreateKey { key }).await.expect("a key");
    }
    let root = SecretKey::from_slice(&[1; 32]).expect("32 bytes");
    let keys = NamedKeys::new(control.clone(), root, clock.clone(), random.clone());
    let sessions = Sessions::new(control.clone(), keys, clock.clone(), random);
    let issuers = Issuers::new(clock.clone(), Fetcher::new(local_issuers));
    let sts = Sts::new(control.clone(), sessions.clone(), issuers);
    let number = control.current().iam.accounts[&ann()].number.clone();
    Bench { control, sessions, sts, clock, number, _directory: directory }
}

impl Bench {
    async fn change(&self, change: IamChange) {
        self.control.propose(Command::Iam { account: ann(), change }).await.expect("it applies");
    }

    async fn role(&self, name: &str, trust: String) -> String {
        let role = Role {
            account: ann(),
            name: name.into(),
            path: "/team/".into(),
            id: format!("AROA{:A<17}", name.to_ascii_uppercase()),
            description: String::new(),
            created_ms: 1,
            trust,
            attached: Attached::default(),
            boundary: None,
            tags: BTreeMap::new(),
            session_seconds_max: 7200,
            not_before_ms: 0,
        };
        self.change(IamChange::CreateRole(role)).await;
        format!("arn:aws:iam::{}:role/team/{name}", self.number)
    }

    fn of_key(&self, key: &str) -> Identity {
        access::identity(&*self.control, key).expect("a key")
    }

    async fn ask(&self, identity: Identity, action: &str, parameters: &[(&str, &str)]) -> Result<String, Refusal> {
        let head = Request::post("/").body(()).expect("a request").into_parts().0;
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(parameters);
        let form = Form::parse("", body.finish().as_bytes()).expect("a form");
        let call = Call { action, form: &form, identity, head: &head, now_ms: NOW_MS };
        self.sts.answer(&call).await.map(|reply| reply.expect("a result").document("R", "x"))
    }

    /// The code of a refusal, or who the session is.
    async fn assume(&self, identity: Identity, parameters: &[(&str, &str)]) -> String {
        let action = if identity.is_anonymous() { WEB_IDENTITY } else { "AssumeRole" };
        match self.ask(identity, action, parameters).await {
            Ok(answer) => {
                self.session(&answer).map_or_else(|error| error.answer().code.into(), |identity| arn(&identity))
            }
            Err(refusal) => refusal.code.to_owned(),
        }
    }

    /// The identity that an answer's credentials are.
    fn session(&self, answer: &str) -> Result<Identity, Error> {
        let id = element(answer, "AccessKeyId");
        assert!(is_session_id(id));
        let current = self.sessions.open(Some(id), element(answer, "SessionToken"))?;
        assert_eq!(current.secret(), element(answer, "SecretAccessKey"));
        current.caller().map(Identity::Known)
    }
}

fn element<'a>(document: &'a str, name: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {document}"));
    rest.split_once(&format!("</{name}>")).expect("an end").0
}

fn arn(identity: &Identity) -> String {
    identity.caller().expect("somebody").arn()
}

#[tokio::test]
async fn callers_are_told_who_they_are() {
    let bench = bench(&[]).await;
    let number = &bench.number;
    for (key, arn, id) in [
        ("WKANN", format!("arn:aws:iam::{number}:root"), number.as_str()),
        ("WKBOB", format!("arn:aws:iam::{number}:user/bob"), "AIDABOBBOBBOBBOBBOBBO"),
    ] {
        let answer = bench.ask(bench.of_key(key), "GetCallerIdentity", &[]).await.expect("an answer");
        assert_eq!((element(&answer, "Arn"), element(&answer, "UserId")), (arn.as_str(), id));
        assert_eq!(element(&answer, "Account"), number);
    }
    let refused = |refusal: Refusal| (refusal.status.as_u16(), refusal.code);
    let anonymous = bench.ask(Identity::Anonymous, "GetCallerIdentity", &[]).await.expect_err("nobody");
    assert_eq!(refused(anonymous), (403, "MissingAuthenticationToken"));
    let unknown = bench.ask(bench.of_key("WKANN"), "GetCallerIdentity", &[("X", "y")]).await.expect_err("unknown");
    assert_eq!(refused(unknown), (400, "ValidationError"));
    let unknown = bench.ask(bench.of_key("WKANN"), "AssumeRoleWithSAML", &[]).await.expect_err("unknown");
    assert_eq!(refused(unknown), (400, "InvalidAction"));
}

#[tokio::test]
async fn session_tokens_are_of_who_asks() {
    let bench = bench(&[]).await;
    let ask = |key: &str, seconds: &'static str| {
        let identity = bench.of_key(key);
        let parameters = [("DurationSeconds", seconds)];
        let bench = &bench;
        async move { bench.ask(identity, "GetSessionToken", if seconds.is_empty() { &[] } else { &parameters }).await }
    };
    let answer = ask("WKBOB", "").await.expect("a session");
    let identity = bench.session(&answer).expect("good");
    assert_eq!(arn(&identity), format!("arn:aws:iam::{}:user/bob", bench.number));
    assert_eq!(element(&answer, "Expiration"), "2027-01-15T20:00:00Z");
    // A root's is an hour at most.
    let root = ask("WKANN", "7200").await.expect("a session");
    assert_eq!(element(&root, "Expiration"), "2027-01-15T09:00:00Z");
    for bad in ["899", "43201", "x", "-1"] {
        assert_eq!(ask("WKBOB", bad).await.expect_err(bad).code, "ValidationError", "{bad}");
    }
    let again = bench.ask(identity, "GetSessionToken", &[]).await.expect_err("of a session");
    assert_eq!((again.status.as_u16(), again.code), (403, "AccessDenied"));
    let mfa = [("SerialNumber", "arn:aws:iam::1:mfa/x"), ("TokenCode", "123456")];
    assert_eq!(
        bench.ask(bench.of_key("WKBOB"), "GetSessionToken", &mfa).await.expect_err("mfa").code,
        "ValidationError"
    );

    let deny = statement(r#""Action":"sts:GetSessionToken","Resource":"*""#).replace("Allow", "Deny");
    let of = Holder::User("bob".into());
    bench.change(IamChange::SetInlinePolicy { of, name: "p".into(), document: Some(deny) }).await;
    assert_eq!(ask("WKBOB", "").await.expect_err("denied").code, "AccessDenied");
    bench.clock.advance_ms(13 * 3_600_000);
    assert_eq!(bench.session(&answer).expect_err("over").answer().code, "ExpiredToken");
}

#[tokio::test]
async fn roles_are_assumed_by_whom_they_trust() {
    let bench = bench(&[]).await;
    let number = bench.number.clone();
    let principal = |arn: &str| statement(&format!(r#""Principal":{{"AWS":"{arn}"}},"Action":"sts:AssumeRole""#));
    let of_bob = bench.role("reader", principal(&format!("arn:aws:iam::{number}:user/bob"))).await;
    let of_account = bench.role("writer", principal(&number)).await;
    let with =
        |arn: &str| vec![("RoleArn".to_owned(), arn.to_owned()), ("RoleSessionName".to_owned(), "me".to_owned())];
    let assume = async |key: &str, arn: &str, more: &[(&str, &str)]| {
        let base = with(arn);
        let mut parameters: Vec<(&str, &str)> = base.iter().map(|(name, value)| (&**name, &**value)).collect();
        parameters.extend(more);
        bench.assume(bench.of_key(key), &parameters).await
    };
    let reader = format!("arn:aws:sts::{number}:assumed-role/reader/me");
    assert_eq!(assume("WKBOB", &of_bob, &[]).await, reader);
    // The account trusts itself: its own policies decide, and bob has none.
    assert_eq!(assume("WKBOB", &of_account, &[]).await, "AccessDenied");
    let allow = statement(r#""Action":"sts:AssumeRole","Resource":"*""#);
    let (of, name) = (Holder::User("bob".into()), "p".to_owned());
    bench.change(IamChange::SetInlinePolicy { of, name, document: Some(allow) }).await;
    assert_eq!(assume("WKBOB", &of_account, &[]).await, format!("arn:aws:sts::{number}:assumed-role/writer/me"));
    // One answer for what is not there and what is not for the caller.
    for arn in [
        of_bob.clone(),
        of_account.clone(),
        format!("arn:aws:iam::{number}:role/team/absent"),
        format!("arn:aws:iam::{number}:role/reader"),
        "arn:aws:iam::999999999999:role/team/reader".to_owned(),
        format!("arn:aws:iam::{number}:user/bob"),
        "x".repeat(20),
    ] {
        assert_eq!(assume("WKEVE", &arn, &[]).await, "AccessDenied", "{arn}");
    }
    for (name, value, code) in [
        ("DurationSeconds", "7200", reader.as_str()),
        ("DurationSeconds", "7201", "ValidationError"),
        ("DurationSeconds", "899", "ValidationError"),
        ("Policy", "{", "MalformedPolicyDocument"),
        ("PolicyArns.member.1.arn", "arn:aws:iam::1:policy/absent", "ValidationError"),
        ("SourceIdentity", "bob", "ValidationError"),
        ("TransitiveTagKeys.member.1", "a", "ValidationError"),
        ("SerialNumber", "x", "ValidationError"),
        ("Unknown", "x", "ValidationError"),
    ] {
        assert_eq!(assume("WKBOB", &of_bob, &[(name, value)]).await, code, "{name}={value}");
    }
    let policy = statement(&format!(r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::b/{}""#, "x".repeat(1700)));
    assert_eq!(assume("WKBOB", &of_bob, &[("Policy", &policy)]).await, "PackedPolicyTooLarge");
    // Tags are to be allowed, too.
    let tags = [("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "blue")];
    assert_eq!(assume("WKBOB", &of_bob, &tags).await, "AccessDenied");
    let trust = principal(&format!("arn:aws:iam::{number}:user/bob")).replace(
        r#""sts:AssumeRole""#,
        r#"["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"sts:ExternalId":"e-1","aws:RequestTag/team":"blue"}}"#,
    );
    bench.change(IamChange::SetTrust { role: "reader".into(), trust }).await;
    assert_eq!(assume("WKBOB", &of_bob, &tags).await, "AccessDenied");
    assert_eq!(assume("WKBOB", &of_bob, &[tags[0], tags[1], ("ExternalId", "e-1")]).await, reader);
    let blue = [tags[0], ("Tags.member.1.Value", "red"), ("ExternalId", "e-1")];
    assert_eq!(assume("WKBOB", &of_bob, &blue).await, "AccessDenied");
}

#[tokio::test]
async fn a_chain_of_roles_is_an_hour_long() {
    let bench = bench(&[]).await;
    let trust = |inside: &str| statement(&format!(r#""Principal":{{"AWS":"{inside}"}},"Action":"sts:AssumeRole""#));
    let first = bench.role("first", trust(&format!("arn:aws:iam::{}:user/bob", bench.number))).await;
    let second = bench.role("second", trust(&first)).await;
    let parameters = [("RoleArn", first.as_str()), ("RoleSessionName", "me")];
    let answer = bench.ask(bench.of_key("WKBOB"), "AssumeRole", &parameters);
    let session = bench.session(&answer.await.expect("a session")).expect("good");
    let again = |seconds: &'static str| {
        let parameters = [("RoleArn", second.as_str()), ("RoleSessionName", "me"), ("DurationSeconds", seconds)];
        let (bench, session) = (&bench, session.clone());
        async move { bench.assume(session, &parameters).await }
    };
    assert_eq!(again("3600").await, format!("arn:aws:sts::{}:assumed-role/second/me", bench.number));
    assert_eq!(again("3601").await, "ValidationError");
}

/// An issuer on a port of its own, that counts how often it is asked for its keys.
struct Issuer {
    url: String,
    key: Mutex<(String, Ed25519KeyPair)>,
    asked: AtomicUsize,
}

impl Issuer {
    #[expect(clippy::disallowed_methods, reason = "the test is the issuer")]
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/realm", listener.local_addr().expect("bound"));
        let key = Mutex::new(("k1".to_owned(), Ed25519KeyPair::generate().expect("a key")));
        let issuer = Arc::new(Self { url, key, asked: AtomicUsize::new(0) });
        let serving = Arc::clone(&issuer);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let body = serving.answer(&String::from_utf8_lossy(&request[..length]));
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        issuer
    }

    fn answer(&self, request: &str) -> String {
        if request.starts_with("GET /realm/.well-known/openid-configuration ") {
            return json!({"issuer": self.url, "jwks_uri": format!("{}/keys", self.url), "more": 1}).to_string();
        }
        assert!(request.starts_with("GET /realm/keys "), "{request}");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let key = self.key.lock().expect("not poisoned");
        let x = BASE64.encode(key.1.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": key.0, "x": x}]}).to_string()
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let key = self.key.lock().expect("not poisoned");
        let now = NOW_MS / 1000;
        let mut claims = json!({"iss": self.url, "sub": "pod-7", "aud": ["weir"], "exp": now + 600, "iat": now});
        change(&mut claims);
        let header = json!({"alg": "EdDSA", "kid": key.0}).to_string();
        let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(key.1.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn authority(&self) -> String {
        self.url.split('/').nth(2).expect("a URL").to_owned()
    }
}

#[tokio::test]
async fn web_identities_are_exchanged() {
    let (issuer, stranger) = (Issuer::start().await, Issuer::start().await);
    let bench = bench(&[issuer.authority(), stranger.authority()]).await;
    bench.change(IamChange::CreateProvider(provider(&issuer, Some("weir")))).await;
    let name = issuer.url.strip_prefix("http://").expect("http");
    let trust = statement(&format!(
        r#""Principal":{{"Federated":"arn:aws:iam::{}:oidc-provider/{name}"}},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{{"StringEquals":{{"{name}:sub":"pod-7","{name}:aud":"weir"}}}}"#,
        bench.number
    ));
    let role = bench.role("pod", trust).await;
    let other = bench
        .role("other", statement(&format!(r#""Principal":{{"AWS":"{}"}},"Action":"sts:AssumeRole""#, bench.number)))
        .await;
    let assume = async |role: &str, token: &str| {
        let parameters = [("RoleArn", role), ("RoleSessionName", "me"), ("WebIdentityToken", token)];
        bench.assume(Identity::Anonymous, &parameters).await
    };
    let pod = format!("arn:aws:sts::{}:assumed-role/pod/me", bench.number);
    assert_eq!(assume(&role, &issuer.token(|_| {})).await, pod);
    assert_eq!(assume(&role, &issuer.token(|_| {})).await, pod);
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);

    let now = NOW_MS / 1000;
    assert_eq!(assume(&role, &issuer.token(|claims| claims["sub"] = json!("pod-8"))).await, "IDPRejectedClaim");
    assert_eq!(assume(&role, &issuer.token(|claims| claims["aud"] = json!("x"))).await, "InvalidIdentityToken");
    assert_eq!(assume(&role, &issuer.token(|claims| claims["exp"] = json!(now - 61))).await, "ExpiredTokenException");
    assert_eq!(assume(&role, "a.b.c").await, "InvalidIdentityToken");
    assert_eq!(assume(&other, &issuer.token(|_| {})).await, "AccessDenied");
    let absent = format!("arn:aws:iam::{}:role/absent", bench.number);
    assert_eq!(assume(&absent, &issuer.token(|_| {})).await, "AccessDenied");
    let large = issuer.token(|claims| claims["groups"] = json!(vec!["a group of a long name"; 100]));
    assert_eq!(assume(&role, &large).await, "PackedPolicyTooLarge");
    // Nobody that the account does not know is asked for anything.
    assert_eq!(assume(&role, &stranger.token(|_| {})).await, "InvalidIdentityToken");
    assert_eq!(assume("arn:aws:iam::999999999999:role/pod", &issuer.token(|_| {})).await, "InvalidIdentityToken");
    assert_eq!(stranger.asked.load(Ordering::Relaxed), 0);

    // A new key of the issuer is fetched when a token names it, once in half a minute, and once for all who wait.
    *issuer.key.lock().expect("not poisoned") = ("k2".to_owned(), Ed25519KeyPair::generate().expect("a key"));
    assert_eq!(assume(&role, &issuer.token(|_| {})).await, "InvalidIdentityToken");
    bench.clock.advance_ms(30_000);
    let fresh = issuer.token(|_| {});
    let (one, two, three) = tokio::join!(assume(&role, &fresh), assume(&role, &fresh), assume(&role, &fresh));
    assert_eq!([&one, &two, &three], [&pod, &pod, &pod]);
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 2);

    // What was revoked stays so, for tokens and for the sessions that they gave.
    let parameters = [("RoleArn", role.as_str()), ("RoleSessionName", "me"), ("WebIdentityToken", fresh.as_str())];
    let answer = bench.ask(Identity::Anonymous, WEB_IDENTITY, &parameters).await.expect("a session");
    assert_eq!(element(&answer, "SubjectFromWebIdentityToken"), "pod-7");
    assert_eq!(element(&answer, "Audience"), "weir");
    let identity = bench.session(&answer).expect("good");
    let Kind::Session(session) = &identity.caller().expect("somebody").kind else { panic!("no session") };
    assert!(matches!(session.of, SessionOf::Role { .. }));
    assert_eq!(session.claims[&format!("{name}:sub")], ["pod-7"]);
    let explained = || {
        let told = bench.sessions.explain(element(&answer, "AccessKeyId"), element(&answer, "SessionToken"));
        let told = told.expect("it opens");
        (told.caller, told.wrong)
    };
    assert_eq!(explained(), (Some(pod.clone()), None));
    let revoke = IamChange::SetProviderNotBefore { provider: name.to_owned(), not_before_ms: NOW_MS + 1 };
    bench.change(revoke).await;
    assert_eq!(explained(), (None, Some("revoked")));
    assert_eq!(bench.session(&answer).expect_err("revoked").answer().code, "AccessDenied");
    assert_eq!(assume(&role, &fresh).await, "InvalidIdentityToken");
}

fn provider(issuer: &Issuer, audience: Option<&str>) -> OidcProvider {
    OidcProvider {
        account: ann(),
        url: issuer.url.clone(),
        client_ids: audience.into_iter().map(str::to_owned).collect(),
        thumbprints: Default::default(),
        created_ms: 1,
        not_before_ms: 0,
        tags: BTreeMap::new(),
    }
}

#[tokio::test]
async fn an_issuer_gives_tags_where_the_role_lets_it() {
    let issuer = Issuer::start().await;
    let bench = bench(&[issuer.authority()]).await;
    bench.change(IamChange::CreateProvider(provider(&issuer, Some("weir")))).await;
    let name = issuer.url.strip_prefix("http://").expect("http");
    let trust = |actions: &str| {
        statement(&format!(
            r#""Principal":{{"Federated":"arn:aws:iam::{}:oidc-provider/{name}"}},"Action":{actions},
            "Condition":{{"StringEqualsIfExists":{{"aws:RequestTag/team":"blue"}},"StringEquals":{{"iam:ResourceTag/dept":"eng"}},
            "ForAllValues:StringEquals":{{"aws:TagKeys":"team"}}}}"#,
            bench.number
        ))
    };
    let role = bench.role("pod", trust(r#""sts:AssumeRoleWithWebIdentity""#)).await;
    let set = [("dept".to_owned(), "eng".to_owned())].into();
    bench
        .change(IamChange::ChangeTags {
            of: Tagged::Holder(Holder::Role("pod".into())),
            set,
            remove: Default::default(),
        })
        .await;
    let with = |tags: Value| issuer.token(|claims| claims["https://aws.amazon.com/tags"] = tags);
    let blue = with(json!({"principal_tags": {"team": ["blue"]}, "transitive_tag_keys": []}));
    let ask = async |token: &str| {
        let parameters = [("RoleArn", role.as_str()), ("RoleSessionName", "me"), ("WebIdentityToken", token)];
        bench.ask(Identity::Anonymous, WEB_IDENTITY, &parameters).await
    };
    let code = async |token: &str| ask(token).await.map_or_else(|refusal| refusal.code, |_| "ok");
    // Tags need a right of their own.
    assert_eq!(code(&issuer.token(|_| {})).await, "ok");
    assert_eq!(code(&blue).await, "IDPRejectedClaim");
    let both = trust(r#"["sts:AssumeRoleWithWebIdentity","sts:TagSession"]"#);
    bench.change(IamChange::SetTrust { role: "pod".into(), trust: both }).await;
    let identity = bench.session(&ask(&blue).await.expect("a session")).expect("good");
    let Kind::Session(session) = &identity.caller().expect("somebody").kind else { panic!("no session") };
    assert_eq!((session.tags["team"].as_str(), session.tags["dept"].as_str()), ("blue", "eng"));
    for (tags, refused) in [
        (json!({"principal_tags": {"team": ["red"]}}), "IDPRejectedClaim"),
        (json!({"principal_tags": {"team": ["blue"], "other": ["x"]}}), "IDPRejectedClaim"),
        (json!({"principal_tags": {"aws:x": ["y"]}}), "ValidationError"),
        (json!({"principal_tags": {"team": ["blue", "red"]}}), "InvalidIdentityToken"),
        (json!({"principal_tags": {"team": ["blue"]}, "transitive_tag_keys": ["team"]}), "InvalidIdentityToken"),
    ] {
        assert_eq!(code(&with(tags.clone())).await, refused, "{tags}");
    }
    bench
        .change(IamChange::ChangeTags {
            of: Tagged::Holder(Holder::Role("pod".into())),
            set: Default::default(),
            remove: ["dept".to_owned()].into(),
        })
        .await;
    assert_eq!(code(&blue).await, "IDPRejectedClaim");
}

#[tokio::test]
async fn an_issuer_without_audiences_is_for_nobody_but_in_the_account_without_a_number() {
    let issuer = Issuer::start().await;
    let bench = bench(&[issuer.authority()]).await;
    bench.change(IamChange::CreateProvider(provider(&issuer, None))).await;
    let name = issuer.url.strip_prefix("http://").expect("http");
    let trust = |number: &str| {
        let provider = format!("arn:aws:iam::{number}:oidc-provider/{name}");
        statement(&format!(r#""Principal":{{"Federated":"{provider}"}},"Action":"sts:AssumeRoleWithWebIdentity""#))
    };
    let arn = bench.role("pod", trust(&bench.number)).await;
    let token = issuer.token(|_| {});
    let assume = async |arn: &str| {
        let parameters = [("RoleArn", arn), ("RoleSessionName", "me"), ("WebIdentityToken", token.as_str())];
        bench.assume(Identity::Anonymous, &parameters).await
    };
    assert_eq!(assume(&arn).await, "InvalidIdentityToken");
    bench.change(IamChange::DropNumber).await;
    bench.change(IamChange::SetTrust { role: "pod".into(), trust: trust("") }).await;
    assert_eq!(assume("arn:aws:iam:::role/team/pod").await, "arn:aws:sts:::assumed-role/pod/me");
}

#[tokio::test]
async fn web_identities_are_explained() {
    let issuer = Issuer::start().await;
    let bench = bench(&[issuer.authority()]).await;
    let issuers = Issuers::new(bench.clock.clone(), Fetcher::new(&[issuer.authority()]));
    let explain = async |token: &str| explain::web_identity(&issuers, &bench.control.current(), token, NOW_MS).await;
    let told = explain(&issuer.token(|_| {})).await;
    assert_eq!((&told["accepted"], &told["step"]), (&json!(false), &json!("issuer_unknown")));
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 0, "only a registered issuer is asked");

    let provider = OidcProvider {
        account: ann(),
        url: issuer.url.clone(),
        client_ids: ["weir".to_owned()].into(),
        thumbprints: Default::default(),
        created_ms: 1,
        not_before_ms: 0,
        tags: BTreeMap::new(),
    };
    bench.change(IamChange::CreateProvider(provider)).await;
    let name = issuer.url.strip_prefix("http://").expect("http").to_owned();
    let federated = format!(r#""Principal":{{"Federated":"arn:aws:iam::{}:oidc-provider/{name}"}}"#, bench.number);
    let web = r#""Action":"sts:AssumeRoleWithWebIdentity""#;
    let condition = format!(r#""Sid":"Pods","Condition":{{"StringLike":{{"{name}:sub":"pod-*","jwt:group":"x"}}}}"#);
    let pods = bench.role("pods", statement(&format!("{federated},{web},{condition}"))).await;
    let all = bench.role("all", statement(&format!("{federated},{web}"))).await;
    bench
        .role("users", statement(&format!(r#""Principal":{{"AWS":"{}"}},"Action":"sts:AssumeRole""#, bench.number)))
        .await;

    let told = explain(&issuer.token(|_| {})).await;
    assert_eq!(
        (&told["accepted"], &told["claims"]["sub"], &told["header"]["alg"]),
        (&json!(true), &json!("pod-7"), &json!("EdDSA"))
    );
    let roles = told["providers"][0]["roles"].as_array().expect("roles");
    let trusted: Vec<_> = roles.iter().map(|role| (role["role"].as_str(), role["trusted"] == true)).collect();
    assert_eq!(trusted, [(Some(all.as_str()), true), (Some(pods.as_str()), false)]);
    let conditions = roles[1]["statements"][0]["conditions"].as_array().expect("conditions");
    let met = |key: &str| {
        conditions.iter().find(|condition| condition["key"] == key).map(|condition| condition["met"] == true)
    };
    assert_eq!((met(&format!("{name}:sub")), met("jwt:group")), (Some(true), Some(false)));
    let trusts = explain(&issuer.token(|claims| claims["group"] = json!("x"))).await;
    assert_eq!(trusts["providers"][0]["roles"][1]["trusted"], true);

    let now = NOW_MS / 1000;
    let forged = format!("{}=.AAAA", issuer.token(|_| {}).rsplit_once('.').expect("a JWT").0);
    let other_key = {
        let message = issuer.token(|_| {}).rsplit_once('.').expect("a JWT").0.to_owned();
        let signature = Ed25519KeyPair::generate().expect("a key").sign(message.as_bytes());
        format!("{message}.{}", BASE64.encode(signature))
    };
    for (token, step, reason) in [
        (issuer.token(|claims| claims["exp"] = json!(now - 61)), "expired", format!("its exp is {}", now - 61)),
        (issuer.token(|claims| claims["nbf"] = json!(now + 61)), "not_yet", format!("its nbf is {}", now + 61)),
        (issuer.token(|claims| claims["aud"] = json!("x")), "audience", "its aud is \"x\"".to_owned()),
        (issuer.token(|claims| claims["sub"] = json!(7)), "malformed", "sub".to_owned()),
        (other_key, "signature", "not of its issuer's key".to_owned()),
        (forged, "malformed", "base64url".to_owned()),
        (format!("{}.e30.AAAA", BASE64.encode(r#"{"alg":"none"}"#)), "algorithm", "none of RS256".to_owned()),
        ("a.b.c".to_owned(), "malformed", "base64url".to_owned()),
    ] {
        let told = explain(&token).await;
        assert_eq!((&told["accepted"], &told["step"]), (&json!(false), &json!(step)), "{told}");
        assert!(told["reason"].as_str().is_some_and(|sentence| sentence.contains(&reason)), "{told}");
        assert!(told["providers"].as_array().is_some_and(|all| all.iter().all(|one| one["roles"].is_null())), "{told}");
    }
    let revoke = IamChange::SetProviderNotBefore { provider: name, not_before_ms: NOW_MS + 1 };
    bench.change(revoke).await;
    assert_eq!(explain(&issuer.token(|_| {})).await["step"], "revoked");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_said_to_be() {
    let issuer = Issuer::start().await;
    // At loopback by http, and not named in the settings.
    let bench = bench(&[]).await;
    bench.change(IamChange::CreateProvider(provider(&issuer, Some("weir")))).await;
    let role = bench.role("pod", statement(r#""Principal":"*","Action":"sts:AssumeRole""#)).await;
    let token = issuer.token(|_| {});
    let parameters = [("RoleArn", role.as_str()), ("RoleSessionName", "me"), ("WebIdentityToken", token.as_str())];
    assert_eq!(bench.assume(Identity::Anonymous, &parameters).await, "IDPCommunicationError");
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 0);
}
