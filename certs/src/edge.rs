//! The certificates of all listeners, and what each listener speaks. Loading, renewing and switching each begin here, one after
//! the other; a handshake never waits for them.

use crate::authority::{self, Authority, Issued, Purpose};
use crate::check::{self, Facts};
use crate::error::{Error, Fault, Result};
use crate::load::{self, CLIENT_CA, CLIENT_CRL, Found, Hash};
use crate::mutual::{self, Level, Trust};
use crate::names;
use crate::store::{Entry, Loaded, Resolver, Store, merge};
use crate::watch::{Grace, Reason};
use common::{Clock, Random};
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mode {
    pub scheme: Scheme,
    pub client_auth: Level,
}

/// A listener as it is started.
#[derive(Debug, Clone)]
pub struct Listener {
    pub name: &'static str,
    /// What the flags say. A switch at run time outlives a restart, and goes before it.
    pub mode: Mode,
    /// Others can reach it: plain HTTP has to be allowed.
    pub is_open: bool,
}

pub struct Config {
    /// Pairs NAME.crt and NAME.key.
    pub dir: Option<PathBuf>,
    /// Where the own authority and its leaf are.
    pub own_dir: PathBuf,
    /// Where switches at run time are kept.
    pub modes_file: PathBuf,
    /// Names for the own leaf, besides the machine's.
    pub names: Vec<String>,
    /// Plain HTTP is allowed where others can reach it.
    pub plain_http: bool,
    /// What is offered by ALPN, the best first.
    pub protocols: Vec<Vec<u8>>,
    pub listeners: Vec<Listener>,
}

/// How a listener serves a connection that comes now.
#[derive(Debug, Clone)]
pub enum Serving {
    Plain,
    Tls { config: Arc<ServerConfig>, level: Level },
}

/// What came of a load.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub reason: Reason,
    /// `changed`, `unchanged`, or `failed` where something was wrong: the rest is served nevertheless.
    pub result: &'static str,
    pub faults: Vec<String>,
    pub certificates: Vec<Served>,
    /// What is wrong is not reported yet.
    #[serde(skip)]
    pub is_held: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Served {
    pub name: String,
    /// Whoever asks for no name, or for an unknown one, gets this.
    pub is_default: bool,
    /// Of the own authority.
    pub is_own: bool,
    /// `ok`, `expiring` or `expired`.
    pub state: &'static str,
    #[serde(flatten)]
    pub facts: Facts,
    /// Configured names that it does not cover are no fault: another certificate may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Everything that `weir tls show` tells.
#[derive(Debug, Clone, Default, Serialize)]
pub struct State {
    pub dir: Option<String>,
    pub authority: Option<Facts>,
    pub certificates: Vec<Served>,
    pub faults: Vec<String>,
    /// Subjects of the authorities whose clients are known.
    pub client_authorities: Vec<String>,
    pub revocation_lists: usize,
    pub listeners: Vec<ListenerState>,
    pub reloads: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ListenerState {
    pub listener: &'static str,
    pub scheme: Scheme,
    pub client_auth: Level,
    /// AIStore's number of it.
    pub client_auth_number: u8,
    /// Its flags say something else, and a switch goes before them.
    pub is_switched: bool,
}

/// What would come of a load of a directory: of each pair, and of the bundle for clients.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    pub name: String,
    /// It would not be taken, or only where there is nothing better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
}

/// Judges a directory, and changes nothing.
pub fn validate(dir: &Path, configured: &[String], now_ms: u64) -> Vec<Judged> {
    let now_s = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    let found = load::read(dir);
    let place = dir.display().to_string();
    let fault_of = |fault: &Fault| Judged {
        name: place.clone(),
        fault: Some(fault.to_string()),
        warnings: Vec::new(),
        facts: None,
    };
    let mut judged: Vec<Judged> = found.fault.iter().map(fault_of).collect();
    if found.pairs.is_empty() && found.fault.is_none() {
        judged.push(fault_of(&Fault::NoPairs(place.clone())));
    }
    for (name, result) in judge(&found, &Store::default(), now_s) {
        judged.push(match result {
            Err(fault) => Judged { name, fault: Some(fault.to_string()), warnings: Vec::new(), facts: None },
            Ok((entry, untimely)) => {
                let facts = entry.facts.clone();
                let mut warnings = Vec::new();
                if let (None, Some(step)) = (&untimely, check::warning_step(facts.not_after_s, now_s)) {
                    warnings.push(format!("{name}.crt ends within {step} days"));
                }
                if facts.names.is_empty() {
                    warnings.push(format!(
                        "{name}.crt has no name: it serves only as the default, and most clients refuse it"
                    ));
                }
                Judged { name, fault: untimely.map(|fault| fault.to_string()), warnings, facts: Some(facts) }
            }
        });
    }
    let all: Vec<String> =
        judged.iter().flat_map(|judged| &judged.facts).flat_map(|facts| facts.names.clone()).collect();
    if let Some(first) = judged.first_mut().filter(|_| !all.is_empty()) {
        let wanted = configured.iter().filter_map(|name| names::parse(name).ok());
        let missing = wanted.filter(|name| !check::covers(&all, name));
        first.warnings.extend(missing.map(|name| format!("no certificate has the name {name}")));
    }
    let bundle = found.client_ca.as_ref().map(|bundle| bundle.as_ref().map_err(Fault::clone));
    let lists = found.client_crl.as_ref().map(|lists| lists.as_ref().map_err(Fault::clone));
    let whose = bundle.clone().map(|bundle| bundle.and_then(|bundle| Trust::parse(bundle, None).map(drop)));
    let revoked = lists.map(|lists| {
        lists.and_then(|lists| match bundle {
            Some(Ok(bundle)) if matches!(whose, Some(Ok(()))) => Trust::parse(bundle, Some(lists)).map(drop),
            _ => mutual::parse_lists(lists).map(drop),
        })
    });
    for (name, result) in [(CLIENT_CA, whose), (CLIENT_CRL, revoked)] {
        let Some(result) = result else { continue };
        let fault = result.err().map(|fault| fault.to_string());
        judged.push(Judged { name: name.to_owned(), fault, warnings: Vec::new(), facts: None });
    }
    judged
}

struct Own {
    authority: Authority,
    leaf: Arc<Entry>,
}

struct Slot {
    listener: Listener,
    mode: Mode,
    /// The trust that its configuration was made with.
    trust: Option<Hash>,
    serving: watch::Sender<Serving>,
}

#[derive(Default)]
struct Inner {
    own: Option<Own>,
    trust: Option<Trust>,
    /// The trust is the bundle of the directory, and not the own authority; or nobody, as that bundle could not be used yet.
    has_bundle: bool,
    has_lists: bool,
    slots: Vec<Slot>,
    grace: Grace,
    faults: Vec<Fault>,
    reloads: BTreeMap<&'static str, u64>,
    /// The last warning of each certificate.
    warned: BTreeMap<String, i64>,
}

pub struct Edge {
    config: Config,
    names: Vec<String>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    resolver: Arc<Resolver>,
    first_look: Hash,
    /// For who must not wait for a load: what there is, and the own authority's certificate.
    published: RwLock<Arc<State>>,
    authority_pem: RwLock<Option<Arc<str>>>,
    inner: Mutex<Inner>,
}

impl Edge {
    /// Loads what there is, and makes an authority where TLS is asked for and there is no certificate.
    pub fn open(config: Config, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self> {
        let names = names::wanted(&config.names)?;
        if let Some(dir) = &config.dir {
            // Where it cannot be made there may be one later.
            let _ = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        }
        let switched = read_modes(&config.modes_file)?;
        let first_look = config.dir.as_deref().map_or([0; 32], load::look);
        let (resolver, published, authority_pem, inner) = Default::default();
        let edge = Self { config, names, clock, random, resolver, first_look, published, authority_pem, inner };
        {
            let mut inner = edge.lock();
            for listener in edge.config.listeners.clone() {
                let mode = switched.get(listener.name).copied().unwrap_or(listener.mode);
                edge.check_mode(&listener, mode)?;
                if mode != listener.mode {
                    tracing::warn!(
                        listener = listener.name,
                        scheme = mode.scheme.name(),
                        client_auth = mode.client_auth.name(),
                        "a switch at run time goes before the flags: weir tls switch changes it"
                    );
                }
                let (serving, _) = watch::channel(Serving::Plain);
                inner.slots.push(Slot { listener, mode, trust: None, serving });
            }
            if edge.is_wanted(&inner) || load::read_own(&edge.config.own_dir.join(CA_CERTIFICATE))?.is_some() {
                edge.load(&mut inner, Reason::Start)?;
                edge.configure(&mut inner)?;
            }
            edge.publish(&inner);
        }
        Ok(edge)
    }

    /// Whatever a listener serves, from now on.
    pub fn serving(&self, listener: &str) -> Option<watch::Receiver<Serving>> {
        self.lock().slots.iter().find(|slot| slot.listener.name == listener).map(|slot| slot.serving.subscribe())
    }

    pub fn mode(&self, listener: &str) -> Option<Mode> {
        self.lock().slots.iter().find(|slot| slot.listener.name == listener).map(|slot| slot.mode)
    }

    /// The certificate of the own authority, if there is one.
    pub fn authority_pem(&self) -> Option<Arc<str>> {
        self.authority_pem.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn authority_facts(&self) -> Option<Facts> {
        self.lock().own.as_ref().map(|own| own.authority.facts().clone())
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn now_s(&self) -> i64 {
        i64::try_from(self.clock.now_ms() / 1000).unwrap_or(i64::MAX)
    }

    pub(crate) fn first_look(&self) -> Hash {
        self.first_look
    }

    pub(crate) fn look(&self) -> Hash {
        self.config.dir.as_deref().map_or([0; 32], load::look)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a listener speaks TLS.
    fn is_wanted(&self, inner: &Inner) -> bool {
        inner.slots.iter().any(|slot| slot.mode.scheme == Scheme::Https)
    }

    /// Reads the directory and serves what is good in it. Waits for the disk.
    pub fn reload(&self, reason: Reason) -> Report {
        let mut inner = self.lock();
        if !self.is_wanted(&inner) {
            return Report {
                reason,
                result: "unchanged",
                faults: Vec::new(),
                certificates: Vec::new(),
                is_held: false,
            };
        }
        let loaded = self.load(&mut inner, reason).and_then(|report| self.configure(&mut inner).map(|()| report));
        let report = loaded.unwrap_or_else(|error| {
            tracing::error!(%error, ?reason, "the certificates could not be loaded: those before are served");
            let certificates = self.served();
            Report { reason, result: "failed", faults: vec![error.to_string()], certificates, is_held: false }
        });
        *inner.reloads.entry(report.result).or_default() += 1;
        self.publish(&inner);
        report
    }

    fn load(&self, inner: &mut Inner, reason: Reason) -> Result<Report> {
        let now_s = self.now_s();
        let old = self.resolver.store();
        let found = self.config.dir.as_deref().map(load::read);
        let (mut entries, mut faults) = match &found {
            Some(found) => merge(&old, judge(found, &old, now_s), now_s),
            None => (Vec::new(), Vec::new()),
        };
        if let Some(found) = &found {
            let place = || self.config.dir.as_ref().map_or_else(String::new, |dir| dir.display().to_string());
            let had_pairs = old.entries().iter().any(|entry| !entry.is_own);
            faults.extend(found.fault.clone());
            if found.pairs.is_empty() && found.fault.is_none() && had_pairs {
                faults.push(Fault::NoPairs(place()));
            }
        }
        if entries.is_empty() {
            entries.push(self.own(inner)?.leaf.clone());
        } else if inner.own.is_none() && load::read_own(&self.config.own_dir.join(CA_CERTIFICATE))?.is_some() {
            // For whoever trusts it: clients, and those who look for it at /-/ca.pem.
            self.own(inner)?;
        }
        if let Err(fault) = self.load_trust(inner, found.as_ref())? {
            if inner.trust.is_none() && self.verifies(inner) {
                inner.trust = Some(Trust::nobody());
            }
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }

        let changed = ids(old.entries()) != ids(&entries);
        for entry in entries.iter().filter(|_| changed) {
            let is_new = !old.entries().iter().any(|before| Arc::ptr_eq(before, entry));
            if is_new {
                tracing::info!(name = entry.name, serial = entry.facts.serial, ?reason, "a certificate is served");
            }
        }
        self.resolver.swap(Store::of(entries, now_s));
        self.warn(inner, now_s);

        faults.sort();
        let texts: Vec<String> = faults.iter().map(Fault::to_string).collect();
        let is_held = !inner.grace.reports(!faults.is_empty(), reason, self.now_ms());
        if !is_held && inner.faults != faults {
            if texts.is_empty() {
                tracing::info!("all certificates are good again");
            } else {
                let is_nobody = inner.trust.as_ref().is_some_and(Trust::is_nobody);
                let clients = if is_nobody { ", and no client's certificate is taken" } else { "" };
                tracing::error!(
                    faults = texts.join("; "),
                    ?reason,
                    "certificates are not taken: those before are served{clients}"
                );
            }
            inner.faults = faults;
        }
        let result = match (texts.is_empty(), changed) {
            (false, _) => "failed",
            (true, true) => "changed",
            (true, false) => "unchanged",
        };
        Ok(Report { reason, result, faults: texts, certificates: self.served(), is_held })
    }

    /// Whether a listener has to know whose clients are known.
    fn verifies(&self, inner: &Inner) -> bool {
        inner.slots.iter().any(|slot| slot.mode.client_auth.verifies())
    }

    /// Whose clients are known. What is wrong, or gone, leaves what was there before. A file that could not be used yet is not
    /// passed over: without its lists, say, a client would be known that is not any more.
    fn load_trust(&self, inner: &mut Inner, found: Option<&Found>) -> Result<Result<(), Fault>> {
        let (bundle, lists) = match found {
            Some(Found { fault: Some(fault @ (Fault::Missing(_) | Fault::Unreadable(..))), .. }) => {
                return Ok(Err(fault.clone()));
            }
            Some(found) => (found.client_ca.as_ref(), found.client_crl.as_ref()),
            None => (None, None),
        };
        if self.verifies(inner) && inner.trust.as_ref().is_none_or(Trust::is_nobody) {
            inner.has_bundle |= bundle.is_some();
            inner.has_lists |= lists.is_some();
        }
        let lists = match lists {
            Some(Ok(lists)) => Some(lists.as_slice()),
            Some(Err(fault)) => return Ok(Err(fault.clone())),
            None if inner.has_lists => return Ok(Err(Fault::Missing(CLIENT_CRL.to_owned()))),
            None => None,
        };
        let parsed = match bundle {
            Some(Ok(bundle)) => Trust::parse(bundle, lists),
            Some(Err(fault)) => Err(fault.clone()),
            None if inner.has_bundle => Err(Fault::Missing(CLIENT_CA.to_owned())),
            None if inner.own.is_some() || self.verifies(inner) => {
                Trust::parse(self.own(inner)?.authority.certificate_pem().as_bytes(), lists)
            }
            None => return Ok(Ok(())),
        };
        Ok(parsed.map(|trust| {
            inner.has_bundle = bundle.is_some();
            inner.has_lists = lists.is_some();
            inner.trust = Some(trust);
        }))
    }

    /// The own authority with its leaf, made where they are not there and renewed where it is time.
    fn own<'i>(&self, inner: &'i mut Inner) -> Result<&'i Own> {
        let now_ms = self.clock.now_ms();
        let place = self.config.own_dir.display().to_string();
        let path = |file: &str| self.config.own_dir.join(file);
        if inner.own.is_none() {
            let files = (load::read_own(&path(CA_CERTIFICATE))?, load::read_own(&path(CA_KEY))?);
            let authority = match files {
                (Some(certificate), Some(key)) => Authority::open(&certificate, &key, &place)?,
                // The key is written first: one without a certificate is of a start that broke off.
                (None, _) => {
                    let made = Authority::make(now_ms, &*self.random)?;
                    load::write_private(&path(CA_KEY), made.key_pem.as_bytes())?;
                    load::write_private(&path(CA_CERTIFICATE), made.certificate_pem.as_bytes())?;
                    let authority = Authority::open(&made.certificate_pem, &made.key_pem, &place)?;
                    tracing::info!(fingerprint = authority.facts().fingerprint, "a certificate authority was made");
                    authority
                }
                (Some(_), None) => return Err(Error::Authority(place)),
            };
            let kept = (load::read_own(&path(OWN_CERTIFICATE))?, load::read_own(&path(OWN_KEY))?);
            let kept = match kept {
                (Some(certificate), Some(key)) => own_entry(&certificate, &key).ok(),
                _ => None,
            };
            let leaf = match kept {
                Some(leaf) => leaf,
                None => self.issue_own(&authority)?,
            };
            let published = Some(Arc::from(authority.certificate_pem()));
            *self.authority_pem.write().unwrap_or_else(PoisonError::into_inner) = published;
            inner.own = Some(Own { authority, leaf });
        }
        let own = inner.own.as_mut().expect("it was made above");
        if let Some(why) = authority::renewal(&own.leaf.facts, own.authority.facts(), &self.names, self.now_s()) {
            tracing::info!(why, "the own certificate is issued anew");
            own.leaf = self.issue_own(&own.authority)?;
        }
        Ok(own)
    }

    fn issue_own(&self, authority: &Authority) -> Result<Arc<Entry>> {
        let issued = authority.issue(&self.names, Purpose::Server, self.clock.now_ms(), &*self.random)?;
        load::write_private(&self.config.own_dir.join(OWN_KEY), issued.key_pem.as_bytes())?;
        load::write_private(&self.config.own_dir.join(OWN_CERTIFICATE), issued.certificate_pem.as_bytes())?;
        own_entry(&issued.certificate_pem, &issued.key_pem).map_err(|fault| Error::Issue(fault.to_string()))
    }

    /// A certificate of the own authority for somebody else; the authority is made where there is none.
    pub fn issue(&self, names: &[String], purpose: Purpose) -> Result<Issued> {
        let mut inner = self.lock();
        let issued = self.own(&mut inner)?.authority.issue(names, purpose, self.clock.now_ms(), &*self.random);
        self.publish(&inner);
        issued
    }

    /// Judges the directory, and changes nothing. Waits for the disk.
    pub fn validate(&self) -> Vec<Judged> {
        self.config.dir.as_deref().map_or_else(Vec::new, |dir| validate(dir, &self.config.names, self.now_ms()))
    }

    /// The own leaf, anew.
    pub fn renew(&self) -> Result<Report> {
        let mut inner = self.lock();
        self.own(&mut inner)?;
        let own = inner.own.as_mut().expect("it was made above");
        own.leaf = self.issue_own(&own.authority)?;
        let report = self.load(&mut inner, Reason::Api)?;
        self.configure(&mut inner)?;
        self.publish(&inner);
        Ok(report)
    }

    /// Gives listeners a configuration whose mode or whose trust is another than before. A new certificate of the server makes no
    /// new configuration: sessions stay.
    fn configure(&self, inner: &mut Inner) -> Result<()> {
        let Inner { slots, trust, .. } = inner;
        for slot in slots {
            let wanted = trust.as_ref().filter(|_| slot.mode.client_auth.verifies()).map(|trust| trust.id);
            let is_right = match &*slot.serving.borrow() {
                Serving::Plain => slot.mode.scheme == Scheme::Http,
                Serving::Tls { .. } => slot.mode.scheme == Scheme::Https && slot.trust == wanted,
            };
            if !is_right {
                let serving = self.serving_of(slot.mode, trust.as_ref())?;
                slot.trust = wanted;
                slot.serving.send_replace(serving);
            }
        }
        Ok(())
    }

    fn serving_of(&self, mode: Mode, trust: Option<&Trust>) -> Result<Serving> {
        match mode.scheme {
            Scheme::Http => Ok(Serving::Plain),
            Scheme::Https => {
                let resolver = self.resolver.clone();
                let level = mode.client_auth;
                let protocols = &self.config.protocols;
                let config = mutual::server_config(resolver, level, trust, protocols, self.clock.clone())?;
                Ok(Serving::Tls { config, level })
            }
        }
    }

    fn check_mode(&self, listener: &Listener, mode: Mode) -> Result<()> {
        if mode.scheme == Scheme::Http && listener.is_open && !self.config.plain_http {
            return Err(Error::PlainHttp(listener.name));
        }
        if mode.scheme == Scheme::Http && mode.client_auth != Level::None {
            return Err(Error::ClientAuthority("there are none without TLS".to_owned()));
        }
        Ok(())
    }

    /// Lets a listener speak something else from now on, and after a restart. What is not said stays (`switched`). Connections that
    /// it has end after their request.
    pub fn switch(&self, name: &str, scheme: Option<Scheme>, level: Option<Level>) -> Result<()> {
        let mut inner = self.lock();
        let known = || inner.slots.iter().map(|slot| slot.listener.name).collect::<Vec<_>>().join(", ");
        let at = inner.slots.iter().position(|slot| slot.listener.name == name);
        let at = at.ok_or_else(|| Error::NoListener(name.to_owned(), known()))?;
        let before = inner.slots[at].mode;
        let mode = switched(before, inner.slots[at].listener.mode, scheme, level)?;
        self.check_mode(&inner.slots[at].listener, mode)?;
        if before == mode {
            return Ok(());
        }
        inner.slots[at].mode = mode;
        let switched = self.load(&mut inner, Reason::Api).and_then(|report| {
            if mode.client_auth.verifies() && inner.trust.as_ref().is_some_and(Trust::is_nobody) {
                return Err(Error::ClientAuthority(report.faults.join("; ")));
            }
            let serving = self.serving_of(mode, inner.trust.as_ref())?;
            write_modes(&self.config.modes_file, &inner.slots)?;
            Ok(serving)
        });
        match switched {
            Ok(serving) => {
                let wanted = inner.trust.as_ref().filter(|_| mode.client_auth.verifies()).map(|trust| trust.id);
                let slot = &mut inner.slots[at];
                slot.trust = wanted;
                slot.serving.send_replace(serving);
                tracing::info!(
                    listener = name,
                    scheme = mode.scheme.name(),
                    client_auth = mode.client_auth.name(),
                    "switched"
                );
                self.publish(&inner);
                Ok(())
            }
            Err(error) => {
                inner.slots[at].mode = before;
                if inner.trust.as_ref().is_some_and(Trust::is_nobody) && !self.verifies(&inner) {
                    (inner.trust, inner.has_bundle, inner.has_lists) = (None, false, false);
                }
                Err(error)
            }
        }
    }

    fn served(&self) -> Vec<Served> {
        let (store, now_s) = (self.resolver.store(), self.now_s());
        let of = |entry: &Arc<Entry>| Served {
            name: entry.name.clone(),
            is_default: store.fallback().is_some_and(|default| Arc::ptr_eq(default, entry)),
            is_own: entry.is_own,
            state: match check::warning_step(entry.facts.not_after_s, now_s) {
                None => "ok",
                Some(0) => "expired",
                Some(_) => "expiring",
            },
            facts: entry.facts.clone(),
            warnings: Vec::new(),
        };
        let mut served: Vec<Served> = store.entries().iter().map(of).collect();
        let all: Vec<String> = served.iter().flat_map(|served| served.facts.names.clone()).collect();
        if let Some(default) = served.iter_mut().find(|served| served.is_default && !served.is_own) {
            let missing = self.config.names.iter().filter_map(|name| names::parse(name).ok());
            let missing = missing.filter(|name| !check::covers(&all, name));
            default.warnings = missing.map(|name| format!("no certificate has the name {name}")).collect();
        }
        served
    }

    /// Logs what ends soon, once for each step.
    fn warn(&self, inner: &mut Inner, now_s: i64) {
        let store = self.resolver.store();
        inner.warned.retain(|serial, _| store.entries().iter().any(|entry| entry.facts.serial == *serial));
        for entry in store.entries() {
            let Some(step) = check::warning_step(entry.facts.not_after_s, now_s) else { continue };
            let last = inner.warned.insert(entry.facts.serial.clone(), step);
            if last != Some(step) {
                let days_left = (entry.facts.not_after_s - now_s) / (24 * 3600);
                tracing::warn!(name = entry.name, serial = entry.facts.serial, days_left, "a certificate ends soon");
            }
        }
    }

    /// What there is, as of the last load or switch.
    pub fn state(&self) -> Arc<State> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, inner: &Inner) {
        let trust = inner.trust.as_ref();
        let subject = |root| check::facts_of_der(root).map(|facts| facts.subject).unwrap_or_default();
        let state = State {
            dir: self.config.dir.as_ref().map(|dir| dir.display().to_string()),
            authority: inner.own.as_ref().map(|own| own.authority.facts().clone()),
            certificates: self.served(),
            faults: inner.faults.iter().map(Fault::to_string).collect(),
            client_authorities: trust.map_or_else(Vec::new, |trust| trust.roots.iter().map(subject).collect()),
            revocation_lists: trust.map_or(0, |trust| trust.revoked.len()),
            listeners: inner.slots.iter().map(Slot::state).collect(),
            reloads: inner.reloads.clone(),
        };
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }
}

impl Slot {
    fn state(&self) -> ListenerState {
        ListenerState {
            listener: self.listener.name,
            scheme: self.mode.scheme,
            client_auth: self.mode.client_auth,
            client_auth_number: self.mode.client_auth.number(),
            is_switched: self.mode != self.listener.mode,
        }
    }
}

/// What a listener speaks after a switch. Nobody stops asking for client certificates without having said so, and who comes back
/// to HTTPS is asked for what the flags say.
fn switched(before: Mode, flags: Mode, scheme: Option<Scheme>, level: Option<Level>) -> Result<Mode> {
    let scheme = scheme.unwrap_or(before.scheme);
    let client_auth = match (level, scheme) {
        (Some(level), _) => level,
        (None, Scheme::Http) if before.client_auth != Level::None => {
            return Err(Error::ClientAuthority(format!(
                "there are none without TLS, and this listener has the level {}: say --client-auth none too",
                before.client_auth.name()
            )));
        }
        (None, Scheme::Https) if before.scheme == Scheme::Http && flags.scheme == Scheme::Https => flags.client_auth,
        (None, _) => before.client_auth,
    };
    Ok(Mode { scheme, client_auth })
}

const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const OWN_CERTIFICATE: &str = "weir.crt";
const OWN_KEY: &str = "weir.key";

fn own_entry(certificate: &str, key: &str) -> Result<Arc<Entry>, Fault> {
    let key = check::key_of_pair("weir", certificate.as_bytes(), key.as_bytes())?;
    let facts = check::facts("weir.crt", certificate.as_bytes())?;
    Ok(Arc::new(Entry { name: "weir".to_owned(), facts, key, hash: [0; 32], is_own: true }))
}

/// What each pair is. One that has not changed is not parsed again.
fn judge(found: &Found, old: &Store, now_s: i64) -> Loaded {
    let mut loaded = Loaded::new();
    for (name, pair) in &found.pairs {
        let known = old.entries().iter().find(|entry| entry.name == *name && !entry.is_own && entry.hash == pair.hash);
        let judged = match (known, &pair.certificate, &pair.key) {
            (_, Err(fault), _) | (_, _, Err(fault)) => Err(fault.clone()),
            (Some(entry), ..) => Ok((entry.clone(), check::untimely(name, &entry.facts, now_s))),
            (None, Ok(certificate), Ok(key)) => check::check(name, certificate, key, now_s).map(|checked| {
                let (facts, key, hash) = (checked.facts, checked.key, pair.hash);
                (Arc::new(Entry { name: name.clone(), facts, key, hash, is_own: false }), checked.untimely)
            }),
        };
        loaded.insert(name.clone(), judged);
    }
    loaded
}

fn ids(entries: &[Arc<Entry>]) -> Vec<(&str, &str)> {
    let mut ids: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.facts.fingerprint.as_str())).collect();
    ids.sort_unstable();
    ids
}

fn read_modes(path: &Path) -> Result<BTreeMap<String, Mode>> {
    let Some(text) = load::read_own(path)? else { return Ok(BTreeMap::new()) };
    serde_json::from_str(&text).map_err(|error| Error::Modes(path.display().to_string(), error.to_string()))
}

/// Listeners that this start does not have keep their switch.
fn write_modes(path: &Path, slots: &[Slot]) -> Result<()> {
    let mut modes = read_modes(path)?;
    for slot in slots {
        let name = slot.listener.name;
        if slot.mode == slot.listener.mode {
            modes.remove(name);
        } else {
            modes.insert(name.to_owned(), slot.mode);
        }
    }
    let text = serde_json::to_string_pretty(&modes).expect("names and words are JSON");
    load::write_private(path, text.as_bytes())
}

#[cfg(test)]
mod tests;
