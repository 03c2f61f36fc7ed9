//! The decision engine: pure, from a snapshot and a check-in to an answer.
//!
//! Architecture invariant: nothing here reads a clock, draws a random number or does IO; time, mode
//! and admissions are arguments (DEC-1).

mod checkin;
mod decide;
mod index;
mod offer;
mod reason;
pub mod risk;
mod token;

pub use checkin::{
    ATTEMPTS_MAX, Attempts, COMPONENTS_MAX, CheckIn, DeviceId, DeviceIdError, Network, Power,
    PseudonymKey, Running, VariantClaim,
};
pub use decide::{Budgets, Decision, Draw, Exposure, Grant, Mode, NoBudgets, Pool, decide};
pub use index::{Cited, ComponentSlot, Index, PayloadSlot, ReleaseSlot, SessionEntry, Settings};
pub use offer::Offer;
pub use reason::{Because, Reason, Reasons, Verdict};
pub use risk::{RiskModel, TableOnly};
pub use token::{
    ExposureId, Original, TOKEN_BYTES_MAX, TOKEN_PAYLOAD_TYPE, Token, TokenError, Verified,
};
