//! Entries that no honest node proposes, each made from a few numbers.
use super::Fleet;
use super::dice::Dice;
use crate::{
    command::*,
    id::{CommandId, Epoch, Hash, Index, Millis, Revision, SignatureBytes},
    key::Role,
};

impl Fleet {
    /// The bytes of a command that somebody has tampered with, or who may not ask for it.
    pub(super) fn hostile(&mut self, command: Command, dice: &mut Dice) -> Vec<u8> {
        let mut proposal = self.proposal(command);
        let mut signers = self.signers(&proposal.command);
        match dice.roll(17) {
            0 => proposal.origin = "elsewhere.example".to_owned(),
            1 => proposal.epoch = Epoch(proposal.epoch.0 + 1),
            2 => proposal.epoch = Epoch(proposal.epoch.0.saturating_sub(1)),
            3 => proposal.not_after = proposal.not_before,
            4 => proposal.not_before = proposal.not_before.after(Millis(60_000)),
            5 => proposal.not_after = proposal.not_after.after(VALIDITY_MAX),
            6 => proposal.base.index = Index(proposal.base.index.0 + 1),
            7 => proposal.base.chain = Hash([9; 32]),
            8 => proposal.expected_revision = Some(Revision(dice.roll(30))),
            9 => drop(signers.pop()),
            10 => {
                let role = dice.pick(&Role::ALL).copied().unwrap_or(Role::Node);
                signers = self.some_keys(role, dice);
            }
            11 => return self.replayed(dice),
            12 => {
                let spent: Vec<CommandId> = self.state.spent().iter().map(|(id, _)| *id).collect();
                proposal.id = dice.pick(&spent).copied().unwrap_or(proposal.id);
            }
            13 => return (0..dice.roll(80)).map(|_| dice.small(255)).collect(),
            _ => return mutated(seal(&proposal, &signers.iter().collect::<Vec<_>>()), dice),
        }
        seal(&proposal, &signers.iter().collect::<Vec<_>>()).to_bytes()
    }

    fn replayed(&self, dice: &mut Dice) -> Vec<u8> {
        let earlier = dice.pick(&self.log).map(|(envelope, ..)| envelope.clone());
        earlier.unwrap_or_default()
    }
}

/// Changes signatures, or any one byte.
fn mutated(mut signed: SignedCommand, dice: &mut Dice) -> Vec<u8> {
    match dice.roll(5) {
        0 => signed.signatures.reverse(),
        1 => signed.signatures.extend(signed.signatures.clone()),
        2 => {
            if let Some(first) = signed.signatures.first_mut() {
                first.signature = SignatureBytes([dice.small(255); 64]);
            }
        }
        3 => signed.detached = Some(vec![0xa0]),
        _ => {
            let mut bytes = signed.to_bytes();
            let len = u64::try_from(bytes.len()).unwrap_or(1);
            let at = usize::try_from(dice.roll(len)).unwrap_or(0);
            bytes[at] ^= 1 << dice.small(8);
            return bytes;
        }
    }
    signed.to_bytes()
}
