//! Parsing policy files.

use super::{Group, Key, Member, POLICY_BYTES_MAX, POLICY_ITEMS_MAX, Policy, Witness};
use crate::checkpoint::parse_decimal;
use crate::note::{KeyError, VerifierKey};

impl Policy {
    /// Parses a policy file. Names are compared as bytes and must be UTF-8.
    ///
    /// # Errors
    /// [`PolicyError`] with the number of the line, from 1.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        if file.len() > POLICY_BYTES_MAX {
            return Err(PolicyError {
                line: 0,
                reason: PolicyReason::TooLong,
            });
        }
        let mut parsed = Parsed::default();
        let mut line = 0usize;
        for bytes in file.split(|b| *b == b'\n') {
            line = line.saturating_add(1);
            parsed
                .line(bytes)
                .map_err(|reason| PolicyError { line, reason })?;
        }
        let Parsed {
            logs,
            witnesses,
            groups,
            members: _,
            quorum,
        } = parsed;
        let quorum = quorum.ok_or(PolicyError {
            line,
            reason: PolicyReason::NoQuorum,
        })?;
        Ok(Self {
            logs,
            witnesses,
            groups,
            quorum,
        })
    }
}

#[derive(Default)]
struct Parsed {
    logs: Vec<Key>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// Members of any group so far: each name may be one at most once.
    members: Vec<Member>,
    quorum: Option<Option<Member>>,
}

impl Parsed {
    fn line(&mut self, bytes: &[u8]) -> Result<(), PolicyReason> {
        if bytes
            .iter()
            .any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f)
        {
            return Err(PolicyReason::ControlCharacter);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PolicyReason::NotUtf8)?;
        let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
        let Some(keyword) = words.next().filter(|word| !word.starts_with('#')) else {
            return Ok(());
        };
        let words: Vec<&str> = words.collect();
        match (keyword, words.as_slice()) {
            ("log", [vkey]) => self.log(vkey, None),
            ("log", [vkey, url]) => self.log(vkey, Some(url)),
            ("witness", [name, vkey]) => self.witness(name, vkey, None),
            ("witness", [name, vkey, url]) => self.witness(name, vkey, Some(url)),
            ("group", [name, threshold, members @ ..]) => self.group(name, threshold, members),
            ("quorum", [name]) => self.quorum(name),
            _ => Err(PolicyReason::Syntax),
        }
    }

    fn log(&mut self, vkey: &str, url: Option<&str>) -> Result<(), PolicyReason> {
        let key = self.key(vkey, url, true)?;
        self.logs.push(key);
        room(self.logs.len())
    }

    fn witness(&mut self, name: &str, vkey: &str, url: Option<&str>) -> Result<(), PolicyReason> {
        self.unused(name)?;
        let key = self.key(vkey, url, false)?;
        self.witnesses.push(Witness {
            name: name.to_owned(),
            key,
        });
        room(self.witnesses.len())
    }

    fn group(&mut self, name: &str, k: &str, members: &[&str]) -> Result<(), PolicyReason> {
        self.unused(name)?;
        let members: Vec<Member> = members
            .iter()
            .map(|member| self.find(member))
            .collect::<Result<_, _>>()?;
        for member in &members {
            if self.members.contains(member) {
                return Err(PolicyReason::MemberTwice);
            }
            self.members.push(*member);
        }
        let threshold = match k {
            "any" => Some(1),
            "all" => Some(members.len()),
            k => parse_decimal(k).and_then(|k| usize::try_from(k).ok()),
        };
        let threshold = threshold.filter(|k| (1..=members.len()).contains(k));
        let threshold = threshold.ok_or(PolicyReason::Threshold)?;
        self.groups.push(Group {
            name: name.to_owned(),
            threshold,
            members,
        });
        room(self.groups.len())
    }

    fn quorum(&mut self, name: &str) -> Result<(), PolicyReason> {
        let member = if name == "none" {
            None
        } else {
            Some(self.find(name)?)
        };
        match self.quorum.replace(member) {
            None => Ok(()),
            Some(_) => Err(PolicyReason::QuorumTwice),
        }
    }

    /// A raw key may stand once in the whole file: a log that could also cosign would count as
    /// its own witness.
    fn key(&self, vkey: &str, url: Option<&str>, log: bool) -> Result<Key, PolicyReason> {
        let vkey = VerifierKey::parse(vkey)?;
        if vkey.kind() != super::kind_of_line(log) {
            return Err(PolicyReason::WrongKind);
        }
        let mut keys = self
            .logs
            .iter()
            .chain(self.witnesses.iter().map(|w| &w.key));
        if keys.any(|other| other.vkey.public() == vkey.public()) {
            return Err(PolicyReason::KeyTwice);
        }
        Ok(Key {
            vkey,
            url: url.map(str::to_owned),
        })
    }

    fn find(&self, name: &str) -> Result<Member, PolicyReason> {
        let witness = self
            .witnesses
            .iter()
            .position(|witness| witness.name == name);
        let group = || self.groups.iter().position(|group| group.name == name);
        let member = witness
            .map(Member::Witness)
            .or_else(|| group().map(Member::Group));
        member.ok_or(PolicyReason::UnknownName)
    }

    fn unused(&self, name: &str) -> Result<(), PolicyReason> {
        if name == "none" || self.find(name).is_ok() {
            return Err(PolicyReason::NameTwice);
        }
        Ok(())
    }
}

fn room(items: usize) -> Result<(), PolicyReason> {
    if items > POLICY_ITEMS_MAX {
        Err(PolicyReason::TooMany)
    } else {
        Ok(())
    }
}

/// Where a policy file is wrong, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy line {line}: {reason}")]
pub struct PolicyError {
    /// Number of the line, from 1; 0 if the file as a whole is wrong.
    pub line: usize,
    /// What is wrong.
    pub reason: PolicyReason,
}

/// What a policy line does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyReason {
    /// More than [`POLICY_BYTES_MAX`] bytes.
    #[error("the file has more than {POLICY_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`POLICY_ITEMS_MAX`] logs, witnesses or groups.
    #[error("more than {POLICY_ITEMS_MAX} logs, witnesses or groups")]
    TooMany,
    /// A control character other than tab.
    #[error("a control character")]
    ControlCharacter,
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not one of the four lines.
    #[error(
        "expected \"log <vkey> [<url>]\", \"witness <name> <vkey> [<url>]\", \
         \"group <name> all|any|<k> <member>…\" or \"quorum <name>|none\""
    )]
    Syntax,
    /// The vkey is wrong.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A log needs a key of type 0x01, a witness one of type 0x04.
    #[error("a log needs a key of type 0x01, a witness one of type 0x04")]
    WrongKind,
    /// The same public key stands on two lines.
    #[error("this public key stands on an earlier line")]
    KeyTwice,
    /// The name is taken.
    #[error("this name is taken")]
    NameTwice,
    /// The name is not defined on an earlier line.
    #[error("no witness or group of this name on an earlier line")]
    UnknownName,
    /// A witness or group is a member of two groups.
    #[error("a witness or group can be a member only once")]
    MemberTwice,
    /// The threshold does not fit the number of members.
    #[error("the threshold is not between 1 and the number of members")]
    Threshold,
    /// A second quorum line.
    #[error("a second quorum line")]
    QuorumTwice,
    /// No quorum line.
    #[error("no quorum line")]
    NoQuorum,
}
