//! `cargo xtask s3-tests --suite DIR`: Ceph's conformance suite, unmodified, against the real server. Every test of the suite
//! stands in one of the lists under `tests/s3-tests/`; a test that fails and is not known to, or passes and is known to fail,
//! fails the run.

mod issuer;
mod junit;
mod lists;
mod report;

use crate::{cache, command, crash};
use anyhow::{Context, Result, ensure};
use clap::Args;
use issuer::Issuer;
use lists::Lists;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The revision that the lists are of.
pub const REVISION: &str = "8f0ae7b404a3a2fcf7038bf1e6bf29544fe9b6a3";

/// Beside what the suite requires: time limits, and two processes in place of one.
const PLUGINS: &str = "pytest-timeout\npytest-xdist\n";
const TEST_SECONDS_MAX: u32 = 120;

const ADMIN: (&str, &str) = ("WEIRS3TESTSADMIN0001", "s3tests/administrator/of/forty/characters");
/// Tests that cannot share the server with others, by how their ids begin: one looks at all buckets of a user, one asks a bucket
/// for its location, which in us-east-1 has no name, and those of IAM and STS change what the users of others may do, and sweep
/// roles that are not theirs.
const ALONE: [&str; 4] = [
    "test_iam.py::",
    "test_s3.py::test_bucket_get_location",
    "test_s3.py::test_list_buckets_paginated",
    "test_sts.py::",
];
/// In the names of their buckets. The suite sweeps every bucket that has it in its name, and so those called `test1` and `test2`,
/// which the tests of STS leave to each other.
const SWEPT: &str = "est";
/// The beginning of the paths of users and providers. As a URL it is an issuer on this machine, which may be without TLS.
const IAM_PATH: &str = "/localhost/{random}/";
/// Tests that want storage classes beside `STANDARD`. With these the suite would run each copy between all of them, so the
/// rest runs without.
const WITH_CLASSES: [&str; 6] = [
    "test_s3.py::test_lifecycle_noncur_transition",
    "test_s3.py::test_lifecycle_plain_null_version_current_transition",
    "test_s3.py::test_lifecycle_set_noncurrent_transition",
    "test_s3.py::test_lifecycle_transition",
    "test_s3.py::test_lifecycle_transition_encrypted",
    "test_s3.py::test_lifecycle_transition_single_rule_multi_trans",
];
const CLASSES: &str = "storage_classes = STANDARD_IA, GLACIER";
/// Named keys that the suite encrypts by.
const NAMED_KEYS: [&str; 2] = ["s3-tests-key-1", "s3-tests-key-2"];
/// The default, where creating an own bucket again is no error.
const REGION: &str = "us-east-1";
/// The certificate of a server's own authority, in its data directory.
const AUTHORITY: &str = "control/authority/ca.pem";
/// Of the server for `ALONE`.
const OTHER_REGION: &str = "s3-tests-1";
/// What the tests of lifecycle rules take for a day, and wait for several of.
const LIFECYCLE_DAY_SECONDS: u32 = 5;

#[derive(Args)]
pub struct Options {
    /// A checkout of github.com/ceph/s3-tests, outside of this repository
    #[arg(long, value_name = "DIR")]
    pub suite: PathBuf,
    /// Processes that run tests side by side
    #[arg(long, default_value_t = 2)]
    pub workers: u32,
    /// Run what is out of scope as well, and name what passes
    #[arg(long)]
    pub all: bool,
    /// Run only the tests whose ids begin so, and say how each one ended
    #[arg(long, value_name = "PREFIX", conflicts_with = "publish")]
    pub only: Option<String>,
    /// Over HTTPS, with a certificate of the server's own authority; customers' keys are sent as they should be then
    #[arg(long, conflicts_with = "publish")]
    pub https: bool,
    /// Write the table to docs/s3-conformance.md
    #[arg(long)]
    pub publish: bool,
}

/// A section of the suite's configuration: a user with keys of its own.
struct User {
    section: &'static str,
    /// The canonical id of its account.
    id: &'static str,
    access_key: &'static str,
    secret_key: &'static str,
    more: &'static str,
    /// Of `weir key import`.
    flags: &'static [&'static str],
}

/// Most tests of STS expect ARNs without an account, `arn:aws:iam:::role/NAME`.
const NUMBERLESS: &str = "alt";

const USERS: [User; 6] = [
    User {
        section: "s3 main",
        id: "main",
        access_key: "WEIRS3TESTSMAIN00001",
        secret_key: "s3tests/main/user/with/forty/characters01",
        more: "kms_keyid = s3-tests-key-1\nkms_keyid2 = s3-tests-key-2",
        flags: &[],
    },
    User {
        section: "s3 alt",
        id: "alt",
        access_key: "WEIRS3TESTSALT000001",
        secret_key: "s3tests/alternative/with/forty/characters",
        more: "",
        // A user of the account whose root is [iam]: that one writes policies for it.
        flags: &["--user", "alt", "--policy", "AmazonS3FullAccess"],
    },
    User {
        section: "s3 tenant",
        id: "tenant",
        access_key: "WEIRS3TESTSTENANT001",
        secret_key: "s3tests/tenant/user/with/forty/characters",
        more: "tenant = tenant",
        flags: &["--tenant", "tenant"],
    },
    User {
        section: "iam",
        id: NUMBERLESS,
        access_key: "WEIRS3TESTSIAM000001",
        secret_key: "s3tests/iam/user/with/forty/characters/01",
        more: "",
        flags: &["--account-root"],
    },
    User {
        section: "iam root",
        // The suite takes an account's number for its canonical id.
        id: "111122223333",
        access_key: "WEIRS3TESTSROOT00001",
        secret_key: "s3tests/account/root/of/forty/characters1",
        more: "",
        flags: &["--account-root"],
    },
    User {
        section: "iam alt root",
        id: "444455556666",
        access_key: "WEIRS3TESTSROOT00002",
        secret_key: "s3tests/account/root/of/forty/characters2",
        more: "",
        flags: &["--account-root"],
    },
];

pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let suite = options.suite.canonicalize().with_context(|| format!("opening {}", options.suite.display()))?;
    ensure!(!suite.starts_with(root), "the suite is not part of this repository: check it out somewhere else");
    let lists = Lists::read(&root.join("tests/s3-tests"), if options.https { "https" } else { "http" })?;

    let cache = cache::directory()?;
    let work = cache.join("s3-tests");
    match std::fs::remove_dir_all(&work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => std::fs::create_dir_all(&work)?,
    }
    let python = environment(&cache, &suite)?;
    let issuer = Issuer::start(&work)?;
    let web_identity = issuer.section()?;
    let binary = crash::build_server(root, &cache)?;
    let configure = |name: &str, server: &Server| {
        let prefix = if name == "alone" { SWEPT } else { "weir-{random}-" };
        let classes = if name == "classes" { CLASSES } else { "" };
        std::fs::write(work.join(format!("{name}.conf")), server.configuration(prefix, classes) + &web_identity)
    };
    let pytest = |configuration: &str, arguments: &[&str]| {
        let mut command = command::new(python.join("bin/python"), &suite);
        command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]).args(arguments);
        command
            .env("S3TEST_CONF", work.join(format!("{configuration}.conf")))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1");
        if options.https {
            // Some tests verify, whatever the configuration says.
            let region = if configuration == "alone" { OTHER_REGION } else { REGION };
            let authority = work.join(region).join(AUTHORITY);
            for name in ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"] {
                command.env(name, &authority);
            }
        }
        command
    };

    let mut server = Server::start(&binary, &work, OTHER_REGION, options.https)?;
    let mut collected = BTreeSet::new();
    for name in ["alone", "classes"] {
        configure(name, &server)?;
        let output = command::output(&mut pytest(name, &["--collect-only", "s3tests/functional"]))?;
        let ids = output.lines().filter_map(id_of);
        collected.extend(ids.filter(|id| wants_classes(id) == (name == "classes")));
    }
    let mut sound = lists.covers(&collected);

    let is_wanted = |id: &&String| options.only.as_ref().is_none_or(|prefix| id.starts_with(prefix));
    let (alone, shared): (Vec<&String>, Vec<&String>) =
        lists.to_run(options.all).filter(is_wanted).partition(|id| ALONE.iter().any(|prefix| id.starts_with(prefix)));
    let (classes, together): (Vec<&String>, Vec<&String>) = shared.into_iter().partition(|id| wants_classes(id));
    let mut results = BTreeMap::new();
    for (name, ids, workers) in [
        ("alone", alone, 0),
        ("together", together, options.workers),
        // They mostly sleep.
        ("classes", classes, options.workers * 4),
    ] {
        if name == "together" {
            drop(server);
            server = Server::start(&binary, &work, REGION, options.https)?;
        }
        if ids.is_empty() {
            continue;
        }
        configure(name, &server)?;
        let report = work.join(format!("{name}.xml"));
        let (workers, timeout) = (workers.to_string(), format!("--timeout={TEST_SECONDS_MAX}"));
        let mut tests = pytest(name, &["--tb=short", "-n", &workers, &timeout, "--junitxml"]);
        tests.arg(&report).args(ids.iter().map(|id| format!("s3tests/functional/{id}")));
        // Failures are expected, and told apart below; what they say is in the report.
        tests.stdout(Stdio::null());
        command::succeeds(&mut tests)?;
        results.append(&mut junit::parse(&std::fs::read_to_string(&report).context("pytest left no report")?));
    }
    drop(server);
    if let Some(only) = &options.only {
        ensure!(!results.is_empty(), "no test that is in scope has an id that begins with {only}");
        for (id, outcome) in &results {
            println!("{id} {outcome:?}");
        }
        return Ok(sound);
    }

    let summary = report::Summary::of(&lists, &results);
    println!("\n{}", summary.table());
    for line in summary.complaints() {
        println!("{line}");
        sound = false;
    }
    for line in summary.promotable() {
        println!("{line}");
    }
    println!("{}", summary.verdict());
    if options.publish {
        std::fs::write(root.join("docs/s3-conformance.md"), summary.document(&lists))?;
    }
    Ok(sound)
}

fn environment(cache: &Path, suite: &Path) -> Result<PathBuf> {
    let list = suite.join("requirements.txt");
    let list = std::fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let requirements = cache.join("s3-tests-requirements.txt");
    std::fs::write(&requirements, format!("{}\n{PLUGINS}", list.trim_end()))?;
    cache::python_environment(cache, &requirements)
}

fn wants_classes(id: &str) -> bool {
    WITH_CLASSES.contains(&id.split('[').next().unwrap_or(id))
}

/// `s3tests/functional/test_s3.py::test_x` without its folder.
fn id_of(line: &str) -> Option<String> {
    let id = line.trim().strip_prefix("s3tests/functional/")?;
    id.contains("::").then(|| id.to_owned())
}

/// The real server on a fresh directory, with the suite's users.
struct Server {
    process: Child,
    port: u16,
    https_port: Option<u16>,
    region: &'static str,
    /// Kept open: the server may still write to it.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(binary: &Path, work: &Path, region: &'static str, https: bool) -> Result<Self> {
        let mut serve = admin(binary, work);
        serve.args(["serve", "--data", region, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        // All of the suite's forms are signed with version 2, and it has tests of it; and it gives buckets public lists without
        // asking whether they may be.
        serve.args(["--region", region, "--signature-v2", "all", "--allow-public-access"]);
        serve.args(["--object-ownership", "ObjectWriter", "--local-issuer", issuer::HOST]);
        serve.args(["--test-account-without-number", NUMBERLESS]);
        serve.arg("--test-mode");
        let https_port = https.then(free_port).transpose()?;
        match https_port {
            Some(port) => serve.args(["--tls-dir", "tls", "--https-listen", &format!("127.0.0.1:{port}")]),
            // Without it the suite sends customers' keys over plain HTTP.
            None => serve.arg("--test-ssec-plain-http"),
        };
        serve.args(["--test-lifecycle-day", &LIFECYCLE_DAY_SECONDS.to_string()]);
        serve.stdout(Stdio::piped()).stderr(std::fs::File::create(work.join(format!("weir-{region}.log")))?);
        let mut process = serve.spawn().with_context(|| format!("starting {}", binary.display()))?;
        let mut stdout = BufReader::new(process.stdout.take().context("standard output was asked for")?);
        let port = wait_until_ready(&mut stdout)?;
        let mut server = Self { port, https_port, process, region, _stdout: stdout };
        for user in &USERS {
            server.import(binary, work, user)?;
        }
        for name in NAMED_KEYS {
            let mut create = server.verb(binary, work);
            create.args(["kms", "create", name]);
            command::output(&mut create)?;
        }
        Ok(server)
    }

    /// A verb of the command line against it. Its admin port speaks HTTPS where another does.
    fn verb(&self, binary: &Path, work: &Path) -> Command {
        let mut verb = admin(binary, work);
        verb.env("WEIR_ENDPOINT", format!("http://127.0.0.1:{}", self.port));
        if self.https_port.is_some() {
            verb.env("WEIR_CA_FILE", work.join(self.region).join(AUTHORITY));
        }
        verb
    }

    fn import(&mut self, binary: &Path, work: &Path, user: &User) -> Result<()> {
        let mut import = self.verb(binary, work);
        import.args(["key", "import", "--owner", user.id, "--display-name", user.id]);
        import.args(["--email", &format!("{}@example.com", user.id)]);
        import.args(["--access-key", user.access_key, "--secret-key", user.secret_key]).args(user.flags);
        command::output(&mut import).map(drop)
    }

    fn configuration(&self, bucket_prefix: &str, classes: &str) -> String {
        let mut text = format!(
            "[DEFAULT]\nhost = 127.0.0.1\nport = {}\nis_secure = {}\nssl_verify = False\n\n[fixtures]\n\
             bucket prefix = {bucket_prefix}\niam name prefix = weir-{{random}}-\niam path prefix = {IAM_PATH}\n",
            self.https_port.unwrap_or(self.port),
            if self.https_port.is_some() { "True" } else { "False" },
        );
        for User { section, id, access_key, secret_key, more, .. } in &USERS {
            writeln!(
                text,
                "\n[{section}]\ndisplay_name = {id}\nuser_id = {id}\nemail = {id}@example.com\napi_name = {}\n\
                 access_key = {access_key}\nsecret_key = {secret_key}\nlc_debug_interval = {LIFECYCLE_DAY_SECONDS}\n{classes}\n{more}",
                self.region
            )
            .expect("a string takes all text");
        }
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data is thrown away.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// That nobody listens at now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// `weir` in the work folder as the administrator.
fn admin(binary: &Path, work: &Path) -> Command {
    let mut command = command::new(binary, work);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("AWS_") || text.starts_with("WEIR_") {
            command.env_remove(&name);
        }
    }
    command.env("WEIR_ADMIN_ACCESS_KEY", ADMIN.0).env("WEIR_ADMIN_SECRET_KEY", ADMIN.1);
    command
}

fn wait_until_ready(stdout: &mut impl BufRead) -> Result<u16> {
    let mut line = String::new();
    loop {
        line.clear();
        ensure!(stdout.read_line(&mut line)? > 0, "weir ended before it was ready: see its log in the cache");
        if let Some(port) = port_of(&line) {
            return Ok(port);
        }
    }
}

fn port_of(line: &str) -> Option<u16> {
    line.trim().strip_prefix("weir is ready: S3 at http://127.0.0.1:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        assert_eq!(port_of("weir is ready: S3 at http://127.0.0.1:4711\n"), Some(4711));
        assert_eq!(port_of("The administrator's key is new.\n"), None);
        assert_eq!(id_of("s3tests/functional/test_s3.py::test_a[x-1]"), Some("test_s3.py::test_a[x-1]".to_owned()));
        assert_eq!(id_of("1049 tests collected in 2.90s"), None);
        assert!(wants_classes("test_s3.py::test_lifecycle_transition_encrypted[sse-c-STANDARD-GLACIER]"));
        assert!(wants_classes("test_s3.py::test_lifecycle_transition"));
        assert!(!wants_classes("test_s3.py::test_lifecycle_transition_set_invalid_date"));
    }
}
