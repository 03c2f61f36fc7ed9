//! What there is in a fleet, and what guards it: arguments of the commands that say so.
use crate::{
    guard::{RecoveryImage, Scope},
    id::{Channel, Reason, SecurityVersion},
    variant::VariantTraits,
};
use minicbor::{Decode, Encode};

arguments! {
    /// Arguments of [`super::Command::RegisterVariant`].
    RegisterVariant {
        /// What it is.
        #[n(0)] traits: VariantTraits,
    }
}
arguments! {
    /// Arguments of [`super::Command::RegisterChannel`].
    RegisterChannel {
        /// Its name.
        #[n(0)] channel: Channel,
    }
}
arguments! {
    /// Arguments of [`super::Command::DeclareRecoveryImage`].
    DeclareRecoveryImage {
        /// For which component and variants.
        #[n(0)] scope: Scope,
        /// The image; its revision is set when it is applied.
        #[n(1)] image: RecoveryImage,
    }
}
arguments! {
    /// Arguments of [`super::Command::RaiseFloor`].
    RaiseFloor {
        /// Whose floor.
        #[n(0)] scope: Scope,
        /// The new floor; greater than the old.
        #[n(1)] security_version: SecurityVersion,
        /// Why.
        #[n(2)] reason: Reason,
        /// Halts and retires in the same step whatever stands below.
        #[n(3)] retire: bool,
    }
}
