//! Whose signatures make a checkpoint worth believing: the C2SP tlog-policy file
//! (<https://c2sp.org/tlog-policy>), and the only code that turns a signed checkpoint into a
//! [`Verified`] one.

mod file;

use std::fmt;
use std::ops::Deref;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::note::{KeyName, NoteSignature, SignatureError, SignatureKind, VerifierKey};

pub use file::{PolicyError, PolicyReason};

/// Most bytes of a policy file.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;
/// Most logs, witnesses, and groups of a policy, each.
pub const POLICY_ITEMS_MAX: usize = 64;

/// Something that a [`Policy`] accepted. Only [`Policy::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    cosigners: Vec<String>,
}

impl<T> Verified<T> {
    /// Names, as the policy has them, of the witnesses whose cosignatures were good.
    pub fn cosigners(&self) -> &[String] {
        &self.cosigners
    }

    /// The value without the mark.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Known logs, known cosigners (voters are cosigners too), and which of them must have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Key>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    vkey: VerifierKey,
    url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Witness {
    name: String,
    key: Key,
}

/// Invariant: `1 ≤ threshold ≤ members.len()`, and members stand before the group in their lists.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: String,
    threshold: usize,
    members: Vec<Member>,
}

/// Place of a witness or group in the policy's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

impl Policy {
    /// Accepts what the log alone signed. This proves that the log said so, not that it said the
    /// same to everyone.
    ///
    /// # Errors
    /// [`PolicyError`] if the key is not a log's.
    pub fn log_only(log: VerifierKey) -> Result<Self, PolicyError> {
        Self::parse(format!("log {log}\nquorum none\n").as_bytes())
    }

    /// Demands the log's signature, cosignatures of more than half of the voters, and one of the
    /// witness if there is one.
    ///
    /// # Errors
    /// [`PolicyError`] if there are no voters, a key has the wrong kind, or a key stands twice.
    pub fn majority(
        log: &VerifierKey,
        voters: &[VerifierKey],
        witness: Option<&VerifierKey>,
    ) -> Result<Self, PolicyError> {
        let mut file = format!("log {log}\n");
        let mut members = String::new();
        for (place, voter) in voters.iter().enumerate() {
            let number = place.saturating_add(1);
            file.push_str(&format!("witness voter-{number} {voter}\n"));
            members.push_str(&format!(" voter-{number}"));
        }
        let majority = (voters.len() / 2).saturating_add(1);
        file.push_str(&format!("group voters {majority}{members}\n"));
        file.push_str(&match witness {
            None => "quorum voters\n".to_owned(),
            Some(witness) => format!(
                "witness witness {witness}\ngroup voters-and-witness all voters witness\n\
                 quorum voters-and-witness\n"
            ),
        });
        Self::parse(file.as_bytes())
    }

    /// Accepts a checkpoint, or says why not. A log listed here whose name is the checkpoint's
    /// origin must have signed; the quorum must have cosigned. Each key counts once. Signatures
    /// of unknown keys are ignored; a bad one of a known key refuses the whole note.
    ///
    /// # Errors
    /// [`VerifyError`] names the key or what is missing from the quorum.
    pub fn verify(&self, signed: &SignedCheckpoint) -> Result<Verified<Checkpoint>, VerifyError> {
        let note = signed.note();
        let claim = signed.unverified_claim();
        let mut log_signed = false;
        let mut witnessed = vec![false; self.witnesses.len()];
        for signature in note.signatures() {
            for log in self
                .logs
                .iter()
                .filter(|log| log.vkey.is_named_by(signature))
            {
                log.vkey.verify(note.text(), signature)?;
                log_signed |= *log.vkey.name() == claim.origin;
            }
            for (witness, seen) in self.witnesses.iter().zip(&mut witnessed) {
                if witness.key.vkey.is_named_by(signature) {
                    witness.key.vkey.verify(note.text(), signature)?;
                    *seen = true;
                }
            }
        }
        if !log_signed {
            return Err(VerifyError::NotSignedByLog {
                origin: claim.origin.clone(),
            });
        }
        if let Some(missing) = self.missing(&witnessed) {
            return Err(missing);
        }
        let cosigners = self
            .witnesses
            .iter()
            .zip(&witnessed)
            .filter(|(_, seen)| **seen);
        let cosigners = cosigners.map(|(witness, _)| witness.name.clone()).collect();
        Ok(Verified {
            value: claim.clone(),
            cosigners,
        })
    }

    /// Whether this policy knows the key that a signature names.
    pub fn knows(&self, signature: &NoteSignature) -> bool {
        let keys = self
            .logs
            .iter()
            .chain(self.witnesses.iter().map(|witness| &witness.key));
        keys.into_iter().any(|key| key.vkey.is_named_by(signature))
    }

    /// The logs' keys.
    pub fn logs(&self) -> impl Iterator<Item = &VerifierKey> {
        self.logs.iter().map(|log| &log.vkey)
    }

    /// The cosigners: names as the policy has them, and keys.
    pub fn witnesses(&self) -> impl Iterator<Item = (&str, &VerifierKey)> {
        self.witnesses
            .iter()
            .map(|witness| (witness.name.as_str(), &witness.key.vkey))
    }

    fn missing(&self, witnessed: &[bool]) -> Option<VerifyError> {
        // Members stand before their groups, so one pass settles every group.
        let mut settled: Vec<bool> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let have = self.count(group, witnessed, &settled);
            settled.push(have >= group.threshold);
        }
        let holds = |member: &Member| match member {
            Member::Witness(place) => witnessed.get(*place).copied().unwrap_or(false),
            Member::Group(place) => settled.get(*place).copied().unwrap_or(false),
        };
        let quorum = self.quorum.filter(|quorum| !holds(quorum))?;
        let (needed, have) = match quorum {
            Member::Witness(_) => (1, 0),
            Member::Group(place) => self.groups.get(place).map_or((1, 0), |group| {
                (group.threshold, self.count(group, witnessed, &settled))
            }),
        };
        Some(VerifyError::QuorumMissing {
            quorum: self.name(quorum).to_owned(),
            needed,
            have,
        })
    }

    fn count(&self, group: &Group, witnessed: &[bool], settled: &[bool]) -> usize {
        let holds = |member: &&Member| match member {
            Member::Witness(place) => witnessed.get(*place).copied().unwrap_or(false),
            Member::Group(place) => settled.get(*place).copied().unwrap_or(false),
        };
        group.members.iter().filter(holds).count()
    }

    fn name(&self, member: Member) -> &str {
        let name = match member {
            Member::Witness(place) => self.witnesses.get(place).map(|witness| &witness.name),
            Member::Group(place) => self.groups.get(place).map(|group| &group.name),
        };
        name.map_or("", String::as_str)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = |key: &Key| {
            key.url
                .as_ref()
                .map_or_else(String::new, |url| format!(" {url}"))
        };
        for log in &self.logs {
            writeln!(f, "log {}{}", log.vkey, url(log))?;
        }
        for Witness { name, key } in &self.witnesses {
            writeln!(f, "witness {name} {}{}", key.vkey, url(key))?;
        }
        for Group {
            name,
            threshold,
            members,
        } in &self.groups
        {
            write!(f, "group {name} {threshold}")?;
            members
                .iter()
                .try_for_each(|member| write!(f, " {}", self.name(*member)))?;
            writeln!(f)?;
        }
        writeln!(
            f,
            "quorum {}",
            self.quorum.map_or("none", |quorum| self.name(quorum))
        )
    }
}

/// Why a policy does not accept a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A known key's signature is bad.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// No log of this policy with that origin signed.
    #[error("no key that the policy lists for the log {origin} has signed")]
    NotSignedByLog {
        /// Origin of the checkpoint.
        origin: KeyName,
    },
    /// Too few cosigned.
    #[error("the quorum \"{quorum}\" needs {needed} of its members to have cosigned, {have} have")]
    QuorumMissing {
        /// The group or witness that must have cosigned.
        quorum: String,
        /// Members needed.
        needed: usize,
        /// Members that did.
        have: usize,
    },
}

/// Which kind a key must have on a `log` or `witness` line.
fn kind_of_line(log: bool) -> SignatureKind {
    if log {
        SignatureKind::Log
    } else {
        SignatureKind::Cosignature
    }
}
