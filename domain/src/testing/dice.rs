//! Chance that follows from a number.

/// Numbers out of one number (SplitMix64; Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(super) fn roll(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn small(&mut self, bound: u8) -> u8 {
        u8::try_from(self.roll(u64::from(bound))).unwrap_or(0)
    }

    pub(super) fn one_in(&mut self, odds: u64) -> bool {
        self.roll(odds) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let len = u64::try_from(from.len()).ok().filter(|len| *len > 0)?;
        from.get(usize::try_from(self.roll(len)).ok()?)
    }

    pub(super) fn text(&mut self, from: &[&'static str]) -> &'static str {
        self.pick(from).copied().unwrap_or("none")
    }
}
