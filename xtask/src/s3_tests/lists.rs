//! The three lists: `in-scope.txt` (`group id`), `out-of-scope.txt` (`group id reason`), `known-failures.txt` (`id reason`, where
//! `id@http` and `id@https` fail over one of the two only). Lines that begin with `#` are comments.

use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const FILES: [&str; 4] = ["test_headers.py::", "test_iam.py::", "test_s3.py::", "test_sts.py::"];

#[derive(Debug, Default)]
pub struct Lists {
    /// Id to group.
    pub in_scope: BTreeMap<String, String>,
    /// Id to group and reason.
    pub out_of_scope: BTreeMap<String, (String, String)>,
    /// Id, in scope, to reason: over what the run is over.
    pub known_failures: BTreeMap<String, String>,
    /// Id to scheme and reason: those that fail over one of the two only.
    pub of_one_scheme: BTreeMap<String, (String, String)>,
}

const SCHEMES: [&str; 2] = ["http", "https"];

impl Lists {
    pub fn read(folder: &Path, scheme: &str) -> Result<Self> {
        let text = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        Self::parse(&text("in-scope.txt")?, &text("out-of-scope.txt")?, &text("known-failures.txt")?, scheme)
    }

    fn parse(in_scope: &str, out_of_scope: &str, known_failures: &str, scheme: &str) -> Result<Self> {
        let mut lists = Self::default();
        for line in lines(in_scope) {
            let [group, id] = fields(line)?;
            ensure!(lists.in_scope.insert(id.to_owned(), group.to_owned()).is_none(), "{id} is there twice");
        }
        for line in lines(out_of_scope) {
            let [group, id, reason] = fields(line)?;
            ensure!(!lists.in_scope.contains_key(id), "{id} is in scope and out of it");
            let entry = (group.to_owned(), reason.to_owned());
            ensure!(lists.out_of_scope.insert(id.to_owned(), entry).is_none(), "{id} is there twice");
        }
        for line in lines(known_failures) {
            let [id, reason] = fields(line)?;
            let (id, only) = id.split_once('@').map_or((id, None), |(id, only)| (id, Some(only)));
            ensure!(lists.in_scope.contains_key(id), "{id} is known to fail and not in scope");
            if let Some(only) = only {
                ensure!(SCHEMES.contains(&only), "{only} is no scheme: {line}");
                let entry = (only.to_owned(), reason.to_owned());
                ensure!(lists.of_one_scheme.insert(id.to_owned(), entry).is_none(), "{id} is there twice");
                if only != scheme {
                    continue;
                }
            }
            ensure!(lists.known_failures.insert(id.to_owned(), reason.to_owned()).is_none(), "{id} is there twice");
        }
        Ok(lists)
    }

    /// Whether the lists hold exactly the tests of the suite; says what they do not.
    pub fn covers(&self, collected: &BTreeSet<String>) -> bool {
        let listed: BTreeSet<&String> = self.in_scope.keys().chain(self.out_of_scope.keys()).collect();
        for id in collected.iter().filter(|id| !listed.contains(id)) {
            println!("{id} is in none of the lists");
        }
        for id in listed.iter().filter(|id| !collected.contains(**id)) {
            println!("{id} is listed and not in the suite: is it revision {}?", super::REVISION);
        }
        listed.len() == collected.len() && listed.iter().all(|id| collected.contains(*id))
    }

    /// What to run: of the rest only the files of what Weir has.
    pub fn to_run(&self, all: bool) -> impl Iterator<Item = &String> {
        let rest = self.out_of_scope.keys().filter(move |id| all && FILES.iter().any(|file| id.starts_with(file)));
        self.in_scope.keys().chain(rest)
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The last field takes what is left.
fn fields<const N: usize>(line: &str) -> Result<[&str; N]> {
    let fields: Vec<&str> = line.splitn(N, ' ').map(str::trim).filter(|field| !field.is_empty()).collect();
    match fields.try_into() {
        Ok(fields) => Ok(fields),
        Err(_) => bail!("a line of the lists wants {N} fields: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_agree_with_each_other() {
        let parse = |scope, out, known| Lists::parse(scope, out, known, "http");
        let lists = parse("# c\nlist a\nlist b", "acl c needs ACLs", "b for a reason").expect("sound");
        assert_eq!(lists.in_scope["a"], "list");
        assert_eq!(lists.out_of_scope["c"], ("acl".to_owned(), "needs ACLs".to_owned()));
        assert_eq!(lists.known_failures["b"], "for a reason");
        assert_eq!(lists.to_run(false).count(), 2);
        assert!(parse("list a\nlist a", "", "").is_err());
        assert!(parse("list a", "acl a why", "").is_err());
        assert!(parse("list a", "", "b why").is_err());
        assert!(parse("list a", "acl b", "").is_err());
        assert!(parse("list a", "", "a@ftp why").is_err());
    }

    #[test]
    fn some_fail_over_one_scheme_only() {
        let known = |scheme| {
            let lists = Lists::parse("list a\nlist b\nlist c", "", "a why\nb@http why\nc@https why", scheme);
            lists.expect("sound").known_failures.into_keys().collect::<String>()
        };
        assert_eq!((known("http"), known("https")), ("ab".to_owned(), "ac".to_owned()));
    }

    #[test]
    fn every_test_of_the_suite_is_listed() {
        let lists = Lists::parse("list a", "acl b why", "", "http").expect("sound");
        let suite = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        assert!(lists.covers(&suite(&["a", "b"])));
        assert!(!lists.covers(&suite(&["a"])));
        assert!(!lists.covers(&suite(&["a", "b", "c"])));
    }
}
