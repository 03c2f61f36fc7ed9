//! Secret key files.
//!
//! ```text
//! -----BEGIN TIDEGATE SECRET KEY-----
//! role: operator
//! name: alice
//! public: 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c
//! seed: 64 hexadecimal digits
//! -----END TIDEGATE SECRET KEY-----
//! ```
use super::{PublicKeyFile, create_durably};
use std::{
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tidegate_domain::{
    id::{KeyName, PublicKey},
    key::Role,
    signature::{SigningKey, public_key},
};

const BEGIN: &str = "-----BEGIN TIDEGATE SECRET KEY-----";
const END: &str = "-----END TIDEGATE SECRET KEY-----";
/// Longest key file, in bytes: anything longer is not one.
const BYTES_MAX: u64 = 4_096;

/// A secret key with what is written beside it. Its `Debug` form does not show the secret.
#[derive(Clone)]
pub(crate) struct SecretKeyFile {
    /// What it may sign, as its owner says; what counts is the cluster's key set.
    pub(crate) role: Role,
    /// Its holder's name, for people.
    pub(crate) name: KeyName,
    /// The key.
    pub(crate) signing: SigningKey,
}

/// Why a file is no usable key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum KeyFileError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a file of that name.
    #[error("{} exists; a key is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error(
        "{} has mode {mode:04o}: others than its owner may use this key. Expected 0600; `chmod 600 {}` mends it. If others could have read it, revoke the key",
        path.display(), path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not what such a file looks like.
    #[error("{} is no {what} file: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl SecretKeyFile {
    /// A key of a seed.
    pub(crate) fn new(role: Role, name: KeyName, seed: &[u8; 32]) -> Self {
        Self {
            role,
            name,
            signing: SigningKey::from_bytes(seed),
        }
    }

    /// The public half.
    pub(crate) fn public(&self) -> PublicKeyFile {
        PublicKeyFile {
            role: self.role,
            name: self.name.clone(),
            key: self.raw(),
        }
    }

    /// The raw public key.
    pub(crate) fn raw(&self) -> PublicKey {
        public_key(&self.signing)
    }

    /// Writes the key to a new file of mode 0600.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub(crate) fn create(&self, path: &Path) -> Result<(), KeyFileError> {
        let text = format!(
            "{BEGIN}\nrole: {}\nname: {}\npublic: {}\nseed: {}\n{END}\n",
            self.role,
            self.name,
            self.raw(),
            hex::encode(self.signing.to_bytes()),
        );
        create_durably(path, 0o600, text.as_bytes()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists {
                path: path.to_owned(),
            },
            _ => KeyFileError::Io {
                path: path.to_owned(),
                source,
            },
        })
    }

    /// Reads a key that only its owner may read.
    ///
    /// # Errors
    /// The file cannot be read, has another mode than 0600 (or 0400), or is no key.
    pub(crate) fn read(path: &Path) -> Result<Self, KeyFileError> {
        let text = read_private(path)?;
        let malformed = |problem: String| KeyFileError::Malformed {
            path: path.to_owned(),
            what: "secret key",
            problem,
        };
        parse(&text).map_err(malformed)
    }
}

/// The text of a small file that only its owner may read.
///
/// # Errors
/// The file cannot be read, is too long, or has another mode than 0600 (or 0400).
pub(super) fn read_private(path: &Path) -> Result<String, KeyFileError> {
    let io = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    // Look at the open file, not at the name: the name may point elsewhere a moment later.
    let file = std::fs::File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if !matches!(mode, 0o600 | 0o400) {
        return Err(KeyFileError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    if metadata.size() > BYTES_MAX {
        return Err(KeyFileError::Malformed {
            path: path.to_owned(),
            what: "secret",
            problem: format!("it has {} bytes", metadata.size()),
        });
    }
    io::read_to_string(file).map_err(io)
}

impl std::fmt::Debug for SecretKeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKeyFile({} {})", self.role, self.name)
    }
}

fn parse(text: &str) -> Result<SecretKeyFile, String> {
    let mut lines = text.lines();
    if lines.next() != Some(BEGIN) {
        return Err(format!("expected its first line to be `{BEGIN}`"));
    }
    let mut field = |name: &str| {
        let line = lines.next().unwrap_or_default();
        let value = line
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(": "));
        value
            .map(str::to_owned)
            .ok_or_else(|| format!("expected a line `{name}: …`"))
    };
    let role = field("role")?.parse().map_err(|error| format!("{error}"))?;
    let name = field("name")?.parse().map_err(|error| format!("{error}"))?;
    let public = field("public")?;
    let seed = field("seed")?;
    if lines.next() != Some(END) {
        return Err(format!("expected its last line to be `{END}`"));
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(&seed, &mut bytes)
        .map_err(|_| "expected a seed of 64 hexadecimal digits".to_owned())?;
    let key = SecretKeyFile::new(role, name, &bytes);
    if key.raw().to_string() != public {
        return Err("its public key does not belong to its seed: the file is damaged".to_owned());
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKeyFile {
        SecretKeyFile::new(Role::Operator, "alice".parse().unwrap(), &[7; 32])
    }

    #[test]
    fn a_key_comes_back_from_its_file_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.key");
        key().create(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = SecretKeyFile::read(&path).unwrap();
        assert_eq!(read.raw(), key().raw());
        assert_eq!((read.role, read.name), (Role::Operator, key().name));
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.key");
        key().create(&path).unwrap();
        let again = SecretKeyFile::new(Role::Root, "bob".parse().unwrap(), &[8; 32]);
        let error = again.create(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Exists { .. }), "{error}");
        assert_eq!(SecretKeyFile::read(&path).unwrap().raw(), key().raw());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.key");
        key().create(&path).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o700, 0o660] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let error = SecretKeyFile::read(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
            assert!(error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_damaged_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.key");
        key().create(&path).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let seed = hex::encode([7; 32]);
        for (bad, why) in [
            (
                good.replace(&seed, &hex::encode([8; 32])),
                "does not belong",
            ),
            (good.replace(&seed, "07"), "64 hexadecimal digits"),
            (good.replace("operator", "emperor"), "no role"),
            (good.replace("name: alice", "name: a b"), "ASCII"),
            (good.replace(END, ""), "last line"),
            (String::new(), "first line"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = SecretKeyFile::read(&path).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_debug_form_keeps_the_secret() {
        assert_eq!(format!("{:?}", key()), "SecretKeyFile(operator alice)");
    }
}
