/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// From the machine that asks to the one that is asked.
    There,
    /// From the machine that is asked to the one that asks.
    Back,
}
