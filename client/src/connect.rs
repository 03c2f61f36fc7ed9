//! Which node is asked, and for how long.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_proto::{Effect, Refusal, WireError};
use tidegate_runtime::{AsyncRuntime as _, Leg, Rt, Way};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::ClientError;

/// How a client reaches its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// `host:port` of nodes of the cluster, nearest first. One suffices to begin with; more make
    /// the client survive that one. *Attacker*: a node of theirs can withhold and delay, and **lie**:
    /// answer in the cluster's name that nothing is new, so that a lease runs on past a halt, make
    /// up outcomes, and give a made-up state with the root that fits it. It cannot sign commands.
    pub endpoints: Vec<String>,
    /// How long one node may take for one answer before the next is asked.
    pub attempt_timeout: Duration,
    /// How long a call may take in all.
    pub deadline: Duration,
}

impl ClientConfig {
    /// A client of these nodes that asks the next one after 3 s and gives up after 10 s.
    #[must_use]
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            attempt_timeout: Duration::from_secs(3),
            deadline: Duration::from_secs(10),
        }
    }
}

/// First pause after all nodes refused for the moment.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two pings on a connection, and how long an answer may take before it is opened anew:
/// without them a connection that a partition left dead would outlast the partition (LIVE-1).
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The nodes of a cluster, with a memory of which one answered.
#[derive(Clone, Debug)]
pub(crate) struct Nodes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    nodes: Vec<Node>,
    /// Index of the node to ask first.
    preferred: Mutex<usize>,
    config: ClientConfig,
}

/// One node that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) endpoint: String,
    pub(crate) channel: Channel,
}

impl Nodes {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let node = |endpoint: &String| match Endpoint::from_shared(format!("http://{endpoint}")) {
            Ok(target) => Ok(Node {
                endpoint: endpoint.clone(),
                channel: target
                    .connect_timeout(CONNECT_TIMEOUT)
                    .tcp_nodelay(true)
                    .http2_keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PING_TIMEOUT)
                    .keep_alive_while_idle(true)
                    .connect_lazy(),
            }),
            Err(error) => Err(unusable(endpoint, format!("is no host:port: {error}"))),
        };
        if config.endpoints.is_empty() {
            return Err(unusable("", "no endpoints are given".into()));
        }
        let nodes = config
            .endpoints
            .iter()
            .map(node)
            .collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Inner {
            nodes,
            preferred: Mutex::new(0),
            config,
        })))
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// All nodes, as configured.
    pub(crate) fn all(&self) -> &[Node] {
        &self.0.nodes
    }

    /// Asks node after node until one answers, refuses for good, or time runs out.
    ///
    /// `ask` may be called any number of times: it must be safe to repeat. The error says that the
    /// effect is unknown if that of any attempt is.
    pub(crate) async fn ask<T, F>(
        &self,
        operation: &'static str,
        ask: impl Fn(Node) -> F + Send,
    ) -> Result<(T, Node), ClientError>
    where
        F: Future<Output = Result<T, Status>> + Send,
        T: Send,
    {
        let mut last = ClientError {
            operation,
            endpoint: self.0.nodes[self.preferred()].endpoint.clone(),
            error: WireError::unknown(Refusal::TimedOut, "no answer in time"),
        };
        let mut unknown = false;
        let attempts = self.attempts(operation, ask, &mut last, &mut unknown);
        let mut result = match Rt::timeout(self.0.config.deadline, attempts).await {
            Ok(result) => result,
            Err(_) => Err(last),
        };
        if let Err(error) = &mut result
            && unknown
        {
            error.error.effect = Effect::Unknown;
        }
        result
    }

    async fn attempts<T, F>(
        &self,
        operation: &'static str,
        ask: impl Fn(Node) -> F + Send,
        last: &mut ClientError,
        unknown: &mut bool,
    ) -> Result<(T, Node), ClientError>
    where
        F: Future<Output = Result<T, Status>> + Send,
        T: Send,
    {
        let mut pause = FIRST_PAUSE;
        let mut at = self.preferred();
        for attempt in 1_usize.. {
            let node = self.0.nodes[at].clone();
            let before = std::mem::replace(unknown, true);
            let way = Way::to(&node.endpoint);
            let asking = ask(node.clone());
            let asked = async move {
                way.pass(Leg::There).await;
                let answer = asking.await;
                way.pass(Leg::Back).await;
                answer
            };
            let asked = Rt::timeout(self.0.config.attempt_timeout, asked);
            let error = match asked.await {
                Ok(Ok(answer)) => {
                    self.prefer(at);
                    return Ok((answer, node));
                }
                Ok(Err(status)) => WireError::from(&status),
                Err(_) => WireError::unknown(Refusal::TimedOut, "no answer in time"),
            };
            *unknown = before || error.effect == Effect::Unknown;
            let hint = error
                .leader
                .as_deref()
                .and_then(|leader| self.index_of(leader));
            *last = ClientError {
                operation,
                endpoint: node.endpoint,
                error,
            };
            if !last.is_retryable() {
                return Err(last.clone());
            }
            // Only nodes that the configuration names are asked, whatever a node says.
            let next = hint.unwrap_or_else(|| self.after(at));
            self.leave(at, next);
            at = next;
            if attempt % self.0.nodes.len() == 0 {
                Rt::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        Err(last.clone())
    }

    /// The node after the preferred one is preferred from now on.
    pub(crate) fn move_on(&self) {
        self.prefer(self.after(self.preferred()));
    }

    /// This node is no longer preferred, if it is: another call may have found a better one since.
    pub(crate) fn move_on_from(&self, endpoint: &str) {
        if let Some(index) = self.index_of(endpoint) {
            self.leave(index, self.after(index));
        }
    }

    pub(crate) fn first(&self) -> Node {
        self.0.nodes[self.preferred()].clone()
    }

    fn preferred(&self) -> usize {
        *self
            .0
            .preferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn prefer(&self, index: usize) {
        *self
            .0
            .preferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = index;
    }

    /// Prefers another node, unless another call already does.
    fn leave(&self, from: usize, to: usize) {
        let mut preferred = self
            .0
            .preferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *preferred == from {
            *preferred = to;
        }
    }

    fn after(&self, index: usize) -> usize {
        (index + 1) % self.0.nodes.len()
    }

    fn index_of(&self, endpoint: &str) -> Option<usize> {
        self.0
            .nodes
            .iter()
            .position(|node| node.endpoint == endpoint)
    }
}

fn unusable(endpoint: &str, problem: String) -> ClientError {
    ClientError {
        operation: "connect",
        endpoint: endpoint.to_owned(),
        error: WireError::refused(Refusal::Malformed, problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_better_node_found_meanwhile_stays_the_preferred_one() {
        let endpoints = ["a:1", "b:1", "c:1"].map(str::to_owned);
        let Ok(nodes) = Nodes::new(ClientConfig::new(endpoints.to_vec())) else {
            unreachable!("all of them are endpoints");
        };
        nodes.move_on_from("a:1");
        assert_eq!(nodes.first().endpoint, "b:1");
        // A renewal found the third to answer while a watch waited for the second.
        nodes.prefer(2);
        nodes.move_on_from("b:1");
        assert_eq!(nodes.first().endpoint, "c:1");
        nodes.leave(1, 0);
        assert_eq!(nodes.first().endpoint, "c:1");
        nodes.move_on_from("c:1");
        assert_eq!(nodes.first().endpoint, "a:1");
        nodes.move_on_from("of-no-cluster:1");
        assert_eq!(nodes.first().endpoint, "a:1");
    }
}
