//! `tidegate key`.
mod list;
mod new;
mod revoke;
mod rotate;

pub(crate) use list::read_either;
pub(crate) use new::create;
pub(crate) use rotate::ceremony;

use crate::{context::Context, failure::Failure};
use clap::Subcommand;

/// Keys: made here, trusted by the cluster's key set.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    New(new::New),
    List(list::List),
    Rotate(rotate::Rotate),
    Revoke(revoke::Revoke),
}

impl Key {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::New(new) => new.run(context),
            Self::List(list) => list.run(context).await,
            Self::Rotate(rotate) => rotate.run(context).await,
            Self::Revoke(revoke) => revoke.run(context).await,
        }
    }
}
