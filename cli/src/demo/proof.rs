//! The last act: the log is taken out, verified, and tampered with.
use super::setup::Stage;
use crate::export;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use tidegate_audit_log::{
    Entry, Export, Policy, Report,
    detached::Commitment,
    directory::FsDirectory,
    verify::{AllOpaque, Options, verify},
};
use tidegate_domain::id::{CommandId, Index};

/// What the log proves.
pub(super) struct Proof {
    /// Acknowledged commands that do not stand where they were acknowledged.
    pub(super) lost: u64,
    /// Entries in the export.
    pub(super) entries: u64,
    /// Whether it was verified under its policy.
    pub(super) verified: bool,
    /// The index that the verifier named after one byte of a copy was flipped.
    pub(super) tamper_detected_at: Option<u64>,
}

/// Exports, verifies, looks for every acknowledged command, and flips one byte of a copy.
pub(super) async fn prove(stage: &mut Stage) -> anyhow::Result<Proof> {
    stage
        .story
        .act("5. The log is exported, verified offline, and tampered with");
    let audit = stage.options.out.join("audit");
    let view = stage.desk.look().await?;
    let exported = export::export(&stage.desk.client, &view, &audit, |_, _| {})
        .await
        .map_err(|failure| anyhow::anyhow!("{}", failure.to_text()))?;
    stage.story.tell(format!(
        "{} entries are exported; {} of {} voters cosigned the checkpoint",
        exported.entries, exported.cosigners, exported.voters
    ));
    let acknowledged = stage.desk.acknowledged();
    let tampered = stage.options.out.join("audit-tampered");
    let work = move || examine(&audit, &tampered, &acknowledged);
    let examined = tokio::task::spawn_blocking(work).await??;
    stage.tell_examined(&examined);
    Ok(examined.proof)
}

struct Examined {
    proof: Proof,
    acknowledged: usize,
    flipped: u64,
    complaint: String,
}

fn examine(
    audit: &Path,
    tampered: &Path,
    acknowledged: &[(Index, CommandId)],
) -> anyhow::Result<Examined> {
    let report = check(audit)?;
    if let Some(bad) = &report.first_bad {
        eprintln!("{bad}");
    }
    let lost = count_lost(audit, report.entries, acknowledged)?;
    copy_dir(audit, tampered)?;
    let flipped = flip_in_the_middle(tampered, report.entries)?;
    let found = check(tampered)?;
    let proof = Proof {
        lost,
        entries: report.entries,
        verified: report.ok && report.authentic,
        tamper_detected_at: found.first_bad.as_ref().map(|bad| bad.index),
    };
    let complaint = found
        .first_bad
        .map_or_else(String::new, |bad| bad.to_string());
    Ok(Examined {
        proof,
        acknowledged: acknowledged.len(),
        flipped,
        complaint,
    })
}

impl Stage {
    fn tell_examined(&self, examined: &Examined) {
        let Examined {
            proof,
            acknowledged,
            flipped,
            complaint,
        } = examined;
        self.story.tell(format!(
            "one byte of entry {flipped} of a copy is flipped: {complaint}"
        ));
        self.story.expect(
            "the export is verified under its policy",
            if proof.verified {
                "verified"
            } else {
                "refused"
            },
            proof.verified,
        );
        self.story.expect(
            format!("all {acknowledged} acknowledged commands stand in the log"),
            format!("{} are missing", proof.lost),
            proof.lost == 0,
        );
        self.story.expect(
            format!("the verifier names entry {flipped}, which was tampered with"),
            proof
                .tamper_detected_at
                .map_or_else(|| "nothing".to_owned(), |at| at.to_string()),
            proof.tamper_detected_at == Some(*flipped),
        );
    }
}

/// Verifies an export under the policy that stands in it.
fn check(dir: &Path) -> anyhow::Result<Report> {
    let policy = std::fs::read(dir.join("policy")).context("reading the policy")?;
    let policy = Policy::parse(&policy)?;
    let options = Options {
        policy: Some(&policy),
        ..Options::default()
    };
    Ok(verify(&FsDirectory::new(dir), &options, &mut AllOpaque)?)
}

/// Counts acknowledged commands whose id does not stand in the entry that was acknowledged.
fn count_lost(dir: &Path, size: u64, acknowledged: &[(Index, CommandId)]) -> anyhow::Result<u64> {
    let directory = FsDirectory::new(dir);
    let export = Export::new(&directory);
    let mut lost = 0;
    for (index, id) in acknowledged {
        if index.0 >= size || !holds(&export, index.0, size, id)? {
            lost += 1;
        }
    }
    Ok(lost)
}

fn holds(
    export: &Export<'_, FsDirectory>,
    index: u64,
    size: u64,
    id: &CommandId,
) -> anyhow::Result<bool> {
    let bytes = export.entry(index, size)?;
    let entry = Entry::parse(&bytes)?;
    let body = if !entry.header.detached {
        entry.body.to_vec()
    } else {
        let commitment = Commitment::decode(entry.body)?;
        let body = export.detached(&commitment)?;
        body.context("a detached body is missing")?.body().to_vec()
    };
    Ok(body.windows(id.0.len()).any(|window| window == id.0))
}

/// Flips one bit in the body of the entry in the middle of the log; returns its index.
fn flip_in_the_middle(dir: &Path, size: u64) -> anyhow::Result<u64> {
    let middle = size / 2;
    let directory = FsDirectory::new(dir);
    let entry = Export::new(&directory).entry(middle, size)?;
    let mut bundles = Vec::new();
    files_below(&dir.join("tile").join("entries"), &mut bundles)?;
    for path in bundles {
        let mut bytes = std::fs::read(&path)?;
        let found = bytes
            .windows(entry.len())
            .position(|window| window == entry);
        if let Some(byte) = found.and_then(|at| bytes.get_mut(at + entry.len() - 1)) {
            *byte ^= 1;
            std::fs::write(&path, &bytes)?;
            return Ok(middle);
        }
    }
    anyhow::bail!("entry {middle} stands in no bundle of {}", dir.display())
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

fn copy_dir(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    let mut files = Vec::new();
    files_below(from, &mut files)?;
    ensure!(!files.is_empty(), "{} is empty", from.display());
    for file in files {
        let target = to.join(file.strip_prefix(from)?);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::copy(&file, &target)?;
    }
    Ok(())
}
