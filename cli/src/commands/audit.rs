//! `weir audit verify`: whether a log is the one that was written.

use crate::args::{AuditArgs, AuditVerb};
use crate::audit;
use crate::error::{Error, Result};
use crate::output;
use authn::audit::{Ends, Fault, Summary, Verifier, number_of};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

pub fn run(args: AuditArgs) -> Result<()> {
    let AuditVerb::Verify { files, data, key, partial } = args.verb;
    let data = data.or_else(|| key.is_none().then(|| PathBuf::from("./weir-data")));
    let keys = match (&key, &data) {
        (Some(key), _) => audit::public_keys(key)?,
        (None, Some(data)) => audit::public_keys(&audit::public_key_path(data))?,
        (None, None) => Vec::new(),
    };
    // Before the files, which a server that runs makes longer.
    let head = data.as_deref().map(audit::head).transpose()?.flatten();
    if head.is_none() && !partial {
        eprintln!("weir: without the server's memory, an end that was cut off is not found: give --data");
    }
    let ends = if partial { Ends::Partial } else { Ends::Whole(head) };
    let summary = verify(files, Verifier::new(&keys, ends))?;
    let Summary { first, last, records, checkpoints, dropped, unsigned, torn_bytes } = summary;
    if torn_bytes > 0 {
        eprintln!("weir: the last line is torn: {torn_bytes} bytes, as after a crash, or while it is written");
    }
    if unsigned > 0 {
        eprintln!(
            "weir: the last {unsigned} lines are behind the last checkpoint: nothing signed vouches for them yet"
        );
    }
    if dropped > 0 {
        eprintln!("weir: {dropped} requests have no line, as there was no room for it, and the log says so");
    }
    output::line(format_args!("lines {first} to {last}: {records} records, {checkpoints} checkpoints, chain whole"));
    Ok(())
}

fn verify(files: Vec<PathBuf>, mut verifier: Verifier<'_>) -> Result<Summary> {
    for path in in_order(files)? {
        let name = path.display().to_string();
        let wrong = |line: usize| {
            let name = &name;
            move |fault: Fault| match line {
                0 => Error::Failed(format!("{name}: {fault}")),
                line => Error::Failed(format!("{name}:{line}: {fault}")),
            }
        };
        verifier.begin_file().map_err(wrong(0))?;
        let mut file = open(&path)?;
        let (mut bytes, mut line) = (Vec::new(), 0);
        while let Some(is_whole) =
            audit::read_line(&mut file, &mut bytes).map_err(|error| Error::io(name.clone())(error))?
        {
            line += 1;
            let found = if is_whole { verifier.line(&bytes) } else { verifier.torn(&bytes) };
            found.map_err(wrong(line))?;
        }
    }
    verifier.finish().map_err(|fault| Error::Failed(fault.to_string()))
}

#[expect(clippy::disallowed_methods, reason = "the audit log is no data")]
fn open(path: &Path) -> Result<BufReader<File>> {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => Ok(BufReader::new(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NotFound(format!("{name} is not there")))
        }
        Err(error) => Err(Error::io(name)(error)),
    }
}

/// By their first lines. One that begins with something else is where it was given, and will be found to.
fn in_order(files: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    let mut before = 0;
    for path in files {
        let mut line = Vec::new();
        let read = audit::read_line(&mut open(&path)?, &mut line);
        read.map_err(|error| Error::io(path.display().to_string())(error))?;
        before = number_of(&line).unwrap_or(before);
        numbered.push((before, path));
    }
    numbered.sort_by_key(|(number, _)| *number);
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}
