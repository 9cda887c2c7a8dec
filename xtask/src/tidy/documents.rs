//! ARCHITECTURE.md is a map: what it names must exist.

use super::{Files, Finding};

const MAP: &str = "ARCHITECTURE.md";

pub fn check(files: &Files) -> Vec<Finding> {
    let Some((_, text)) = files.texts.iter().find(|(path, _)| path == MAP) else {
        return vec![Finding::new(MAP, 0, "missing: write down which crate holds what")];
    };
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for name in file_names(line) {
            let tail = format!("/{name}");
            if !files.paths.iter().any(|path| path == name || path.ends_with(&tail)) {
                findings.push(Finding::new(
                    MAP,
                    index + 1,
                    format!("`{name}` does not exist: name the file that does"),
                ));
            }
        }
    }
    findings
}

/// What stands between backticks and looks like a source file. Patterns and placeholders name no single file.
fn file_names(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|name| {
        [".rs", ".md", ".py"].iter().any(|end| name.ends_with(end))
            && !name.contains(|letter: char| letter.is_whitespace() || "<>*{}".contains(letter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_is_named_with_its_line() {
        let map = "# Map\n\n`storage/src/disk.rs` opens files, `listener.rs` ports, `<disk>/restore.py` is written.\n\
                   `storage/src/gone.rs` did; `weir serve` and `docs/*.md` are no files.\n";
        let files = Files::of(&[(MAP, map), ("storage/src/disk.rs", ""), ("gateway/src/listener.rs", "")]);
        let expected = Finding::new(MAP, 4, "`storage/src/gone.rs` does not exist: name the file that does");
        assert_eq!(check(&files), [expected]);
    }

    #[test]
    fn a_missing_map_is_a_finding() {
        assert_eq!(check(&Files::of(&[("README.md", "")])).len(), 1);
    }
}
