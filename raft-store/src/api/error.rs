//! Every error's gRPC status: the one place where refusals of the API get their wire form.

use tidegate_domain::Rejection;
use tidegate_proto::{Effect, Refusal, WireError};
use tonic::Status;

use super::{ProposeError, ReadError, WatchError};

impl From<ProposeError> for WireError {
    fn from(error: ProposeError) -> Self {
        let message = error.to_string();
        match error {
            ProposeError::TooLarge { .. } => Self::refused(Refusal::TooLarge, message),
            ProposeError::Overloaded { .. } => Self::refused(Refusal::Overloaded, message),
            ProposeError::NoRoom(_) => Self::refused(Refusal::DiskFull, message),
            ProposeError::AtTheDoor(rejection) => match *rejection {
                Rejection::Unauthorized(_) => Self::refused(Refusal::Unauthorized, message),
                _ => Self::refused(Refusal::NotAllowed, message),
            },
            ProposeError::OutcomeLost { .. } => Self::unknown(Refusal::Internal, message),
            ProposeError::NotLeader { leader } => {
                Self::refused(Refusal::NotLeader, message).with_leader(leader)
            }
            ProposeError::NoLeader { .. } => Self::refused(Refusal::NoLeader, message),
            ProposeError::Unknown { .. } => Self::unknown(Refusal::TimedOut, message),
            ProposeError::Stopped(_) => Self::unknown(Refusal::Stopped, message),
            ProposeError::ByLeader(error) => error,
        }
    }
}

impl From<ReadError> for WireError {
    fn from(error: ReadError) -> Self {
        let message = error.to_string();
        match error {
            ReadError::Recovering => Self::refused(Refusal::Recovering, message),
            ReadError::NoLeader => Self::refused(Refusal::NoLeader, message),
            ReadError::NotLeader { leader } => {
                Self::refused(Refusal::NotLeader, message).with_leader(leader)
            }
            ReadError::NoQuorum(_) => Self::refused(Refusal::NoQuorum, message),
            ReadError::TimedOut(_) => Self::refused(Refusal::TimedOut, message),
            ReadError::Stopped(_) => Self::refused(Refusal::Stopped, message),
            ReadError::Overloaded => Self::refused(Refusal::Overloaded, message),
            // A read has no effect, whatever became of the question.
            ReadError::ByLeader(error) => Self {
                effect: Effect::None,
                ..error
            },
        }
    }
}

impl From<WatchError> for WireError {
    fn from(error: WatchError) -> Self {
        let message = error.to_string();
        match error {
            WatchError::Overloaded { .. } => Self::refused(Refusal::Overloaded, message),
            WatchError::Read(error) => error.into(),
            WatchError::Storage(_) => Self::refused(Refusal::Internal, message),
        }
    }
}

macro_rules! statuses {
    ($($error:ty),*) => {
        $(impl From<$error> for Status {
            fn from(error: $error) -> Self {
                WireError::from(error).into()
            }
        })*
    };
}

statuses!(ProposeError, ReadError, WatchError);
