//! The root key, which seals every other key in the control store: from the environment, or from `<data>/control/root.key`,
//! which the first start makes. 64 hexadecimal digits, random; it is derived from nothing.

use crate::credentials;
use crate::error::{Error, Result};
use cluster::State;
use common::cipher::KEY_BYTES;
use common::{Random, SecretKey};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const VARIABLE: &str = "WEIR_ROOT_KEY";

/// Where the root key of a data directory is kept that did not come from elsewhere.
pub fn path(data: &Path) -> PathBuf {
    data.join("control/root.key")
}

/// The root key, if there is one.
pub fn find(data: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<Option<SecretKey>> {
    match given(environment)? {
        Some(key) => Ok(Some(key)),
        None => read(&path(data)),
    }
}

/// The root key and whether it is kept in the data directory. A control store with sealed keys gets no new one: it would
/// open none of them.
pub fn find_or_make(
    data: &Path,
    environment: impl Fn(&str) -> Option<String>,
    state: &State,
    random: &dyn Random,
) -> Result<(SecretKey, bool)> {
    let path = path(data);
    let (key, is_here) = match (given(environment)?, read(&path)?) {
        (Some(key), _) => (key, false),
        (None, Some(key)) => (key, true),
        (None, None) if !state.kms.is_empty() => {
            return Err(Error::Refused(format!(
                "the control store has keys that a root key seals, and neither {} nor {VARIABLE} is there: put it back",
                path.display()
            )));
        }
        (None, None) => {
            let key = SecretKey::random(random);
            write(&path, &key)?;
            (key, true)
        }
    };
    let wrong = state.kms.values().find(|named| !authn::kms::is_sealed_by(&key, &named.name, &named.versions));
    match wrong {
        Some(named) => Err(Error::Refused(format!(
            "the root key is another than the one that seals the key {} in the control store",
            named.name
        ))),
        None => Ok((key, is_here)),
    }
}

/// The root key out of `WEIR_ROOT_KEY` or the file that `WEIR_ROOT_KEY_FILE` names.
pub fn given(environment: impl Fn(&str) -> Option<String>) -> Result<Option<SecretKey>> {
    let text = credentials::value_or_file(environment, VARIABLE)?.map(Zeroizing::new);
    text.map(|text| parse(VARIABLE, &text)).transpose()
}

pub fn read(path: &Path) -> Result<Option<SecretKey>> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => parse(&name, text.trim_end()).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(name)(error)),
    }
}

pub fn write(path: &Path, key: &SecretKey) -> Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
    for byte in key.expose() {
        write!(text, "{byte:02x}").expect("a string takes all text");
    }
    text.push('\n');
    credentials::write_private(path, text.as_bytes())
}

/// The text itself is never repeated: it may be the key but for one digit.
fn parse(source: &str, text: &str) -> Result<SecretKey> {
    let wrong = || Error::Usage(format!("{source}: a root key has {} hexadecimal digits", 2 * KEY_BYTES));
    let mut bytes = [0; KEY_BYTES];
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(SecretKey::take(&mut bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::KmsKey;
    use common::doors::SeededRandom;
    use std::sync::Arc;

    fn state(root: &SecretKey) -> State {
        let sealed = authn::kms::new_version(root, &*SeededRandom::new(9), "k", 1);
        let key = KmsKey { name: "k".into(), created_ms: 1, versions: vec![sealed] };
        State { kms: Arc::new([("k".to_owned(), Arc::new(key))].into()), ..State::default() }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test lays files out by hand")]
    fn a_key_is_made_once_and_never_for_what_it_cannot_open() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("control")).unwrap();
        let find = |environment: Option<&str>, state: &State| {
            let environment = environment.map(str::to_owned);
            let variable = move |name: &str| environment.clone().filter(|_| name == VARIABLE);
            find_or_make(directory.path(), variable, state, &*SeededRandom::new(1))
        };
        let (made, is_here) = find(None, &State::default()).unwrap();
        assert!(is_here);
        let mode = std::fs::metadata(path(directory.path())).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(find(None, &state(&made)).unwrap(), (made.clone(), true));
        let other = "ab".repeat(32);
        assert!(matches!(find(Some(&other), &state(&made)), Err(Error::Refused(_))));
        assert!(!find(Some(&other), &State::default()).unwrap().1);
        std::fs::remove_file(path(directory.path())).unwrap();
        assert!(matches!(find(None, &state(&made)), Err(Error::Refused(_))));
        assert!(!path(directory.path()).exists());
    }

    #[test]
    fn keys_are_hexadecimal_and_not_repeated() {
        let digits = "0f".repeat(32);
        assert_eq!(parse("x", &digits).unwrap().expose(), &[15; 32]);
        for bad in ["", &digits[1..], &digits.replace('f', "g"), &"ä".repeat(32)] {
            let error = parse("x", bad).unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}
