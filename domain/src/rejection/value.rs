//! What is wrong with a value of its own.
use super::fault::kind_name;
use crate::id::{Channel, Component, LogTime, Millis, Ppm, RolloutId};
use minicbor::{Decode, Encode};

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum ValueFault {
    /// A number, or the length of a list.
    #[n(0)]
    #[error("is {value}, {min} to {max} is accepted")]
    Range {
        /// Asked for.
        #[n(0)]
        value: u64,
        /// The least.
        #[n(1)]
        min: u64,
        /// The most.
        #[n(2)]
        max: u64,
    },
    /// A length of time.
    #[n(1)]
    #[error("is {value} ms, {min} to {max} ms is accepted")]
    Duration {
        /// Asked for.
        #[n(0)]
        value: Millis,
        /// The least.
        #[n(1)]
        min: Millis,
        /// The most.
        #[n(2)]
        max: Millis,
    },
    /// A share.
    #[n(2)]
    #[error("is {value}, at most {max} is accepted")]
    Share {
        /// Asked for.
        #[n(0)]
        value: Ppm,
        /// The most.
        #[n(1)]
        max: Ppm,
    },
    /// The length of a text.
    #[n(3)]
    #[error("has {value} bytes, {min} to {max} are accepted")]
    Bytes {
        /// Asked for.
        #[n(0)]
        value: u64,
        /// The least.
        #[n(1)]
        min: u64,
        /// The most.
        #[n(2)]
        max: u64,
    },
    /// A list is in another order, or something stands in it twice.
    #[n(4)]
    #[error("stand sorted, each once")]
    Unsorted,
    /// It stands there before.
    #[n(5)]
    #[error("stands twice")]
    Twice,
    /// The bytes are not in canonical form.
    #[n(6)]
    #[error("is not in canonical form")]
    NotCanonical,
    /// It names another cluster.
    #[n(7)]
    #[error("is {requested:?}, this is {existing:?}")]
    OtherOrigin {
        /// This cluster.
        #[n(0)]
        existing: String,
        /// The one that it names.
        #[n(1)]
        requested: String,
    },
    /// What the command is about has no revision.
    #[n(8)]
    #[error("{} changes nothing that has one", kind_name(*.kind))]
    NoRevision {
        /// The kind of the command.
        #[n(0)]
        kind: u16,
    },
    /// Nobody signed.
    #[n(9)]
    #[error("the session's key signs")]
    NoSigner,
    /// The key was revoked before.
    #[n(10)]
    #[error("is revoked already")]
    RevokedBefore,
    /// An earlier payload is for the same variants.
    #[n(11)]
    #[error("never reached: an earlier payload is for the same variants")]
    Unreachable,
    /// A release requires what it updates.
    #[n(12)]
    #[error("{component} stands twice, or is what the release updates")]
    RequiredTwice {
        /// Which component.
        #[n(0)]
        component: Component,
    },
    /// Its time has not come.
    #[n(13)]
    #[error("not before {from} ms, log time is {now} ms")]
    TooEarly {
        /// When it comes.
        #[n(0)]
        from: LogTime,
        /// Log time.
        #[n(1)]
        now: LogTime,
    },
    /// Its time is over.
    #[n(14)]
    #[error("after log time {now} ms")]
    Past {
        /// Log time.
        #[n(0)]
        now: LogTime,
    },
    /// A maintenance window that never opens.
    #[n(15)]
    #[error("days 1 to 127, opens at minute 0 to 1,439, for 1 to 1,440 minutes")]
    Window,
    /// A freeze that ends before it begins.
    #[n(16)]
    #[error("each ends after it begins")]
    Freeze,
    /// A share of nobody.
    #[n(17)]
    #[error("above 0 %, or with a ring: otherwise nobody is in the wave")]
    Nobody,
    /// The target falls from one wave to the next.
    #[n(18)]
    #[error("{value} falls below the {before} of the wave before")]
    TargetFalls {
        /// Asked for.
        #[n(0)]
        value: Ppm,
        /// The wave before.
        #[n(1)]
        before: Ppm,
    },
    /// The cap falls from one wave to the next.
    #[n(19)]
    #[error(
        "{value} falls below the cap of a wave before, which has {}",
        .before.map_or_else(|| "none".to_owned(), |before| before.to_string())
    )]
    CapFalls {
        /// Asked for.
        #[n(0)]
        value: u64,
        /// The greatest before; none where there is no bound.
        #[n(1)]
        before: Option<u64>,
    },
    /// Only emergencies go on while a node is cut off.
    #[n(20)]
    #[error("only a release that is marked critical_security goes on while stale")]
    NotCritical,
    /// An automatic rollback without a target.
    #[n(21)]
    #[error("an automatic rollback needs somewhere to go: not fix_forward_only")]
    NowhereToGo,
    /// The gate was overridden before.
    #[n(22)]
    #[error("its gate was overridden before")]
    OverriddenBefore,
    /// The variant is in no audience of the rollout.
    #[n(23)]
    #[error("it is not in the audience")]
    NotInAudience,
    /// The variant was excluded before.
    #[n(24)]
    #[error("it is excluded already")]
    ExcludedBefore,
    /// The rollout was expedited before.
    #[n(25)]
    #[error("it is expedited already")]
    ExpeditedBefore,
    /// The control arm is offered nothing.
    #[n(26)]
    #[error("control is not offered anything")]
    Control,
    /// Another journal than the session's.
    #[n(27)]
    #[error("a session has one journal")]
    OtherJournal,
    /// The journal said something else before.
    #[n(28)]
    #[error("the journal of this size had another")]
    OtherRoot,
    /// A promise that stands would be broken.
    #[n(29)]
    #[error("may not shrink while rollout {rollout} is not final")]
    Promised {
        /// To whose devices.
        #[n(0)]
        rollout: RolloutId,
    },
    /// The channel is not registered.
    #[n(30)]
    #[error("there is no channel {channel}: register it first")]
    UnknownChannel {
        /// Which.
        #[n(0)]
        channel: Channel,
    },
    /// The channel is registered, or the one that is always there.
    #[n(31)]
    #[error("it is there already")]
    ChannelExists,
}
