//! A device agent that does the whole work: fetch with resume, check hash and signatures, write the
//! spare slot, boot into it, report.
#[cfg(test)]
mod tests;

use super::payload;
use anyhow::{Context, bail, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, body::Bytes, header};
use hyper_util::rt::TokioIo;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use tidegate_domain::{
    command::pae,
    key::{KeySet, KeyStatus, Role},
    release::MANIFEST_PAYLOAD_TYPE,
};
use tidegate_keys::{TooFew, enough};
use tidegate_proto::v1::Offer;

/// Which of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    A,
    B,
}

impl Slot {
    const fn file(self) -> &'static str {
        match self {
            Self::A => "slot-a",
            Self::B => "slot-b",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What all agents have done together.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Payloads fetched, checked and written.
    pub(super) installs: AtomicU64,
    /// Downloads that were cut and went on with a range request.
    pub(super) resumed: AtomicU64,
    /// Payload bytes fetched.
    pub(super) bytes: AtomicU64,
    /// Payloads refused for a wrong hash or too few signatures.
    pub(super) refused: AtomicU64,
}

/// A device with two slots on a real disk.
#[derive(Debug)]
pub(super) struct Agent {
    dir: PathBuf,
    active: Slot,
    boots: u64,
}

impl Agent {
    /// A device fresh from the factory: `image` is in slot A.
    pub(super) fn provision(dir: PathBuf, image: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        // The factory image is the same for all; a link spares the disk.
        let slot = dir.join(Slot::A.file());
        if std::fs::hard_link(image, &slot).is_err() {
            std::fs::copy(image, &slot).with_context(|| slot.display().to_string())?;
        }
        std::fs::write(dir.join("active"), Slot::A.file())?;
        Ok(Self {
            dir,
            active: Slot::A,
            boots: 1,
        })
    }

    /// How often it has booted.
    pub(super) const fn boots(&self) -> u64 {
        self.boots
    }

    /// Boots the other slot again: what the boot loader does when a new image does not come up.
    pub(super) async fn boot_back(&mut self) -> anyhow::Result<()> {
        self.boot(self.active.other()).await
    }

    async fn boot(&mut self, slot: Slot) -> anyhow::Result<()> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || point_boot_at(&dir, slot)).await??;
        self.active = slot;
        self.boots += 1;
        Ok(())
    }

    /// Does all that an offer asks for, and boots into it. `cut_at` ends the first connection after
    /// so many bytes, so that the rest comes by a range request.
    pub(super) async fn install(
        &mut self,
        offer: &Offer,
        keys: &KeySet,
        cut_at: Option<u64>,
        work: &Work,
    ) -> anyhow::Result<()> {
        check_signatures(offer, keys).inspect_err(|_| {
            work.refused.fetch_add(1, Ordering::Relaxed);
        })?;
        let payload = offer.payload.as_ref().context("the offer has no payload")?;
        let url = payload.urls.first().context("the payload has no URL")?;
        let spare = self.active.other();
        let path = self.dir.join(spare.file());
        // A slot may be a link to the factory image: never write through it.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut have = 0;
        if let Some(cut) = cut_at.filter(|cut| *cut < payload.size) {
            have = fetch(url, &path, 0, Some(cut)).await?;
            work.resumed.fetch_add(1, Ordering::Relaxed);
        }
        have += fetch(url, &path, have, None).await?;
        work.bytes.fetch_add(have, Ordering::Relaxed);
        ensure!(
            have == payload.size,
            "fetched {have} bytes, the offer says {}",
            payload.size
        );
        let (found, _) = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || payload::digest(&path)).await??
        };
        if found.as_slice() != payload.sha256 {
            work.refused.fetch_add(1, Ordering::Relaxed);
            bail!("the payload's SHA-256 is not the one that was signed");
        }
        self.boot(spare).await?;
        work.installs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Makes a slot the active one in one step that a power cut can't halve.
fn point_boot_at(dir: &Path, slot: Slot) -> std::io::Result<()> {
    let next = dir.join("active.next");
    std::fs::write(&next, slot.file())?;
    std::fs::File::open(&next)?.sync_all()?;
    std::fs::rename(&next, dir.join("active"))?;
    std::fs::File::open(dir)?.sync_all()
}

/// Checks that enough distinct release keys signed the offer's manifest, and that the manifest
/// speaks of the payload that is offered.
fn check_signatures(offer: &Offer, keys: &KeySet) -> anyhow::Result<()> {
    let role = keys
        .role(Role::Release)
        .context("no release keys are known")?;
    let message = pae(MANIFEST_PAYLOAD_TYPE, &offer.manifest);
    let mut good = BTreeSet::new();
    for signature in &offer.signatures {
        let (Ok(key), Ok(bytes)) = (
            <[u8; 32]>::try_from(signature.public_key.as_slice()),
            <[u8; 64]>::try_from(signature.signature.as_slice()),
        ) else {
            continue;
        };
        let raw = tidegate_domain::id::PublicKey(key);
        if !matches!(
            role.status(&raw),
            Some(KeyStatus::Trusted | KeyStatus::Retired)
        ) {
            continue;
        }
        if tidegate_keys::verifies(&key, &message, &bytes) {
            good.insert(raw);
        }
    }
    if let Err(TooFew { needed, found }) = enough(role.threshold, good.len()) {
        bail!("{found} of {needed} needed release signatures verify");
    }
    let manifest: tidegate_domain::release::Manifest =
        tidegate_domain::canonical::decode(&offer.manifest)?;
    ensure!(
        manifest.name.as_str() == offer.release,
        "the manifest is of another release"
    );
    let payload = offer.payload.as_ref().context("the offer has no payload")?;
    let known: BTreeMap<&[u8], u64> = manifest
        .payloads
        .iter()
        .map(|p| (p.payload.sha256.0.as_slice(), p.payload.size))
        .collect();
    ensure!(
        known.get(payload.sha256.as_slice()) == Some(&payload.size),
        "the manifest has no such payload"
    );
    Ok(())
}

/// Fetches from byte `from` on, appending to the file; stops after `limit` bytes if there is one.
/// Returns how many bytes came.
async fn fetch(url: &str, path: &Path, from: u64, limit: Option<u64>) -> anyhow::Result<u64> {
    let uri: hyper::Uri = url.parse()?;
    let authority = uri
        .authority()
        .context("the payload URL has no host")?
        .clone();
    let stream = tokio::net::TcpStream::connect(authority.as_str()).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::get(uri.path()).header(header::HOST, authority.as_str());
    if from > 0 {
        request = request.header(header::RANGE, format!("bytes={from}-"));
    }
    let response = sender
        .send_request(request.body(Empty::<Bytes>::new())?)
        .await?;
    let expected = if from > 0 {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    ensure!(
        response.status() == expected,
        "{url}: {}",
        response.status()
    );
    let mut body = response.into_body();
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    let mut got = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(got));
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
        file.write_all(data.get(..take).unwrap_or_default())?;
        got += take as u64;
        if limit == Some(got) {
            break;
        }
    }
    tokio::task::spawn_blocking(move || file.sync_all()).await??;
    connection.abort();
    Ok(got)
}
