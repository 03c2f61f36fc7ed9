//! The canonical encoding of domain values: deterministic CBOR (RFC 8949 §4.2.1) with integer map
//! keys. What is signed, chained, stored and hashed is always these bytes.
//!
//! A value decodes only from the very bytes that it encodes to: whatever else a lenient decoder
//! would accept (unknown fields, long integers, unsorted sets, duplicates) is refused.
use minicbor::{Decode, Encode};

/// Why bytes are not the canonical form of a value.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The bytes don't decode to the type at all.
    #[error("malformed: {0}")]
    Malformed(#[from] minicbor::decode::Error),
    /// The bytes decode, but the value's own encoding differs.
    #[error("not in deterministic form: first difference at byte {at}")]
    NotDeterministic {
        /// Offset of the first byte that differs.
        at: usize,
    },
}

/// The canonical bytes of a value.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    match minicbor::encode(value, &mut bytes) {
        Ok(()) => bytes,
        Err(error) => unreachable!("writing to memory does not fail: {error}"),
    }
}

/// Decodes a value from its canonical bytes and from nothing else.
///
/// # Errors
/// The bytes are malformed, or not what the value encodes to.
pub fn decode<'b, T: Decode<'b, ()> + Encode<()>>(bytes: &'b [u8]) -> Result<T, CanonicalError> {
    let value: T = minicbor::decode(bytes)?;
    let own = encode(&value);
    if own == bytes {
        return Ok(value);
    }
    let at = own.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    Err(CanonicalError::NotDeterministic { at })
}

/// Maps as arrays of `[key, value]` pairs in the key's order, since CBOR's own order of text keys
/// is not Rust's. Use with `#[cbor(with = "crate::canonical::pairs")]`.
pub(crate) mod pairs {
    use minicbor::{
        Decode, Decoder, Encode, Encoder,
        decode::Error as DecodeError,
        encode::{Error as EncodeError, Write},
    };
    use std::collections::BTreeMap;

    pub(crate) fn encode<C, K: Encode<C>, V: Encode<C>, W: Write>(
        map: &BTreeMap<K, V>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(map.len() as u64)?;
        for (key, value) in map {
            e.array(2)?;
            key.encode(e, ctx)?;
            value.encode(e, ctx)?;
        }
        Ok(())
    }

    pub(crate) fn decode<'b, C, K: Decode<'b, C> + Ord, V: Decode<'b, C>>(
        d: &mut Decoder<'b>,
        ctx: &mut C,
    ) -> Result<BTreeMap<K, V>, DecodeError> {
        let mut map = BTreeMap::new();
        let pairs = d
            .array()?
            .ok_or_else(|| DecodeError::message("indefinite array"))?;
        for _ in 0..pairs {
            if d.array()? != Some(2) {
                return Err(DecodeError::message("a pair has two items").at(d.position()));
            }
            let key = K::decode(d, ctx)?;
            map.insert(key, V::decode(d, ctx)?);
        }
        Ok(map)
    }
}

/// Semantic versions and ranges as text.
pub(crate) mod text {
    use minicbor::{
        Decoder, Encoder,
        decode::Error as DecodeError,
        encode::{Error as EncodeError, Write},
    };
    use std::{fmt::Display, str::FromStr};

    pub(crate) fn encode<C, T: Display, W: Write>(
        value: &T,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.str(&value.to_string())?.ok()
    }

    pub(crate) fn decode<'b, C, T: FromStr<Err: Display>>(
        d: &mut Decoder<'b>,
        _: &mut C,
    ) -> Result<T, DecodeError> {
        let at = d.position();
        d.str()?
            .parse()
            .map_err(|e: T::Err| DecodeError::message(e.to_string()).at(at))
    }
}
