//! The key verbs of the real binary against the real admin API, without storage: only the listener is this file's own.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use cluster::{ControlPlane, EmbeddedControlPlane};
use common::doors::{SeededRandom, SystemClock};
use gateway::admin::{AdminParts, handle};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::Arc;

const ROOT: (&str, &str) = ("ROOT", "root-secret");

/// An admin port in front of a new control plane with one administrator, in another region than the usual one.
async fn admin_port(control: EmbeddedControlPlane) -> SocketAddr {
    let owner = common::OwnerId("root".into());
    let described = cluster::Owner { id: owner.clone(), display_name: "root".into(), email: None };
    control.propose(cluster::Command::PutOwner { owner: described }).await.unwrap();
    let (id, secret) = (common::AccessKeyId(ROOT.0.into()), ROOT.1.into());
    let key = cluster::AccessKey { id, secret, owner, admin: true, created_ms: 1, user: None, active: true };
    control.propose(cluster::Command::CreateKey { key }).await.unwrap();
    let control: Arc<dyn ControlPlane> = Arc::new(control);
    let root = common::SecretKey::from_slice(&[1; 32]).unwrap();
    let random = SeededRandom::new(1);
    let named_keys = gateway::kms::NamedKeys::new(control.clone(), root, Arc::new(SystemClock), random.clone());
    let parts = Arc::new(AdminParts {
        control,
        clock: Arc::new(SystemClock),
        random,
        named_keys,
        admission: None,
        issuers: None,
        rates: None,
        concurrency: None,
        region: "eu-north-7".into(),
        edge: None,
    });
    #[expect(clippy::disallowed_methods, reason = "the test stands in for the gateway's listener")]
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let parts = Arc::clone(&parts);
            let service = service_fn(move |request| {
                let parts = Arc::clone(&parts);
                async move { Ok::<_, Infallible>(handle(&parts, request).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn weir(address: SocketAddr, secret: &str, arguments: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments.split(' ')).env_clear();
    command.env("WEIR_ADMIN_ENDPOINT", format!("http://{address}"));
    command.env("WEIR_ADMIN_ACCESS_KEY", ROOT.0).env("WEIR_ADMIN_SECRET_KEY", secret);
    let ran: std::io::Result<Output> = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let Output { status, stdout, stderr } = ran.unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_live_and_die_by_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let control = EmbeddedControlPlane::open(&directory.path().join("control.redb")).unwrap();
    let address = admin_port(control.clone()).await;
    let root = |arguments| weir(address, ROOT.1, arguments);

    let (status, made) = root("key create --owner ann --email ann@example.com").await;
    assert_eq!(status, Some(0), "{made}");
    let state = control.current();
    let key = state.keys.values().find(|key| key.owner.0 == "ann").unwrap();
    assert!(made.contains(&key.id.0) && made.contains(&key.secret), "{made}");

    let import = "key import --owner bob --display-name Bob --email b@c --access-key BOB --secret-key bobs-secret";
    assert_eq!(root(import).await, (Some(0), "imported BOB\n".into()));
    assert_eq!(root(import).await, (Some(4), "weir: access key BOB exists\n".into()));

    let with_policy = "key import --owner bob --access-key BOB2 --secret-key bobs-secret --policy absent";
    assert_eq!(root(with_policy).await, (Some(3), "weir: there is no policy absent\n".into()));
    let of_user = "key import --owner bob --access-key BOB2 --secret-key bobs-secret --user carl --policy weir-ro";
    assert_eq!(root(of_user).await, (Some(0), "imported BOB2\n".into()));
    let (_, users) = root("user list --account bob --json").await;
    let users: serde_json::Value = serde_json::from_str(&users).unwrap();
    assert_eq!((&users[0]["name"], &users[0]["keys"][0]), (&"carl".into(), &"BOB2".into()));
    assert_eq!(users[0]["policies"][0], "arn:aws:iam::aws:policy/weir-ro");
    assert_eq!(root("group create staff --account bob").await, (Some(0), "created staff\n".into()));
    assert_eq!(root("group add staff carl --account bob").await, (Some(0), "carl is in staff\n".into()));
    assert_eq!(root("user delete carl --account bob").await.0, Some(4));
    assert_eq!(root("group remove staff carl --account bob").await.0, Some(0));
    assert_eq!(root("policy detach weir-ro --user carl --account bob").await.0, Some(0));
    assert_eq!(root("key delete BOB2").await.0, Some(0));
    assert_eq!(root("user delete carl --account bob").await, (Some(0), "deleted carl\n".into()));
    assert_eq!(root("user delete carl --account bob").await.0, Some(3));

    let (status, listed) = root("key list").await;
    assert_eq!((status, listed.lines().count()), (Some(0), 4), "{listed}");
    let (_, json) = root("key list --json").await;
    let keys: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(keys.as_array().unwrap().len(), 3);
    for secret in [ROOT.1, "bobs-secret", &key.secret] {
        assert!(!listed.contains(secret) && !json.contains(secret));
    }

    assert_eq!(root("key delete BOB").await, (Some(0), "deleted BOB\n".into()));
    assert_eq!(root("key delete BOB").await, (Some(3), "weir: access key BOB does not exist\n".into()));
    assert_eq!(root("key delete ROOT").await.0, Some(4));
    let (status, refused) = weir(address, "wrong-secret", "key list").await;
    assert!(status == Some(4) && !refused.contains("wrong-secret"), "{refused}");
}
