//! CBOR items as messages have them: of definite length, and with nothing left over.

use std::convert::Infallible;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder, decode, encode};

use crate::storage::codec::Record;

pub(super) type Out = Encoder<Vec<u8>>;
pub(super) type Written = Result<(), encode::Error<Infallible>>;
pub(super) type Read<T> = Result<T, decode::Error>;

/// Appends one CBOR item to `out`.
pub(super) fn append_cbor(out: &mut Vec<u8>, write: impl FnOnce(&mut Out) -> Written) {
    let mut encoder = Encoder::new(std::mem::take(out));
    match write(&mut encoder) {
        Ok(()) => *out = encoder.into_writer(),
        Err(error) => unreachable!("writing to memory does not fail: {error}"),
    }
}

/// Reads one item that is all of `body`.
pub(super) fn whole<T>(body: &[u8], read: impl FnOnce(&mut Decoder<'_>) -> Read<T>) -> Read<T> {
    let mut from = Decoder::new(body);
    let value = read(&mut from)?;
    if from.position() == body.len() {
        return Ok(value);
    }
    Err(decode::Error::message("bytes are left over").at(from.position()))
}

pub(super) fn put_option<T: Record>(out: &mut Out, value: Option<&T>) -> Written {
    match value {
        Some(value) => value.encode(out),
        None => out.null()?.ok(),
    }
}

pub(super) fn get_option<T: Record>(from: &mut Decoder<'_>) -> Read<Option<T>> {
    if from.datatype()? == Type::Null {
        return from.null().map(|()| None);
    }
    T::decode(from).map(Some)
}

pub(super) fn array(from: &mut Decoder<'_>) -> Read<u64> {
    let at = from.position();
    from.array()?
        .ok_or_else(|| decode::Error::message("indefinite length").at(at))
}

pub(super) fn expect_array(from: &mut Decoder<'_>, len: u64) -> Read<()> {
    let at = from.position();
    if array(from)? == len {
        return Ok(());
    }
    Err(decode::Error::message("wrong number of fields").at(at))
}

/// Bytes of exactly this length.
pub(super) fn fixed<const N: usize>(from: &mut Decoder<'_>) -> Read<[u8; N]> {
    let at = from.position();
    let bytes = from.bytes()?.try_into();
    bytes.map_err(|_| decode::Error::message("wrong number of bytes").at(at))
}
