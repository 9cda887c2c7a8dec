use super::*;
use crate::audit::{head, head_path};
use crate::config;
use authn::audit::{Ends, Fault, Summary, Verifier};
use common::SecretKey;
use common::doors::SimulatedClock;
use std::fs;
use std::path::{Path, PathBuf};

const OBJECT: &[u8] = b"{\"kind\":\"decision\",\"resource\":\"arn:aws:s3:::bucket/key\"}";

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::of_seed(&SecretKey::from_slice(&[7; 32]).unwrap()))
}

struct Place(tempfile::TempDir);

impl Place {
    #[expect(clippy::disallowed_methods, reason = "a test lays files out by hand")]
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("control")).unwrap();
        Self(folder)
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn data(&self) -> &Path {
        self.0.path()
    }

    /// One life of a server that answers so many requests.
    fn serve(&self, requests: usize) {
        let settings = config::Audit { file_bytes_max: 4096, files_max: 3, ..config::Audit::default() };
        let file = LogFile::open(&self.log(), head_path(self.data()), head(self.data()).unwrap(), &settings).unwrap();
        let queue = Arc::new(Queue::new(1024 * 1024));
        for _ in 0..requests {
            assert!(queue.push(OBJECT));
        }
        queue.close();
        let clock = SimulatedClock::starting_at(1_000_000);
        Writer::new(queue, Sink::File(file), key(), clock, Duration::from_secs(60)).run();
    }

    /// The files of the log, the oldest first.
    #[expect(clippy::disallowed_methods, reason = "a test looks at files by hand")]
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            entries.filter(|path| path.starts_with(self.log()) || name(path).starts_with("log")).collect();
        files.sort_by_key(|path| (name(path) == "log", path.clone()));
        files
    }

    #[expect(clippy::disallowed_methods, reason = "a test looks at files by hand")]
    fn verify(&self) -> Result<Summary, Fault> {
        let keys = [key().public()];
        let mut verifier = Verifier::new(&keys, Ends::Whole(head(self.data()).unwrap()));
        for path in self.files() {
            verifier.begin_file()?;
            let bytes = fs::read(path).unwrap();
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                match line.strip_suffix(b"\n") {
                    Some(line) => verifier.line(line)?,
                    None => verifier.torn(line)?,
                }
            }
        }
        verifier.finish()
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_log_goes_on_over_starts_and_files() {
    let place = Place::new();
    place.serve(3);
    let summary = place.verify().unwrap();
    assert_eq!((summary.first, summary.records, summary.checkpoints, summary.unsigned), (1, 3, 2, 0));
    place.serve(2);
    assert_eq!(place.verify().unwrap().records, 5);
    // Three files are kept, and the log says where they begin.
    place.serve(200);
    assert_eq!(place.files().len(), 3);
    let summary = place.verify().unwrap();
    assert!(summary.first > 1 && summary.last > 205);
    place.serve(0);
    assert_eq!(place.verify().unwrap().last, summary.last + 2);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test lays files out by hand")]
fn what_a_crash_leaves_is_cut_off() {
    let place = Place::new();
    place.serve(3);
    let whole = fs::read(place.log()).unwrap();
    for torn in [&b"{\"seq\":6,\"prev\":\""[..], &[0; 9000], b"{"] {
        fs::write(place.log(), [&whole, torn].concat()).unwrap();
        place.serve(1);
        let text = String::from_utf8(fs::read(place.log()).unwrap()).unwrap();
        assert!(text.as_bytes().starts_with(&whole) && text.contains(&format!("\"cut_bytes\":{}", torn.len())));
        place.verify().unwrap();
        fs::write(place.log(), &whole).unwrap();
        fs::remove_file(head_path(place.data())).unwrap();
    }
    // A crash within the very first line.
    fs::write(place.log(), &whole[..20]).unwrap();
    place.serve(1);
    assert_eq!(place.verify().unwrap().first, 1);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test lays files out by hand")]
fn what_is_missing_or_foreign_at_a_start_stays_said() {
    let place = Place::new();
    place.serve(3);
    let whole = fs::read_to_string(place.log()).unwrap();
    let cut: String = whole.split_inclusive('\n').take(3).collect();
    fs::write(place.log(), cut).unwrap();
    place.serve(1);
    assert_eq!(place.verify(), Err(Fault::Lost { last: 3, lost_to: 5 }));

    let place = Place::new();
    place.serve(3);
    let whole = fs::read_to_string(place.log()).unwrap();
    fs::write(place.log(), format!("{whole}junk\n")).unwrap();
    place.serve(1);
    let names: Vec<_> = place.files().iter().map(|path| name(path)).collect();
    assert_eq!(names, ["log.damaged-5", "log"]);
    assert_eq!(place.verify(), Err(Fault::NotARecord));
    // Without the damaged file the rest is whole.
    fs::remove_file(place.data().join("log.damaged-5")).unwrap();
    assert_eq!(place.verify().map(|summary| summary.first), Ok(6));

    // A log that was moved away is gone on with.
    fs::remove_file(place.log()).unwrap();
    place.serve(1);
    assert_eq!(place.verify().map(|summary| summary.first), Ok(9));
}

#[test]
fn one_server_writes_a_file() {
    let place = Place::new();
    let settings = config::Audit::default();
    let open = || LogFile::open(&place.log(), head_path(place.data()), None, &settings);
    let first = open().unwrap();
    assert!(matches!(open(), Err(crate::error::Error::Refused(_))));
    drop(first);
    assert!(open().is_ok());
    let folder = LogFile::open(place.data(), head_path(place.data()), None, &settings);
    assert!(folder.is_err());
}
