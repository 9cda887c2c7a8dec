#![expect(clippy::disallowed_methods, reason = "tests lay files out by hand")]

use super::*;
use common::doors::{SeededRandom, SimulatedClock};
use std::fs;

const NOW_MS: u64 = 1_790_000_000_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

struct Scene {
    home: tempfile::TempDir,
    clock: Arc<SimulatedClock>,
    random: Arc<SeededRandom>,
}

impl Scene {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home, clock: SimulatedClock::starting_at(NOW_MS), random: SeededRandom::new(3) }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("tls")
    }

    fn open(&self, mode: Mode, is_open: bool) -> Result<Edge> {
        let path = |name: &str| self.home.path().join(name);
        let config = Config {
            dir: Some(self.dir()),
            own_dir: path("authority"),
            modes_file: path("listeners.json"),
            names: vec!["s3.example.com".to_owned()],
            plain_http: false,
            protocols: vec![b"http/1.1".to_vec()],
            listeners: vec![
                Listener { name: "data", mode, is_open },
                Listener { name: "admin", mode: HTTPS, is_open: false },
            ],
        };
        Edge::open(config, self.clock.clone(), self.random.clone())
    }

    fn put(&self, name: &str, names: &[&str]) {
        let made = Authority::make(NOW_MS, &*self.random).unwrap();
        let authority = Authority::open(&made.certificate_pem, &made.key_pem, "x").unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = authority.issue(&names, Purpose::Server, self.clock.now_ms(), &*self.random).unwrap();
        self.write(&format!("{name}.crt"), pair.certificate_pem.as_bytes());
        self.write(&format!("{name}.key"), pair.key_pem.as_bytes());
    }

    fn write(&self, file: &str, content: &[u8]) {
        fs::write(self.dir().join(file), content).unwrap();
    }
}

const HTTPS: Mode = Mode { scheme: Scheme::Https, client_auth: Level::None };
const HTTP: Mode = Mode { scheme: Scheme::Http, client_auth: Level::None };
const MUTUAL: Mode = Mode { scheme: Scheme::Https, client_auth: Level::RequireAndVerify };

fn switch(edge: &Edge, listener: &str, mode: Mode) -> Result<()> {
    edge.switch(listener, Some(mode.scheme), Some(mode.client_auth))
}

fn served(edge: &Edge) -> Vec<(String, String)> {
    edge.served().into_iter().map(|served| (served.name, served.facts.serial)).collect()
}

fn config_of(edge: &Edge, listener: &str) -> Option<Arc<ServerConfig>> {
    match &*edge.serving(listener).unwrap().borrow() {
        Serving::Plain => None,
        Serving::Tls { config, .. } => Some(config.clone()),
    }
}

#[test]
fn an_empty_directory_gets_an_authority_that_stays() {
    let scene = Scene::new();
    let edge = scene.open(HTTPS, true).unwrap();
    let first = edge.served();
    assert!(first.len() == 1 && first[0].is_own && first[0].is_default);
    assert!(
        check::covers(&first[0].facts.names, "s3.example.com") && check::covers(&first[0].facts.names, "127.0.0.1")
    );
    let authority = edge.authority_facts().unwrap();
    drop(edge);
    let edge = scene.open(HTTPS, true).unwrap();
    assert_eq!((edge.served(), edge.authority_facts().unwrap()), (first.clone(), authority.clone()));
    // After sixty days the leaf is another one, of the same authority.
    scene.clock.advance_ms(61 * DAY_MS);
    assert_eq!(edge.reload(Reason::Poll).result, "changed");
    let renewed = edge.served();
    assert_ne!(renewed[0].facts.serial, first[0].facts.serial);
    assert_eq!(renewed[0].facts.issuer, authority.subject);
    assert_eq!(edge.reload(Reason::Poll).result, "unchanged");
    // The user's own take its place.
    scene.put("tls", &["s3.example.com"]);
    assert_eq!(edge.reload(Reason::Watch).result, "changed");
    assert_eq!(served(&edge).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["tls"]);
}

#[test]
fn nothing_wrong_replaces_what_is_served() {
    let scene = Scene::new();
    fs::create_dir(scene.dir()).unwrap();
    scene.put("tls", &["s3.example.com"]);
    let edge = scene.open(HTTPS, true).unwrap();
    let (good, config) = (served(&edge), config_of(&edge, "data").unwrap());
    let (crt, key) = (scene.dir().join("tls.crt"), scene.dir().join("tls.key"));
    let (certificate, secret) = (fs::read(&crt).unwrap(), fs::read(&key).unwrap());
    for (file, content) in [
        ("tls.crt", &b""[..]),
        ("tls.crt", &certificate[..certificate.len() / 3]),
        ("tls.crt", b"nonsense"),
        ("tls.crt", &vec![b'x'; 10_000_000]),
        ("tls.key", b""),
        ("tls.key", &secret[..secret.len() / 2]),
    ] {
        scene.write(file, content);
        let report = edge.reload(Reason::Watch);
        assert!(report.is_held && report.result == "failed" && report.faults[0].starts_with(file), "{report:?}");
        assert!(edge.state().faults.is_empty(), "not yet");
        assert!(!edge.reload(Reason::Api).is_held);
        assert_eq!(edge.state().faults, report.faults);
        scene.write("tls.crt", &certificate);
        scene.write("tls.key", &secret);
        assert_eq!(edge.reload(Reason::Watch).result, "unchanged");
        assert!(edge.state().faults.is_empty());
        assert_eq!(served(&edge), good);
    }
    fs::remove_file(&crt).unwrap();
    assert_eq!(edge.reload(Reason::Api).faults, ["tls.crt is missing"]);
    fs::remove_dir_all(scene.dir()).unwrap();
    assert_eq!(edge.reload(Reason::Api).result, "failed");
    assert_eq!(served(&edge), good);
    fs::create_dir(scene.dir()).unwrap();
    assert!(edge.reload(Reason::Api).faults[0].ends_with("holds no pair NAME.crt and NAME.key"));
    scene.put("tls", &["s3.example.com"]);
    assert_eq!(edge.reload(Reason::Api).result, "changed");
    assert!(
        Arc::ptr_eq(&config, &config_of(&edge, "data").unwrap()),
        "sessions stay when only the certificate changes"
    );
    scene.clock.advance_ms(75 * DAY_MS);
    assert_eq!(edge.reload(Reason::Poll).certificates[0].state, "expiring");
    assert_eq!(edge.lock().warned.values().collect::<Vec<_>>(), [&21], "one warning for each step");
    // Ninety days later the last one is still served, and said to be too old.
    scene.clock.advance_ms(20 * DAY_MS);
    let report = edge.reload(Reason::Poll);
    assert_eq!(
        (report.faults.as_slice(), report.certificates[0].state),
        (&["tls.crt expired".to_owned()][..], "expired")
    );
}

#[test]
fn a_start_without_a_good_pair_serves_the_own_leaf() {
    let scene = Scene::new();
    fs::create_dir(scene.dir()).unwrap();
    scene.write("tls.crt", b"half of");
    let edge = scene.open(HTTPS, true).unwrap();
    assert!(edge.served()[0].is_own);
    assert_eq!(edge.state().faults, ["tls.key is missing"]);
}

#[test]
fn listeners_are_switched_and_stay_so() {
    let scene = Scene::new();
    let edge = scene.open(HTTP, false).unwrap();
    assert!(config_of(&edge, "data").is_none());
    let mut changes = edge.serving("data").unwrap();
    switch(&edge, "data", HTTPS).unwrap();
    assert!(changes.has_changed().unwrap());
    let first = config_of(&edge, "data").unwrap();
    switch(&edge, "data", MUTUAL).unwrap();
    let second = config_of(&edge, "data").unwrap();
    assert!(!Arc::ptr_eq(&first, &second), "sessions of another policy are not resumed");
    assert_eq!(edge.state().client_authorities, [edge.authority_facts().unwrap().subject]);
    changes.mark_unchanged();
    switch(&edge, "data", MUTUAL).unwrap();
    edge.reload(Reason::Api);
    assert!(!changes.has_changed().unwrap());
    assert!(matches!(switch(&edge, "other", HTTPS), Err(Error::NoListener(..))));
    assert!(switch(&edge, "data", Mode { scheme: Scheme::Http, client_auth: Level::Request }).is_err());
    drop(edge);
    let edge = scene.open(HTTP, false).unwrap();
    assert_eq!(edge.mode("data"), Some(MUTUAL));
    switch(&edge, "data", HTTP).unwrap();
    assert_eq!(fs::read_to_string(scene.home.path().join("listeners.json")).unwrap(), "{}");
    scene.write("../listeners.json", b"[");
    assert!(matches!(scene.open(HTTP, false), Err(Error::Modes(..))));
}

#[test]
fn a_switch_of_a_listener_that_is_not_there_is_kept() {
    let scene = Scene::new();
    fs::create_dir(scene.dir()).unwrap();
    let kept = r#"{"https":{"scheme":"https","client_auth":"require-and-verify"}}"#;
    scene.write("../listeners.json", kept.as_bytes());
    let edge = scene.open(HTTP, false).unwrap();
    let modes = || read_modes(&scene.home.path().join("listeners.json")).unwrap();
    switch(&edge, "data", HTTPS).unwrap();
    assert_eq!(modes(), [("data".to_owned(), HTTPS), ("https".to_owned(), MUTUAL)].into());
    switch(&edge, "data", HTTP).unwrap();
    assert_eq!(modes(), [("https".to_owned(), MUTUAL)].into());
}

#[test]
fn what_a_switch_does_not_say_stays() {
    use Level::{None as Nobody, Request, RequireAndVerify as Known};
    use Scheme::{Http, Https};
    let mode = |scheme, client_auth| Mode { scheme, client_auth };
    for (before, flags, scheme, level, after) in [
        (mode(Https, Known), HTTP, None, None, Some(mode(Https, Known))),
        (mode(Https, Known), HTTP, Some(Https), None, Some(mode(Https, Known))),
        (mode(Https, Known), HTTP, None, Some(Request), Some(mode(Https, Request))),
        (mode(Https, Known), HTTP, Some(Http), None, None),
        (mode(Https, Known), HTTP, Some(Http), Some(Nobody), Some(HTTP)),
        (HTTPS, HTTPS, Some(Http), None, Some(HTTP)),
        (HTTP, mode(Https, Known), Some(Https), None, Some(mode(Https, Known))),
        (HTTP, mode(Https, Known), Some(Https), Some(Nobody), Some(HTTPS)),
        (HTTP, HTTP, Some(Https), None, Some(HTTPS)),
        (HTTP, HTTP, None, None, Some(HTTP)),
    ] {
        assert_eq!(switched(before, flags, scheme, level).ok(), after, "{before:?} {flags:?} {scheme:?} {level:?}");
    }
    let scene = Scene::new();
    let edge = scene.open(MUTUAL, false).unwrap();
    let refused = edge.switch("data", Some(Http), None).unwrap_err();
    assert!(matches!(&refused, Error::ClientAuthority(why) if why.contains("--client-auth none")), "{refused}");
    edge.switch("data", Some(Http), Some(Nobody)).unwrap();
    edge.switch("data", Some(Https), None).unwrap();
    assert_eq!(edge.mode("data"), Some(MUTUAL), "as the flags say");
}

#[test]
fn plain_http_is_not_for_open_listeners() {
    let scene = Scene::new();
    assert!(matches!(scene.open(HTTP, true), Err(Error::PlainHttp("data"))));
    let edge = scene.open(HTTPS, true).unwrap();
    assert!(matches!(switch(&edge, "data", HTTP), Err(Error::PlainHttp("data"))));
    assert_eq!(edge.mode("data"), Some(HTTPS));
}

#[test]
fn another_client_authority_is_another_configuration() {
    let scene = Scene::new();
    fs::create_dir(scene.dir()).unwrap();
    let bundle = |scene: &Scene| Authority::make(NOW_MS, &*scene.random).unwrap().certificate_pem;
    scene.write(CLIENT_CA, bundle(&scene).as_bytes());
    let edge = scene.open(MUTUAL, true).unwrap();
    let (first, admin) = (config_of(&edge, "data").unwrap(), config_of(&edge, "admin").unwrap());
    scene.write(CLIENT_CA, b"nonsense");
    assert_eq!(edge.reload(Reason::Api).result, "failed");
    fs::remove_file(scene.dir().join(CLIENT_CA)).unwrap();
    assert_eq!(edge.reload(Reason::Api).faults, ["client-ca.pem is missing"]);
    assert!(Arc::ptr_eq(&first, &config_of(&edge, "data").unwrap()), "the old one stays in force");
    scene.write(CLIENT_CA, bundle(&scene).as_bytes());
    assert_eq!(edge.reload(Reason::Api).result, "unchanged");
    assert!(!Arc::ptr_eq(&first, &config_of(&edge, "data").unwrap()));
    assert!(Arc::ptr_eq(&admin, &config_of(&edge, "admin").unwrap()), "it asks for none");
    scene.write(CLIENT_CRL, b"nonsense");
    assert_eq!(edge.reload(Reason::Api).faults, ["client-crl.pem is no PEM file with a revocation list"]);
}

fn knows(edge: &Edge, chain: &Issued) -> bool {
    mutual::tests::knows(edge.lock().trust.as_ref().unwrap(), &chain.certificate_pem)
}

#[test]
fn a_start_with_a_list_that_is_broken_knows_nobody_until_it_is_whole() {
    let scene = Scene::new();
    let edge = scene.open(HTTPS, true).unwrap();
    let [ann, joe] = ["ann", "joe"].map(|name| edge.issue(&[name.to_owned()], Purpose::Client).unwrap());
    let [list, again] = [1, 2].map(|number| {
        mutual::tests::list(edge.lock().own.as_ref().unwrap().authority.issuer(), number, &[&joe.certificate_pem])
    });
    drop(edge);
    let write = |content: &[u8]| scene.write(CLIENT_CRL, content);
    for broken in [&list.as_bytes()[..list.len() / 2], b"", &[b'x'; 2_000_000]] {
        write(broken);
        let edge = scene.open(MUTUAL, true).unwrap();
        assert!(!knows(&edge, &ann) && !knows(&edge, &joe));
        assert!(edge.state().faults[0].starts_with("client-crl.pem"), "{:?}", edge.state().faults);
        let judged = edge.validate();
        assert!(judged.iter().any(|judged| judged.name == CLIENT_CRL && judged.fault.is_some()), "{judged:?}");
        // Gone is no better.
        fs::remove_file(scene.dir().join(CLIENT_CRL)).unwrap();
        assert_eq!(edge.reload(Reason::Api).faults, ["client-crl.pem is missing"]);
        assert!(!knows(&edge, &ann) && !knows(&edge, &joe));
        let before = config_of(&edge, "data").unwrap();
        write(list.as_bytes());
        assert!(edge.reload(Reason::Watch).faults.is_empty());
        assert!(knows(&edge, &ann) && !knows(&edge, &joe));
        let config = config_of(&edge, "data").unwrap();
        assert!(!Arc::ptr_eq(&before, &config));
        write(again.as_bytes());
        assert!(
            edge.reload(Reason::Watch).faults.is_empty() && Arc::ptr_eq(&config, &config_of(&edge, "data").unwrap())
        );
        assert!(edge.validate().iter().all(|judged| judged.name != CLIENT_CRL || judged.fault.is_none()));
    }
}

#[test]
fn a_start_with_a_bundle_that_is_broken_knows_nobody_until_it_is_whole() {
    let scene = Scene::new();
    let edge = scene.open(HTTPS, true).unwrap();
    let ann = edge.issue(&["ann".to_owned()], Purpose::Client).unwrap();
    let bundle = edge.authority_pem().unwrap();
    drop(edge);
    scene.write(CLIENT_CA, &bundle.as_bytes()[..200]);
    let edge = scene.open(MUTUAL, true).unwrap();
    assert!(!knows(&edge, &ann), "the own authority does not stand in");
    scene.write(CLIENT_CA, bundle.as_bytes());
    edge.reload(Reason::Watch);
    assert!(knows(&edge, &ann));
    drop(edge);
    // A directory that cannot be read is not an empty one.
    fs::rename(scene.dir(), scene.home.path().join("away")).unwrap();
    fs::write(scene.dir(), "no directory").unwrap();
    let edge = scene.open(MUTUAL, true).unwrap();
    assert!(!knows(&edge, &ann) && !edge.state().faults.is_empty());
    fs::remove_file(scene.dir()).unwrap();
    fs::create_dir(scene.dir()).unwrap();
    edge.reload(Reason::Watch);
    assert!(knows(&edge, &ann), "it is empty");
}

#[test]
fn nobody_is_asked_for_what_nobody_can_show() {
    let scene = Scene::new();
    fs::create_dir(scene.dir()).unwrap();
    scene.write(CLIENT_CRL, b"nonsense");
    let edge = scene.open(HTTPS, true).unwrap();
    let refused = switch(&edge, "data", MUTUAL).unwrap_err().to_string();
    assert!(refused.contains(CLIENT_CRL), "{refused}");
    assert!(edge.mode("data") == Some(HTTPS) && edge.lock().trust.is_none());
    fs::remove_file(scene.dir().join(CLIENT_CRL)).unwrap();
    switch(&edge, "data", MUTUAL).unwrap();
}

#[test]
fn an_authority_without_its_key_is_refused() {
    let scene = Scene::new();
    drop(scene.open(HTTPS, true).unwrap());
    let key: &Path = &scene.home.path().join("authority/ca-key.pem");
    fs::remove_file(key).unwrap();
    assert!(matches!(scene.open(HTTPS, true), Err(Error::Authority(_))));
}

#[test]
fn others_get_certificates_too() {
    let scene = Scene::new();
    let edge = scene.open(HTTP, false).unwrap();
    let issued = edge.issue(&["client-7".to_owned()], Purpose::Client).unwrap();
    let facts = check::facts("x", issued.certificate_pem.as_bytes()).unwrap();
    assert_eq!((facts.names, facts.issuer), (vec!["client-7".to_owned()], edge.authority_facts().unwrap().subject));
    let before = served(&edge);
    assert_eq!(edge.renew().unwrap().result, "changed");
    assert_ne!(served(&edge), before);
}

#[test]
fn a_directory_is_judged_and_nothing_changes() {
    let scene = Scene::new();
    fs::create_dir(scene.dir()).unwrap();
    scene.put("good", &["a.example"]);
    scene.write("half.crt", b"x");
    scene.write(CLIENT_CA, b"x");
    let edge = scene.open(HTTPS, true).unwrap();
    let before = served(&edge);
    let judged = edge.validate();
    let faults: Vec<_> = judged.iter().map(|judged| (judged.name.as_str(), judged.fault.is_some())).collect();
    assert_eq!(faults, [("good", false), ("half", true), ("client-ca.pem", true)]);
    assert_eq!(judged[0].warnings, ["no certificate has the name s3.example.com"]);
    assert_eq!(served(&edge), before);
    assert!(validate(&scene.home.path().join("gone"), &[], NOW_MS)[0].fault.is_some());
}
