//! Writes tables into a document, between markers: nobody types a figure.

use anyhow::{Context, Result};
use std::path::Path;

/// Replaces what stands between `<!-- NAME -->` and `<!-- /NAME -->`.
pub fn write(path: &Path, name: &str, content: &str) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let replaced = replace(&text, name, content)
        .with_context(|| format!("{} has no markers <!-- {name} --> and <!-- /{name} -->", path.display()))?;
    std::fs::write(path, replaced).with_context(|| format!("writing {}", path.display()))
}

fn replace(text: &str, name: &str, content: &str) -> Option<String> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&open)?;
    let (_, after) = rest.split_once(&close)?;
    Some(format!("{before}{open}\n\n{}\n\n{close}{after}", content.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let text = "a\n<!-- t -->\nold\n<!-- /t -->\nb\n";
        let new = replace(text, "t", "| new |\n").unwrap();
        assert_eq!(new, "a\n<!-- t -->\n\n| new |\n\n<!-- /t -->\nb\n");
        assert_eq!(replace(&new, "t", "| new |\n").unwrap(), new);
        assert_eq!(replace(text, "other", ""), None);
    }
}
