//! Which crate may import which: ARCHITECTURE.md's table, as data.

use super::Finding;
use anyhow::{Context, Result};
use serde_json::Value;

/// One crate of the workspace and the crates that it may import.
struct Crate {
    name: &'static str,
    imports: &'static [&'static str],
    /// What its tests may import besides.
    test_imports: &'static [&'static str],
}

const COMMON: &str = "weir-common";
const CLIENT: &str = "weir-client";

const TABLE: &[Crate] = &[
    Crate { name: COMMON, imports: &[], test_imports: &[] },
    Crate { name: "weir-certs", imports: &[COMMON], test_imports: &[] },
    Crate { name: "weir-authn", imports: &[COMMON], test_imports: &[] },
    Crate { name: "weir-storage", imports: &[COMMON], test_imports: &[] },
    Crate { name: "weir-cluster", imports: &[COMMON], test_imports: &[] },
    Crate {
        name: "weir-gateway",
        imports: &[COMMON, "weir-certs", "weir-authn", "weir-storage", "weir-cluster"],
        test_imports: &[CLIENT],
    },
    Crate { name: CLIENT, imports: &[COMMON], test_imports: &[] },
    Crate { name: "weir-fuse", imports: &[COMMON, CLIENT], test_imports: &[] },
    Crate {
        name: "weir",
        imports: &[
            COMMON,
            CLIENT,
            "weir-certs",
            "weir-authn",
            "weir-storage",
            "weir-cluster",
            "weir-gateway",
            "weir-fuse",
        ],
        test_imports: &[],
    },
    // Drives the engine over its simulated disk, and the binary as a process.
    Crate { name: "weir-model", imports: &[COMMON, "weir-storage"], test_imports: &["weir-gateway"] },
    Crate { name: "weir-crash", imports: &[COMMON, "weir-storage", "weir-model"], test_imports: &[] },
    // Drives the binary as a process, from outside.
    Crate { name: "weir-bench", imports: &[COMMON], test_imports: &[] },
    Crate { name: "xtask", imports: &[], test_imports: &[] },
];

/// `metadata` is the answer of `cargo metadata --no-deps`.
pub fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let root = metadata["workspace_root"].as_str().context("cargo metadata names no workspace root")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has no name")?;
        let manifest = package["manifest_path"].as_str().context("a package has no manifest")?;
        let manifest = manifest.strip_prefix(root).unwrap_or(manifest).trim_start_matches('/');
        let Some(row) = TABLE.iter().find(|row| row.name == name) else {
            let message = format!("crate {name} is not in the table: add it in ARCHITECTURE.md and in {}", file!());
            findings.push(Finding::new(manifest, 0, message));
            continue;
        };
        for dependency in package["dependencies"].as_array().context("a package has no dependencies")? {
            // Only crates of this workspace have a path.
            if dependency["path"].is_null() {
                continue;
            }
            let to = dependency["name"].as_str().context("a dependency has no name")?;
            let allowed = match dependency["kind"].as_str() {
                None => row.imports.contains(&to),
                Some("dev") => row.imports.contains(&to) || row.test_imports.contains(&to),
                Some(_) => false,
            };
            if !allowed {
                let may = if row.imports.is_empty() { "nothing".to_owned() } else { row.imports.join(", ") };
                let kind = dependency["kind"].as_str().map_or(String::new(), |kind| format!(" ({kind}-dependency)"));
                findings.push(Finding::new(
                    manifest,
                    0,
                    format!("{name} may not import {to}{kind}; it may import {may}"),
                ));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(name: &str, dependencies: Value) -> Value {
        json!({
            "workspace_root": "/clone",
            "packages": [{ "name": name, "manifest_path": "/clone/x/Cargo.toml", "dependencies": dependencies }],
        })
    }

    fn messages(metadata: &Value) -> Vec<String> {
        check(metadata).unwrap().into_iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
    }

    #[test]
    fn arrows_of_the_table_pass() {
        let metadata = workspace(
            "weir-storage",
            json!([
                { "name": "weir-common", "kind": null, "path": "/clone/common" },
                { "name": "redb", "kind": null, "path": null },
            ]),
        );
        assert_eq!(messages(&metadata), Vec::<String>::new());
    }

    #[test]
    fn another_arrow_is_named_with_what_is_allowed() {
        let metadata =
            workspace("weir-storage", json!([{ "name": "weir-authn", "kind": null, "path": "/clone/authn" }]));
        assert_eq!(
            messages(&metadata),
            ["x/Cargo.toml: weir-storage may not import weir-authn; it may import weir-common"]
        );
        let metadata =
            workspace("weir-common", json!([{ "name": "weir-client", "kind": "dev", "path": "/clone/client" }]));
        assert_eq!(
            messages(&metadata),
            ["x/Cargo.toml: weir-common may not import weir-client (dev-dependency); it may import nothing"]
        );
    }

    #[test]
    fn tests_may_import_what_the_table_grants_them() {
        let dev = workspace("weir-gateway", json!([{ "name": "weir-client", "kind": "dev", "path": "/clone/client" }]));
        assert_eq!(messages(&dev), Vec::<String>::new());
        let normal =
            workspace("weir-gateway", json!([{ "name": "weir-client", "kind": null, "path": "/clone/client" }]));
        assert_eq!(messages(&normal).len(), 1);
    }

    #[test]
    fn a_crate_outside_the_table_is_a_finding() {
        let found = messages(&workspace("weir-helpers", json!([])));
        assert!(found[0].contains("weir-helpers is not in the table"), "{found:?}");
    }

    #[test]
    fn the_table_has_no_cycle() {
        // Each crate only imports crates that stand before it once those without imports are taken away repeatedly.
        let mut left: Vec<&Crate> = TABLE.iter().collect();
        while !left.is_empty() {
            let names: Vec<_> = left.iter().map(|row| row.name).collect();
            let before = left.len();
            left.retain(|row| row.imports.iter().any(|import| names.contains(import)));
            assert_ne!(left.len(), before, "a cycle among {names:?}");
        }
    }
}
