//! `tidegate budget`.
use crate::{
    context::{Context, reason},
    failure::Failure,
    signing::Signing,
    terminal::table,
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::collections::BTreeMap;
use tidegate_domain::{
    command::WriteOffBudget,
    id::{Reason, SessionId},
    node::SessionStatus,
};

/// Admissions that decision nodes hold.
#[derive(Debug, Subcommand)]
pub(crate) enum Budget {
    List(List),
    Writeoff(WriteOff),
}

/// Lists the sessions of decision nodes and the admissions that each holds.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tidegate budget list")]
pub(crate) struct List {}

/// Gives up a decision node that will not come back: what it held counts as exposed and silent.
/// Takes the operators' quorum, for the node may still be using it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate budget writeoff 7 --reason 'rack burnt down' --collect writeoff.command")]
pub(crate) struct WriteOff {
    /// The node's session, as `tidegate budget list` shows it.
    session: u64,
    /// Why, for the record.
    #[arg(long, value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    signing: Signing,
}

#[derive(Default)]
struct Held {
    granted: u64,
    spent: u64,
    held: u64,
}

impl Budget {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List(List {}) => list(context).await,
            Self::Writeoff(write_off) => write_off.run(context).await,
        }
    }
}

impl WriteOff {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let command = WriteOffBudget {
            session: SessionId(self.session),
            reason: self.reason,
        };
        let done = format!("session {} is given up", self.session);
        context.submit(&self.signing, command, &done).await
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let view = context.view().await?;
    let mut held: BTreeMap<SessionId, Held> = BTreeMap::new();
    for (key, budget) in view.state().budgets().iter() {
        let sum = held.entry(key.session).or_default();
        sum.granted += budget.granted - budget.returned;
        sum.spent += budget.spent;
        sum.held += budget.held();
    }
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for (id, session) in view.state().sessions().iter() {
        let sum = held.remove(id).unwrap_or_default();
        let status = match session.status {
            SessionStatus::Open => "open",
            SessionStatus::Closed { .. } => "closed",
            SessionStatus::WrittenOff { .. } => "written_off",
        };
        rows.push(vec![
            id.to_string(),
            status.to_owned(),
            session.region.to_string(),
            session.address.clone(),
            sum.granted.to_string(),
            sum.spent.to_string(),
            sum.held.to_string(),
        ]);
        json.push(json!({
            "session": id.0,
            "status": status,
            "region": session.region.as_str(),
            "address": session.address,
            "granted": sum.granted,
            "spent": sum.spent,
            "held": sum.held,
        }));
    }
    let header = [
        "SESSION", "STATUS", "REGION", "ADDRESS", "GRANTED", "SPENT", "HELD",
    ];
    context
        .terminal
        .show(table(&header, &rows), json!({ "sessions": json }));
    Ok(())
}
