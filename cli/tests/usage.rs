//! The real binary, as far as it needs no storage: what it refuses, with which sentence and which exit status.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::process::{Command, Output};

fn weir(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).current_dir(directory.path()).env_clear().envs(environment.iter().copied());
    let output = command.output().unwrap();
    assert_eq!(directory.path().read_dir().unwrap().count(), 0, "a refused command leaves nothing behind");
    output
}

#[track_caller]
fn refuses(arguments: &[&str], environment: &[(&str, &str)], status: i32, sentence: &str) {
    let output = weir(arguments, environment);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(sentence), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_names_the_exit_statuses() {
    let output = weir(&["--help"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("Exit status: 0 done"));
}

#[test]
fn unknown_names_are_usage_errors() {
    refuses(&[], &[], 2, "Usage");
    refuses(&["serve", "--lisen", "x"], &[], 2, "--listen");
    let variable = ("WEIR_SERVER__REGOIN", "x");
    refuses(&["serve"], &[variable], 2, "did you mean WEIR_SERVER__REGION?");

    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"[server]\nlisen = \"127.0.0.1:0\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    refuses(&["serve", "--config", path], &[], 2, "unknown setting server.lisen: did you mean server.listen?");
    refuses(&["serve", "--config", "absent.toml"], &[], 2, "absent.toml");
}

#[test]
fn serve_refuses_what_it_cannot_do_safely() {
    refuses(&["serve", "--listen", "0.0.0.0:9000"], &[], 2, "--plain-http");
    refuses(&["serve", "--admin-listen", "[::]:9001"], &[], 2, "--plain-http");
    refuses(&["serve", "--data", "a", "--data", "b"], &[], 2, "one --data directory");
    refuses(&["serve"], &[("WEIR_ADMIN_ACCESS_KEY", "abc")], 2, "WEIR_ADMIN_SECRET_KEY is missing");
}

#[test]
fn key_verbs_name_what_is_missing() {
    let import = ["key", "import", "--owner", "a", "--access-key", "abc", "--secret-key", "12345678"];
    for other in [&["--policy", "p"][..], &["--user", "u"]] {
        refuses(&[&import[..], &["--account-root"], other].concat(), &[], 2, "cannot be used with");
        refuses(&[&import[..], &["--admin"], other].concat(), &[], 2, "cannot be used with");
    }
    refuses(&["policy", "attach", "p"], &[], 2, "--user");
    refuses(&["policy", "attach", "p", "--user", "u", "--role", "r"], &[], 2, "cannot be used with");
    refuses(&["policy", "create", "p", "--file", "absent.json"], &[], 2, "absent.json");
    refuses(&["key", "list"], &[], 4, "no credentials");
    refuses(&["key", "delete", "../x"], &[], 2, "an access key holds only");
    let credentials = [("WEIR_ADMIN_ACCESS_KEY", "abc"), ("WEIR_ADMIN_SECRET_KEY", "12345678")];
    // Port 9 (discard) has no listener on a loopback of a test machine.
    let unreachable = [&credentials[..], &[("WEIR_ENDPOINT", "http://127.0.0.1:9")]].concat();
    refuses(&["key", "list"], &unreachable, 5, "cannot be reached");
    let secure = [&credentials[..], &[("WEIR_ADMIN_ENDPOINT", "https://127.0.0.1:9")]].concat();
    refuses(&["key", "list"], &secure, 5, "cannot be reached");
    let other = [&credentials[..], &[("WEIR_ADMIN_ENDPOINT", "ftp://127.0.0.1:9")]].concat();
    refuses(&["key", "list"], &other, 2, "write http://HOST:PORT or https://HOST:PORT");
}

#[test]
fn bucket_and_disk_verbs_say_what_is_wrong() {
    let credentials = [("WEIR_ADMIN_ACCESS_KEY", "abc"), ("WEIR_ADMIN_SECRET_KEY", "12345678")];
    let unreachable = [&credentials[..], &[("WEIR_ENDPOINT", "http://127.0.0.1:9")]].concat();
    refuses(&["bucket", "list"], &[], 4, "no credentials");
    refuses(&["bucket", "list"], &unreachable, 5, "cannot be reached");
    refuses(&["bucket", "create", "a/../b"], &unreachable, 2, "a/../b: ");
    refuses(&["bucket", "create", "abc", "copies=2"], &unreachable, 2, "copies=2 comes with a later version");
    refuses(&["disk", "accept-loss"], &[], 2, "--data");
    refuses(&["disk", "accept-loss", "--data", "absent"], &[], 3, "absent is no disk of a weir");
}

#[test]
fn a_filter_that_is_none_is_named() {
    refuses(&["key", "list"], &[("RUST_LOG", "weir=loud")], 2, "RUST_LOG is no filter");
    // What is Weir's own goes first.
    refuses(&["key", "list"], &[("RUST_LOG", "weir=loud"), ("WEIR_LOG", "info")], 4, "no credentials");
}
