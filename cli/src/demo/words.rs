//! Domain values in words for people.
use tidegate_domain::{rollout::HaltCause, wave::Breach};

/// Why a rollout was halted.
pub(super) fn halt_cause(cause: &HaltCause) -> String {
    match cause {
        HaltCause::Operator(reason) => format!("an operator said so ({reason})"),
        HaltCause::Gate(evidence) => match evidence.breach {
            Some(breach) => format!("its gate failed, {}", describe(breach)),
            None => "its gate failed".to_owned(),
        },
        HaltCause::ReleaseRevoked => "its release was revoked".to_owned(),
        HaltCause::FloorRaised => "a floor was raised above it".to_owned(),
        HaltCause::KeyRevoked => "a revoked key had signed it".to_owned(),
    }
}

fn describe(breach: Breach) -> String {
    match breach {
        Breach::Failures { rate, max } => format!("{rate} of installs failed, {max} are allowed"),
        Breach::Silence { rate, max } => format!("{rate} fell silent, {max} are allowed"),
        Breach::Errors { rate, max } => format!("{rate} errors, {max} are allowed"),
        Breach::Accuracy { drop, max } => format!("accuracy fell by {drop}, {max} is allowed"),
        Breach::Latency { p99_ms, max_ms } => {
            format!("the 99th percentile is {p99_ms} ms, {max_ms} ms is allowed")
        }
    }
}
