//! `weir backup`: the control store into a file, and out of a file or of the copy that each disk keeps.

use crate::admin_client::AdminClient;
use crate::args::{BackupArgs, BackupVerb};
use crate::error::{Error, Result};
use crate::{credentials, output, root_key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster::{EmbeddedControlPlane, RowSeal};
use common::doors::SystemRandom;
use gateway::backup::Backup;
use http::Method;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use storage::{CONTROL_COPY, Target};

pub async fn run(args: BackupArgs) -> Result<()> {
    let data = args.data.clone().unwrap_or_else(|| "./weir-data".into());
    match args.verb {
        BackupVerb::Create { file } => create(&file, &data).await,
        BackupVerb::Restore { file: Some(file), from_disk: None } => restore(&read(&file)?, &file, &data),
        BackupVerb::Restore { file: None, from_disk: Some(disk) } => {
            let copy = disk.join(CONTROL_COPY);
            if !disk.join("weir-disk.json").exists() {
                return Err(Error::NotFound(format!("{} is no disk of a weir", disk.display())));
            }
            let content = Target::read_document(&disk, CONTROL_COPY)?;
            let content = content.ok_or_else(|| Error::NotFound(format!("{} is not there", copy.display())))?;
            // The disk of an appliance with one disk is its data directory.
            restore(&content, &copy, args.data.as_ref().unwrap_or(&disk))
        }
        BackupVerb::Restore { .. } => Err(Error::Usage("give FILE or --from-disk DIR".into())),
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn create(file: &Path, data: &Path) -> Result<()> {
    if file.exists() {
        return Err(Error::Refused(format!("{} exists: give another name", file.display())));
    }
    let client = AdminClient::find(credentials::find(data, environment)?, environment).await?;
    let answer = client.ask(Method::GET, "/api/v1/backup", &Value::Null).await?;
    let bytes = answer["backup"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let backup = Backup::decode(&bytes).map_err(|error| Error::Failed(format!("what the appliance sent: {error}")))?;

    // A key that is kept in the data directory gets lost with it; one that comes from elsewhere stays where it is.
    let given = root_key::given(environment)?.is_some();
    let root = if given { None } else { root_key::read(&root_key::path(data))? };
    if let Some(root) = &root {
        let other = |_| Error::Refused(format!("{} is not this appliance's", root_key::path(data).display()));
        backup.open(root).map_err(other)?;
    }
    let has_root = root.is_some();
    credentials::write_private(file, &backup.with_root(root).encode())?;
    let about = match has_root {
        true => "It has the root key in it: whoever has it and a disk can read everything.",
        false => "The root key is not in it: a restore needs it in WEIR_ROOT_KEY or WEIR_ROOT_KEY_FILE.",
    };
    output::line(format_args!("wrote {}\n{about}", file.display()));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a backup is a file of its own, apart from every disk")]
fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound(format!("{} is not there", file.display())),
        _ => Error::Io { what: file.display().to_string(), source: error },
    })
}

fn restore(content: &[u8], from: &Path, data: &Path) -> Result<()> {
    let failed = |error: gateway::backup::BackupError| Error::Failed(format!("{}: {error}", from.display()));
    let backup = Backup::decode(content).map_err(failed)?;
    let (path, here) = (root_key::path(data), root_key::read(&root_key::path(data))?);
    let given = root_key::given(environment)?;
    let is_given = given.is_some();
    let root = given.or_else(|| backup.root.clone()).or_else(|| here.clone()).ok_or_else(|| {
        Error::Refused("the root key is not in the backup: give it in WEIR_ROOT_KEY or WEIR_ROOT_KEY_FILE".into())
    })?;
    let snapshot = backup.open(&root).map_err(failed)?;
    if !is_given && here.as_ref().is_some_and(|here| *here != root) {
        return Err(Error::Refused(format!("{} is another root key: move it away first", path.display())));
    }
    let seal = RowSeal::new(&root, Arc::new(SystemRandom));
    EmbeddedControlPlane::restore(&data.join("control/control.redb"), &snapshot, Some(&seal))?;
    if !is_given && here.is_none() {
        root_key::write(&path, &root)?;
    }
    output::line(format_args!("restored the control store of {} from {}", data.display(), from.display()));
    Ok(())
}
