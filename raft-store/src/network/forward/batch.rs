//! What the frames of a line carry.
//!
//! ```text
//! commands = [* [number, bytes]]
//! answers  = [* [number, 0, index, outcome bytes, duplicate, incarnation]
//!             / [number, 1, refusal, may have had its effect, leader / null, message]]
//! ```
//! A decoder accepts exactly what the encoder writes.

use bytes::Bytes;
use minicbor::data::Type;
use minicbor::{Decoder, decode};
use tidegate_domain::id::{Incarnation, Index};
use tidegate_proto::{Effect, Refusal, WireError};

use crate::api::Proposed;
use crate::network::cbor::{Out, Read, Written, append_cbor, array, expect_array, whole};

/// A command under the number that its answer will have, which no other of its stream has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) command: Bytes,
}

/// What became of the command with this number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) number: u64,
    pub(super) result: Result<Proposed, WireError>,
}

impl Answered {
    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        match &self.result {
            Ok(proposed) => proposed.outcome.len(),
            Err(error) => error.message.len(),
        }
    }
}

pub(super) fn encode_asked(batch: &[Asked], out: &mut Vec<u8>) {
    append_cbor(out, |out| {
        out.array(batch.len() as u64)?;
        batch.iter().try_for_each(|Asked { number, command }| {
            out.array(2)?.u64(*number)?.bytes(command)?.ok()
        })
    });
}

pub(super) fn decode_asked(body: &[u8]) -> Read<Vec<Asked>> {
    items(body, |from| {
        expect_array(from, 2)?;
        Ok(Asked {
            number: from.u64()?,
            command: Bytes::copy_from_slice(from.bytes()?),
        })
    })
}

pub(super) fn encode_answered(batch: &[Answered], out: &mut Vec<u8>) {
    append_cbor(out, |out| {
        out.array(batch.len() as u64)?;
        batch.iter().try_for_each(|answered| put(out, answered))
    });
}

pub(super) fn decode_answered(body: &[u8]) -> Read<Vec<Answered>> {
    items(body, |from| {
        expect_array(from, 6)?;
        let number = from.u64()?;
        let at = from.position();
        let result = match from.u8()? {
            0 => Ok(Proposed {
                index: Index(from.u64()?),
                outcome: Bytes::copy_from_slice(from.bytes()?),
                duplicate: from.bool()?,
                incarnation: Incarnation(from.u64()?),
            }),
            1 => Err(get_error(from)?),
            _ => return Err(decode::Error::message("neither outcome nor error").at(at)),
        };
        Ok(Answered { number, result })
    })
}

/// Reads as many as are there: what a peer says of their number sets no memory aside.
fn items<T>(body: &[u8], item: impl Fn(&mut Decoder<'_>) -> Read<T>) -> Read<Vec<T>> {
    whole(body, |from| {
        let len = array(from)?;
        (0..len).map(|_| item(from)).collect()
    })
}

fn put(out: &mut Out, Answered { number, result }: &Answered) -> Written {
    out.array(6)?.u64(*number)?;
    match result {
        Ok(Proposed {
            index,
            outcome,
            duplicate,
            incarnation,
        }) => {
            out.u8(0)?.u64(index.0)?.bytes(outcome)?;
            out.bool(*duplicate)?.u64(incarnation.0)?.ok()
        }
        Err(WireError {
            refusal,
            effect,
            leader,
            message,
        }) => {
            out.u8(1)?.str(refusal.as_str())?;
            out.bool(*effect == Effect::Unknown)?;
            match leader {
                Some(leader) => out.str(leader)?,
                None => out.null()?,
            };
            out.str(message)?.ok()
        }
    }
}

fn get_error(from: &mut Decoder<'_>) -> Read<WireError> {
    let at = from.position();
    let refusal = Refusal::parse(from.str()?);
    Ok(WireError {
        refusal: refusal.ok_or_else(|| decode::Error::message("unknown refusal").at(at))?,
        effect: if from.bool()? {
            Effect::Unknown
        } else {
            Effect::None
        },
        leader: if from.datatype()? == Type::Null {
            from.null()?;
            None
        } else {
            Some(from.str()?.to_owned())
        },
        message: from.str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answers() -> Vec<Answered> {
        let refused = WireError::refused(Refusal::NotLeader, "ask node 2");
        let results = [
            Ok(Proposed {
                index: Index(7),
                outcome: Bytes::from_static(b"outcome"),
                duplicate: true,
                incarnation: Incarnation(2),
            }),
            Err(refused.clone()),
            Err(refused.with_leader(Some("127.0.0.1:7101".to_owned()))),
            Err(WireError::unknown(Refusal::TimedOut, "")),
        ];
        let numbered = (0..).zip(results);
        numbered
            .map(|(number, result)| Answered { number, result })
            .collect()
    }

    #[test]
    fn answers_come_back_as_they_were_and_no_other_bytes_are_any() {
        let batch = answers();
        let mut bytes = Vec::new();
        encode_answered(&batch, &mut bytes);
        assert_eq!(decode_answered(&bytes).unwrap(), batch);
        (0..bytes.len()).for_each(|len| assert!(decode_answered(&bytes[..len]).is_err(), "{len}"));
        bytes.push(0);
        assert!(decode_answered(&bytes).is_err(), "a byte too many");
    }

    #[test]
    fn a_length_that_is_not_there_sets_no_memory_aside() {
        let claimed = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert!(decode_asked(&claimed).is_err());
        assert!(decode_answered(&claimed).is_err());
    }

    proptest! {
        #[test]
        fn commands_come_back_as_they_were(batch: Vec<(u64, Vec<u8>)>) {
            let asked = |(number, command): (u64, Vec<u8>)| Asked { number, command: command.into() };
            let batch: Vec<_> = batch.into_iter().map(asked).collect();
            let mut bytes = Vec::new();
            encode_asked(&batch, &mut bytes);
            prop_assert_eq!(decode_asked(&bytes).unwrap(), batch);
            (0..bytes.len()).for_each(|len| assert!(decode_asked(&bytes[..len]).is_err()));
        }
    }
}
