//! Rules for every text file: nothing of one machine, nothing left for later, no invisible characters at line ends.

use super::{Files, Finding};

/// Words that must not stand in a tracked file. Each is written in two halves, so that this file is not a finding.
struct Word {
    halves: (&'static str, &'static str),
    instead: &'static str,
}

const MACHINE: &str = "a path of one machine: name it relative to the repository, or take it from the environment";
const REGISTRY: &str = "a registry's host: the package tools know where they fetch from";
const LATER: &str = "do it now, or say in the text what is missing and why";

const WORDS: &[Word] = &[
    Word { halves: ("/wor", "k/"), instead: MACHINE },
    Word { halves: ("/ro", "ot/"), instead: MACHINE },
    Word { halves: ("crates", ".io"), instead: REGISTRY },
    Word { halves: ("pypi", ".org"), instead: REGISTRY },
    Word { halves: ("pythonhosted", ".org"), instead: REGISTRY },
    Word { halves: ("npmjs", ".org"), instead: REGISTRY },
    Word { halves: ("proxy.golang", ".org"), instead: REGISTRY },
    Word { halves: ("deb.debian", ".org"), instead: REGISTRY },
    Word { halves: ("TO", "DO"), instead: LATER },
    Word { halves: ("FIX", "ME"), instead: LATER },
    Word { halves: ("XX", "X"), instead: LATER },
];

/// Written by tools, which decide what is in it. Seeds are what a client could send, to the byte.
const GENERATED: &[&str] = &["Cargo.lock", "fuzz/Cargo.lock", "fuzz/seeds/"];

pub fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &files.texts {
        let generated = |entry: &&str| path == *entry || (entry.ends_with('/') && path.starts_with(*entry));
        if GENERATED.iter().any(generated) {
            continue;
        }
        for (index, line) in text.split('\n').enumerate() {
            let number = index + 1;
            if line.ends_with([' ', '\t', '\r']) {
                findings.push(Finding::new(path, number, "white space at the end of the line: remove it"));
            }
            for word in WORDS {
                let whole = [word.halves.0, word.halves.1].concat();
                if occurs(line, &whole) {
                    findings.push(Finding::new(path, number, format!("`{whole}`: {}", word.instead)));
                }
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            findings.push(Finding::new(path, 0, "end the last line"));
        }
    }
    findings
}

/// Whether the word stands alone: not inside of a longer word or, for paths, below another folder.
fn occurs(line: &str, word: &str) -> bool {
    let joins = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let begins =
            !before.is_some_and(|letter| joins(letter) || (word.starts_with('/') && "./}>$*".contains(letter)));
        begins && (word.ends_with('/') || !after.is_some_and(joins))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(text: &str) -> Vec<usize> {
        check(&Files::of(&[("docs/x.md", text)])).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn each_word_is_found() {
        for word in WORDS {
            let whole = [word.halves.0, word.halves.1].concat();
            assert_eq!(lines(&format!("fine\nsee {whole}\n")), [2], "{whole}");
        }
    }

    #[test]
    fn parts_of_longer_words_and_folders_are_not() {
        let work = ["/wor", "k/"].concat();
        assert_eq!(lines(&format!("frame{work}x and ${{HOME}}{work}\n")), NONE);
        assert_eq!(lines(&["mas", "XX", "Xx\n"].concat()), NONE);
    }

    #[test]
    fn ends_of_lines() {
        assert_eq!(lines("a \nb\t\nc\r\nd\n"), [1, 2, 3]);
        assert_eq!(lines("no end"), [0]);
        assert_eq!(lines(""), NONE);
        assert_eq!(check(&Files::of(&[("Cargo.lock", "a \n"), ("fuzz/seeds/xml/a", "a \r")])), []);
    }
}
