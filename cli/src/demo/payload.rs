//! Payloads on real HTTP: files served with range requests.
use anyhow::Context;
use axum::Router;
use sha2::{Digest, Sha256};
use std::{
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tower_http::services::ServeDir;

/// A payload file and what a manifest says of it.
#[derive(Clone, Debug)]
pub(super) struct PayloadFile {
    pub(super) name: String,
    pub(super) sha256: [u8; 32],
    pub(super) size: u64,
}

/// Serves a directory of payloads on a free loopback port until the process ends.
pub(super) async fn serve(dir: PathBuf) -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .context("payload server")?;
    let address = listener.local_addr()?;
    let app = Router::new().fallback_service(ServeDir::new(dir));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// Puts a copy of `source`, with `note` appended, into the payload directory. The note makes
/// payloads of one source differ, as builds of one product do.
pub(super) fn publish(
    dir: &Path,
    name: &str,
    source: &Path,
    note: &str,
) -> anyhow::Result<PayloadFile> {
    let target = dir.join(name);
    std::fs::copy(source, &target)
        .with_context(|| format!("copying {} to {}", source.display(), target.display()))?;
    if !note.is_empty() {
        let mut file = std::fs::OpenOptions::new().append(true).open(&target)?;
        std::io::Write::write_all(&mut file, note.as_bytes())?;
    }
    let (sha256, size) = digest(&target)?;
    Ok(PayloadFile {
        name: name.to_owned(),
        sha256,
        size,
    })
}

/// SHA-256 and length of a file.
pub(super) fn digest(path: &Path) -> anyhow::Result<([u8; 32], u64)> {
    let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        hasher.update(bytes);
        size += read as u64;
    }
    Ok((hasher.finalize().into(), size))
}
