//! The commands that the load is made of.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use minicbor::Encode;
use rustix::time::{ClockId, clock_gettime};
use tidegate_domain::command::{
    Arguments, Base, COMMAND_PAYLOAD_TYPE, CommandBody, Proposal, SetHold, seal,
};
use tidegate_domain::guard::{HoldKey, HoldKind};
use tidegate_domain::id::{CommandId, Epoch, LogTime, Millis, Pseudonym, Reason};
use tidegate_domain::signature::{SigningKey, verify};
use tidegate_domain::{Command, SignedCommand, canonical};
use tidegate_runtime::{Clock as _, Entropy, SystemClock, SystemEntropy};

use super::ORIGIN;
use crate::system::PAYLOAD_BYTES;

/// How long a command may be applied. The cluster keeps ids that long, and so no more of them than
/// it takes commands in this time.
const VALID_FOR: Millis = Millis(60_000);
/// How far a clock may be behind that made it.
const CLOCK_SLACK: Millis = Millis(2_000);
/// Of how many devices holds are set, again and again: the state keeps its size.
const DEVICES: u64 = 1_000;

/// `Command::BenchFiller`, which only stores that were built with the feature `bench` know. This
/// crate is built without it, since features hold for a whole build: it must not be in the
/// workspace's own.
const FILLER_KIND: u16 = 0x00f0;

/// How many verifications are measured, one after the other: 10 ms of them.
const VERIFICATIONS: u32 = 200;

#[derive(Encode)]
#[cbor(map)]
struct Filler {
    #[cbor(n(0), with = "minicbor::bytes")]
    payload: Vec<u8>,
}

/// The key of somebody who asks for something.
pub(crate) struct Key(SigningKey);

impl Key {
    /// Reads the key file that `init` made.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("init made no {}", file.display()))?;
        let seed = text.lines().find_map(|line| line.strip_prefix("seed: "));
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed.unwrap_or_default(), &mut bytes).context("a key without seed")?;
        Ok(Self(SigningKey::from_bytes(&bytes)))
    }

    pub(crate) fn signed(&self, command: Command) -> Bytes {
        seal(&proposal(command), &[&self.0]).to_bytes().into()
    }

    /// Processor time in µs that verifying one of its signatures takes.
    pub(super) fn verification_us(&self) -> Option<f64> {
        let signed = seal(&proposal(hold(0)), &[&self.0]);
        let signature = signed.signatures.first()?;
        let before = cpu_us();
        for _ in 0..VERIFICATIONS {
            verify(signature, COMMAND_PAYLOAD_TYPE, &signed.body).ok()?;
        }
        Some((cpu_us() - before) / f64::from(VERIFICATIONS))
    }

    /// A command of no effect that nobody signs.
    pub(super) fn filler(&self) -> Bytes {
        let (not_before, not_after) = validity();
        let base = Base::genesis(ORIGIN);
        let payload = vec![0x5a; PAYLOAD_BYTES];
        let body = canonical::encode(&CommandBody {
            origin: ORIGIN.to_owned(),
            id: id(),
            epoch: Epoch(1),
            not_before,
            not_after,
            base_index: base.index,
            base_chain: base.chain,
            kind: FILLER_KIND,
            arguments: Arguments::Inline(canonical::encode(&Filler { payload })),
            expected_revision: None,
        });
        let signed = SignedCommand {
            body,
            signatures: Vec::new(),
            detached: None,
        };
        signed.to_bytes().into()
    }
}

/// Holds a device back for as long as the command is valid.
pub(super) fn hold(number: u64) -> Command {
    let mut device = [0; 32];
    device[..8].copy_from_slice(&(number % DEVICES).to_be_bytes());
    let (_, expires) = validity();
    let hold = SetHold {
        key: HoldKey {
            device: Pseudonym(device),
            component: None,
        },
        kind: Some(HoldKind::Legal),
        reason: Reason::new("load of a bench").expect("a reason that is not blank"),
        expires,
    };
    hold.into()
}

fn proposal(command: Command) -> Proposal {
    let (not_before, not_after) = validity();
    Proposal {
        origin: ORIGIN.to_owned(),
        id: id(),
        epoch: Epoch(1),
        not_before,
        not_after,
        base: Base::genesis(ORIGIN),
        command,
        expected_revision: None,
    }
}

fn validity() -> (LogTime, LogTime) {
    let now = SystemClock.wall().0;
    let from = now.saturating_sub(CLOCK_SLACK.0);
    (LogTime(from), LogTime(from + VALID_FOR.0))
}

/// What this thread has had of the processor.
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn id() -> CommandId {
    let entropy: &dyn Entropy = &SystemEntropy;
    CommandId(entropy.array().expect("the system has random bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator() -> Key {
        Key(SigningKey::from_bytes(&[7; 32]))
    }

    #[test]
    fn commands_are_of_the_size_that_the_docs_say() {
        let operator = operator();
        let signed = operator.signed(hold(1));
        assert_eq!((operator.filler().len(), signed.len()), (365, 275));
    }

    #[test]
    fn what_is_signed_verifies_and_is_about_a_few_devices() {
        let signed = seal(&proposal(hold(1)), &[&operator().0]);
        let signature = &signed.signatures[0];
        assert_eq!(
            verify(signature, COMMAND_PAYLOAD_TYPE, &signed.body),
            Ok(())
        );
        assert!(operator().verification_us().is_some());
        let (_, command) = signed.parse().unwrap();
        let device = |command| match command {
            Command::SetHold(SetHold { key, .. }) => key.device,
            other => panic!("{other:?}"),
        };
        assert_eq!(device(command), device(hold(DEVICES + 1)));
        assert_ne!(device(hold(1)), device(hold(2)));
    }
}
