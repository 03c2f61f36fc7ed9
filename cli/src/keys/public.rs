//! Public key files: one line, `tidegate-key <role> <64 hexadecimal digits> <name>`.
use super::KeyFileError;
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};
use tidegate_domain::{
    id::{KeyName, PublicKey},
    key::Role,
    signature,
};

const WORD: &str = "tidegate-key";

/// A public key with what its owner says of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PublicKeyFile {
    /// What it shall sign.
    pub(crate) role: Role,
    /// The raw key.
    pub(crate) key: PublicKey,
    /// Its holder's name, for people.
    pub(crate) name: KeyName,
}

impl PublicKeyFile {
    /// Reads a public key file. A key that may not be trusted at all (weak, not canonical) is
    /// refused here already, before anybody signs it.
    ///
    /// # Errors
    /// The file cannot be read, or is no public key file.
    pub(crate) fn read(path: &Path) -> Result<Self, KeyFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| KeyFileError::Io {
            path: path.to_owned(),
            source,
        })?;
        text.trim_end_matches('\n')
            .parse()
            .map_err(|problem| KeyFileError::Malformed {
                path: path.to_owned(),
                what: "public key",
                problem,
            })
    }

    /// Where the public half of a secret key file stands: beside it, with `.pub` at its end.
    pub(crate) fn path_beside(secret: &Path) -> PathBuf {
        let mut name = secret.file_name().unwrap_or_default().to_owned();
        name.push(".pub");
        secret.with_file_name(name)
    }
}

impl fmt::Display for PublicKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{WORD} {} {} {}", self.role, self.key, self.name)
    }
}

impl FromStr for PublicKeyFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [WORD, role, key, name] = parts.as_slice() else {
            return Err(format!("expected one line `{WORD} <role> <key> <name>`"));
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(key, &mut bytes)
            .map_err(|_| "expected a key of 64 hexadecimal digits".to_owned())?;
        let key = PublicKey(bytes);
        signature::acceptable(&key).map_err(|why| format!("the key cannot be trusted: {why}"))?;
        Ok(Self {
            role: role.parse().map_err(|error| format!("{error}"))?,
            key,
            name: name.parse().map_err(|error| format!("{error}"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKeyFile;

    #[test]
    fn a_public_key_is_one_line_that_reads_back() {
        let secret = SecretKeyFile::new(Role::Root, "bob".parse().unwrap(), &[3; 32]);
        let line = secret.public().to_string();
        assert!(line.starts_with("tidegate-key root "), "{line}");
        assert_eq!(line.parse(), Ok(secret.public()));
    }

    #[test]
    fn weak_and_malformed_keys_are_refused() {
        let weak = format!("tidegate-key root {} eve", hex::encode([0; 32]));
        for (line, why) in [
            (weak.as_str(), "cannot be trusted"),
            ("tidegate-key root 00 eve", "64 hexadecimal digits"),
            ("ssh-ed25519 AAAA", "expected one line"),
            ("", "expected one line"),
        ] {
            let error = line.parse::<PublicKeyFile>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
