//! The settings of `serve`: TOML file < environment `WEIR_SECTION__KEY` < flags. Pure: texts in, settings out.
//!
//! ```toml
//! [server]
//! data = ["./weir-data"]
//! listen = "127.0.0.1:9000"
//! admin_listen = "127.0.0.1:9001"
//! region = "us-east-1"
//! domain = []
//! local_issuer = []
//! trusted_proxy = []                    # addresses and networks, as 10.0.0.0/8
//! proxy_protocol = []                   # the same, of proxies that speak it
//! plain_http = false
//! signature_v2 = "off"                  # or "forms", "urls", "all"
//! concurrency_max = 1024               # 0: no limit
//! access_log_seconds = 60
//! failed_auth_rate = 100                # of one address, in a second; 0 for no limit
//! drain_seconds = 30
//!
//! [s3]
//! block_public_access = true
//! object_ownership = "BucketOwnerEnforced"
//!
//! [tls]
//! # dir = "./tls"                       # pairs NAME.crt and NAME.key
//! # https_listen = "127.0.0.1:9443"
//! name = []
//! client_auth = "none"                  # or "request", "require-any", "verify-if-given", "require-and-verify"
//! admin_client_auth = "none"
//!
//! [audit]
//! log = []                              # a file, "-" for standard output, or both
//! reads = "off"                         # "all", or "N" for one of N
//! strict = false
//! file_bytes_max = 67108864
//! files_max = 32
//! checkpoint_seconds = 60
//! queue_bytes_max = 16777216
//!
//! [storage]
//! segment_bytes = 67108864
//! inline_bytes_max = 65536
//!
//! [test]
//! mode = false
//! ssec_plain_http = false
//! # lifecycle_day_seconds = 10
//! # account_without_number = "OWNER"
//!
//! [notifications.webhook.NAME]          # as many as wanted; NAME has lower-case letters, digits and hyphens
//! endpoint = "http://127.0.0.1:8080/"
//! auth_token = ""                       # or auth_token_file
//! queue_bytes_max = 1073741824
//! ```
//!
//! Lists are comma-separated in the environment.

use crate::args::ServeArgs;
use crate::error::{Error, Result};
use authn::acl::Ownership;
use certs::Level;
use gateway::{Proxies, Reads, SignatureV2};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::{Table, Value};

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub server: Server,
    pub s3: S3,
    pub tls: Tls,
    pub audit: Audit,
    pub storage: Storage,
    pub test: Test,
    pub notifications: Notifications,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Server {
    /// One directory per disk.
    pub data: Vec<PathBuf>,
    /// HOST:PORT of the S3 port.
    pub listen: String,
    /// HOST:PORT of the admin port.
    pub admin_listen: String,
    pub region: String,
    /// Domains whose subdomains are buckets.
    pub domain: Vec<String>,
    /// Issuers of web identities in the server's own network, as HOST:PORT. Others are at public addresses, by TLS.
    pub local_issuer: Vec<String>,
    /// Addresses and networks of proxies in front, whose word about their clients is taken.
    pub trusted_proxy: Vec<String>,
    /// Addresses and networks of proxies of TCP whose connections begin with the PROXY protocol.
    pub proxy_protocol: Vec<String>,
    /// Allows plain HTTP on addresses off loopback.
    pub plain_http: bool,
    /// Where Signature Version 2 is taken: `off`, `forms`, `urls` or `all`.
    pub signature_v2: String,
    /// Requests that the target is given at once, at most: the limit adapts below it. 0: no limit.
    pub concurrency_max: u32,
    /// Seconds that lines of access logs wait before they are an object.
    pub access_log_seconds: u64,
    /// How many authentications of one address may fail in a second; 0 for no limit.
    pub failed_auth_rate: u32,
    pub drain_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct S3 {
    /// New buckets begin with a public access block whose four parts are on.
    pub block_public_access: bool,
    /// Of new buckets that do not say: `BucketOwnerEnforced`, `BucketOwnerPreferred` or `ObjectWriter`.
    pub object_ownership: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// Pairs NAME.crt and NAME.key.
    pub dir: Option<PathBuf>,
    /// HOST:PORT of one more S3 port, which speaks HTTPS.
    pub https_listen: Option<String>,
    /// Names for the certificate of the own authority, besides the machine's and the domains.
    pub name: Vec<String>,
    /// What S3 ports and the admin port ask of clients: a level's name or its number.
    pub client_auth: String,
    pub admin_client_auth: String,
}

impl Tls {
    pub fn level(flag: &str, word: &str) -> Result<Level> {
        let names = Level::ALL.map(Level::name).join(", ");
        match word {
            "" => Ok(Level::None),
            word => Level::parse(word)
                .ok_or_else(|| Error::Usage(format!("{flag} is one of {names} or its number, and not {word}"))),
        }
    }

    fn check(&self) -> Result<()> {
        let levels = [
            Self::level("--tls-client-auth", &self.client_auth)?,
            Self::level("--tls-admin-client-auth", &self.admin_client_auth)?,
        ];
        if levels.iter().any(|level| *level != Level::None) && self.dir.is_none() && self.https_listen.is_none() {
            return Err(Error::Usage("client certificates come with TLS: add --tls-dir DIR".into()));
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// A file, `-` for standard output, or both.
    pub log: Vec<PathBuf>,
    /// `off`, `all`, or a number N for one of N.
    pub reads: String,
    /// Refuses requests whose lines cannot be taken.
    pub strict: bool,
    pub file_bytes_max: u64,
    pub files_max: u64,
    pub checkpoint_seconds: u64,
    /// Lines that wait for a sink.
    pub queue_bytes_max: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Storage {
    /// Bytes after which a segment of the log is sealed.
    pub segment_bytes: u64,
    /// Payloads up to this length live in the log.
    pub inline_bytes_max: u64,
}

/// What weakens a promise so that a test can be quick or simple. Nothing of it goes without `mode`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Test {
    pub mode: bool,
    /// Takes customers' encryption keys over plain HTTP.
    pub ssec_plain_http: bool,
    /// How long a day of lifecycle rules lasts.
    pub lifecycle_day_seconds: Option<u64>,
    /// The owner whose ARNs name no account, as those of a store without accounts.
    pub account_without_number: Option<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            data: vec![PathBuf::from("./weir-data")],
            listen: "127.0.0.1:9000".into(),
            admin_listen: "127.0.0.1:9001".into(),
            region: "us-east-1".into(),
            domain: Vec::new(),
            local_issuer: Vec::new(),
            trusted_proxy: Vec::new(),
            proxy_protocol: Vec::new(),
            plain_http: false,
            signature_v2: "off".into(),
            concurrency_max: gateway::CONCURRENCY_MAX,
            access_log_seconds: 60,
            failed_auth_rate: 100,
            drain_seconds: 30,
        }
    }
}

impl Default for S3 {
    fn default() -> Self {
        Self { block_public_access: true, object_ownership: Ownership::default().name().to_owned() }
    }
}

impl Server {
    pub fn trusted_proxies(&self) -> Result<Proxies> {
        Proxies::parse(&self.trusted_proxy).map_err(|why| Error::Usage(format!("--trusted-proxy: {why}")))
    }

    pub fn proxies_that_tell(&self) -> Result<Proxies> {
        Proxies::parse(&self.proxy_protocol).map_err(|why| Error::Usage(format!("--proxy-protocol: {why}")))
    }

    pub fn signature_v2(&self) -> Result<SignatureV2> {
        let word = self.signature_v2.as_str();
        let names = SignatureV2::NAMES.join(", ");
        SignatureV2::parse(word)
            .ok_or_else(|| Error::Usage(format!("--signature-v2 is one of {names}, and not {word}")))
    }
}

impl S3 {
    pub fn ownership(&self) -> Result<Ownership> {
        let word = self.object_ownership.as_str();
        Ownership::parse(word).ok_or_else(|| {
            Error::Usage(format!(
                "the object ownership is BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter, and {word:?} was given"
            ))
        })
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            log: Vec::new(),
            reads: "off".to_owned(),
            strict: false,
            file_bytes_max: 64 * 1024 * 1024,
            files_max: 32,
            checkpoint_seconds: 60,
            queue_bytes_max: 16 * 1024 * 1024,
        }
    }
}

impl Audit {
    pub fn reads(&self) -> Result<Reads> {
        match self.reads.as_str() {
            "off" => Ok(Reads::Off),
            "all" => Ok(Reads::All),
            text => text.parse().map(Reads::OneOf).map_err(|_| {
                Error::Usage(format!(
                    "reads in the audit log are off, all or a number N for one of N, and {text:?} was given"
                ))
            }),
        }
    }

    pub fn has_stdout(&self) -> bool {
        self.log.iter().any(|log| log.as_os_str() == "-")
    }

    fn check(&self) -> Result<()> {
        self.reads()?;
        let stdout = self.log.iter().filter(|log| log.as_os_str() == "-").count();
        if self.log.len() > 2 || stdout > 1 || self.log.len() - stdout > 1 {
            return Err(Error::Usage(
                "the audit log has one file at most, and standard output (-) at most once".into(),
            ));
        }
        if self.strict && self.log.is_empty() {
            return Err(Error::Usage("--audit-strict needs an --audit-log".into()));
        }
        if !(1..=3600).contains(&self.checkpoint_seconds) {
            return Err(Error::Usage("between checkpoints of the audit log are 1 to 3600 seconds".into()));
        }
        if self.queue_bytes_max < AUDIT_QUEUE_BYTES_MIN {
            return Err(Error::Usage(format!("the queue of the audit log has at least {AUDIT_QUEUE_BYTES_MIN} bytes")));
        }
        if self.file_bytes_max < AUDIT_FILE_BYTES_MIN || self.files_max == 0 {
            return Err(Error::Usage(format!(
                "the audit log keeps at least one file, and a file has at least {AUDIT_FILE_BYTES_MIN} bytes"
            )));
        }
        Ok(())
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { segment_bytes: 64 * 1024 * 1024, inline_bytes_max: 64 * 1024 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notifications {
    /// Receivers, by the names that ARNs say.
    pub webhook: BTreeMap<String, Webhook>,
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub endpoint: String,
    #[serde(default)]
    pub auth_token: Option<String>,
    #[serde(default)]
    pub auth_token_file: Option<PathBuf>,
    /// How much of the log is kept while the receiver does not answer.
    #[serde(default = "queue_bytes_max")]
    pub queue_bytes_max: u64,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn queue_bytes_max() -> u64 {
    1 << 30
}

/// The smallest file of an audit log: some lines and two checkpoints.
const AUDIT_FILE_BYTES_MIN: u64 = 4096;
/// Some lines of the longest kind.
const AUDIT_QUEUE_BYTES_MIN: u64 = 256 * 1024;

/// The section whose names are the user's own.
const NOTIFICATIONS: &str = "notifications";
const WEBHOOK: &str = "webhook";
const WEBHOOK_NAMES: [(&str, Kind); 4] = [
    ("endpoint", Kind::Text),
    ("auth_token", Kind::Text),
    ("auth_token_file", Kind::Text),
    ("queue_bytes_max", Kind::Number),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    List,
    Switch,
    Number,
}

/// Every name there is; the types above give the same ones their meaning.
const NAMES: [(&str, &str, Kind); 33] = [
    ("server", "data", Kind::List),
    ("server", "listen", Kind::Text),
    ("server", "admin_listen", Kind::Text),
    ("server", "region", Kind::Text),
    ("server", "domain", Kind::List),
    ("server", "local_issuer", Kind::List),
    ("server", "trusted_proxy", Kind::List),
    ("server", "proxy_protocol", Kind::List),
    ("server", "plain_http", Kind::Switch),
    ("server", "signature_v2", Kind::Text),
    ("server", "concurrency_max", Kind::Number),
    ("server", "access_log_seconds", Kind::Number),
    ("server", "drain_seconds", Kind::Number),
    ("s3", "block_public_access", Kind::Switch),
    ("s3", "object_ownership", Kind::Text),
    ("tls", "dir", Kind::Text),
    ("tls", "https_listen", Kind::Text),
    ("tls", "name", Kind::List),
    ("tls", "client_auth", Kind::Text),
    ("tls", "admin_client_auth", Kind::Text),
    ("audit", "log", Kind::List),
    ("audit", "reads", Kind::Text),
    ("audit", "strict", Kind::Switch),
    ("audit", "file_bytes_max", Kind::Number),
    ("audit", "files_max", Kind::Number),
    ("audit", "checkpoint_seconds", Kind::Number),
    ("audit", "queue_bytes_max", Kind::Number),
    ("storage", "segment_bytes", Kind::Number),
    ("storage", "inline_bytes_max", Kind::Number),
    ("test", "mode", Kind::Switch),
    ("test", "ssec_plain_http", Kind::Switch),
    ("test", "lifecycle_day_seconds", Kind::Number),
    ("test", "account_without_number", Kind::Text),
];

/// Settings from the file's text, the environment's variables and the flags, the last of them winning.
pub fn resolve(
    file: Option<&str>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &ServeArgs,
) -> Result<Settings> {
    let mut table: Table = file.unwrap_or_default().parse().map_err(|error: toml::de::Error| {
        Error::Usage(format!("the configuration is not TOML: {}", error.to_string().trim_end()))
    })?;
    check_names(&table)?;
    for (variable, text) in environment {
        // Variables without the double underscore are not settings: WEIR_ENDPOINT, WEIR_ADMIN_ACCESS_KEY, ...
        let Some((section, name)) = variable.strip_prefix("WEIR_").and_then(|rest| rest.split_once("__")) else {
            continue;
        };
        let (section, name) = (section.to_lowercase(), name.to_lowercase());
        if section == NOTIFICATIONS {
            set_webhook(&mut table, &variable, &name, &text)?;
            continue;
        }
        let known = NAMES.iter().find(|known| known.0 == section && known.1 == name);
        let (_, _, kind) = known.ok_or_else(|| unknown(&variable, all_variables()))?;
        let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let section = section.as_table_mut().expect("check_names has refused other values");
        section.insert(name, from_text(&variable, &text, *kind)?);
    }
    let settings = table.try_into().map_err(|error: toml::de::Error| {
        Error::Usage(format!("the configuration is wrong: {}", error.to_string().trim_end()))
    })?;
    check_settings(overlay(settings, flags))
}

fn overlay(mut settings: Settings, flags: &ServeArgs) -> Settings {
    let Settings { server, s3, tls, audit, storage, test, notifications: _ } = &mut settings;
    fn set<T: Clone>(setting: &mut T, flag: Option<&T>) {
        if let Some(flag) = flag {
            *setting = flag.clone();
        }
    }
    set(&mut server.data, Some(&flags.data).filter(|data| !data.is_empty()));
    set(&mut server.listen, flags.listen.as_ref());
    set(&mut server.admin_listen, flags.admin_listen.as_ref());
    set(&mut server.region, flags.region.as_ref());
    set(&mut server.domain, Some(&flags.domain).filter(|domain| !domain.is_empty()));
    let issuers = &flags.local_issuer;
    set(&mut server.local_issuer, Some(issuers).filter(|issuers| !issuers.is_empty()));
    let proxies = &flags.trusted_proxy;
    set(&mut server.trusted_proxy, Some(proxies).filter(|proxies| !proxies.is_empty()));
    let proxies = &flags.proxy_protocol;
    set(&mut server.proxy_protocol, Some(proxies).filter(|proxies| !proxies.is_empty()));
    set(&mut server.plain_http, Some(&true).filter(|_| flags.plain_http));
    set(&mut server.signature_v2, flags.signature_v2.as_ref());
    set(&mut server.concurrency_max, flags.concurrency_max.as_ref());
    set(&mut server.access_log_seconds, flags.access_log_seconds.as_ref());
    set(&mut server.failed_auth_rate, flags.failed_auth_rate.as_ref());
    set(&mut server.drain_seconds, flags.drain_seconds.as_ref());
    set(&mut s3.block_public_access, Some(&false).filter(|_| flags.allow_public_access));
    set(&mut s3.object_ownership, flags.object_ownership.as_ref());
    set(&mut tls.dir, Some(&flags.tls_dir).filter(|dir| dir.is_some()));
    set(&mut tls.https_listen, Some(&flags.https_listen).filter(|listen| listen.is_some()));
    set(&mut tls.name, Some(&flags.tls_name).filter(|names| !names.is_empty()));
    set(&mut tls.client_auth, flags.tls_client_auth.as_ref());
    set(&mut tls.admin_client_auth, flags.tls_admin_client_auth.as_ref());
    set(&mut audit.log, Some(&flags.audit_log).filter(|log| !log.is_empty()));
    set(&mut audit.reads, flags.audit_reads.as_ref());
    set(&mut audit.strict, Some(&true).filter(|_| flags.audit_strict));
    set(&mut audit.file_bytes_max, flags.audit_file_bytes.as_ref());
    set(&mut audit.files_max, flags.audit_files.as_ref());
    set(&mut audit.checkpoint_seconds, flags.audit_checkpoint_seconds.as_ref());
    set(&mut test.mode, Some(&true).filter(|_| flags.test_mode));
    set(&mut test.ssec_plain_http, Some(&true).filter(|_| flags.test_ssec_plain_http));
    test.lifecycle_day_seconds = flags.test_lifecycle_day.or(test.lifecycle_day_seconds);
    if flags.test_account_without_number.is_some() {
        test.account_without_number.clone_from(&flags.test_account_without_number);
    }
    set(&mut storage.segment_bytes, flags.segment_bytes.as_ref());
    set(&mut storage.inline_bytes_max, flags.inline_bytes_max.as_ref());
    settings
}

fn check_settings(settings: Settings) -> Result<Settings> {
    settings.s3.ownership()?;
    settings.server.signature_v2()?;
    settings.server.trusted_proxies()?;
    settings.server.proxies_that_tell()?;
    settings.audit.check()?;
    settings.tls.check()?;
    if settings.server.data.len() != 1 {
        let count = settings.server.data.len();
        return Err(Error::Usage(format!("one --data directory is possible for now, and {count} were given")));
    }
    let Test { mode, ssec_plain_http, lifecycle_day_seconds, ref account_without_number } = settings.test;
    let tested = [
        ("--test-ssec-plain-http", ssec_plain_http),
        ("--test-lifecycle-day", lifecycle_day_seconds.is_some()),
        ("--test-account-without-number", account_without_number.is_some()),
    ];
    if let Some((flag, _)) = tested.iter().find(|(_, given)| *given && !mode) {
        return Err(Error::Usage(format!("{flag} weakens what the appliance promises: it needs --test-mode")));
    }
    if lifecycle_day_seconds == Some(0) {
        return Err(Error::Usage("a day of --test-lifecycle-day has at least one second".into()));
    }
    let region = &settings.server.region;
    if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Error::Usage("a region's name has letters, digits and hyphens".into()));
    }
    check_webhooks(&settings.notifications)?;
    Ok(settings)
}

/// `WEIR_NOTIFICATIONS__WEBHOOK__NAME__ENDPOINT` and the like.
fn set_webhook(table: &mut Table, variable: &str, rest: &str, text: &str) -> Result<()> {
    let known =
        || WEBHOOK_NAMES.iter().map(|(name, _)| format!("WEIR_NOTIFICATIONS__WEBHOOK__NAME__{name}").to_uppercase());
    let parts: Vec<&str> = rest.split("__").collect();
    let [WEBHOOK, webhook, setting] = parts[..] else { return Err(unknown(variable, known())) };
    let kind = WEBHOOK_NAMES.iter().find(|(name, _)| *name == setting).map(|(_, kind)| *kind);
    let value = from_text(variable, text, kind.ok_or_else(|| unknown(variable, known()))?)?;
    let mut inner = table;
    for name in [NOTIFICATIONS, WEBHOOK, webhook] {
        let next = inner.entry(name).or_insert_with(|| Value::Table(Table::new()));
        inner = next.as_table_mut().ok_or_else(|| Error::Usage(format!("{name} is a section in the configuration")))?;
    }
    inner.insert(setting.to_owned(), value);
    Ok(())
}

fn check_webhooks(notifications: &Notifications) -> Result<()> {
    for (name, webhook) in &notifications.webhook {
        let fits = (1..=48).contains(&name.len());
        if !fits || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            return Err(Error::Usage(format!(
                "notifications.webhook.{name}: a webhook's name has 1 to 48 lower-case letters, digits and hyphens"
            )));
        }
        if webhook.auth_token.is_some() && webhook.auth_token_file.is_some() {
            return Err(Error::Usage(format!("notifications.webhook.{name}: auth_token or auth_token_file, not both")));
        }
    }
    Ok(())
}

fn check_names(table: &Table) -> Result<()> {
    let names_in = |section: &str| {
        let section = section.to_owned();
        NAMES.iter().filter(move |known| known.0 == section).map(|known| known.1.to_owned())
    };
    // What is wrong inside of the other one its types say.
    for (section, content) in table.iter().filter(|(section, _)| *section != NOTIFICATIONS) {
        if names_in(section).next().is_none() {
            return Err(unknown(section, NAMES.iter().map(|known| known.0.to_owned())));
        }
        let Some(content) = content.as_table() else {
            return Err(Error::Usage(format!("{section} is a section: write [{section}]")));
        };
        if let Some(name) = content.keys().find(|name| !names_in(section).any(|known| known == **name)) {
            let known = NAMES.iter().map(|(section, name, _)| format!("{section}.{name}"));
            return Err(unknown(&format!("{section}.{name}"), known));
        }
    }
    Ok(())
}

fn all_variables() -> impl Iterator<Item = String> {
    NAMES.iter().map(|(section, name, _)| format!("WEIR_{section}__{name}").to_uppercase())
}

/// Always with a suggestion: the nearest known name, however far it is.
fn unknown(name: &str, known: impl Iterator<Item = String>) -> Error {
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(name, known));
    let nearest = nearest.expect("there are known names");
    Error::Usage(format!("unknown setting {name}: did you mean {nearest}?"))
}

fn from_text(variable: &str, text: &str, kind: Kind) -> Result<Value> {
    let wrong = |what: &str| Error::Usage(format!("{variable} is {what}, and this is {text:?}"));
    Ok(match kind {
        Kind::Text => Value::String(text.to_owned()),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        Kind::Switch => Value::Boolean(text.parse().map_err(|_| wrong("true or false"))?),
        Kind::Number => Value::Integer(text.parse().map_err(|_| wrong("a whole number"))?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(file: &str, environment: &[(&str, &str)], flags: &ServeArgs) -> Result<Settings, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        resolve(Some(file), environment, flags).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        let file = "[server]\nlisten = \"a:1\"\nregion = \"file\"\ndrain_seconds = 5\ndomain = [\"x\"]";
        let environment = [("WEIR_SERVER__LISTEN", "b:2"), ("WEIR_SERVER__REGION", "env"), ("WEIR_ADMIN_X", "y")];
        let flags = ServeArgs { listen: Some("c:3".into()), plain_http: true, ..ServeArgs::default() };
        let Server { listen, region, drain_seconds, domain, plain_http, .. } =
            resolved(file, &environment, &flags).unwrap().server;
        assert_eq!((listen.as_str(), region.as_str(), drain_seconds, plain_http), ("c:3", "env", 5, true));
        assert_eq!(domain, ["x"]);
        assert_eq!(resolved("", &[], &ServeArgs::default()), Ok(Settings::default()));
    }

    #[test]
    fn tests_are_told_apart_from_the_real_thing() {
        let refused = |flags: ServeArgs| resolved("", &[], &flags).unwrap_err();
        let plain = ServeArgs { test_ssec_plain_http: true, ..ServeArgs::default() };
        let day = ServeArgs { test_lifecycle_day: Some(5), ..ServeArgs::default() };
        assert!(refused(plain).contains("--test-ssec-plain-http") && refused(day).contains("--test-lifecycle-day"));
        let both = ServeArgs { test_mode: true, test_lifecycle_day: Some(5), ..ServeArgs::default() };
        let file = "[test]\nssec_plain_http = true";
        let test = resolved(file, &[], &both).unwrap().test;
        let wanted =
            Test { mode: true, ssec_plain_http: true, lifecycle_day_seconds: Some(5), account_without_number: None };
        assert_eq!(test, wanted);
        let numberless = ServeArgs { test_account_without_number: Some("ann".into()), ..ServeArgs::default() };
        assert!(refused(numberless).contains("--test-account-without-number"));
        assert!(resolved(file, &[], &ServeArgs::default()).is_err());
        let endless = ServeArgs { test_mode: true, test_lifecycle_day: Some(0), ..ServeArgs::default() };
        assert!(resolved("", &[], &endless).is_err());
    }

    #[test]
    fn environment_texts_become_values() {
        let environment = [
            ("WEIR_SERVER__DOMAIN", "a.example, b.example"),
            ("WEIR_SERVER__PLAIN_HTTP", "true"),
            ("WEIR_STORAGE__SEGMENT_BYTES", "4096"),
        ];
        let settings = resolved("", &environment, &ServeArgs::default()).unwrap();
        assert_eq!(settings.server.domain, ["a.example", "b.example"]);
        assert!(settings.server.plain_http);
        assert_eq!(settings.storage.segment_bytes, 4096);
    }

    #[test]
    fn trusted_proxies_are_networks() {
        let environment = [("WEIR_SERVER__TRUSTED_PROXY", "10.0.0.0/8, ::1")];
        let proxies = resolved("", &environment, &ServeArgs::default()).unwrap().server.trusted_proxies().unwrap();
        assert!(proxies.trusts("10.1.1.1".parse().unwrap()) && !proxies.trusts("11.1.1.1".parse().unwrap()));
        for wrong in ["0.0.0.0/0", "proxy", "10.0.0.0/40"] {
            let flags = ServeArgs { trusted_proxy: vec![wrong.into()], ..ServeArgs::default() };
            assert!(resolved("", &[], &flags).unwrap_err().contains("--trusted-proxy"), "{wrong}");
            let flags = ServeArgs { proxy_protocol: vec![wrong.into()], ..ServeArgs::default() };
            assert!(resolved("", &[], &flags).unwrap_err().contains("--proxy-protocol"), "{wrong}");
        }
    }

    #[test]
    fn the_audit_log_has_a_file_and_standard_output() {
        let flags =
            |log: &[&str]| ServeArgs { audit_log: log.iter().map(PathBuf::from).collect(), ..ServeArgs::default() };
        let audit =
            resolved("[audit]\nreads = \"10\"", &[("WEIR_AUDIT__STRICT", "true")], &flags(&["a", "-"])).unwrap().audit;
        assert_eq!((audit.log.len(), audit.strict), (2, true));
        assert_eq!(audit.reads().unwrap(), Reads::OneOf(10.try_into().unwrap()));
        for log in [&["a", "b"][..], &["-", "-"], &["a", "-", "b"]] {
            assert!(resolved("", &[], &flags(log)).is_err());
        }
        for wrong in [
            "strict = true",
            "reads = \"0\"",
            "reads = \"some\"",
            "checkpoint_seconds = 3601",
            "file_bytes_max = 5",
            "files_max = 0",
            "queue_bytes_max = 1",
        ] {
            assert!(resolved(&format!("[audit]\n{wrong}"), &[], &ServeArgs::default()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn webhooks_come_from_file_and_environment() {
        let file = "[notifications.webhook.one]\nendpoint = \"http://a/\"\nauth_token = \"t\"";
        let environment = [
            ("WEIR_NOTIFICATIONS__WEBHOOK__ONE__QUEUE_BYTES_MAX", "5"),
            ("WEIR_NOTIFICATIONS__WEBHOOK__TWO__ENDPOINT", "http://b/"),
        ];
        let webhooks = resolved(file, &environment, &ServeArgs::default()).unwrap().notifications.webhook;
        let told =
            webhooks.iter().map(|(name, webhook)| (name.as_str(), webhook.endpoint.as_str(), webhook.queue_bytes_max));
        assert_eq!(told.collect::<Vec<_>>(), [("one", "http://a/", 5), ("two", "http://b/", 1 << 30)]);
        assert!(resolved("[notifications.webhook.one]\nurl = \"x\"", &[], &ServeArgs::default()).is_err());
        assert!(resolved("[notifications.webhok.one]\nendpoint = \"x\"", &[], &ServeArgs::default()).is_err());
    }

    #[test]
    fn mistakes_are_named() {
        for (file, environment, sentence) in [
            ("[sever]", None, "unknown setting sever: did you mean server?"),
            ("[server]\nlisen = \"a\"", None, "unknown setting server.lisen: did you mean server.listen?"),
            ("server = 1", None, "server is a section: write [server]"),
            (
                "",
                Some(("WEIR_SERVER__REGOIN", "x")),
                "unknown setting WEIR_SERVER__REGOIN: did you mean WEIR_SERVER__REGION?",
            ),
            (
                "",
                Some(("WEIR_SERVER__PLAIN_HTTP", "yes")),
                "WEIR_SERVER__PLAIN_HTTP is true or false, and this is \"yes\"",
            ),
            (
                "[notifications.webhook.Hook]\nendpoint = \"x\"",
                None,
                "notifications.webhook.Hook: a webhook's name has 1 to 48 lower-case letters, digits and hyphens",
            ),
            (
                "",
                Some(("WEIR_NOTIFICATIONS__WEBHOOK__A__ENDPONT", "x")),
                "unknown setting WEIR_NOTIFICATIONS__WEBHOOK__A__ENDPONT: did you mean WEIR_NOTIFICATIONS__WEBHOOK__NAME__ENDPOINT?",
            ),
            ("[server]\ndata = [\"a\", \"b\"]", None, "one --data directory is possible for now, and 2 were given"),
        ] {
            let environment: Vec<_> = environment.into_iter().collect();
            assert_eq!(resolved(file, &environment, &ServeArgs::default()), Err(sentence.to_owned()));
        }
        assert!(resolved("[server]\nlisten = 1", &[], &ServeArgs::default()).is_err());
        assert!(resolved("nonsense", &[], &ServeArgs::default()).is_err());
    }
}
