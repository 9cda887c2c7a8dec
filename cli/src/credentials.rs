//! The administrator's access key: from the environment, or from `<data>/control/admin-credentials`, which is an AWS
//! credentials file, so that `AWS_SHARED_CREDENTIALS_FILE` may name it.

use crate::error::{Error, Result};
use authn::Secret;
use common::AccessKeyId;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key: AccessKeyId,
    pub secret: Secret,
}

impl Credentials {
    fn parse(source: &str, access_key: &str, secret: &str) -> Result<Self> {
        let wrong = |error: authn::Error| Error::Usage(format!("{source}: {error}"));
        let access_key = authn::parse_access_key_id(access_key).map_err(wrong)?;
        Ok(Self { access_key, secret: Secret::parse(secret).map_err(wrong)? })
    }
}

/// Where the administrator's key of a data directory is kept.
pub fn path(data: &Path) -> PathBuf {
    data.join("control/admin-credentials")
}

/// The key that signs admin requests: from `WEIR_ADMIN_*`, then `AWS_*`, then the file in `data`.
pub fn find(data: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<Credentials> {
    crate::trust::look_in(data);
    if let Some(credentials) = preset(&environment)? {
        return Ok(credentials);
    }
    let aws = (environment("AWS_ACCESS_KEY_ID"), environment("AWS_SECRET_ACCESS_KEY"));
    if let (Some(access_key), Some(secret)) = aws {
        return Credentials::parse("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", &access_key, &secret);
    }
    let path = path(data);
    read(&path)?.ok_or_else(|| {
        let path = path.display();
        Error::Refused(format!(
            "no credentials: set WEIR_ADMIN_ACCESS_KEY and WEIR_ADMIN_SECRET_KEY, or give --data DIR ({path} is not there)"
        ))
    })
}

/// Whether this is a pair of another server's manual, or one that says itself twice.
pub fn is_widely_known(access_key: &str, secret: &str) -> bool {
    const SECRETS: [&str; 9] = [
        "minioadmin",
        "rustfsadmin",
        "minio123",
        "adminadmin",
        "admin123",
        "password",
        "changeme",
        "admin:admin",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ];
    access_key.eq_ignore_ascii_case(secret) || SECRETS.iter().any(|known| known.eq_ignore_ascii_case(secret))
}

/// `WEIR_ADMIN_ACCESS_KEY` and `WEIR_ADMIN_SECRET_KEY`, each also as a file with `_FILE` behind its name.
pub fn preset(environment: impl Fn(&str) -> Option<String>) -> Result<Option<Credentials>> {
    const ACCESS_KEY: &str = "WEIR_ADMIN_ACCESS_KEY";
    const SECRET_KEY: &str = "WEIR_ADMIN_SECRET_KEY";
    match (value_or_file(&environment, ACCESS_KEY)?, value_or_file(&environment, SECRET_KEY)?) {
        (Some(access_key), Some(secret)) => {
            Credentials::parse(&format!("{ACCESS_KEY} and {SECRET_KEY}"), &access_key, &secret).map(Some)
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::Usage(format!("{ACCESS_KEY} is set, and {SECRET_KEY} is missing"))),
        (None, Some(_)) => Err(Error::Usage(format!("{SECRET_KEY} is set, and {ACCESS_KEY} is missing"))),
    }
}

#[expect(clippy::disallowed_methods, reason = "a secret from a file, not data")]
pub fn value_or_file(environment: impl Fn(&str) -> Option<String>, name: &str) -> Result<Option<String>> {
    let file = format!("{name}_FILE");
    match (environment(name), environment(&file)) {
        (Some(_), Some(_)) => Err(Error::Usage(format!("set {name} or {file}, not both"))),
        (value @ Some(_), None) => Ok(value),
        (None, Some(path)) => {
            let bytes = fs::read(&path).map_err(Error::io(format!("{file}: {path}")))?;
            let text = String::from_utf8(bytes).map_err(|_| Error::Usage(format!("{file}: {path} is not text")))?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        (None, None) => Ok(None),
    }
}

/// The key in a credentials file; `None` without a file.
#[expect(clippy::disallowed_methods, reason = "the credentials file belongs to the command line, not to a disk")]
pub fn read(path: &Path) -> Result<Option<Credentials>> {
    let name = path.display().to_string();
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(name)(error)),
    };
    let field = |field: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(name, _)| name.trim() == field).map(|(_, value)| value.trim())
    };
    match (field("aws_access_key_id"), field("aws_secret_access_key")) {
        (Some(access_key), Some(secret)) => Credentials::parse(&name, access_key, secret).map(Some),
        _ => Err(Error::Failed(format!("{name} holds no access key: put it right or remove it"))),
    }
}

/// Writes the file, mode 0600, durably and whole or not at all: temporary name, sync, rename, sync of the directory.
pub fn write(path: &Path, credentials: &Credentials) -> Result<()> {
    let text = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        credentials.access_key.0,
        credentials.secret.expose()
    );
    write_private(path, text.as_bytes())
}

/// The same of any secret.
#[expect(clippy::disallowed_methods, reason = "secrets have files of their own, apart from every disk")]
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let write = || -> io::Result<()> {
        let temporary = path.with_extension("new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(Error::io(path.display().to_string()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay files out by hand")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn credentials(access_key: &str, secret: &str) -> Credentials {
        Credentials::parse("test", access_key, secret).unwrap()
    }

    fn environment<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> {
        |name| variables.iter().find(|variable| variable.0 == name).map(|variable| variable.1.to_owned())
    }

    #[test]
    fn the_file_keeps_the_key_to_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(read(&path).unwrap().is_none());
        for secret in ["first=secret/+", "second-secret"] {
            write(&path, &credentials("WKA", secret)).unwrap();
            assert_eq!(read(&path).unwrap(), Some(credentials("WKA", secret)));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::write(&path, "nothing").unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn sources_are_asked_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let weir = [("WEIR_ADMIN_ACCESS_KEY", "one"), ("WEIR_ADMIN_SECRET_KEY", "one-secret")];
        let aws = [("AWS_ACCESS_KEY_ID", "two"), ("AWS_SECRET_ACCESS_KEY", "two-secret")];
        let both = [weir, aws].concat();
        assert_eq!(find(data, environment(&both)).unwrap(), credentials("one", "one-secret"));
        assert_eq!(find(data, environment(&aws)).unwrap(), credentials("two", "two-secret"));
        assert!(matches!(find(data, environment(&[])), Err(Error::Refused(_))));
        fs::create_dir(data.join("control")).unwrap();
        write(&path(data), &credentials("three", "three-secret")).unwrap();
        assert_eq!(find(data, environment(&[])).unwrap(), credentials("three", "three-secret"));
    }

    #[test]
    fn presets_come_in_pairs_and_from_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        fs::write(&file, "from-a-file\n").unwrap();
        let file = file.to_str().unwrap();
        let variables = [("WEIR_ADMIN_ACCESS_KEY", "one"), ("WEIR_ADMIN_SECRET_KEY_FILE", file)];
        assert_eq!(preset(environment(&variables)).unwrap(), Some(credentials("one", "from-a-file")));
        assert!(preset(environment(&variables[..1])).is_err());
        assert!(preset(environment(&variables[1..])).is_err());
        let twice = [variables.as_slice(), &[("WEIR_ADMIN_SECRET_KEY", "from-a-file")]].concat();
        assert!(preset(environment(&twice)).is_err());
        assert!(preset(environment(&[])).unwrap().is_none());
    }
}
