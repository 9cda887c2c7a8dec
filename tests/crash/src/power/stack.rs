//! A real file system on a disk whose every request is logged, delayed or refused: a loop device on a file that
//! `qemu-storage-daemon` exports through FUSE. No kernel module is needed beyond loop and FUSE.
//!
//! Everything that a stack mounts is in a mount namespace of this process (`enter_private_mounts`), and its processes end
//! with the thread that started them: when this process goes, in whatever way, nothing stays behind.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value as Json, json};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the process that has mounts of its own.
const PRIVATE: &str = "WEIR_CRASH_PRIVATE_MOUNTS";
const READY_WITHIN: Duration = Duration::from_secs(20);
const UNMOUNT_ATTEMPTS: u32 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    pub const ALL: [Self; 2] = [Self::Ext4, Self::Xfs];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// Formats a file. What is discarded or initialised later would only fill the log.
    pub fn make(self, image: &Path) -> Result<()> {
        let mut command = match self {
            Self::Ext4 => {
                let mut command = Command::new("mkfs.ext4");
                command.args(["-q", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]);
                command
            }
            Self::Xfs => {
                let mut command = Command::new("mkfs.xfs");
                command.args(["-q", "-K"]);
                command
            }
        };
        run(command.arg(image))
    }

    /// Copies of one file system have one identity, and two of them may be mounted at once.
    fn mount_options(self) -> &'static str {
        match self {
            Self::Ext4 => "noatime",
            Self::Xfs => "noatime,nouuid",
        }
    }
}

/// What this machine lacks for it; empty if it has everything.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if std::fs::metadata("/proc/self").map_or(true, |process| process.uid() != 0) {
        missing.push("root".to_owned());
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if !Path::new(device).exists() {
            missing.push(device.to_owned());
        }
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    for program in
        ["qemu-storage-daemon", "mkfs.ext4", "mkfs.xfs", "losetup", "mount", "umount", "setpriv", "unshare", "cp"]
    {
        if !std::env::split_paths(&folders).any(|folder| folder.join(program).exists()) {
            missing.push(program.to_owned());
        }
    }
    missing
}

/// Starts this program again where its mounts are its own. Returns in the new process, or with the reason why not.
pub fn enter_private_mounts() -> Result<()> {
    if std::env::var_os(PRIVATE).is_some() {
        return Ok(());
    }
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(PRIVATE, "1")
        .exec();
    Err(error).context("starting unshare")
}

/// A program that ends with the thread that starts it.
pub fn bound_to_us(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(|_| ())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{:?}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "{:?} failed: {said}", command.get_program());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Memory as a file system, for images that are read and written over and over. Gone with this process.
pub struct Scratch {
    directory: tempfile::TempDir,
    is_mounted: bool,
}

impl Scratch {
    /// Images and logs take so much at most; a machine that has not twice as much free keeps them on its disk.
    pub fn new(bytes_max: u64) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("weir-power-").tempdir()?;
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next());
        let available_kib: u64 = available.and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let mut scratch = Self { directory, is_mounted: false };
        if available_kib * 1024 > 2 * bytes_max {
            let options = format!("size={bytes_max},mode=0700");
            run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "weir-power"]).arg(scratch.path()))?;
            scratch.is_mounted = true;
        }
        Ok(scratch)
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.is_mounted {
            // Whoever still holds a file here is a thread of ours that is about to end.
            let _ = run(Command::new("umount").arg("--lazy").arg(self.directory.path()));
        }
    }
}

/// A mounted file system. Unmounted, at the latest, when dropped.
pub struct Mounted {
    path: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    /// The loop device goes with the mount.
    pub fn new(file_system: FileSystem, file: &Path, path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        // Buffered, so that the loop device has one request under way: qemu-storage-daemon before 10.1 reads the next one
        // into the buffer of a write that is not done, and what it writes is anything.
        let device = output(Command::new("losetup").args(["--find", "--show", "--direct-io=off"]).arg(file))?;
        let mounted = run(Command::new("mount")
            .args(["-t", file_system.name(), "-o", file_system.mount_options(), &device])
            .arg(path));
        // A device in use is detached when it is no longer.
        let detached = run(Command::new("losetup").args(["--detach", &device]));
        mounted?;
        let mounted = Self { path: path.to_owned(), is_mounted: true };
        detached?;
        Ok(mounted)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn unmount(mut self) -> Result<()> {
        self.is_mounted = false;
        for _ in 1..UNMOUNT_ATTEMPTS {
            if run(Command::new("umount").arg(&self.path)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        run(Command::new("umount").arg(&self.path))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.path));
        }
    }
}

/// What the disk shall do wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    Read,
    Write,
    Flush,
}

impl Fault {
    fn kind(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
        }
    }
}

/// The exported disk: image, faults, and if wanted a log, from the bottom up.
pub struct Daemon {
    child: Child,
    monitor: BufReader<UnixStream>,
    image: PathBuf,
    export: PathBuf,
    faults: u32,
}

impl Daemon {
    /// Puts socket and export beside the image.
    pub fn start(image: &Path, log: Option<&Path>) -> Result<Self> {
        let export = image.with_extension("export");
        let socket = image.with_extension("socket");
        File::create(&export)?;
        let _ = std::fs::remove_file(&socket);
        let text = |path: &Path| path.display().to_string();
        let mut command = bound_to_us("qemu-storage-daemon");
        let mut node = |json: Json| {
            command.arg("--blockdev").arg(json.to_string());
        };
        let group = "slow";
        node(json!({"driver": "file", "node-name": "image", "filename": text(image)}));
        node(json!({"driver": "blkdebug", "node-name": "fault0", "image": "image"}));
        node(json!({"driver": "raw", "node-name": "disk", "file": "fault0"}));
        if let Some(log) = log {
            File::create(log)?;
            node(json!({"driver": "file", "node-name": "log", "filename": text(log)}));
            node(
                json!({"driver": "blklogwrites", "node-name": "logged", "file": "disk", "log": "log", "log-sector-size": 512}),
            );
        }
        let below = if log.is_some() { "logged" } else { "disk" };
        command.args(["--object", &json!({"qom-type": "throttle-group", "id": group, "limits": {}}).to_string()]);
        let throttle = json!({"driver": "throttle", "node-name": "top", "throttle-group": group, "file": below});
        command.arg("--blockdev").arg(throttle.to_string());
        command
            .args(["--chardev", &format!("socket,id=monitor,path={},server=on,wait=off", text(&socket))])
            .args(["--monitor", "chardev=monitor"])
            .args(["--export", &format!("type=fuse,id=export,node-name=top,mountpoint={},writable=on", text(&export))]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let until = Instant::now() + READY_WITHIN;
        let bytes = std::fs::metadata(image)?.len();
        // Mounted over the empty file it has the disk's length.
        while std::fs::metadata(&export).map_or(true, |export| export.len() != bytes) {
            if let Some(status) = child.try_wait()? {
                bail!("qemu-storage-daemon ended: {status}");
            }
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                bail!("qemu-storage-daemon exports nothing");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let monitor = BufReader::new(UnixStream::connect(&socket)?);
        let mut daemon = Self { child, monitor, image: image.to_owned(), export, faults: 0 };
        daemon.monitor.get_ref().set_read_timeout(Some(READY_WITHIN))?;
        daemon.answer()?;
        daemon.command("qmp_capabilities", json!({}))?;
        Ok(daemon)
    }

    pub fn export(&self) -> &Path {
        &self.export
    }

    /// From now on every request of this kind ends with EIO, at the given sector or everywhere. Of flushes only the next
    /// one does: it is the later ones, which succeed, that must not be believed.
    pub fn fail(&mut self, fault: Fault, sector: Option<u64>) -> Result<()> {
        let mut rule = json!({"event": "none", "iotype": fault.kind(), "errno": 5, "once": fault == Fault::Flush});
        if let Some(sector) = sector {
            rule["sector"] = json!(sector);
        }
        self.use_rules(&[rule])
    }

    /// As new.
    pub fn heal(&mut self) -> Result<()> {
        self.use_rules(&[])
    }

    /// The rules of a node are fixed when it is made: a new one takes its place.
    fn use_rules(&mut self, rules: &[Json]) -> Result<()> {
        let old = format!("fault{}", self.faults);
        self.faults += 1;
        let new = format!("fault{}", self.faults);
        let mut node = json!({"driver": "blkdebug", "node-name": new, "image": "image"});
        // It takes no empty list.
        if !rules.is_empty() {
            node["inject-error"] = json!(rules);
        }
        self.command("blockdev-add", node)?;
        let disk = json!({"driver": "raw", "node-name": "disk", "file": new});
        self.command("blockdev-reopen", json!({"options": [disk]}))?;
        self.command("blockdev-del", json!({"node-name": old}))?;
        Ok(())
    }

    /// Bytes and requests per second; 0 for as many as there are.
    pub fn limit(&mut self, bytes: u64, requests: u64) -> Result<()> {
        let limits = json!({"bps-total": bytes, "iops-total": requests});
        let change = json!({"path": "/objects/slow", "property": "limits", "value": limits});
        self.command("qom-set", change).map(|_| ())
    }

    fn command(&mut self, name: &str, arguments: Json) -> Result<Json> {
        let line = format!("{}\n", json!({"execute": name, "arguments": arguments}));
        self.monitor.get_mut().write_all(line.as_bytes())?;
        let answer = self.answer()?;
        ensure!(answer.get("return").is_some(), "{name}: {answer}");
        Ok(answer)
    }

    /// The next line that is not an event.
    fn answer(&mut self) -> Result<Json> {
        loop {
            let mut line = String::new();
            ensure!(self.monitor.read_line(&mut line)? > 0, "qemu-storage-daemon closed its monitor");
            let answer: Json = serde_json::from_str(&line)?;
            if answer.get("event").is_none() {
                return Ok(answer);
            }
        }
    }

    /// Ends it and takes its export away. What was written is in the image.
    pub fn stop(mut self) -> Result<()> {
        self.command("quit", json!({}))?;
        let status = self.child.wait()?;
        ensure!(status.success(), "qemu-storage-daemon ended: {status}");
        let _ = std::fs::remove_file(self.image.with_extension("socket"));
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error on the way must not leave a daemon behind; one that has ended already is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.export));
    }
}
