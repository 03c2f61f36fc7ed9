//! Consequences: what follows from an accepted command without anybody asking for it.
use super::changes::Changes;
use crate::command::Command;

/// Lets gates, waves, halts and timers follow what the command changed. Cannot be refused.
pub(crate) fn react(_changes: &mut Changes<'_>, _command: &Command) {}
