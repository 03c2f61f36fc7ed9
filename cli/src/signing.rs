//! From what an operator wants to what the cluster takes: a command body on top of the log as it
//! stands, signed, checked against the state as far as that goes here, and sent.
use crate::{
    cluster::Cluster,
    command_file, describe,
    failure::{Failure, Kind},
    keys::SecretKeyFile,
    settings,
    terminal::Terminal,
};
use clap::Args;
use serde_json::{Value as Json, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tidegate_client::{Proposed, View};
use tidegate_domain::{
    Command, Examined, Outcome, Rejection, SignedCommand, Stamp, State, Unauthorized,
    apply::access::{Demand, demand},
    command::{Proposal, VALIDITY_MAX},
    id::{CommandId, Index, LogTime, Millis, Revision},
    key::Role,
    try_out,
};
use tidegate_runtime::{Clock, Entropy, SystemClock, SystemEntropy, WallMs};

/// How far a cluster's clocks may run behind this machine's.
const CLOCK_MARGIN: Millis = Millis(60_000);

/// Flags of every command that changes something.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Signing")]
pub(crate) struct Signing {
    /// Secret key file to sign with; repeat it for several. Default: those of the profile.
    #[arg(
        long = "key",
        value_name = "FILE",
        env = "TIDEGATE_KEY",
        value_delimiter = ','
    )]
    keys: Vec<PathBuf>,
    /// Refuse unless the target was last changed by this entry.
    #[arg(long, value_name = "ENTRY")]
    if_revision: Option<u64>,
    /// Show what would happen, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write the signed command to a file, for others to sign, instead of sending it.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    collect: Option<PathBuf>,
    /// How long the command may be applied from now on; at most 7 days.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = settings::duration)]
    valid_for: Duration,
}

impl Signing {
    /// The key files that the command line names.
    pub(crate) fn key_files(&self) -> &[PathBuf] {
        &self.keys
    }

    /// The file that takes the command, which then is not sent.
    pub(crate) fn collect_file(&self) -> Option<&Path> {
        self.collect.as_deref()
    }

    /// Whether nothing may be changed.
    pub(crate) const fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// The same without an expected revision, for a second command on the same target.
    pub(crate) fn without_revision(&self) -> Self {
        Self {
            if_revision: None,
            ..self.clone()
        }
    }

    /// The same, expecting the revision that a change was made on top of, unless another is said:
    /// a command that replaces the whole must not undo what somebody else changed meanwhile.
    pub(crate) fn on_top_of(&self, revision: Revision) -> Self {
        Self {
            if_revision: self.if_revision.or(Some(revision.0)),
            ..self.clone()
        }
    }

    /// How long the command may be applied.
    pub(crate) const fn valid_for(&self) -> Duration {
        self.valid_for
    }
}

/// The span of log time in which a command that is signed now may be applied.
pub(crate) fn validity(now: WallMs, valid_for: Duration) -> Result<(LogTime, LogTime), Failure> {
    let longest = VALIDITY_MAX.0 - CLOCK_MARGIN.0;
    let valid_for = u64::try_from(valid_for.as_millis()).unwrap_or(u64::MAX);
    if valid_for > longest {
        return Err(Failure::usage("--valid-for is longer than 7 days")
            .next("command ids are kept for 7 days, so that none is applied twice"));
    }
    let not_before = LogTime(now.0.saturating_sub(CLOCK_MARGIN.0));
    Ok((not_before, LogTime(now.0.saturating_add(valid_for))))
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Submitted {
    /// It was applied.
    Applied(Proposed),
    /// It would be applied; these are the names and sentences of what it would change.
    WouldApply(Vec<String>),
    /// It was written to a file for others to sign.
    Collected {
        /// The file.
        file: PathBuf,
        /// Which signatures it takes, and how many it has.
        lacks: String,
    },
}

/// A place to sign for and send to.
pub(crate) struct Desk<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) view: &'a View,
    pub(crate) terminal: Terminal,
    /// Key files of the profile.
    pub(crate) keys: &'a [PathBuf],
}

impl Desk<'_> {
    /// Signs and sends a command, and shows what came of it; `done` says it in words.
    pub(crate) async fn submit(
        &self,
        signing: &Signing,
        command: impl Into<Command>,
        done: &str,
    ) -> Result<(), Failure> {
        let submitted = self.send(signing, command.into()).await?;
        show(self.terminal, &submitted, done);
        Ok(())
    }

    /// Signs and sends a command.
    pub(crate) async fn send(
        &self,
        signing: &Signing,
        command: Command,
    ) -> Result<Submitted, Failure> {
        let state = self.view.state();
        let mut signed = self.proposal(signing, command.clone())?.unsigned();
        let demand = demand(state, &command);
        for key in self.keys_for(signing, demand)? {
            signed.sign(&key.signing);
        }
        if let Some(file) = &signing.collect {
            command_file::create(file, &signed)?;
            return Ok(Submitted::Collected {
                file: file.clone(),
                lacks: lacks(state, &signed, demand),
            });
        }
        let events = try_out(state, Examined::of(&signed.to_bytes()), stamp(self.view)?)
            .map_err(|rejection| refused(&rejection))?;
        if signing.dry_run {
            let sentences = events.iter().map(|event| describe::event(state, event));
            return Ok(Submitted::WouldApply(sentences.collect()));
        }
        let proposed = propose(self.cluster, &signed).await?;
        accepted(proposed).map(Submitted::Applied)
    }

    fn proposal(&self, signing: &Signing, command: Command) -> Result<Proposal, Failure> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let state = self.view.state();
        let (not_before, not_after) = validity(SystemClock.wall(), signing.valid_for)?;
        Ok(Proposal {
            origin: state.meta().origin.clone(),
            id: CommandId(entropy.array().map_err(Failure::refused)?),
            epoch: state.keys().epoch,
            not_before,
            not_after,
            base: self.view.base(),
            command,
            expected_revision: signing.if_revision.map(Revision),
        })
    }

    /// The keys to sign with: of those at hand, the ones of the role that is asked for.
    fn keys_for(&self, signing: &Signing, demand: Demand) -> Result<Vec<SecretKeyFile>, Failure> {
        let files = if signing.keys.is_empty() {
            self.keys
        } else {
            signing.keys.as_slice()
        };
        let role = role_of(demand);
        let keys: Result<Vec<_>, _> = files.iter().map(|file| SecretKeyFile::read(file)).collect();
        let mut keys = keys.map_err(Failure::refused)?;
        let given = keys.len();
        keys.retain(|key| key.role == role);
        if !keys.is_empty() || (signing.collect.is_some() && given == 0) {
            return Ok(keys);
        }
        let what = match given {
            0 => format!("no key is given; this takes a signature of role {role}"),
            given => format!("none of the {given} keys given is of role {role}, which this takes"),
        };
        Err(Failure::usage(what).next(
            "say --key FILE, or --collect FILE to have others sign; `tidegate key list` shows the keys that are trusted",
        ))
    }
}

/// The role whose keys a demand counts.
pub(crate) const fn role_of(demand: Demand) -> Role {
    match demand {
        Demand::RootQuorums => Role::Root,
        Demand::Operator | Demand::OperatorQuorum => Role::Operator,
        Demand::Decision | Demand::Session(_) => Role::Decision,
        Demand::Node => Role::Node,
        // None is counted.
        #[cfg(feature = "bench")]
        Demand::Nobody => Role::Operator,
    }
}

/// How many signatures a demand takes.
pub(crate) fn needed(state: &State, demand: Demand) -> u16 {
    let threshold = |role| {
        state
            .keys()
            .role(role)
            .map_or(1, |keys| keys.threshold.max(1))
    };
    match demand {
        Demand::RootQuorums => threshold(Role::Root),
        Demand::OperatorQuorum => threshold(Role::Operator),
        Demand::Operator | Demand::Decision | Demand::Session(_) | Demand::Node => 1,
        #[cfg(feature = "bench")]
        Demand::Nobody => 0,
    }
}

fn lacks(state: &State, signed: &SignedCommand, demand: Demand) -> String {
    let (role, needed) = (role_of(demand), needed(state, demand));
    let has = signed.signatures.len();
    format!("{has} of {needed} signature(s) of role {role}")
}

/// Sends a command that is signed by all who have to. If nobody knows what came of it, the command
/// is kept: only sending the same bytes again can tell.
pub(crate) async fn propose(
    cluster: &Cluster,
    signed: &SignedCommand,
) -> Result<Proposed, Failure> {
    cluster
        .propose(signed)
        .await
        .map_err(|failure| match failure.kind() {
            Kind::OutcomeUnknown => keep(signed, failure),
            _ => failure,
        })
}

/// What stands in the log for a command, as a failure if the log refused it.
pub(crate) fn accepted(proposed: Proposed) -> Result<Proposed, Failure> {
    match &proposed.outcome {
        Outcome::Accepted(_) => Ok(proposed),
        Outcome::Rejected(rejection) => {
            let index = proposed.index;
            Err(refused(rejection).details(json!({ "entry": index.0, "recorded": true })))
        }
    }
}

fn keep(signed: &SignedCommand, failure: Failure) -> Failure {
    let id = signed.parse().map(|(body, _)| body.id.to_string());
    let file = PathBuf::from(format!("{}.command", id.unwrap_or_default()));
    match command_file::create(&file, signed) {
        Ok(()) => failure.next(format!(
            "`tidegate approval submit {}` sends the same command again and says what became of it; it is applied at most once",
            file.display()
        )),
        Err(why) => failure.next(format!("look before you try again ({})", why.to_text())),
    }
}

/// The stamp that a command sent now would get, as far as this machine can tell.
pub(crate) fn stamp(view: &View) -> Result<Stamp, Failure> {
    let state = view.state();
    let now = LogTime(SystemClock.wall().0);
    if now.0.saturating_add(CLOCK_MARGIN.0) < state.meta().time.0 {
        return Err(Failure::refused(format!(
            "this machine's clock is behind the cluster's: {} here, {} there",
            describe::time(now),
            describe::time(state.meta().time)
        ))
        .next("set the clock; commands are signed for a span of time"));
    }
    Ok(Stamp {
        time: now.max(state.meta().time),
        index: Index(view.position().entries),
        chain: view.base().chain,
    })
}

/// A rejection as a failure, with what to do about it.
pub(crate) fn refused(rejection: &Rejection) -> Failure {
    let failure = Failure::refused(format!("refused: {rejection}"));
    let next = match rejection {
        Rejection::Unauthorized(Unauthorized::TooFewSignatures { .. }) => {
            "collect the others: say --collect FILE, have them run `tidegate approval sign FILE`, then `tidegate approval submit FILE`"
        }
        Rejection::Unauthorized(Unauthorized::OtherEpoch { .. }) => {
            "the keys were rotated meanwhile; make and sign the command anew"
        }
        Rejection::Unauthorized(Unauthorized::NoKeys) => {
            "hold the key ceremony first: `tidegate key rotate --help`"
        }
        Rejection::OutsideValidity { .. } => "make and sign the command anew",
        Rejection::RevisionMismatch { .. } => "look at what changed, then decide again",
        Rejection::BarredByHalt { .. } => {
            "a quorum lifts a halt with `tidegate rollout resume ID --reason …`"
        }
        Rejection::WouldStrand { .. } => {
            "sign those releases anew first, or say --override with the quorum's signatures"
        }
        Rejection::FloorAboveRecoveryImage { .. }
        | Rejection::FloorAboveRollbackTarget { .. }
        | Rejection::FloorAboveRollout { .. } => {
            "a quorum may halt and retire what stands below in the same step: --retire"
        }
        Rejection::NoRollbackTarget => {
            "the first rollout of a component has no baseline to go back to: say `to: fix_forward_only` in its `rollback`"
        }
        Rejection::UnknownRollout { .. } => "`tidegate rollout list` shows the rollouts there are",
        Rejection::UnknownRelease { .. } => "`tidegate release list` shows the releases there are",
        _ => return failure,
    };
    failure.next(next)
}

/// Shows what became of a command.
pub(crate) fn show(terminal: Terminal, submitted: &Submitted, done: &str) {
    match submitted {
        Submitted::Applied(proposed) => {
            let again = if proposed.duplicate { ", before" } else { "" };
            let text = format!("{done} (entry {}{again})", proposed.index);
            terminal.show(text, applied_json(proposed));
        }
        Submitted::WouldApply(sentences) => {
            let mut text = "it would be accepted; nothing was changed:".to_owned();
            for sentence in sentences {
                text.push_str(&format!("\n  {sentence}"));
            }
            terminal.show(text, json!({ "dry_run": true, "changes": sentences }));
        }
        Submitted::Collected { file, lacks } => {
            let name = file.display().to_string();
            let text = format!(
                "wrote {name}: {lacks}\n  next: have it signed with `tidegate approval sign {name} --key FILE`, then `tidegate approval submit {name}`"
            );
            terminal.show(text, json!({ "file": name, "signatures": lacks }));
        }
    }
}

fn applied_json(proposed: &Proposed) -> Json {
    let events: Vec<&str> = match &proposed.outcome {
        Outcome::Accepted(events) => events.iter().map(describe::event_name).collect(),
        Outcome::Rejected(_) => Vec::new(),
    };
    json!({ "entry": proposed.index.0, "duplicate": proposed.duplicate, "events": events })
}
