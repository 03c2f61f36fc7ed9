//! LOG-4: no command stands in the log twice, whoever sends it and however often.

use std::collections::BTreeMap;

use tidegate_domain::SignedCommand;
use tidegate_raft_store::storage::Asked;

use super::{Chain, Oracle, Seen, Verdict};

/// Remembers where each command stands, by what was signed.
#[derive(Debug, Default)]
pub(super) struct Log4 {
    stands: BTreeMap<[u8; 32], u64>,
    /// Entries of the chain that were looked at.
    looked: u64,
}

impl Oracle for Log4 {
    fn id(&self) -> &'static str {
        "LOG-4"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        if matches!(seen, Seen::Entries { .. }) {
            self.follow(chain)?;
        }
        Ok(())
    }
}

impl Log4 {
    fn follow(&mut self, chain: &Chain) -> Verdict {
        while let Some(link) = chain.link(self.looked) {
            let index = self.looked;
            self.looked += 1;
            let Asked::Command(command) = &link.body.asked else {
                continue;
            };
            // The same command with other signatures is the same command.
            let signed = SignedCommand::from_bytes(command);
            let signed = signed.map_or_else(|_| command.to_vec(), |signed| signed.body);
            let first = self.stands.insert(*blake3::hash(&signed).as_bytes(), index);
            if let Some(first) = first {
                return Err(format!(
                    "the command of entry {first} stands again as entry {index}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::command::RegisterVariant;
    use tidegate_domain::testing::{Fleet, traits};
    use tidegate_domain::{Outcome, Rejection};

    /// What is said of a log with these commands.
    fn log_of(commands: &[Vec<u8>]) -> Verdict {
        let entries = commands.iter().map(|command| {
            let index = tidegate_domain::id::Index(0);
            let outcome = Outcome::Rejected(Rejection::AlreadyApplied { index });
            (Asked::command(command.clone().into()), outcome)
        });
        Log4::default().follow(&Chain::of(entries))
    }

    #[test]
    fn the_same_command_twice_is_seen_whoever_signed_it() {
        let mut fleet = Fleet::new();
        let mut variant = |model: &str| {
            let traits = traits(&format!("{model}/r1/eu/none"));
            fleet.sealed(RegisterVariant { traits })
        };
        let (one, two) = (variant("m1"), variant("m2"));
        assert_eq!(log_of(&[one.to_bytes(), two.to_bytes()]), Ok(()));
        let mut unsigned = one.clone();
        unsigned.signatures.clear();
        for again in [one.to_bytes(), unsigned.to_bytes()] {
            let seen = log_of(&[one.to_bytes(), two.to_bytes(), again]).unwrap_err();
            assert!(seen.contains("entry 0 stands again as entry 2"), "{seen}");
        }
    }
}
