//! The admin API without a socket: requests as values, an embedded control plane, a clock that stands where it is put.

use super::*;
use crate::metrics::Metrics;
use cluster::{AccessKey, Command, EmbeddedControlPlane, Owner};
use common::doors::{SeededRandom, SimulatedClock, SimulatedMonotonic};
use common::sigv4::{Authorization, Scope};
use common::{AccessKeyId, OwnerId, SecretKey};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

const NOW_MS: u64 = 1_767_323_045_000;

struct Bench {
    parts: AdminParts,
    _directory: TempDir,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let control = EmbeddedControlPlane::open(&directory.path().join("control.redb")).unwrap();
    let owner = OwnerId("root".into());
    let described = Owner { id: owner.clone(), display_name: "root".into(), email: None };
    control.propose_blocking(&Command::PutOwner { owner: described }).unwrap();
    for (id, admin) in [("WKROOT", true), ("WKUSER", false)] {
        let (id, secret, owner) = (AccessKeyId(id.into()), "correct horse".into(), owner.clone());
        control
            .propose_blocking(&Command::CreateKey {
                key: AccessKey { id, secret, owner, admin, created_ms: 1, user: None, active: true },
            })
            .unwrap();
    }
    let control: Arc<dyn ControlPlane> = Arc::new(control);
    let (clock, random) = (SimulatedClock::starting_at(NOW_MS), SeededRandom::new(3));
    let root = SecretKey::from_slice(&[1; 32]).unwrap();
    let parts = AdminParts {
        named_keys: NamedKeys::new(control.clone(), root, clock.clone(), random.clone()),
        control,
        clock,
        random: random.clone(),
        admission: None,
        issuers: None,
        rates: Some(Arc::new(Rates::new(0, Arc::new(SimulatedMonotonic::default()), random, &Metrics::default()))),
        concurrency: None,
        region: "us-east-1".into(),
        edge: None,
    };
    Bench { parts, _directory: directory }
}

struct Signer<'a> {
    key: &'a str,
    secret: &'a str,
    region: &'a str,
    at_ms: u64,
}

const ROOT: Signer<'_> = Signer { key: "WKROOT", secret: "correct horse", region: "us-east-1", at_ms: NOW_MS };

fn request(signer: &Signer<'_>, method: &str, path: &str, body: &str) -> Request<Full<Bytes>> {
    let timestamp = sigv4::timestamp(signer.at_ms);
    let payload_hash = sigv4::payload_hash(body.as_bytes());
    let headers = vec![
        ("host", "127.0.0.1:9001"),
        ("x-amz-content-sha256", payload_hash.as_str()),
        ("x-amz-date", timestamp.as_str()),
    ];
    let scope = Scope { date: timestamp[..8].into(), region: signer.region.into(), service: "s3".into() };
    let signed = sigv4::Request { method, path, query: "", headers: headers.clone(), payload_hash: &payload_hash };
    let authorization = Authorization::sign(signer.key, signer.secret, scope, &timestamp, &signed);
    let mut request = Request::builder().method(method).uri(path).header("authorization", authorization.to_string());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

async fn ask(bench: &Bench, request: Request<Full<Bytes>>) -> (u16, Value) {
    let (head, body) = handle(&bench.parts, request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn code(bench: &Bench, request: Request<Full<Bytes>>) -> (u16, String) {
    let (status, body) = ask(bench, request).await;
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn keys_are_made_listed_and_deleted() {
    let bench = bench();
    let body = json!({ "owner": "ann", "email": "ann@example.com" }).to_string();
    let (status, made) = ask(&bench, request(&ROOT, "POST", "/api/v1/keys", &body)).await;
    assert_eq!((status, &made["display_name"], &made["admin"]), (201, &json!("ann"), &json!(false)));
    let secret = made["secret_key"].as_str().unwrap();
    let id = made["access_key"].as_str().unwrap();
    assert_eq!(bench.parts.control.current().keys[&AccessKeyId(id.into())].secret, secret);

    let (status, listed) = ask(&bench, request(&ROOT, "GET", "/api/v1/keys", "")).await;
    assert_eq!((status, listed["keys"].as_array().unwrap().len()), (200, 3));
    for hidden in [secret, "correct horse", "secret"] {
        assert!(!listed.to_string().contains(hidden));
    }

    let path = format!("/api/v1/keys/{id}");
    assert_eq!(ask(&bench, request(&ROOT, "DELETE", &path, "")).await, (204, Value::Null));
    assert_eq!(code(&bench, request(&ROOT, "DELETE", &path, "")).await, (404, "NoSuchKey".into()));
    let last = request(&ROOT, "DELETE", "/api/v1/keys/WKROOT", "");
    assert_eq!(code(&bench, last).await, (409, "LastAdminKey".into()));
}

#[tokio::test]
async fn keys_are_imported_and_their_owners_kept() {
    let bench = bench();
    let import = |name: &str, id: &str| {
        json!({ "owner": "ann", "display_name": name, "access_key": id, "secret_key": "12345678" }).to_string()
    };
    let (status, answer) = ask(&bench, request(&ROOT, "POST", "/api/v1/keys", &import("Ann", "ANNS-KEY"))).await;
    assert_eq!((status, &answer["secret_key"]), (201, &Value::Null), "{answer}");
    let again = request(&ROOT, "POST", "/api/v1/keys", &import("Other", "ANNS-KEY"));
    assert_eq!(code(&bench, again).await, (409, "KeyExists".into()));
    let second = json!({ "owner": "ann" }).to_string();
    let (_, answer) = ask(&bench, request(&ROOT, "POST", "/api/v1/keys", &second)).await;
    assert_eq!(answer["display_name"], "Ann");
}

#[tokio::test]
async fn bad_bodies_are_refused_without_quoting_them() {
    let bench = bench();
    for body in [
        "",
        "[]",
        r#"{"owner": "ann", "secret": "topsecret"}"#,
        r#"{"owner": "ann", "access_key": 1, "secret_key": "topsecret"}"#,
        r#"{"owner": "ann", "secret_key": "topsecret"}"#,
        r#"{"owner": "ann", "access_key": "a/b", "secret_key": "topsecret"}"#,
        r#"{"owner": "", "access_key": "abc", "secret_key": "topsecret"}"#,
    ] {
        let (status, answer) = ask(&bench, request(&ROOT, "POST", "/api/v1/keys", body)).await;
        assert_eq!((status, &answer["code"]), (400, &json!("InvalidRequest")), "{body}: {answer}");
        assert!(!answer.to_string().contains("topsecret"));
    }
    let long = request(&ROOT, "POST", "/api/v1/keys", &" ".repeat(BODY_BYTES_MAX + 1));
    assert_eq!(code(&bench, long).await, (413, "BodyTooLarge".into()));
}

#[tokio::test]
async fn only_administrators_with_good_signatures_pass() {
    let bench = bench();
    let list = |signer: Signer<'_>| request(&signer, "GET", "/api/v1/keys", "");
    let refused = |status, code: &str| (status, code.to_owned());

    let wrong_secret = list(Signer { secret: "wrong horse", ..ROOT });
    assert_eq!(code(&bench, wrong_secret).await, refused(403, "SignatureDoesNotMatch"));
    let unknown = list(Signer { key: "WKNOBODY", ..ROOT });
    assert_eq!(code(&bench, unknown).await, refused(403, "SignatureDoesNotMatch"));
    // An unknown key is compared against an empty secret, which must not be a way in.
    let empty = list(Signer { key: "WKNOBODY", secret: "", ..ROOT });
    assert_eq!(code(&bench, empty).await, refused(403, "SignatureDoesNotMatch"));
    assert_eq!(code(&bench, list(Signer { key: "WKUSER", ..ROOT })).await, refused(403, "AccessDenied"));
    for at_ms in [NOW_MS - SKEW_MS - 1000, NOW_MS + SKEW_MS + 1000] {
        assert_eq!(code(&bench, list(Signer { at_ms, ..ROOT })).await, refused(403, "RequestTimeTooSkewed"));
    }
    assert_eq!(ask(&bench, list(Signer { at_ms: NOW_MS - SKEW_MS + 5000, ..ROOT })).await.0, 200);
    let (status, answer) = ask(&bench, list(Signer { region: "mars", ..ROOT })).await;
    assert_eq!((status, &answer["region"]), (400, &json!("us-east-1")));
    let anonymous = Request::get("/api/v1/keys").header("host", "x").body(Full::default()).unwrap();
    assert_eq!(code(&bench, anonymous).await, refused(401, "MissingAuthentication"));
}

#[tokio::test]
async fn what_was_signed_cannot_be_changed() {
    let bench = bench();
    let body = json!({ "owner": "ann" }).to_string();
    let good = || request(&ROOT, "POST", "/api/v1/keys", &body);
    let malformed = || (400, "AuthorizationHeaderMalformed".to_owned());

    let mut other_body = good();
    *other_body.body_mut() = Full::new(Bytes::from_static(b"{}"));
    assert_eq!(code(&bench, other_body).await, (400, "XAmzContentSHA256Mismatch".into()));
    let mut other_method = good();
    *other_method.method_mut() = Method::DELETE;
    assert_eq!(code(&bench, other_method).await, (403, "SignatureDoesNotMatch".into()));
    let mut other_path = good();
    *other_path.uri_mut() = "/api/v1/keys?x=1".parse().unwrap();
    assert_eq!(code(&bench, other_path).await, (403, "SignatureDoesNotMatch".into()));
    let mut other_host = good();
    other_host.headers_mut().insert("host", HeaderValue::from_static("evil"));
    assert_eq!(code(&bench, other_host).await, (403, "SignatureDoesNotMatch".into()));
    let mut unsigned_header = good();
    unsigned_header.headers_mut().insert("x-amz-acl", HeaderValue::from_static("public-read"));
    assert_eq!(code(&bench, unsigned_header).await, malformed());
    for name in ["host", "x-amz-date", "x-amz-content-sha256", "authorization"] {
        let mut twice = good();
        let value = twice.headers()[name].clone();
        twice.headers_mut().append(name, value);
        assert_eq!(code(&bench, twice).await, malformed(), "{name} twice");
    }
    for name in ["host", "x-amz-date", "x-amz-content-sha256"] {
        let mut missing = good();
        missing.headers_mut().remove(name);
        assert_eq!(code(&bench, missing).await, malformed(), "{name} missing");
    }
}

/// One request of the administrator, and its answer's status and body.
async fn admin(bench: &Bench, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask(bench, request(&ROOT, method, path, &body)).await
}

#[tokio::test]
async fn users_groups_policies_and_roles_are_managed() {
    let bench = bench();
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" }],
    });
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole" }],
    });
    let (_, accounts) = admin(&bench, "GET", "/api/v1/accounts", &Value::Null).await;
    let number = accounts["accounts"][0]["account"].as_str().unwrap().to_owned();
    let at = |rest: &str| format!("/api/v1/accounts/root/{rest}");
    let steps = [
        ("POST", at("policies"), json!({ "name": "reads", "document": document }), 201),
        ("POST", at("policies"), json!({ "name": "reads", "document": document }), 409),
        ("POST", at("policies"), json!({ "name": "none", "document": {} }), 400),
        ("POST", at("users"), json!({ "name": "ann", "policies": ["reads"] }), 201),
        ("POST", at("users"), json!({ "name": "ann" }), 409),
        ("POST", at("users"), json!({ "name": "bob", "policies": ["absent"] }), 404),
        ("POST", at("users"), json!({ "name": "a b" }), 400),
        ("POST", at("users"), json!({ "nam": "ann" }), 400),
        ("POST", at("groups"), json!({ "name": "staff" }), 201),
        ("PUT", at("groups/staff/members/ann"), Value::Null, 204),
        ("PUT", at("groups/staff/policies/reads"), Value::Null, 204),
        ("POST", at("roles"), json!({ "name": "runs", "trust": trust }), 201),
        ("POST", at("roles"), json!({ "name": "none", "trust": document }), 400),
        ("PUT", at(&format!("roles/runs/policies/arn:aws:iam::{number}:policy/reads")), Value::Null, 204),
        ("DELETE", at("policies/reads"), Value::Null, 409),
        ("DELETE", at("users/ann"), Value::Null, 409),
        ("POST", at("policies/reads/versions"), json!({ "document": document }), 201),
        ("GET", "/api/v1/accounts/nobody/users".to_owned(), Value::Null, 404),
    ];
    for (method, path, body, status) in steps {
        let answer = admin(&bench, method, &path, &body).await;
        assert_eq!(answer.0, status, "{method} {path} {body}: {}", answer.1);
    }
    let by_number = format!("/api/v1/accounts/{number}/users");
    let (_, users) = admin(&bench, "GET", &by_number, &Value::Null).await;
    assert_eq!((users["users"].as_array().unwrap().len(), &users["users"][0]["groups"]), (1, &json!(["staff"])));
    let (_, policy) = admin(&bench, "GET", &at("policies/reads"), &Value::Null).await;
    assert_eq!((&policy["document"], &policy["version"], &policy["attached"]), (&document, &json!(2), &json!(3)));
    let steps = [
        at("groups/staff/policies/reads"),
        at("groups/staff/members/ann"),
        at("groups/staff"),
        at("roles/runs/policies/reads"),
        at("roles/runs"),
        at("users/ann/policies/reads"),
        at("users/ann"),
    ];
    for path in steps {
        let answer = admin(&bench, "DELETE", &path, &Value::Null).await;
        assert_eq!(answer.0, 204, "{path}: {}", answer.1);
    }
    assert_eq!(admin(&bench, "DELETE", &at("roles/runs"), &Value::Null).await.0, 404);
}

#[tokio::test]
async fn keys_of_users_are_imported_with_a_policy() {
    let bench = bench();
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }],
    });
    let import = |id: &str, more: Value| {
        let mut body = json!({ "owner": "ann", "access_key": id, "secret_key": "12345678" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let keys = "/api/v1/keys";
    // Nothing is stored of what is refused.
    let absent = admin(&bench, "POST", keys, &import("one", json!({ "policy": "absent" }))).await;
    assert_eq!((absent.0, bench.parts.control.current().owners.len()), (404, 1), "{}", absent.1);
    let root = json!({ "tenant": "t", "account_root": true });
    assert_eq!(admin(&bench, "POST", keys, &import("one", root)).await.0, 201);
    let policy = json!({ "name": "all", "document": document });
    assert_eq!(admin(&bench, "POST", "/api/v1/accounts/ann/policies", &policy).await.0, 201);
    let (status, made) = admin(&bench, "POST", keys, &import("two", json!({ "policy": "all" }))).await;
    assert_eq!((status, &made["user"], &made["active"]), (201, &json!("ann"), &json!(true)), "{made}");
    let state = bench.parts.control.current();
    let owner = OwnerId("ann".into());
    assert_eq!(state.iam.accounts[&owner].tenant.as_deref(), Some("t"));
    assert_eq!(state.iam.user(&owner, "ann").unwrap().attached.managed.len(), 1);
    assert_eq!(state.keys[&AccessKeyId("one".into())].user, None);
    let (status, _) = admin(&bench, "POST", keys, &import("three", json!({ "user": "other", "policy": "all" }))).await;
    assert_eq!(status, 201);
    for strange in [
        json!({ "account_root": true, "policy": "all" }),
        json!({ "account_root": true, "user": "u" }),
        json!({ "admin": true, "user": "u" }),
        json!({ "admin": true, "policy": "all" }),
    ] {
        assert_eq!(admin(&bench, "POST", keys, &import("four", strange.clone())).await.0, 400, "{strange}");
    }
    let off = json!({ "active": false });
    assert_eq!(admin(&bench, "PATCH", "/api/v1/keys/two", &off).await.1["active"], json!(false));
    assert_eq!(admin(&bench, "PATCH", "/api/v1/keys/none", &off).await.0, 404);
    assert_eq!(admin(&bench, "PATCH", "/api/v1/keys/WKROOT", &off).await.0, 409);
}

#[tokio::test]
async fn the_description_needs_no_signature() {
    let bench = bench();
    let plain = Request::get("/api/v1/openapi.json").body(Full::default()).unwrap();
    let (status, described) = ask(&bench, plain).await;
    assert_eq!((status, &described["openapi"]), (200, &json!("3.1.0")));
    assert!(described["paths"]["/api/v1/accounts/{account}/users"]["post"].is_object());
}

#[tokio::test]
async fn other_paths_and_methods_are_named() {
    let bench = bench();
    for (method, path, status) in [
        ("GET", "/api/v1/users", 404),
        ("GET", "/api/v1/keysmith", 404),
        ("PUT", "/api/v1/keys", 405),
        ("GET", "/api/v1/keys/WKROOT", 405),
    ] {
        assert_eq!(ask(&bench, request(&ROOT, method, path, "")).await.0, status, "{method} {path}");
    }
}

const SKEW_MS: u64 = 15 * 60 * 1000;

#[tokio::test]
async fn named_keys_are_made_and_rotated_and_show_nothing() {
    let bench = bench();
    let ask = async |method, path, body: &str| ask(&bench, request(&ROOT, method, path, body)).await;
    let (status, made) = ask("POST", "/api/v1/kms", r#"{"name":"team/key-1"}"#).await;
    assert_eq!((status, &made["name"], &made["versions"]), (201, &json!("team/key-1"), &json!(1)));
    assert_eq!(ask("POST", "/api/v1/kms", r#"{"name":"team/key-1"}"#).await.0, 409);
    let (status, rotated) = ask("POST", "/api/v1/kms/team/key-1/versions", "").await;
    assert_eq!((status, &rotated["versions"]), (201, &json!(2)));
    assert_eq!(ask("POST", "/api/v1/kms/other/versions", "").await.0, 404);
    for name in ["weir/sse-s3", "aws/s3", "a b", "", "arn:aws:kms:r:1:key/x"] {
        assert_eq!(ask("POST", "/api/v1/kms", &json!({ "name": name }).to_string()).await.0, 400, "{name}");
    }
    assert_eq!(ask("DELETE", "/api/v1/kms", "").await.0, 405);
    assert_eq!(ask("GET", "/api/v1/kmsx", "").await.0, 404);
    let (_, listed) = ask("GET", "/api/v1/kms", "").await;
    let shown: Vec<_> = listed["keys"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((listed["keys"].as_array().unwrap().len(), shown), (1, vec!["created_ms", "name", "versions"]));
}

#[tokio::test]
async fn a_session_of_an_administrator_passes() {
    use authn::session::{Grant, GrantedTo};
    let bench = bench();
    let grant = |admin| Grant {
        owner: OwnerId("root".into()),
        of: GrantedTo::Root { admin },
        issued_ms: NOW_MS,
        expires_ms: NOW_MS + 900_000,
        policy: None,
        policy_arns: Vec::new(),
        tags: Default::default(),
        claims: Default::default(),
        issuer: None,
        chained: false,
    };
    let ask = async |given: &crate::sessions::Given, secret: &str, token: Option<&str>| {
        let timestamp = sigv4::timestamp(NOW_MS);
        let hash = sigv4::payload_hash(b"");
        let mut headers =
            vec![("host", "127.0.0.1:9001"), ("x-amz-content-sha256", hash.as_str()), ("x-amz-date", &timestamp)];
        headers.extend(token.map(|token| ("x-amz-security-token", token)));
        let scope = Scope { date: timestamp[..8].into(), region: "us-east-1".into(), service: "s3".into() };
        let signed = sigv4::Request {
            method: "GET",
            path: "/api/v1/keys",
            query: "",
            headers: headers.clone(),
            payload_hash: &hash,
        };
        let authorization = Authorization::sign(&given.opened.access_key.0, secret, scope, &timestamp, &signed);
        let mut request = Request::get("/api/v1/keys").header("authorization", authorization.to_string());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let answer = handle(&bench.parts, request).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["code"].as_str().unwrap_or("ok").to_owned())
    };
    let admin = bench.parts.sessions().give(grant(true)).await.unwrap();
    let other = bench.parts.sessions().give(grant(false)).await.unwrap();
    let secret = |given: &crate::sessions::Given| given.opened.secret.expose().to_owned();
    let answer = |status, code: &str| (status, code.to_owned());
    assert_eq!(ask(&admin, &secret(&admin), Some(&admin.token)).await, answer(200, "ok"));
    assert_eq!(ask(&other, &secret(&other), Some(&other.token)).await, answer(403, "AccessDenied"));
    assert_eq!(ask(&admin, &secret(&other), Some(&admin.token)).await, answer(403, "SignatureDoesNotMatch"));
    assert_eq!(ask(&admin, &secret(&admin), None).await, answer(403, "SignatureDoesNotMatch"));
    assert_eq!(ask(&admin, &secret(&admin), Some(&other.token)).await, answer(400, "InvalidToken"));
    assert_eq!(ask(&admin, &secret(&admin), Some("x")).await, answer(400, "InvalidToken"));
}
