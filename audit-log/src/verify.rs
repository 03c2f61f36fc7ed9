//! The offline verifier: reads an export once, front to back, in memory that does not grow with
//! the log, and names the first place that is wrong.
//!
//! Tiles are checked from the root down and entries against the tiles, so when something does
//! not fit, it is known which of the two the checkpoint vouches for.

mod contents;
mod frames;
mod leftover;
mod outside;
mod report;
mod tower;
mod walk;

use std::io;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::directory::{Directory, read_file};
use crate::entry::{Entry, Kind};
use crate::export::{CHECKPOINT_PATH, LOG_VKEY_PATH, POLICY_PATH};
use crate::hash::NodeHash;
use crate::note::{NOTE_BYTES_MAX, VerifierKey};
use crate::policy::{POLICY_BYTES_MAX, Policy, Verified};

pub use report::{DetachedCount, Fault, FirstBad, OPAQUE_KINDS_MAX, OpaqueKind, Report};

/// How to verify.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Whose signatures to believe. Without one, the export is checked against its own
    /// `log.vkey` and `policy`: that shows that it is self-consistent, not that it is authentic.
    pub policy: Option<&'a Policy>,
    /// Checkpoints of the same log that are known from elsewhere.
    pub known: &'a [Known],
    /// Accept that detached bodies are absent: they may have been erased, or withheld.
    pub allow_absent_detached: bool,
    /// Called now and then with the number of entries verified so far.
    pub progress: Option<&'a dyn Fn(u64)>,
}

/// A checkpoint that the export must not contradict. Taken as true: verify it under a policy
/// first.
#[derive(Clone, Debug)]
pub struct Known {
    /// An older or newer checkpoint of the log.
    pub checkpoint: Checkpoint,
    /// For a newer one: the consistency proof from the export's size to its size. Without it, an
    /// export that is shorter than a known checkpoint counts as truncated.
    pub proof: Option<Vec<NodeHash>>,
}

/// Looks into bodies, which this crate does not understand.
pub trait BodyVerifier {
    /// Whether entries of this kind are understood. Bodies of other kinds are opaque: their
    /// hashes are checked, and the report counts them.
    fn knows(&self, kind: Kind) -> bool;

    /// Checks the body of an entry of a known kind, in order of index, or keeps it for later. Its
    /// hashes and its deterministic form have been checked.
    ///
    /// # Errors
    /// [`BodyFault`] says what is wrong, with this entry or an earlier one; verification ends.
    fn check(&mut self, entry: &Entry<'_>, body: Body<'_>) -> Result<(), BodyFault>;

    /// Checks what it kept. Nothing follows.
    ///
    /// # Errors
    /// [`BodyFault`] says what is wrong.
    fn finish(&mut self) -> Result<(), BodyFault> {
        Ok(())
    }
}

/// The body of an entry, wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// In the entry.
    Inline(&'a [u8]),
    /// Beside the log; it is what the entry committed to.
    Detached(&'a [u8]),
    /// Committed to, but absent.
    Absent,
}

/// What a [`BodyVerifier`] found wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct BodyFault {
    /// The entry whose body it is.
    pub index: u64,
    /// What is wrong with it.
    pub what: String,
}

/// A [`BodyVerifier`] that understands no kind: every body is opaque.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllOpaque;

impl BodyVerifier for AllOpaque {
    fn knows(&self, _: Kind) -> bool {
        false
    }

    fn check(&mut self, _: &Entry<'_>, _: Body<'_>) -> Result<(), BodyFault> {
        Ok(())
    }
}

/// A [`BodyVerifier`] that demands deterministic CBOR of every kind and looks no deeper.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyDeterministic;

impl BodyVerifier for AnyDeterministic {
    fn knows(&self, _: Kind) -> bool {
        true
    }

    fn check(&mut self, _: &Entry<'_>, _: Body<'_>) -> Result<(), BodyFault> {
        Ok(())
    }
}

/// Verifies the export in `directory`. A bad export is a [`Report`], not an error.
///
/// # Errors
/// [`UnreadableError`] if the file system failed, which says nothing about the log.
pub fn verify<D: Directory + ?Sized>(
    directory: &D,
    options: &Options<'_>,
    bodies: &mut dyn BodyVerifier,
) -> Result<Report, UnreadableError> {
    let mut report = Report::default();
    match verify_into(directory, options, bodies, &mut report) {
        Ok(()) => {
            report.ok = true;
            report.authentic = options.policy.is_some();
        }
        Err(Stop::Bad(first_bad)) => report.first_bad = Some(*first_bad),
        Err(Stop::Unreadable(error)) => return Err(error),
    }
    Ok(report)
}

fn verify_into<D: Directory + ?Sized>(
    directory: &D,
    options: &Options<'_>,
    bodies: &mut dyn BodyVerifier,
    report: &mut Report,
) -> Result<(), Stop> {
    let checkpoint = accepted_checkpoint(directory, options.policy, report)?;
    report.origin = Some(checkpoint.origin.to_string());
    report.size = checkpoint.size;
    report.root = Some(checkpoint.root);
    walk::walk(directory, &checkpoint, options, bodies, report)?;
    leftover::check(directory, checkpoint.size)?;
    outside::check(directory, &checkpoint, options.known)
}

/// The export's checkpoint, accepted by the given policy, or by the export's own keys.
fn accepted_checkpoint<D: Directory + ?Sized>(
    directory: &D,
    policy: Option<&Policy>,
    report: &mut Report,
) -> Result<Verified<Checkpoint>, Stop> {
    let file = file(directory, CHECKPOINT_PATH, NOTE_BYTES_MAX)?;
    let bad = |fault: Fault| Stop::bad(0, CHECKPOINT_PATH, fault);
    let missing = |path| Stop::bad(0, path, Fault::Missing);
    let bytes = file.ok_or_else(|| missing(CHECKPOINT_PATH))?;
    let signed = SignedCheckpoint::parse(&bytes).map_err(|error| bad(error.into()))?;
    let vkey = log_vkey(directory)?;
    let own_policy = own_policy(directory)?;
    let (verified, believed) = match policy {
        Some(policy) => {
            if vkey.is_some_and(|vkey| !policy.logs().any(|log| *log == vkey)) {
                return Err(Stop::bad(0, LOG_VKEY_PATH, Fault::KeyNotInPolicy));
            }
            (policy.verify(&signed), policy.clone())
        }
        None => {
            let vkey = vkey.ok_or_else(|| missing(LOG_VKEY_PATH))?;
            let log_only = Policy::log_only(vkey)
                .map_err(|error| Stop::bad(0, LOG_VKEY_PATH, error.into()))?;
            let verified = log_only.verify(&signed);
            // Its own policy adds nothing to trust, but a contradiction is a fault.
            match own_policy {
                Some(own) if verified.is_ok() => (own.verify(&signed), own),
                _ => (verified, log_only),
            }
        }
    };
    let verified = verified.map_err(|error| bad(error.into()))?;
    report.cosigners = verified.cosigners().to_vec();
    let unknown = signed
        .note()
        .signatures()
        .iter()
        .filter(|s| !believed.knows(s));
    report.unknown_signatures = unknown.count();
    Ok(verified)
}

fn log_vkey<D: Directory + ?Sized>(directory: &D) -> Result<Option<VerifierKey>, Stop> {
    let Some(bytes) = file(directory, LOG_VKEY_PATH, NOTE_BYTES_MAX)? else {
        return Ok(None);
    };
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let parsed = VerifierKey::parse(&String::from_utf8_lossy(line));
    parsed
        .map(Some)
        .map_err(|error| Stop::bad(0, LOG_VKEY_PATH, error.into()))
}

fn own_policy<D: Directory + ?Sized>(directory: &D) -> Result<Option<Policy>, Stop> {
    let Some(bytes) = file(directory, POLICY_PATH, POLICY_BYTES_MAX)? else {
        return Ok(None);
    };
    let parsed = Policy::parse(&bytes);
    parsed
        .map(Some)
        .map_err(|error| Stop::bad(0, POLICY_PATH, error.into()))
}

fn file<D: Directory + ?Sized>(
    directory: &D,
    path: &str,
    limit: usize,
) -> Result<Option<Vec<u8>>, Stop> {
    read_file(directory, path, limit).map_err(|source| Stop::unreadable(path, source))
}

/// Why verification ends early.
enum Stop {
    Bad(Box<FirstBad>),
    Unreadable(UnreadableError),
}

impl Stop {
    fn bad(index: u64, file: impl Into<String>, what: Fault) -> Self {
        Self::Bad(Box::new(FirstBad {
            index,
            file: Some(file.into()),
            what,
        }))
    }

    fn unreadable(path: impl Into<String>, source: io::Error) -> Self {
        Self::Unreadable(UnreadableError {
            path: path.into(),
            source,
        })
    }
}

/// The file system failed while an export was read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct UnreadableError {
    /// File or folder concerned.
    pub path: String,
    /// What the file system said.
    pub source: io::Error,
}
