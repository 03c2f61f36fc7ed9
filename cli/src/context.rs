//! What a command needs to do its work.
use crate::{
    cluster::Cluster,
    failure::Failure,
    settings::Settings,
    signing::{Desk, Signing},
    terminal::Terminal,
};
use tidegate_client::View;
use tidegate_domain::{Command, id::Reason};

/// The settled settings and the terminal of one run.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) terminal: Terminal,
}

impl Context {
    /// The cluster of the settings.
    pub(crate) fn cluster(&self) -> Result<Cluster, Failure> {
        Cluster::new(&self.settings)
    }

    /// The state of the cluster as of now.
    pub(crate) async fn view(&self) -> Result<View, Failure> {
        let spinner = self.terminal.spinner("asking the cluster");
        let view = self.cluster()?.view().await;
        spinner.finish_and_clear();
        view
    }

    /// Signs and sends a command that needs no look at the state, and shows what came of it.
    pub(crate) async fn submit(
        &self,
        signing: &Signing,
        command: impl Into<Command>,
        done: &str,
    ) -> Result<(), Failure> {
        let cluster = self.cluster()?;
        let view = self.view().await?;
        self.desk(&cluster, &view)
            .submit(signing, command, done)
            .await
    }

    /// A place to sign for and send to, on top of a view.
    pub(crate) fn desk<'a>(&'a self, cluster: &'a Cluster, view: &'a View) -> Desk<'a> {
        Desk {
            cluster,
            view,
            terminal: self.terminal,
            keys: &self.settings.keys,
        }
    }
}

/// A reason on the command line.
pub(crate) fn reason(text: &str) -> Result<Reason, String> {
    Reason::new(text).map_err(|error| error.to_string())
}
