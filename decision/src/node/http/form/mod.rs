//! JSON as devices write and read it. Bytes are standard base64, hashes and keys lower-case
//! hexadecimal, enums lower-case words.
mod asked;
mod told;

pub(super) use asked::{CheckIn, FieldError, Outcome};
pub(super) use told::{Answer, Health, OutcomeReply, Status};
