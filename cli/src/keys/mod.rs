//! Keys in files: secret ones, which only their owner may read, and public ones, which are passed
//! around for a key ceremony. Both are text; `docs/key-files.md` describes them.
mod public;
mod secret;

pub(crate) use public::PublicKeyFile;
pub(crate) use secret::{KeyFileError, SecretKeyFile};

use std::{fs::File, io, path::Path};

/// Creates a file that must not exist, with a mode, and makes it durable.
pub(crate) fn create_durably(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_folder(path)
}

/// Replaces a file, so that a crash leaves either the old or the new one.
pub(crate) fn replace_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Reads 32 secret bytes, written as 64 hexadecimal digits, from a file that only its owner may
/// read.
pub(crate) fn read_secret_hex(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let text = secret::read_private(path)?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| KeyFileError::Malformed {
        path: path.to_owned(),
        what: "secret",
        problem: "expected 64 hexadecimal digits".to_owned(),
    })?;
    Ok(bytes)
}
