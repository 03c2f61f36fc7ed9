//! Random bytes, as an argument.

use std::fmt::Debug;

/// A source of random bytes fit for ids, nonces and keys.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// The source is not available; nothing in `out` may then be used.
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError>;
}

impl dyn Entropy {
    /// `N` random bytes, for an id or a seed.
    ///
    /// # Errors
    /// As [`Entropy::fill`].
    pub fn array<const N: usize>(&self) -> Result<[u8; N], EntropyError> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }
}

/// The operating system's random source is not available.
#[derive(Debug, thiserror::Error)]
#[error("the system's random source is not available: {0}")]
pub struct EntropyError(#[from] getrandom::Error);

/// The operating system's source; in the simulator madsim answers it from the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        Ok(getrandom::fill(out)?)
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let source: &dyn Entropy = &SystemEntropy;
        let a: [u8; 32] = source.array().unwrap();
        let b: [u8; 32] = source.array().unwrap();
        assert_ne!(a, b);
    }
}
