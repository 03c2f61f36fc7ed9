//! Between wire messages and the engine's types. Everything a device sends is checked here, once.
mod answer;
mod check_in;

pub use answer::{Answer, mode, reason, response, verdict};
pub use check_in::{BOOT_ID_BYTES_MAX, Refused, VERSION_BYTES_MAX, parse};
