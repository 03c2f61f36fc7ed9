//! How a fault is shown: its class, and then what it does to whom.

use std::fmt;

use super::{Fault, Spot};

impl Fault {
    /// What a fault between machines says of itself after its class.
    fn fmt_network(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { from, to, for_ms } => {
                write!(f, " {} -> {} for {for_ms} ms", Spots(from), Spots(to))
            }
            Self::Isolate {
                these,
                from,
                for_ms,
            } => {
                write!(f, " {}", Spots(these))?;
                if !from.is_empty() {
                    write!(f, " from {}", Spots(from))?;
                }
                write!(f, " for {for_ms} ms")
            }
            Self::Flap {
                these,
                period_ms,
                for_ms,
            } => write!(f, " {} every {period_ms} ms for {for_ms} ms", Spots(these)),
            Self::Loss { ppm, for_ms } => write!(f, " {ppm} ppm for {for_ms} ms"),
            Self::Delay { extra_us, for_ms } => write!(f, " {extra_us} us for {for_ms} ms"),
            _ => Ok(()),
        }
    }

    /// What a fault at a node's files says of itself after its class.
    fn fmt_files(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyFile { at, file, for_ms } => write!(f, " {at} {file} for {for_ms} ms"),
            Self::CutFile {
                at,
                file,
                kept_ppm,
                for_ms,
            } => write!(f, " {at} {file} to {kept_ppm} ppm for {for_ms} ms"),
            Self::SwapFile {
                at,
                file,
                with,
                for_ms,
            } => write!(f, " {at} {file} with {with} for {for_ms} ms"),
            Self::OldCopy {
                at,
                file,
                age_ms,
                for_ms,
            } => {
                let what = file.as_deref().unwrap_or("all");
                write!(f, " {at} {what} of {age_ms} ms ago for {for_ms} ms")
            }
            _ => Ok(()),
        }
    }
}

struct Spots<'a>(&'a [Spot]);

impl fmt::Display for Spots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, spot) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{spot}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class())?;
        match self {
            Self::Crash { at, for_ms }
            | Self::Kill { at, for_ms }
            | Self::Restart { at, for_ms }
            | Self::Pause { at, for_ms } => write!(f, " {at} for {for_ms} ms"),
            Self::Replace { at }
            | Self::Snapshot { at }
            | Self::Disconnect { at }
            | Self::Diverge { at }
            | Self::Forge { at } => write!(f, " {at}"),
            Self::SnapshotTwice { at, apart_ms } => write!(f, " {at} {apart_ms} ms apart"),
            Self::FailIo { at, reads, after } => {
                let what = if *reads { "read" } else { "write" };
                write!(f, " {at} {what} after {after}")
            }
            Self::Misdirect { at, after, sectors } => {
                write!(f, " {at} by {sectors} sectors after {after}")
            }
            Self::Duplicate { for_ms } => write!(f, " for {for_ms} ms"),
            Self::Cut { .. }
            | Self::Isolate { .. }
            | Self::Flap { .. }
            | Self::Loss { .. }
            | Self::Delay { .. } => self.fmt_network(f),
            Self::Suspend {
                at,
                for_ms,
                apart_ms,
            } => write!(f, " {at} for {for_ms} ms, {apart_ms} ms apart"),
            Self::SlowDisk {
                at,
                sync_us: us,
                for_ms,
            }
            | Self::Lag {
                at,
                extra_us: us,
                for_ms,
            } => write!(f, " {at} {us} us for {for_ms} ms"),
            Self::FailSync { at, after } => write!(f, " {at} after {after}"),
            Self::TearPower { at, after, for_ms } => {
                write!(f, " {at} after {after} for {for_ms} ms")
            }
            Self::FlipBit {
                at,
                file,
                place_ppm,
                bit,
            } => write!(f, " {at} {file} at {place_ppm} ppm bit {bit}"),
            Self::FullDisk {
                at,
                free_bytes,
                for_ms,
            } => write!(f, " {at} {free_bytes} B left for {for_ms} ms"),
            Self::EmptyFile { .. }
            | Self::CutFile { .. }
            | Self::SwapFile { .. }
            | Self::OldCopy { .. } => self.fmt_files(f),
            Self::Clock {
                at,
                rate_ppm,
                wall_ms,
                for_ms,
            } => write!(f, " {at} {rate_ppm} ppm {wall_ms:+} ms for {for_ms} ms"),
            Self::Transfer { to } => write!(f, " to {to}"),
            Self::DevicePower { one_in } => write!(f, " one in {one_in}"),
            Self::Vote { at, voter } => write!(f, " {at} voter={voter}"),
            Self::Halt => Ok(()),
        }
    }
}
