//! The start's decisions, without a target.

use super::ports::address;
use super::*;
use common::doors::{SeededRandom, SimulatedClock};

struct Bench {
    directory: tempfile::TempDir,
    control: EmbeddedControlPlane,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = EmbeddedControlPlane::open(&directory.path().join("control/control.redb")).unwrap();
        Self { directory, control }
    }

    fn start(&self, preset: Option<(&str, &str)>) -> Result<AdminKey> {
        let preset = preset.map(|(access_key, secret)| Credentials {
            access_key: authn::parse_access_key_id(access_key).unwrap(),
            secret: authn::Secret::parse(secret).unwrap(),
        });
        let clock = SimulatedClock::starting_at(9);
        ensure_admin(&self.control, self.directory.path(), preset, &*clock, &*SeededRandom::new(4))
    }

    fn kept(&self) -> Option<Credentials> {
        credentials::read(&credentials::path(self.directory.path())).unwrap()
    }
}

#[test]
fn the_first_start_makes_a_key_and_the_second_keeps_it() {
    let bench = Bench::new();
    let AdminKey::Made(key) = bench.start(None).unwrap() else { panic!("no key was made") };
    assert_eq!(bench.kept().as_ref(), Some(&key));
    let state = bench.control.current();
    let stored = &state.keys[&key.access_key];
    assert_eq!((stored.admin, stored.secret.as_str()), (true, key.secret.expose()));
    assert_eq!(bench.start(None).unwrap(), AdminKey::Kept);
    assert_eq!(bench.control.current(), state);
}

#[test]
fn a_start_that_broke_off_is_finished_with_the_same_key() {
    let bench = Bench::new();
    let access_key = authn::parse_access_key_id("WKUNFINISHED").unwrap();
    let key = Credentials { access_key, secret: authn::Secret::parse("12345678").unwrap() };
    credentials::write(&credentials::path(bench.directory.path()), &key).unwrap();
    assert_eq!(bench.start(None).unwrap(), AdminKey::Made(key));
}

#[test]
fn presets_are_created_kept_or_refused() {
    let bench = Bench::new();
    assert_eq!(bench.start(Some(("preset", "preset-secret"))).unwrap(), AdminKey::Preset);
    assert_eq!(bench.kept().unwrap().access_key.0, "preset");
    assert_eq!(bench.start(Some(("preset", "preset-secret"))).unwrap(), AdminKey::Preset);
    let refused = bench.start(Some(("preset", "other-secret"))).unwrap_err();
    assert!(matches!(&refused, Error::Refused(sentence) if sentence.contains("another secret")));
    assert!(!refused.to_string().contains("preset-secret") && !refused.to_string().contains("other-secret"));

    // A second one joins the first, and the file stays as it is.
    assert_eq!(bench.start(Some(("second", "second-secret"))).unwrap(), AdminKey::Preset);
    assert_eq!(bench.kept().unwrap().access_key.0, "preset");
    assert_eq!(bench.control.current().keys.len(), 2);
    assert_eq!(bench.start(None).unwrap(), AdminKey::Kept);
}

#[test]
fn plain_http_stays_on_loopback() {
    for text in ["127.0.0.1:9000", "[::1]:0", "127.9.9.9:1"] {
        assert!(address("--listen", text, true).is_ok(), "{text}");
    }
    for text in ["0.0.0.0:9000", "[::]:9000", "192.0.2.1:9000"] {
        assert!(matches!(address("--listen", text, true), Err(Error::Usage(_))), "{text}");
        assert!(address("--listen", text, false).is_ok(), "{text}");
    }
    assert!(address("--listen", "9000", false).is_err());
}

fn plain() -> Endpoint {
    Endpoint { host: "127.0.0.1:9000".parse().unwrap(), is_tls: false, authority: None }
}

#[test]
fn the_first_lines_name_the_authority() {
    let key = Credentials {
        access_key: authn::parse_access_key_id("WKA").unwrap(),
        secret: authn::Secret::parse("a-long-enough-secret").unwrap(),
    };
    let endpoint = Endpoint { is_tls: true, authority: Some("/d/ca.pem".into()), ..plain() };
    let text = first_lines(&endpoint, "r", &key, Path::new("f"));
    for part in [
        "--endpoint-url https://127.0.0.1:9000",
        "AWS_CA_BUNDLE='/d/ca.pem'",
        "--ca-certs='/d/ca.pem'",
        r#"verify="/d/ca.pem""#,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let known = first_lines(&Endpoint { authority: None, ..endpoint }, "r", &key, Path::new("f"));
    assert!(known.contains("--ssl ls") && !known.contains("ca.pem"));
}

#[test]
fn the_first_lines_can_be_pasted() {
    let access_key = authn::parse_access_key_id("WKA").unwrap();
    let key = Credentials { access_key, secret: authn::Secret::parse("it's$8chars").unwrap() };
    let text = first_lines(&plain(), "us-east-1", &key, Path::new("./d/control/f"));
    for line in [
        r"export AWS_ACCESS_KEY_ID=WKA AWS_SECRET_ACCESS_KEY='it'\''s$8chars' AWS_DEFAULT_REGION=us-east-1",
        "aws --endpoint-url http://127.0.0.1:9000 s3 mb s3://demo",
        "--host=127.0.0.1:9000 --host-bucket=127.0.0.1:9000 --region=us-east-1 --no-ssl ls",
        r#"aws_secret_access_key="it's$8chars", config="#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn secrets_that_everybody_knows_stay_at_home() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let (home, open) = (address("127.0.0.1:9000"), address("0.0.0.0:9000"));
    for pair in [
        ("minioadmin", "minioadmin"),
        ("rustfsadmin", "rustfsadmin"),
        ("admin", "ADMIN123"),
        ("same-pair", "same-pair"),
    ] {
        assert!(refuse_known_keys(&[home, home], &[pair]).is_ok());
        for listen in [[open, home], [home, open], [address("[::]:9000"), home]] {
            let refused = refuse_known_keys(&listen, &[("WK", "a good secret"), pair]).unwrap_err();
            assert!(matches!(&refused, Error::Refused(_)), "{refused}");
            assert!(pair.0 == pair.1 || !refused.to_string().contains(pair.1), "{refused}");
        }
    }
    assert!(refuse_known_keys(&[open, open], &[("admin", "a-secret-of-its-own")]).is_ok());
}
