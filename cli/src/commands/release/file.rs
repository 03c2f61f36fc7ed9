//! A signed release in a file, on its way from those who sign it to the cluster.
use crate::{armour, failure::Failure, keys};
use serde_json::{Value as Json, json};
use std::{io, path::Path};
use tidegate_domain::{canonical, command::RegisterRelease, release::Manifest};

const LABEL: &str = "TIDEGATE RELEASE";
/// Longest release, in bytes: what fits a command.
const BYTES_MAX: usize = 4 << 20;

/// Reads a release file. Signatures are not verified: that takes the cluster's keys.
pub(super) fn read(path: &Path) -> Result<(RegisterRelease, Manifest), Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    let malformed = |problem: String| {
        Failure::usage(format!("{name} is no release file: {problem}"))
            .next("`tidegate release sign` writes one")
    };
    let bytes = armour::undress(LABEL, &text, BYTES_MAX).map_err(malformed)?;
    let release: RegisterRelease =
        canonical::decode(&bytes).map_err(|error| malformed(error.to_string()))?;
    let manifest = canonical::decode(&release.manifest)
        .map_err(|error| malformed(format!("its manifest: {error}")))?;
    Ok((release, manifest))
}

/// Writes a new release file.
pub(super) fn create(path: &Path, release: &RegisterRelease) -> Result<(), Failure> {
    keys::create_durably(path, 0o644, text(release).as_bytes()).map_err(|e| cannot(path, &e))
}

/// Replaces a release file by the same release with more signatures.
pub(super) fn replace(path: &Path, release: &RegisterRelease) -> Result<(), Failure> {
    keys::replace_durably(path, text(release).as_bytes()).map_err(|e| cannot(path, &e))
}

fn text(release: &RegisterRelease) -> String {
    armour::dress(LABEL, &canonical::encode(release))
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::refused(format!("cannot write {}: {error}", path.display()))
}

/// The payloads of a release, for programs.
pub(super) fn payloads_json(manifest: &Manifest) -> Json {
    let payloads = manifest.payloads.iter().map(|part| {
        json!({
            "selector": part.selector.to_string(),
            "sha256": part.payload.sha256.to_string(),
            "size": part.payload.size,
            "urls": part.payload.urls,
        })
    });
    payloads.collect()
}
