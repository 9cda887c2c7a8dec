//! Rules for Rust sources: one door each for time, randomness, files and sockets, no `unsafe`, no `mod.rs`, and the
//! workspace's lints everywhere. The lints of clippy.toml see the same calls; this check sees them behind an alias that
//! nobody lints (`tokio::fs`), and it holds the list of doors, which an attribute beside the call cannot widen.

use super::{Files, Finding};

/// A thing that the outside world decides, and the only product files that may ask for it.
struct Door {
    calls: &'static [&'static str],
    /// Files, or folders with a trailing slash.
    files: &'static [&'static str],
    instead: &'static str,
}

const DOORS: &[Door] = &[
    Door {
        calls: &["SystemTime::now", "Instant::now", "OffsetDateTime::now_utc", "UtcDateTime::now"],
        files: &["common/src/doors.rs"],
        instead: "take the time as an argument, or use common::Clock",
    },
    Door {
        calls: &["getrandom::", "thread_rng", "rand::rng", "rand::random", "OsRng", "RandomState::new"],
        files: &["common/src/doors.rs"],
        instead: "use common::Random",
    },
    Door {
        calls: &["fs::", "File::open", "File::create", "OpenOptions"],
        files: &[
            "storage/src/disk.rs",
            "storage/src/disk/",
            // The control plane's store, and redb's own file in the index.
            "cluster/src/embedded.rs",
            "storage/src/index.rs",
            "storage/src/index/",
            // Configuration, certificates and key files are read at the start.
            "common/src/config.rs",
            "certs/src/",
            "cli/src/",
            // The mount's cache.
            "fuse/src/cache.rs",
            "fuse/src/cache/",
        ],
        instead: "data files are opened in storage/src/disk/ only; configuration is read in cli/",
    },
    Door {
        calls: &["tokio::fs"],
        files: &[],
        instead: "storage/src/disk/ has its own threads: a blocking pool per call is slower than the disk",
    },
    Door {
        calls: &["TcpListener", "UnixListener", "UdpSocket"],
        files: &["gateway/src/listener.rs", "gateway/src/listener/"],
        instead: "listeners belong to gateway/src/listener.rs",
    },
    Door {
        calls: &["TcpStream", "UnixStream"],
        files: &[
            "gateway/src/listener.rs",
            "gateway/src/listener/",
            // To receivers of notifications.
            "gateway/src/outbound.rs",
            "common/src/transport.rs",
            "client/src/",
            // The admin verbs' own small client.
            "cli/src/",
        ],
        instead: "connections belong to the transport door, common/src/transport.rs",
    },
];

/// Files that may hold `unsafe`, each with a sentence of its own about why.
const UNSAFE_FILES: &[&str] = &[
    // Calls what is compiled for AVX2, behind the check that the processor has it.
    "common/src/md5/avx2.rs",
    // sync_file_range has no safe wrapper; it touches no memory of this process.
    "storage/src/disk/writeback.rs",
];

/// Folders of programs that test the product from outside: the doors are not theirs.
const OUTSIDE: &[&str] = &["xtask/", "tests/", "bench/", "fuzz/"];

pub fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in &files.paths {
        if path == "mod.rs" || path.ends_with("/mod.rs") {
            findings.push(Finding::new(path, 0, "name the file after its module: `name.rs` beside `name/`"));
        }
    }
    for (path, text) in &files.texts {
        if path.ends_with("Cargo.toml") && has_section(text, "package") && !inherits_lints(text) {
            findings.push(Finding::new(path, 0, "add `[lints]` with `workspace = true`"));
        }
    }
    for (path, text) in files.rust() {
        let code = code_only(text);
        findings.extend(unsafe_blocks(path, &code));
        if !is_test_file(path) {
            findings.extend(ambient_calls(path, &without_inline_tests(&code)));
        }
    }
    findings
}

fn has_section(manifest: &str, name: &str) -> bool {
    manifest.lines().any(|line| line.trim() == format!("[{name}]"))
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.find(|line| !line.is_empty()).is_some_and(|line| line.replace(' ', "") == "workspace=true")
}

fn is_test_file(path: &str) -> bool {
    OUTSIDE.iter().any(|folder| path.starts_with(folder))
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.contains("/examples/")
        || path.ends_with("/tests.rs")
        || path.ends_with("build.rs")
}

fn is_listed(path: &str, list: &[&str]) -> bool {
    list.iter().any(|entry| path == *entry || (entry.ends_with('/') && path.starts_with(entry)))
}

fn unsafe_blocks(path: &str, code: &str) -> Vec<Finding> {
    if is_listed(path, UNSAFE_FILES) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in numbered(code) {
        let granted = has_path(line, "unsafe_code") && (has_path(line, "allow") || has_path(line, "expect"));
        if has_path(line, "unsafe") || granted {
            let message = "no unsafe code: use a safe crate, or add the file with its reason to UNSAFE_FILES in tidy";
            findings.push(Finding::new(path, number, message));
        }
    }
    findings
}

fn ambient_calls(path: &str, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in numbered(code) {
        for door in DOORS {
            if is_listed(path, door.files) {
                continue;
            }
            for call in door.calls {
                if has_path(line, call) {
                    findings.push(Finding::new(
                        path,
                        number,
                        format!("`{call}` outside of its door: {}", door.instead),
                    ));
                }
            }
        }
    }
    findings
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Whether `path` occurs as whole words: `fs::` in `std::fs::read`, but not in `prefs::load`.
fn has_path(line: &str, path: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        let open_end = path.ends_with("::");
        !before.is_some_and(is_word) && (open_end || !after.is_some_and(is_word))
    })
}

/// The same lines without the inline test modules. rustfmt puts their closing brace into the column of the attribute.
fn without_inline_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        kept.push('\n');
        let closing = format!("{}}}", " ".repeat(indent));
        for line in lines.by_ref() {
            kept.push('\n');
            // `mod tests;`, a `use` or a constant ends on its own line.
            if line == closing || (line.trim_end().ends_with(';') && line.find(|c| c != ' ') == Some(indent)) {
                break;
            }
        }
    }
    kept
}

/// The same lines with comments and the contents of strings blanked.
fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => find(bytes, at, b"\n"),
            [b'/', b'*', ..] => block_comment_end(bytes, at),
            [b'"', ..] => string_end(bytes, at + 1),
            [b'r', rest @ ..] if !follows_word(bytes, at) && raw_string_hashes(rest).is_some() => {
                let hashes = raw_string_hashes(rest).unwrap_or(0);
                let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
                let start = at + hashes + 2;
                (find(bytes, start, &close) + close.len()).min(bytes.len())
            }
            [b'\'', b'\\', _, rest @ ..] => at + 4 + rest.iter().take_while(|byte| **byte != b'\'').count(),
            [b'\'', b'"', b'\'', ..] => at + 3,
            _ => {
                code.push(bytes[at]);
                at += 1;
                continue;
            }
        };
        let end = end.min(bytes.len());
        code.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
        at = end;
    }
    String::from_utf8_lossy(&code).into_owned()
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && bytes[at - 1] != b'b' && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

/// For the bytes after an `r`: how many `#` open the raw string, if it is one.
fn raw_string_hashes(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    (rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// Where `what` begins at or after `from`; the end of the text if nowhere.
fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(what.len()).position(|window| window == what).map_or(bytes.len(), |at| from + at)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        check(&Files::of(&[(path, text)])).into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    #[test]
    fn an_ambient_call_is_named_with_its_line_and_its_door() {
        let text = "fn f() {\n    let now = std::time::Instant::now();\n}\n";
        let expected = "`Instant::now` outside of its door: take the time as an argument, or use common::Clock";
        assert_eq!(found("storage/src/commit.rs", text), [(2, expected.to_owned())]);
        assert_eq!(found("common/src/doors.rs", text), []);
    }

    #[test]
    fn every_door_is_closed_to_other_files_and_open_to_its_own() {
        for door in DOORS {
            for call in door.calls {
                let text = format!("fn f() {{ {call}x(); {call} }}\n");
                assert!(!found("authn/src/policy.rs", &text).is_empty(), "{call}");
                for file in door.files {
                    let path = if file.ends_with('/') { format!("{file}x.rs") } else { (*file).to_owned() };
                    let named = format!("`{call}`");
                    let mine = found(&path, &text).into_iter().filter(|(_, message)| message.starts_with(&named));
                    assert_eq!(mine.count(), 0, "{call} in {path}");
                }
            }
        }
    }

    #[test]
    fn comments_strings_and_longer_words_are_not_calls() {
        let text = r##"
// std::fs::read is not for us
/* nor /* nested */ File::open */
fn f() -> char { prefs::load("std::fs::read \" Instant::now"); log(r#"getrandom::fill"#); '"' }
fn g() { h('\'', '\u{1F600}'); }
"##;
        assert_eq!(found("storage/src/commit.rs", text), []);
        let text = "fn f() { g('\"'); std::fs::read(p); }\n";
        assert_eq!(found("storage/src/commit.rs", text).len(), 1);
    }

    #[test]
    fn tests_are_free_and_what_follows_them_is_not() {
        let text = "#[cfg(test)]\nmod tests {\n    fn f() { std::fs::read(p); }\n}\nfn g() { std::fs::read(p); }\n";
        let lines: Vec<_> = found("storage/src/commit.rs", text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [5]);
        let text = "#[cfg(test)]\nmod tests;\nfn g() { std::fs::read(p); }\n";
        let lines: Vec<_> = found("storage/src/commit.rs", text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [3]);
        assert_eq!(found("storage/src/commit/tests.rs", "fn f() { std::fs::read(p); }\n"), []);
        assert_eq!(found("tests/crash/src/kill.rs", "fn f() { std::fs::read(p); }\n"), []);
    }

    #[test]
    fn unsafe_is_refused_even_in_tests() {
        assert_eq!(found("storage/src/commit.rs", "fn f() { unsafe { g() } }\n").len(), 1);
        assert_eq!(found("tests/crash/src/main.rs", "#![allow(unsafe_code)]\n").len(), 1);
        assert_eq!(found("storage/src/commit.rs", "// unsafe\nfn unsafely() {}\n"), []);
        assert_eq!(found("storage/src/lib.rs", "#![forbid(unsafe_code)]\n"), []);
    }

    #[test]
    fn module_files_and_lints() {
        assert_eq!(found("storage/src/disk/mod.rs", "").len(), 1);
        assert_eq!(found("x/Cargo.toml", "[package]\nname = \"x\"\n").len(), 1);
        assert_eq!(found("x/Cargo.toml", "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n"), []);
        assert_eq!(found("x/Cargo.toml", "[package]\nname = \"x\"\n\n[lints]\nclippy.all = \"warn\"\n").len(), 1);
        assert_eq!(found("Cargo.toml", "[workspace]\n"), []);
    }
}
