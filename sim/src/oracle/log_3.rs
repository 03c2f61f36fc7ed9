//! LOG-3: two signed checkpoints never contradict each other. Here none may contradict the one log
//! either: whatever was signed is compared with the tree over the entries themselves.

use tidegate_audit_log::Entry;
use tidegate_audit_log::tree::CompactRange;

use super::{Chain, Oracle, Seen, Verdict};

/// Builds the tree along, and keeps every root.
#[derive(Debug, Default)]
pub(super) struct Log3 {
    tree: CompactRange,
    /// Roots by size, from size 1.
    roots: Vec<[u8; 32]>,
    /// Claims about more entries than any node had shown.
    waiting: Vec<Claim>,
}

#[derive(Debug)]
struct Claim {
    lane: String,
    size: u64,
    root: [u8; 32],
}

impl Oracle for Log3 {
    fn id(&self) -> &'static str {
        "LOG-3"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Entries { .. } => self.grow(chain)?,
            Seen::Checkpoint { lane, size, root } => self.waiting.push(Claim {
                lane: (*lane).to_owned(),
                size: *size,
                root: *root,
            }),
            _ => return Ok(()),
        }
        self.settle()
    }

    fn end(&mut self, _: u64, _: &Chain) -> Verdict {
        match self.waiting.first() {
            None => Ok(()),
            Some(Claim { lane, size, .. }) => Err(format!(
                "{lane} signed for {size} entries, and no node has more than {}",
                self.roots.len()
            )),
        }
    }
}

impl Log3 {
    fn grow(&mut self, chain: &Chain) -> Verdict {
        while let Some(link) = chain.link(self.roots.len() as u64) {
            let entry = Entry::parse(&link.bytes).map_err(|error| error.to_string())?;
            self.tree.append(entry.leaf(), |_, _| {});
            self.roots.push(self.tree.root().0);
        }
        Ok(())
    }

    fn settle(&mut self) -> Verdict {
        let roots = &self.roots;
        let mut wrong = None;
        self.waiting.retain(|claim| {
            let Some(at) = claim.size.checked_sub(1) else {
                return false;
            };
            let root = usize::try_from(at).ok().and_then(|at| roots.get(at));
            if root.is_some_and(|root| *root != claim.root) {
                wrong = Some(format!(
                    "{} signed another root of {} entries than the log's",
                    claim.lane, claim.size
                ));
            }
            root.is_none()
        });
        wrong.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_signs_for_more_than_there_is_is_found_at_the_end() {
        let chain = Chain::new("fleet.example", 1);
        let claim = |size| Seen::Checkpoint {
            lane: "s1",
            size,
            root: [1; 32],
        };
        let mut oracle = Log3::default();
        assert_eq!(oracle.see(0, &claim(0), &chain), Ok(()));
        assert_eq!(oracle.end(0, &chain), Ok(()));
        assert_eq!(oracle.see(0, &claim(1), &chain), Ok(()), "not known yet");
        assert!(oracle.end(0, &chain).is_err());
    }
}
