//! `release sign`: makes a release file from payloads, or adds a signature to one.
use super::file;
use crate::{context::Context, failure::Failure, keys::SecretKeyFile, terminal::Terminal};
use clap::Args;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};
use tidegate_domain::{
    canonical,
    command::RegisterRelease,
    id::{Component, Hash, ReleaseName, SecurityVersion},
    key::Role,
    release::{
        ArtifactKind, MANIFEST_PAYLOAD_TYPE, Manifest, Payload, Requirement, VariantPayload,
        Version, VersionRange,
    },
    signature,
    variant::Selector,
};

/// Signs a release offline: makes a release file from payloads, or adds a signature to one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate release sign detector-v3.2.release --key rel-1.key \\
      --name detector-v3.2 --kind model --component detector-model --release-version 3.2.0 \\
      --security-version 4 --payload build/detector.bin --url https://cdn.example/releases
  tidegate release sign detector-v3.2.release --key rel-2.key    # a second signature

A payload for some variants only is written SELECTOR=FILE, such as 'gw-200/*/*/*=build/gw200.bin';
a device takes the first that fits. Payloads are fetched from URL/FILENAME.")]
pub(crate) struct Sign {
    /// The release file: written if it does not exist, else signed once more.
    file: PathBuf,
    /// Secret key file of role `release`; repeat it for several.
    #[arg(
        long = "key",
        required = true,
        value_name = "FILE",
        env = "TIDEGATE_RELEASE_KEY",
        value_delimiter = ','
    )]
    keys: Vec<PathBuf>,
    #[command(flatten)]
    describe: Describe,
}

/// What a new release says of itself. All of it is signed, and never changes.
#[derive(Debug, Args)]
#[command(next_help_heading = "A new release")]
struct Describe {
    /// Unique name; what rollout files call the release.
    #[arg(long, requires_all = ["kind", "component", "release_version", "security_version", "payloads", "urls"])]
    name: Option<ReleaseName>,
    /// firmware, model or config.
    #[arg(long, requires = "name")]
    kind: Option<ArtifactKind>,
    /// The component that it updates.
    #[arg(long, requires = "name")]
    component: Option<Component>,
    /// Its semantic version.
    #[arg(long, value_name = "SEMVER", requires = "name")]
    release_version: Option<Version>,
    /// Its security version: raised when a hole is closed, compared with floors.
    #[arg(long, value_name = "NUMBER", requires = "name")]
    security_version: Option<u64>,
    /// A payload, or SELECTOR=FILE for some variants only; repeat it for several.
    #[arg(long = "payload", value_name = "[SELECTOR=]FILE", requires = "name")]
    payloads: Vec<String>,
    /// Where the payloads are fetched from: URL/FILENAME. Repeat it for mirrors.
    #[arg(long = "url", value_name = "URL", requires = "name")]
    urls: Vec<String>,
    /// Name of the cluster that it is for. Default: the profile's.
    #[arg(long, requires = "name")]
    origin: Option<String>,
    /// Versions that can go to this one directly, such as '>=3.0, <3.2'.
    #[arg(long, value_name = "RANGE", requires = "name")]
    upgradable_from: Option<VersionRange>,
    /// What other components must run first: COMPONENT=RANGE.
    #[arg(long, value_name = "COMPONENT=RANGE", value_parser = requirement, requires = "name")]
    requires: Vec<Requirement>,
    /// It closes a hole that is being used: it may go on while decision nodes are cut off.
    #[arg(long, requires = "name")]
    critical_security: bool,
    /// Variants that rollouts reach when they name none [default: all].
    #[arg(long, value_name = "SELECTOR", requires = "name")]
    audience: Option<Selector>,
}

impl Sign {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let keys: Result<Vec<_>, _> = self
            .keys
            .iter()
            .map(|file| SecretKeyFile::read(file))
            .collect();
        let keys = keys.map_err(Failure::refused)?;
        if let Some(other) = keys.iter().find(|key| key.role != Role::Release) {
            let what = format!("key {} is of role {}", other.name, other.role);
            return Err(Failure::usage(what).next("releases are signed by keys of role release"));
        }
        let is_new = self.describe.name.is_some();
        let (mut release, manifest) = if is_new {
            if self.file.exists() {
                let what = format!(
                    "{} exists; a signed release never changes",
                    self.file.display()
                );
                return Err(Failure::usage(what)
                    .next("leave the description away to add a signature, or name another file"));
            }
            let manifest = self.describe.manifest(context)?;
            let release = RegisterRelease {
                manifest: canonical::encode(&manifest),
                signatures: Vec::new(),
            };
            (release, manifest)
        } else {
            if !self.file.exists() {
                let what = format!("there is no {}", self.file.display());
                return Err(Failure::usage(what)
                    .next("describe the new release with --name and what follows from it"));
            }
            file::read(&self.file)?
        };
        for key in &keys {
            let made = signature::sign(&key.signing, MANIFEST_PAYLOAD_TYPE, &release.manifest);
            release
                .signatures
                .retain(|signature| signature.key != made.key);
            release.signatures.push(made);
        }
        release.signatures.sort_by_key(|signature| signature.key);
        match is_new {
            true => file::create(&self.file, &release)?,
            false => file::replace(&self.file, &release)?,
        }
        show(
            context.terminal,
            &self.file,
            &manifest,
            release.signatures.len(),
        );
        Ok(())
    }
}

fn show(terminal: Terminal, file: &Path, manifest: &Manifest, signatures: usize) {
    let name = file.display().to_string();
    let mut text = format!(
        "{name}: {} release {} of {}, {} {}, security version {}, {signatures} signature(s)",
        manifest.kind,
        manifest.name,
        manifest.origin,
        manifest.component,
        manifest.version,
        manifest.security_version
    );
    for part in &manifest.payloads {
        let payload = &part.payload;
        text.push_str(&format!(
            "\n  {} {} bytes, SHA-256 {}",
            part.selector, payload.size, payload.sha256
        ));
    }
    text.push_str(&format!("\n  next: `tidegate release register {name}`"));
    let json = json!({
        "file": name,
        "release": manifest.name.as_str(),
        "signatures": signatures,
        "payloads": file::payloads_json(manifest),
    });
    terminal.show(text, json);
}

impl Describe {
    fn manifest(self, context: &Context) -> Result<Manifest, Failure> {
        let origin = self.origin.or_else(|| context.settings.origin.clone());
        let origin = origin.ok_or_else(|| {
            Failure::usage("the cluster's name is not known")
                .next("say --origin NAME, or write it into the profile")
        })?;
        let (Some(name), Some(kind), Some(component), Some(version), Some(security_version)) = (
            self.name,
            self.kind,
            self.component,
            self.release_version,
            self.security_version,
        ) else {
            return Err(Failure::usage("the new release is not described in full"));
        };
        let payloads: Result<Vec<_>, Failure> = self
            .payloads
            .iter()
            .map(|written| payload(context.terminal, written, &self.urls))
            .collect();
        let manifest = Manifest {
            origin,
            name,
            kind,
            component,
            version,
            security_version: SecurityVersion(security_version),
            payloads: payloads?,
            upgradable_from: self.upgradable_from,
            requires: self.requires,
            critical_security: self.critical_security,
            audience: self.audience.unwrap_or_default(),
        };
        // Nobody should sign what the cluster will refuse.
        manifest
            .check()
            .map_err(|fault| Failure::usage(fault.to_string()))?;
        Ok(manifest)
    }
}

fn payload(terminal: Terminal, written: &str, urls: &[String]) -> Result<VariantPayload, Failure> {
    let (selector, file) = match written.rsplit_once('=') {
        Some((selector, file)) => {
            let selector = selector
                .parse()
                .map_err(|error| Failure::usage(format!("--payload {written}: {error}")))?;
            (selector, Path::new(file))
        }
        None => (Selector::ALL, Path::new(written)),
    };
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage(format!("--payload {written} names no file")))?;
    let (sha256, size) = digest(terminal, file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    let urls = urls
        .iter()
        .map(|url| format!("{}/{name}", url.trim_end_matches('/')));
    Ok(VariantPayload {
        selector,
        payload: Payload {
            sha256,
            size,
            urls: urls.collect(),
            delta: None,
        },
    })
}

/// SHA-256 and length of a file, whatever its size.
fn digest(terminal: Terminal, file: &Path) -> std::io::Result<(Hash, u64)> {
    let mut from = File::open(file)?;
    let what = format!("hashing {}", file.display());
    let bar = terminal.bar(&what, from.metadata()?.len(), "bytes");
    let (mut hasher, mut size) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
        bar.set_position(size);
    }
    bar.finish_and_clear();
    Ok((Hash(hasher.finalize().into()), size))
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let (component, range) = text.split_once('=').ok_or("expected COMPONENT=RANGE")?;
    Ok(Requirement {
        component: component.parse().map_err(|error| format!("{error}"))?,
        range: range.parse().map_err(|error| format!("{error}"))?,
    })
}
