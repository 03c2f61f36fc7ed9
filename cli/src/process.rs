//! What long-running commands share: logs on standard error, and an orderly end.
use crate::failure::Failure;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Writes logs to standard error: this project's from level `info` on, others' from `warn` on,
/// unless `RUST_LOG` says otherwise.
pub(crate) fn start_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("warn,tidegate_raft_store=info,tidegate_decision=info,tidegate_client=info")
    });
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // Only the first of a process counts.
    let _ = subscriber.try_init();
}

/// The signals that end a process in order.
pub(crate) struct Ending {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Ending {
    /// Listens from now on, so that no signal is lost while a node starts.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::refused(format!("cannot listen for signals: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    /// Waits until the process is asked to end.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
