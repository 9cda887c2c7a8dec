//! What the tasks install, outside of the clone: a Python environment, cargo tools, Debian's clients, sub-builds.

use crate::command;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// `WEIR_CACHE_DIR`, else the user's cache folder.
pub fn directory() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = from("WEIR_CACHE_DIR")
        .or_else(|| from("XDG_CACHE_HOME").map(|cache| cache.join("weir")))
        .or_else(|| from("HOME").map(|home| home.join(".cache/weir")))
        .context("no place for the cache: set WEIR_CACHE_DIR")?;
    std::fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    Ok(directory)
}

/// A Python environment with exactly what the requirements file lists. Its name holds a hash of that file, so that a
/// changed list never meets an old environment.
pub fn python_environment(cache: &Path, requirements: &Path) -> Result<PathBuf> {
    let list = std::fs::read(requirements).with_context(|| format!("reading {}", requirements.display()))?;
    let environment = cache.join(format!("python-{}", &hex::encode(Sha256::digest(&list))[..16]));
    let finished = environment.join("finished");
    if finished.exists() {
        return Ok(environment);
    }
    let python = std::env::var_os("WEIR_PYTHON").unwrap_or_else(|| "python3".into());
    let made = command::succeeds(command::new(python, cache).args(["-m", "venv", "--clear"]).arg(&environment))?;
    if !made {
        bail!("`python3 -m venv` failed: install Debian's python3-venv, or name another Python in WEIR_PYTHON");
    }
    let installed = command::succeeds(
        command::new(environment.join("bin/python"), cache)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(requirements),
    )?;
    if !installed {
        bail!("pip could not install {}", requirements.display());
    }
    std::fs::write(finished, "")?;
    Ok(environment)
}

/// What npm installs of a lock file, which every package's hash is in: the folder of modules. `None` without npm: the tests
/// that need it are skipped then.
pub fn node_modules(cache: &Path, manifest: &Path) -> Result<Option<PathBuf>> {
    let lock = manifest.join("package-lock.json");
    let list = std::fs::read(&lock).with_context(|| format!("reading {}", lock.display()))?;
    let home = cache.join(format!("node-{}", &hex::encode(Sha256::digest(&list))[..16]));
    let (modules, finished) = (home.join("node_modules"), home.join("finished"));
    if finished.exists() {
        return Ok(Some(modules));
    }
    std::fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(manifest.join(name), home.join(name)).with_context(|| format!("copying {name}"))?;
    }
    let mut npm = command::new("npm", &home);
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    if !command::succeeds(&mut npm).unwrap_or(false) {
        return Ok(None);
    }
    std::fs::write(finished, "")?;
    Ok(Some(modules))
}

/// A cargo tool at an exact version, kept under a name that holds the version.
pub fn cargo_tool(root: &Path, cache: &Path, name: &str, version: &str) -> Result<PathBuf> {
    let home = cache.join(format!("{name}-{version}"));
    let binary = home.join("bin").join(name);
    if binary.exists() {
        return Ok(binary);
    }
    // A debug build takes one minute instead of five, and the tool works on a few hundred manifests.
    let installed = command::succeeds(
        command::cargo(root, cache)
            .env("CARGO_TARGET_DIR", cache.join("tools-target"))
            .env("CARGO_PROFILE_DEV_DEBUG", "none")
            .args(["install", "--locked", "--quiet", "--debug", "--version", &format!("={version}"), "--root"])
            .arg(&home)
            .arg(name),
    )?;
    if !installed {
        bail!("{name} {version} could not be installed");
    }
    Ok(binary)
}

/// A client, or a proxy to stand before the server, that comes as a Debian package.
pub struct DebianClient {
    pub package: &'static str,
    pub binary: &'static str,
}

pub const DEBIAN_CLIENTS: [DebianClient; 9] = [
    DebianClient { package: "awscli", binary: "/usr/bin/aws" },
    DebianClient { package: "curl", binary: "/usr/bin/curl" },
    DebianClient { package: "haproxy", binary: "/usr/sbin/haproxy" },
    DebianClient { package: "nginx-light", binary: "/usr/sbin/nginx" },
    DebianClient { package: "openssl", binary: "/usr/bin/openssl" },
    DebianClient { package: "rclone", binary: "/usr/bin/rclone" },
    DebianClient { package: "restic", binary: "/usr/bin/restic" },
    DebianClient { package: "s3cmd", binary: "/usr/bin/s3cmd" },
    DebianClient { package: "s3fs", binary: "/usr/bin/s3fs" },
];

/// What the power cuts of real file systems need.
pub const POWER_CUT_PROGRAMS: [DebianClient; 3] = [
    DebianClient { package: "e2fsprogs", binary: "/usr/sbin/mkfs.ext4" },
    DebianClient { package: "qemu-system-common", binary: "/usr/bin/qemu-storage-daemon" },
    DebianClient { package: "xfsprogs", binary: "/usr/sbin/mkfs.xfs" },
];

/// A machine with an init would start their services, on port 80.
fn may_install(client: &DebianClient) -> bool {
    !["haproxy", "nginx-light"].contains(&client.package) || !Path::new("/run/systemd/system").exists()
}

/// Installs the programs that are missing, and returns a line for each that stays so.
pub fn debian_programs(directory: &Path, programs: &[DebianClient]) -> Vec<String> {
    install_missing(programs, directory);
    let missing = programs.iter().filter(|client| is_missing(client));
    missing.map(|client| format!("{} (its tests are skipped)", how_to_install(client))).collect()
}

/// One of them alone: where its binary is, or a line that says how to get it.
pub fn debian_client(package: &str, directory: &Path) -> Result<&'static Path, String> {
    let client = DEBIAN_CLIENTS.iter().find(|client| client.package == package).expect("a package of the list");
    install_missing(std::slice::from_ref(client), directory);
    if is_missing(client) { Err(how_to_install(client)) } else { Ok(Path::new(client.binary)) }
}

fn is_missing(client: &DebianClient) -> bool {
    !Path::new(client.binary).exists()
}

fn how_to_install(client: &DebianClient) -> String {
    format!("{} is missing: `apt-get install {}`", client.binary, client.package)
}

fn install_missing(clients: &[DebianClient], directory: &Path) {
    let wanted = clients.iter().filter(|client| is_missing(client) && may_install(client));
    let packages: Vec<_> = wanted.map(|client| client.package).collect();
    if !packages.is_empty() && is_root(directory) && Path::new("/usr/bin/apt-get").exists() {
        let apt = |arguments: &[&str]| {
            let mut command = command::new("/usr/bin/apt-get", directory);
            // Without an init too a package may start its service; not in run level 1.
            command.env("RUNLEVEL", "1").env("DEBIAN_FRONTEND", "noninteractive").args([
                "-qq",
                "-o",
                "DPkg::Lock::Timeout=300",
            ]);
            command::succeeds(command.args(arguments).stdout(std::process::Stdio::null())).unwrap_or(false)
        };
        // A stale package list is no reason to give up: the install says what it needs.
        let _ = apt(&["update"]);
        apt(&[&["install", "-y", "--no-install-recommends"], packages.as_slice()].concat());
    }
}

fn is_root(directory: &Path) -> bool {
    command::output(command::new("id", directory).arg("-u")).is_ok_and(|id| id.trim() == "0")
}
