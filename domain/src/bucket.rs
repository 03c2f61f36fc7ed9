//! Buckets: where a device falls in a rollout, by hash alone, so that nobody has to remember it.
use crate::{
    id::{Hash, Ppm, RolloutId, WaveIndex},
    rollout::Rollout,
    variant::VariantTraits,
    wave::WaveSpec,
};

const BUCKET_CONTEXT: &str = "tidegate 2026-11 bucket salt v1";
const HOLDOUT_CONTEXT: &str = "tidegate 2026-11 holdout salt v1";

/// A device's place in one salted hash space, 0 to 999,999: it belongs to a share when its bucket
/// is below it, so shares are nested (WAVE-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u32);

impl Bucket {
    /// Whether the device belongs to a share of the space.
    pub const fn is_within(self, share: Ppm) -> bool {
        self.0 < share.get()
    }

    /// The bucket of 8 hash bytes: `x · 10⁶ >> 64` of the big-endian `x`.
    fn of(bytes: [u8; 8]) -> Self {
        let scaled = u128::from(u64::from_be_bytes(bytes)).wrapping_mul(1_000_000) >> 64;
        Self(u32::try_from(scaled).unwrap_or(u32::MAX))
    }
}

/// Where a device falls in one rollout: two independent buckets of one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its place among the waves: bytes 0 to 7 of `BLAKE3(salt ‖ device id)`.
    pub wave: Bucket,
    /// Its place in the control arm: bytes 8 to 15.
    pub control: Bucket,
}

/// Where a device falls in the hash space of a salt.
pub fn bucket(salt: &Hash, device: &str) -> Place {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&salt.0);
    hasher.update(device.as_bytes());
    let hash = hasher.finalize();
    let mut words = hash.as_bytes().as_chunks::<8>().0.iter().copied();
    Place {
        wave: Bucket::of(words.next().unwrap_or_default()),
        control: Bucket::of(words.next().unwrap_or_default()),
    }
}

/// The salt of a rollout: `DK("tidegate 2026-11 bucket salt v1", chain head before the entry that
/// creates it ‖ rollout id, u64 big-endian)`. Nobody can pick it.
pub fn rollout_salt(chain: &Hash, rollout: RolloutId) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(BUCKET_CONTEXT);
    hasher.update(&chain.0).update(&rollout.0.to_be_bytes());
    Hash(hasher.finalize().into())
}

/// The salt of the fleet-wide holdout: it follows from the origin and never changes.
pub fn holdout_salt(origin: &str) -> Hash {
    Hash(blake3::derive_key(HOLDOUT_CONTEXT, origin.as_bytes()))
}

/// Whether a device is held out of all rollouts.
pub fn in_holdout(salt: &Hash, device: &str, share: Ppm) -> bool {
    share != Ppm::ZERO && bucket(salt, device).wave.is_within(share)
}

/// Whether a device is in a rollout's control arm.
pub const fn in_control(place: Place, share: Ppm) -> bool {
    place.control.is_within(share)
}

/// Whether a device belongs to a wave: by its bucket, or because its variant is in the wave's ring.
pub fn is_in(wave: &WaveSpec, variant: &VariantTraits, place: Place) -> bool {
    place.wave.is_within(wave.target) || wave.ring.as_ref().is_some_and(|r| r.matches(variant))
}

/// The first wave that a device belongs to, open or not; `None` if no wave reaches it.
pub fn wave_of(rollout: &Rollout, variant: &VariantTraits, place: Place) -> Option<WaveIndex> {
    let mut waves = rollout.spec.waves.iter();
    let at = waves.position(|wave| is_in(wave, variant, place))?;
    u16::try_from(at).ok().map(WaveIndex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(parts: u32) -> Ppm {
        Ppm::new(parts).unwrap()
    }

    #[test]
    fn a_bucket_is_what_the_formula_says() {
        assert_eq!(Bucket::of([0; 8]), Bucket(0));
        assert_eq!(Bucket::of([0xff; 8]), Bucket(999_999));
        assert_eq!(Bucket::of([0x80, 0, 0, 0, 0, 0, 0, 0]), Bucket(500_000));
        let hash = blake3::hash(&[[7; 32].as_slice(), b"device-1"].concat());
        let first: [u8; 8] = hash.as_bytes()[..8].try_into().unwrap();
        assert_eq!(bucket(&Hash([7; 32]), "device-1").wave, Bucket::of(first));
    }

    #[test]
    fn a_share_of_nothing_holds_nobody_and_all_holds_everybody() {
        for last in [Bucket(0), Bucket(999_999)] {
            assert!(!last.is_within(Ppm::ZERO));
            assert!(last.is_within(Ppm::ALL));
        }
    }

    #[test]
    fn shares_hold_about_what_they_say_and_control_is_independent_of_waves() {
        let places: Vec<_> = (0..20_000)
            .map(|n| bucket(&Hash([3; 32]), &format!("device-{n}")))
            .collect();
        let quarter = places.iter().filter(|p| p.wave.is_within(share(250_000)));
        let (mut inside, mut control) = (0_u32, 0_u32);
        for place in quarter {
            inside += 1;
            control += u32::from(in_control(*place, share(100_000)));
        }
        assert!(
            (4_700..5_300).contains(&inside),
            "{inside} of 20,000 in a quarter"
        );
        assert!(
            (400..600).contains(&control),
            "{control} of {inside} in a tenth"
        );
    }

    proptest! {
        #[test]
        fn a_device_within_a_share_is_within_every_larger_one(
            device in "[!-~]{1,64}", salt: [u8; 32], a in 0..=1_000_000_u32, b in 0..=1_000_000_u32,
        ) {
            let place = bucket(&Hash(salt), &device);
            if place.wave.is_within(share(a.min(b))) {
                prop_assert!(place.wave.is_within(share(a.max(b))));
            }
        }
    }
}
