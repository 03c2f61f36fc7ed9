//! What a voter signs of its chain, and whose word counts.

use std::collections::BTreeMap;

use minicbor::Encode;
use tidegate_domain::canonical;
use tidegate_domain::command::Signature;
use tidegate_domain::id::{Hash, Incarnation, PublicKey, SignatureBytes};
use tidegate_domain::signature::{SigningKey, sign, verify};

use crate::types::NodeId;

/// Keeps a signed head apart from whatever else such a key signs.
const HEAD_PAYLOAD_TYPE: &str = "application/vnd.tidegate.head.v1+cbor";

/// A place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Audit entries before it.
    pub(crate) entries: u64,
    /// The chain after them.
    pub(crate) chain: [u8; 32],
}

/// A voter's word that its chain has this head. The origin is signed, and not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignedHead {
    pub(crate) incarnation: Incarnation,
    pub(crate) head: Head,
    pub(crate) signature: SignatureBytes,
}

/// What is signed.
#[derive(Encode)]
struct Payload<'a> {
    #[n(0)]
    origin: &'a str,
    #[n(1)]
    incarnation: u64,
    #[n(2)]
    entries: u64,
    #[n(3)]
    chain: Hash,
}

/// Whose statements count, and of which cluster.
#[derive(Clone, Debug)]
pub(super) struct Electorate {
    pub(super) origin: String,
    pub(super) incarnation: Incarnation,
    /// Every voter with the key that is entered for it, if that was not revoked.
    pub(super) voters: BTreeMap<NodeId, Option<PublicKey>>,
}

/// Why a statement does not count.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Uncounted {
    #[error("its sender is no voter")]
    NoVoter,
    #[error("no checkpoint key is entered for its sender")]
    NoKey,
    #[error("it is of incarnation {0}")]
    OtherIncarnation(Incarnation),
    #[error("its signature does not verify under its sender's checkpoint key")]
    BadSignature,
}

impl Electorate {
    /// Signs a head of this cluster.
    pub(super) fn sign(&self, head: Head, key: &SigningKey) -> SignedHead {
        let payload = self.payload(self.incarnation, head);
        SignedHead {
            incarnation: self.incarnation,
            head,
            signature: sign(key, HEAD_PAYLOAD_TYPE, &payload).signature,
        }
    }

    /// The key with which a voter speaks.
    pub(super) fn key(&self, from: NodeId) -> Result<PublicKey, Uncounted> {
        let key = self.voters.get(&from).ok_or(Uncounted::NoVoter)?;
        key.ok_or(Uncounted::NoKey)
    }

    /// Whether a statement is the word of whoever has this key.
    pub(super) fn check(&self, key: PublicKey, said: &SignedHead) -> Result<(), Uncounted> {
        let SignedHead {
            incarnation,
            head,
            signature,
        } = *said;
        if incarnation != self.incarnation {
            return Err(Uncounted::OtherIncarnation(incarnation));
        }
        let payload = self.payload(incarnation, head);
        let signature = Signature { key, signature };
        verify(&signature, HEAD_PAYLOAD_TYPE, &payload).map_err(|_| Uncounted::BadSignature)
    }

    fn payload(&self, incarnation: Incarnation, Head { entries, chain }: Head) -> Vec<u8> {
        canonical::encode(&Payload {
            origin: &self.origin,
            incarnation: incarnation.0,
            entries,
            chain: Hash(chain),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::key::Role;
    use tidegate_domain::testing::Keyring;

    fn key(number: u8) -> SigningKey {
        Keyring::default().key(Role::Checkpoint, number).clone()
    }

    fn electorate(origin: &str, incarnation: u64) -> Electorate {
        let public = |number| Keyring::default().public(Role::Checkpoint, number);
        Electorate {
            origin: origin.to_owned(),
            incarnation: Incarnation(incarnation),
            voters: [(1, Some(public(1))), (2, Some(public(2))), (3, None)].into(),
        }
    }

    fn check(here: &Electorate, from: NodeId, said: &SignedHead) -> Result<(), Uncounted> {
        here.check(here.key(from)?, said)
    }

    #[test]
    fn only_a_voters_own_word_about_this_life_of_this_cluster_counts() {
        let here = electorate("a/b", 2);
        let head = Head {
            entries: 41,
            chain: [7; 32],
        };
        let said = here.sign(head, &key(1));
        assert_eq!(check(&here, 1, &said), Ok(()));
        assert_eq!(check(&here, 2, &said), Err(Uncounted::BadSignature));
        assert_eq!(check(&here, 3, &said), Err(Uncounted::NoKey));
        assert_eq!(check(&here, 4, &said), Err(Uncounted::NoVoter), "a learner");
        let earlier = electorate("a/b", 1).sign(head, &key(1));
        let refused = Err(Uncounted::OtherIncarnation(Incarnation(1)));
        assert_eq!(check(&here, 1, &earlier), refused);
        let relabelled = SignedHead {
            incarnation: Incarnation(2),
            ..earlier
        };
        let elsewhere = electorate("a/c", 2).sign(head, &key(1));
        let stranger = here.sign(head, &key(7));
        for forged in [relabelled, elsewhere, stranger] {
            assert_eq!(check(&here, 1, &forged), Err(Uncounted::BadSignature));
        }
        for changed in [
            Head {
                entries: 42,
                ..head
            },
            Head {
                chain: [8; 32],
                ..head
            },
        ] {
            let forged = SignedHead {
                head: changed,
                ..said
            };
            assert_eq!(check(&here, 1, &forged), Err(Uncounted::BadSignature));
        }
    }

    #[test]
    fn what_is_signed_are_these_bytes() {
        let head = Head {
            entries: 41,
            chain: [7; 32],
        };
        let here = electorate("a/b", 2);
        // ["a/b", 2, 41, h'07…']: changing it breaks rolling upgrades.
        let begin = [0x84, 0x63, b'a', b'/', b'b', 0x02, 0x18, 41, 0x58, 32];
        let expected = [begin.as_slice(), &[7; 32]].concat();
        assert_eq!(here.payload(here.incarnation, head), expected);
    }
}
