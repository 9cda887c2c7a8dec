//! A step that hangs must end as a failure with a name, and not as a test run without a verdict. One that goes on although all that
//! it started was killed ends the run.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Rounds of killing, one a second.
const ROUNDS_MAX: u32 = 60;

/// Runs a step. If it does not end within `limit`, says which threads of which processes wait for what, and kills every
/// process that this one started; then the step fails by itself. Gives what the step gave and whether it was ended so.
pub fn guard<T>(name: &str, limit: Duration, step: impl FnOnce() -> T) -> (T, bool) {
    let was_ended = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        let (ended, ends) = channel::<()>();
        let was_ended = &was_ended;
        scope.spawn(move || {
            // Again and again: the step may go on to its next process.
            let (mut wait, mut rounds) = (limit, 0);
            while ends.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                was_ended.store(true, Ordering::Release);
                println!("{name}: it did not end within {} s, and is ended", limit.as_secs());
                for process in descendants(std::process::id()) {
                    println!("{}", describe(process));
                    kill(process);
                }
                rounds += 1;
                if rounds == ROUNDS_MAX {
                    println!("{name}: it goes on without them\n0 passed, 1 failed");
                    std::process::exit(1);
                }
                wait = Duration::from_secs(1);
            }
        });
        let done = step();
        drop(ended);
        done
    });
    (done, was_ended.into_inner())
}

/// Whom a process started, and whom those did, as far as they have not been left alone by their own parent.
fn descendants(of: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let families: Vec<(u32, u32)> = ids.filter_map(|id| Some((id, parent(id)?))).collect();
    let mut found = vec![of];
    let mut at = 0;
    while at < found.len() {
        let parent_of_these = found[at];
        found.extend(families.iter().filter(|(_, parent)| *parent == parent_of_these).map(|(id, _)| *id));
        at += 1;
    }
    found.split_off(1)
}

/// `/proc/N/stat`: `N (name, perhaps with spaces) state parent ...`
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn describe(process: u32) -> String {
    let text = |path: String| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    let command = text(format!("/proc/{process}/cmdline")).unwrap_or_default().replace('\0', " ");
    let threads = std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("task"));
    let threads = threads.into_iter().flatten().flatten().map(|entry| {
        let read = |file: &str| text(entry.path().join(file).to_string_lossy().into_owned()).unwrap_or_default();
        format!("{} in {}", read("comm"), read("wchan"))
    });
    format!("  {process} {command}: {}", threads.collect::<Vec<_>>().join(", "))
}

fn kill(process: u32) {
    // The standard library kills only children that it holds; one that is gone by now is fine.
    let _ = Command::new("kill").args(["-KILL", &process.to_string()]).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_step_that_hangs_is_ended_with_whom_it_started() {
        let begun = Instant::now();
        let (status, was_ended) = guard("sleep", Duration::from_millis(300), || {
            Command::new("sh").args(["-c", "sleep 300 & sleep 300; true"]).status()
        });
        assert!(was_ended);
        assert!(!status.unwrap().success());
        assert!(begun.elapsed() < Duration::from_secs(100));
        assert_eq!(guard("true", Duration::from_secs(100), || 7), (7, false));
    }
}
