//! Those who are no operators, and some who are and mean ill.

use tidegate_domain::command::{RegisterVariant, SignedCommand};
use tidegate_domain::id::Millis;
use tidegate_domain::testing::traits;

use super::{Draft, Operators};

/// How long a command is valid that is soon over.
const BRIEF_MS: u64 = 500;

/// What an envelope is called that is proposed by somebody who overheard it.
pub(crate) const ENVELOPE: &str = "overheard envelope";

impl Operators {
    /// Somebody who overheard a command, or whose signatures are not enough or not good, or who
    /// uses the id of another's command.
    pub(super) fn hostile(&mut self) -> Draft {
        let brief = self.dice.pick(&self.brief).cloned();
        if let Some(bytes) = brief.filter(|_| self.dice.one_in(2)) {
            let what = "over";
            return Draft { bytes, what };
        }
        if self.dice.one_in(4) {
            return self.lie();
        }
        if self.dice.one_in(3)
            && let Some(bytes) = self.some_envelope()
        {
            let what = ENVELOPE;
            return Draft { bytes, what };
        }
        let overheard = self.dice.pick(&self.overheard).cloned();
        if let Some(bytes) = overheard.filter(|_| self.dice.one_in(2)) {
            let what = "overheard";
            return Draft { bytes, what };
        }
        match self.dice.below(10) {
            0 | 1 => return self.skipped_epoch(),
            2 => return self.unknown_rules(),
            3..=5 => return self.brief(),
            6 | 7 => return self.forestall(),
            _ => {}
        }
        let mut draft = self.floor();
        let at = usize::try_from(self.dice.below(draft.bytes.len() as u64)).unwrap_or(0);
        if let Some(byte) = draft.bytes.get_mut(at) {
            *byte ^= 1 << self.dice.below(8);
        }
        draft.what = "tampered";
        draft
    }

    /// A command of the right signers, none of whose signatures is theirs.
    pub fn forged(&mut self) -> Vec<u8> {
        let variant = self.some_variant();
        let proposal = self.fleet.proposal(variant);
        let draft = self.seal("forged", proposal);
        let signed = SignedCommand::from_bytes(&draft.bytes);
        let mut signed = signed.expect("operators seal commands");
        for signature in &mut signed.signatures {
            signature.signature.0[0] ^= 1;
        }
        signed.to_bytes()
    }

    /// An envelope of a session that somebody overheard, the newest most often: it may be known to
    /// some nodes and not to others.
    fn some_envelope(&mut self) -> Option<Vec<u8>> {
        let back = if self.dice.one_in(2) {
            0
        } else {
            self.dice.below(self.envelopes.len() as u64)
        };
        let back = usize::try_from(back).ok()?;
        self.envelopes.get(back).cloned()
    }

    /// A command that is over before long, and will be sent again and again all the same.
    fn brief(&mut self) -> Draft {
        let variant = self.some_variant();
        let mut proposal = self.fleet.proposal(variant);
        proposal.not_after = self.fleet.now.after(Millis(BRIEF_MS));
        let draft = self.seal("brief", proposal);
        if self.brief.len() < super::OVERHEARD_MAX {
            self.brief.push(draft.bytes.clone());
        }
        draft
    }

    /// An operator hears of a command before the store does, and spends its id on another one. The
    /// command itself comes next.
    fn forestall(&mut self) -> Draft {
        let valid = self.fleet.now.after(Millis(super::VALID_MS));
        let (theirs, ours) = (self.some_variant(), self.some_variant());
        let mut honest = self.fleet.proposal(theirs);
        honest.not_after = valid;
        let mut first = self.fleet.proposal(ours);
        first.not_after = valid;
        first.id = honest.id;
        let honest = self.seal("forestalled", honest);
        self.forestalled = Some(honest);
        self.seal("forestalling", first)
    }

    fn some_variant(&mut self) -> RegisterVariant {
        let number = self.dice.below(super::FLEET_MAX as u64);
        let traits = traits(&format!("stray-{number}/r1/a/none"));
        RegisterVariant { traits }
    }
}
