//! Reads a directory of certificates, and writes the few files that are the appliance's own. What is read is bounded and judged
//! elsewhere.

use crate::error::{Error, Fault, Result};
use crate::limits;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The bundle of authorities whose clients are known, and the lists of certificates that they took back.
pub const CLIENT_CA: &str = "client-ca.pem";
pub const CLIENT_CRL: &str = "client-crl.pem";

pub type Hash = [u8; 32];
type Content = Result<Zeroizing<Vec<u8>>, Fault>;

/// The two files of one name.
pub struct Pair {
    pub certificate: Content,
    pub key: Content,
    pub hash: Hash,
}

pub struct Found {
    pub pairs: BTreeMap<String, Pair>,
    pub client_ca: Option<Content>,
    pub client_crl: Option<Content>,
    /// Of the directory as a whole.
    pub fault: Option<Fault>,
}

/// The names in a directory that matter here. Hidden ones are Kubernetes' and editors' own.
struct Listing {
    pairs: Vec<String>,
    has_client_ca: bool,
    has_client_crl: bool,
}

fn list(directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing { pairs: Vec::new(), has_client_ca: false, has_client_crl: false };
    let mut without_key = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "this is the door for certificates")]
    for entry in fs::read_dir(directory)? {
        let Ok(file) = entry?.file_name().into_string() else { continue };
        match file.as_str() {
            CLIENT_CA => listing.has_client_ca = true,
            CLIENT_CRL => listing.has_client_crl = true,
            _ if file.starts_with('.') => {}
            // Where cert-manager puts the issuer's certificate.
            "ca.crt" => without_key.push("ca".to_owned()),
            _ => {
                let name = file.strip_suffix(".crt").or_else(|| file.strip_suffix(".key"));
                listing.pairs.extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
            }
        }
    }
    without_key.retain(|name| listing.pairs.contains(name));
    listing.pairs.extend(without_key);
    listing.pairs.sort();
    listing.pairs.dedup();
    Ok(listing)
}

pub fn read(directory: &Path) -> Found {
    let mut found = Found { pairs: BTreeMap::new(), client_ca: None, client_crl: None, fault: None };
    let place = directory.display().to_string();
    let listing = match list(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            found.fault = Some(Fault::Missing(place));
            return found;
        }
        Err(error) => {
            found.fault = Some(Fault::Unreadable(place, error.to_string()));
            return found;
        }
    };
    if listing.pairs.len() > limits::PAIRS_MAX {
        found.fault = Some(Fault::TooManyPairs(place));
    }
    for name in listing.pairs.into_iter().take(limits::PAIRS_MAX) {
        let certificate = read_bounded(directory, &format!("{name}.crt"));
        let key = read_bounded(directory, &format!("{name}.key"));
        let mut hash = Sha256::new();
        for content in [&certificate, &key] {
            hash.update(Sha256::digest(content.as_ref().map_or(&[][..], |bytes| bytes)));
        }
        found.pairs.insert(name, Pair { certificate, key, hash: hash.finalize().into() });
    }
    found.client_ca = listing.has_client_ca.then(|| read_bounded(directory, CLIENT_CA));
    found.client_crl = listing.has_client_crl.then(|| read_bounded(directory, CLIENT_CRL));
    found
}

#[expect(clippy::disallowed_methods, reason = "this is the door for certificates")]
fn read_bounded(directory: &Path, file: &str) -> Content {
    let path = directory.join(file);
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing(file.to_owned()),
        _ => Fault::Unreadable(file.to_owned(), error.to_string()),
    };
    // To open a pipe would wait for somebody who writes to it.
    let metadata = fs::metadata(&path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Fault::Unreadable(file.to_owned(), "it is no file".to_owned()));
    }
    if metadata.len() > limits::FILE_BYTES_MAX {
        return Err(Fault::TooLarge(file.to_owned()));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let opened = File::open(&path).map_err(unreadable)?;
    opened.take(limits::FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limits::FILE_BYTES_MAX {
        return Err(Fault::TooLarge(file.to_owned()));
    }
    Ok(bytes)
}

/// What a directory looks like from outside, symbolic links followed: two looks differ when a file was written or replaced.
pub fn look(directory: &Path) -> Hash {
    let mut hash = Sha256::new();
    let Ok(listing) = list(directory) else { return hash.finalize().into() };
    let pairs = listing.pairs.iter().take(limits::PAIRS_MAX);
    let files = pairs.flat_map(|name| [format!("{name}.crt"), format!("{name}.key")]);
    for file in files.chain([CLIENT_CA.to_owned(), CLIENT_CRL.to_owned()]) {
        hash.update(file.as_bytes());
        if let Ok(metadata) = fs::metadata(directory.join(&file)) {
            for number in [
                metadata.dev() as i64,
                metadata.ino() as i64,
                metadata.len() as i64,
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.ctime(),
                metadata.ctime_nsec(),
            ] {
                hash.update(number.to_le_bytes());
            }
        }
        hash.update([0]);
    }
    hash.finalize().into()
}

/// A file of the appliance's own; `None` if it is not there.
#[expect(clippy::disallowed_methods, reason = "the authority's files are no data")]
pub fn read_own(path: &Path) -> Result<Option<Zeroizing<String>>> {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| Error::Authority(path.display().to_string()))?;
            Ok(Some(Zeroizing::new(text)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path.display().to_string())(error)),
    }
}

/// Writes a file, mode 0600, durably and whole or not at all, in a directory that is made with mode 0700.
#[expect(clippy::disallowed_methods, reason = "the authority's files are no data")]
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let write = || -> io::Result<()> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let temporary = PathBuf::from(format!("{}.new", path.display()));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(Error::io(path.display().to_string()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay files out by hand")]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn pairs_and_what_is_beside_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for (file, text) in [
            ("a.crt", "A"),
            ("a.key", "K"),
            ("half.crt", "H"),
            ("ca.crt", "an issuer"),
            (".hidden.crt", "x"),
            ("notes.txt", "x"),
            ("client-ca.pem", "C"),
        ] {
            fs::write(path.join(file), text).unwrap();
        }
        fs::create_dir(path.join("folder.crt")).unwrap();
        fs::write(path.join("large.crt"), vec![b'x'; limits::FILE_BYTES_MAX as usize + 1]).unwrap();
        let found = read(path);
        assert_eq!(found.pairs.keys().collect::<Vec<_>>(), ["a", "folder", "half", "large"]);
        assert_eq!(found.pairs["a"].key.as_ref().unwrap().as_slice(), b"K");
        assert_eq!(found.pairs["half"].key.as_ref().unwrap_err(), &Fault::Missing("half.key".into()));
        assert!(matches!(found.pairs["folder"].certificate, Err(Fault::Unreadable(..))));
        assert_eq!(found.pairs["large"].certificate.as_ref().unwrap_err(), &Fault::TooLarge("large.crt".into()));
        assert!(found.client_ca.is_some() && found.client_crl.is_none() && found.fault.is_none());
        fs::write(path.join("ca.key"), "K").unwrap();
        assert!(read(path).pairs.contains_key("ca"), "with a key it is a pair");
        assert!(matches!(read(&path.join("gone")).fault, Some(Fault::Missing(_))));
    }

    #[test]
    fn a_look_sees_writes_renames_and_flipped_links() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut seen = vec![look(path)];
        let mut changed = |what: &str| {
            let now = look(path);
            assert!(!seen.contains(&now), "{what}");
            assert_eq!(now, look(path), "{what}");
            seen.push(now);
        };
        for version in ["..1", "..2"] {
            fs::create_dir(path.join(version)).unwrap();
            fs::write(path.join(version).join("tls.crt"), version).unwrap();
        }
        symlink("..1", path.join("..data")).unwrap();
        symlink("..data/tls.crt", path.join("tls.crt")).unwrap();
        changed("a link");
        symlink("..2", path.join("..new")).unwrap();
        fs::rename(path.join("..new"), path.join("..data")).unwrap();
        changed("Kubernetes' flip");
        fs::write(path.join("..2/tls.crt"), "other").unwrap();
        changed("a write behind the link");
        fs::remove_file(path.join("tls.crt")).unwrap();
        fs::write(path.join("..2/tls.crt"), "nobody's").unwrap();
        assert_eq!(look(path), seen[0], "as at the beginning");
    }

    #[test]
    fn own_files_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority/ca-key.pem");
        assert!(read_own(&path).unwrap().is_none());
        for text in ["one", "two"] {
            write_private(&path, text.as_bytes()).unwrap();
            assert_eq!(read_own(&path).unwrap().unwrap().as_str(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
