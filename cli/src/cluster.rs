//! The cluster as the commands see it: a verified view of its state, and a place to send commands.
use crate::{
    failure::{Failure, Kind},
    settings::Settings,
};
use tidegate_client::{
    ClientConfig, ClientError, Position, Proposed, ReadPoint, StoreClient, View, ViewError,
};
use tidegate_domain::SignedCommand;
use tidegate_proto::{Refusal, v1};

/// A connection to one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    client: StoreClient,
    origin: Option<String>,
}

impl Cluster {
    /// A connection to the nodes of the settings. Nobody is asked yet.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Failure> {
        if settings.store.is_empty() {
            return Err(Failure::usage("no store is named")
                .next("say --store HOST:PORT, set TIDEGATE_STORE, or write a profile"));
        }
        let config = ClientConfig {
            deadline: settings.timeout,
            ..ClientConfig::new(settings.store.clone())
        };
        let client = StoreClient::new(config).map_err(Failure::usage)?;
        Ok(Self {
            client,
            origin: settings.origin.clone(),
        })
    }

    /// The client, for what this type does not wrap.
    pub(crate) const fn client(&self) -> &StoreClient {
        &self.client
    }

    /// The state, as fresh as any command acknowledged before, and equal to the root that the node
    /// states.
    pub(crate) async fn view(&self) -> Result<View, Failure> {
        let (manifest, rows) = self
            .client
            .snapshot(Position::default())
            .await
            .map_err(asked)?;
        let origin = self.origin.as_deref().unwrap_or(&manifest.origin);
        View::new(origin, &manifest, rows).map_err(|error| match error {
            ViewError::OtherOrigin { .. } => Failure::refused(&error)
                .next("name a node of the right cluster, or mend `origin` in the profile"),
            error => Failure::refused(&error).next("ask another node: this one is damaged"),
        })
    }

    /// How far the log goes, confirmed by a quorum.
    pub(crate) async fn read_point(&self) -> Result<ReadPoint, Failure> {
        self.client.read_index().await.map_err(asked)
    }

    /// What each node says of itself.
    pub(crate) async fn statuses(&self) -> Vec<(String, Result<v1::StatusResponse, ClientError>)> {
        self.client.statuses().await
    }

    /// Sends a signed command. Whoever sends the same bytes again gets the same answer.
    pub(crate) async fn propose(&self, signed: &SignedCommand) -> Result<Proposed, Failure> {
        self.client.propose(signed.to_bytes()).await.map_err(asked)
    }
}

/// A call that did not succeed, as a failure.
pub(crate) fn asked(error: ClientError) -> Failure {
    if error.operation == "propose" && error.is_effect_unknown() {
        return Failure::new(
            Kind::OutcomeUnknown,
            format!(
                "nobody confirmed the command in time; it may have been applied all the same ({error})"
            ),
        );
    }
    let what = match error.refusal() {
        Refusal::Unreachable | Refusal::TimedOut => {
            format!("{} did not answer ({error})", error.endpoint)
        }
        _ => error.to_string(),
    };
    let kind = match error.refusal() {
        Refusal::Malformed
        | Refusal::TooLarge
        | Refusal::Unauthorized
        | Refusal::OtherCluster
        | Refusal::NotAllowed
        | Refusal::OutOfRange
        | Refusal::Mismatch => Kind::Refused,
        _ => Kind::Unreachable,
    };
    let failure = Failure::new(kind, what);
    match error.refusal() {
        Refusal::Unreachable | Refusal::TimedOut => {
            failure.next("`tidegate cluster status` shows which nodes answer; --store names others")
        }
        Refusal::NoLeader | Refusal::NoQuorum => failure.next(
            "a majority of the voters must reach each other; `tidegate cluster status` shows who does",
        ),
        Refusal::NotInitialized => failure.next("found the cluster first: `found_cluster = true` at one node"),
        Refusal::DiskFull => failure.next("free space on that node; reads go on meanwhile"),
        _ => failure,
    }
}
