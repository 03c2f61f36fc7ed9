//! What became of exposures: counted by their owner, forwarded to it, or kept until it can be
//! reached.
use super::{
    desk::{Desk, metrics_of},
    live::Live,
    meters::Arrival,
};
use crate::{
    engine::{COMPONENTS_MAX, DeviceId, Index, TOKEN_BYTES_MAX, Token, TokenError, Verified},
    ledger::{BATCH_MAX, Counted, Fate, Fingerprint, Metrics, Owner, Queued},
    wire::{BOOT_ID_BYTES_MAX, VERSION_BYTES_MAX},
};
use tidegate_domain::id::{Component, Millis, Pseudonym, SessionId};
use tidegate_proto::{Refusal, WireError, v1};
use tidegate_runtime::{AsyncRuntime as _, Rt};

/// How long an outcome is of use to its owner; no silence horizon is longer by default.
const USE: Millis = Millis(14 * 24 * 3_600_000);

/// Longest error code of a device, in bytes.
const FAILURE_CODE_BYTES_MAX: usize = 64;
/// Longest outcome as another node gets it, in bytes, with its frame in the request.
const FORWARDED_BYTES_MAX: usize = 2_048;
/// Largest request that a node takes, in bytes: the library's default.
const REQUEST_BYTES_MAX: usize = 4 << 20;
// An owner that refuses a batch for its size would be asked for it again and again.
const _: () = assert!(BATCH_MAX * FORWARDED_BYTES_MAX <= REQUEST_BYTES_MAX);

/// Why an outcome is not counted here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Not {
    /// For good.
    Refused(&'static str),
    /// Until something changes.
    Uncertain(&'static str),
    /// There is no room to keep it until its owner can be reached.
    NoRoom,
}

impl Desk {
    /// Takes one outcome from a device.
    ///
    /// # Errors
    /// The node has too much to do, or no room for another outcome that waits for its owner: the
    /// device must tell it again.
    pub(crate) fn outcome(
        &self,
        report: &v1::OutcomeReport,
        arrival: &Arrival,
    ) -> Result<v1::OutcomeReply, WireError> {
        if !arrival.is_within(self.config.limits.in_flight_max) {
            return Err(overloaded(
                "too many requests in flight; tell it again later",
            ));
        }
        match self.take(report, true) {
            Ok(status) => Ok(reply(status, None)),
            Err(Not::NoRoom) => Err(overloaded("too many outcomes wait for their owners")),
            Err(not) => Ok(not_counted(not)),
        }
    }

    /// Takes an outcome that another node forwarded.
    pub(crate) fn forwarded(&self, report: &v1::OutcomeReport) -> v1::OutcomeReply {
        match self.take(report, false) {
            Ok(status) => reply(status, None),
            Err(not) => not_counted(not),
        }
    }

    fn take(
        &self,
        report: &v1::OutcomeReport,
        may_forward: bool,
    ) -> Result<v1::OutcomeStatus, Not> {
        let told = Told::parse(report)?;
        self.live.under(|live| self.judge(told, live, may_forward))
    }

    fn judge(
        &self,
        told: Told,
        live: Option<&Live>,
        may_forward: bool,
    ) -> Result<v1::OutcomeStatus, Not> {
        let Told {
            device,
            fate,
            metrics,
            report,
        } = told;
        let standing = self.standing();
        let known = standing.snapshot.as_ref().zip(live);
        let (snapshot, live) = known.ok_or(Not::Uncertain("blind"))?;
        let pseudonym = self.pseudonyms.pseudonym(&device);
        let token = token_of(&snapshot.index, &report.exposure_token, &pseudonym)?;
        match live.owners().owner(&token) {
            Owner::Here => {
                let mut ledger = live.ledger();
                let counted = ledger.outcome(&token, fate, metrics.as_ref());
                if ledger.urgent() {
                    self.urgent.notify_one();
                }
                match counted {
                    Counted::Counted | Counted::NotTallied => Ok(v1::OutcomeStatus::Counted),
                    Counted::Duplicate => Ok(v1::OutcomeStatus::Duplicate),
                    Counted::Late => Err(Not::Refused("too_late")),
                }
            }
            Owner::There { .. } | Owner::Nobody if !may_forward => {
                Err(Not::Uncertain("not_the_owner"))
            }
            Owner::Nobody => Err(Not::Uncertain("no_owner")),
            Owner::There { session, .. } => {
                let id = (Fingerprint::of(&token), fate);
                let expires = standing.now.after(USE);
                match self.forwarding().push(session, id, report, expires) {
                    Queued::Waits | Queued::WaitsAlready => Err(Not::Uncertain("owner_elsewhere")),
                    Queued::Full => Err(Not::NoRoom),
                }
            }
        }
    }

    /// Judges an outcome again whose owner is gone.
    pub(crate) fn retake(&self, report: &v1::OutcomeReport) {
        if self.take(report, true) == Err(Not::NoRoom) {
            tracing::warn!("an outcome was lost: its owner is gone, and there is no room");
        }
    }

    /// Waits until no outcome waits for another session's node.
    pub(crate) async fn all_forwarded(&self) {
        const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(20);
        while self.forwarding().uncertain() > 0 {
            Rt::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends what waits for other sessions' nodes.
    pub(crate) async fn forward(&self, from: SessionId) {
        let Some(live) = self.live.get() else { return };
        let owners = live.owners();
        let orphans = self.forwarding().orphans(&owners);
        orphans.iter().for_each(|report| self.retake(report));
        self.forwarding().expire(self.standing().now);
        let due = self.forwarding().due(self.clock.boot());
        for batch in due {
            let reports: Vec<_> = batch
                .outcomes
                .into_iter()
                .map(|(_, report)| report)
                .collect();
            let sent = match owners.address(batch.to) {
                Some(address) => send(address, from, reports).await,
                None => Err("its session is over".to_owned()),
            };
            match sent {
                Ok(()) => self.forwarding().counted(batch.to),
                Err(why) => {
                    tracing::info!(session = %batch.to, why, "outcomes were not forwarded");
                    self.forwarding().failed(batch.to, self.clock.boot());
                }
            }
        }
    }
}

/// What a device says of an exposure.
struct Told {
    device: DeviceId,
    fate: Fate,
    metrics: Option<Metrics>,
    /// As another node gets it: without what changes no count. At most [`FORWARDED_BYTES_MAX`].
    report: v1::OutcomeReport,
}

impl Told {
    fn parse(report: &v1::OutcomeReport) -> Result<Self, Not> {
        let v1::OutcomeReport {
            device_id,
            exposure_token,
            kind,
            failure,
            boot_id,
            components,
            metrics,
        } = report;
        if exposure_token.len() > TOKEN_BYTES_MAX {
            return Err(Not::Refused("token_invalid"));
        }
        let code = failure.as_ref().map_or(0, |failure| failure.code.len());
        let fits = boot_id.len() <= BOOT_ID_BYTES_MAX
            && code <= FAILURE_CODE_BYTES_MAX
            && components.len() <= COMPONENTS_MAX
            && components.iter().all(|running| {
                running.component.len() <= Component::MAX
                    && running.version.len() <= VERSION_BYTES_MAX
            });
        if !fits {
            return Err(Not::Refused("outcome_too_large"));
        }
        let device = DeviceId::new(device_id.as_str());
        let checked = metrics.as_ref().map(metrics_of).transpose();
        Ok(Self {
            device: device.map_err(|_| Not::Refused("device_id_malformed"))?,
            fate: fate(*kind, failure.is_some())?,
            metrics: checked.map_err(|_| Not::Refused("metrics_malformed"))?,
            report: v1::OutcomeReport {
                device_id: device_id.clone(),
                exposure_token: exposure_token.clone(),
                kind: *kind,
                failure: failure.as_ref().map(|_| v1::OutcomeFailure::default()),
                boot_id: String::new(),
                components: Vec::new(),
                metrics: metrics.clone(),
            },
        })
    }
}

/// The token, shown to be this device's.
fn token_of(index: &Index, bytes: &[u8], device: &Pseudonym) -> Result<Verified<Token>, Not> {
    let key_of = |session| index.session(session).map(|session| session.key);
    Verified::check(bytes, device, key_of).map_err(|error| match error {
        // Signed by a session that is newer than what this node has seen.
        TokenError::UnknownSession(session) if session > index.cited().last_session => {
            Not::Uncertain("session_unknown")
        }
        error => {
            tracing::debug!(%error, "an outcome without a token of its device");
            Not::Refused("token_invalid")
        }
    })
}

/// One request to an owner's node. An owner that can't count all yet is asked for all again: it
/// knows what it has counted.
async fn send(
    address: &str,
    from: SessionId,
    reports: Vec<v1::OutcomeReport>,
) -> Result<(), String> {
    const CONNECT: std::time::Duration = std::time::Duration::from_secs(2);
    const ANSWER: std::time::Duration = std::time::Duration::from_secs(5);
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| error.to_string())?
        .connect_timeout(CONNECT);
    let request = v1::ForwardOutcomesRequest {
        from_session: from.0,
        reports,
    };
    let ask = async {
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| error.to_string())?;
        let mut client = v1::decision_client::DecisionClient::new(channel);
        let answer = client.forward_outcomes(request).await;
        answer.map_err(|status| status.message().to_owned())
    };
    let answer = Rt::timeout(ANSWER, ask)
        .await
        .map_err(|_| "no answer in time")??;
    let uncertain = i32::from(v1::OutcomeStatus::Uncertain);
    let replies = answer.into_inner().replies;
    if replies.iter().any(|reply| reply.status == uncertain) {
        return Err("the node does not count all of them yet".to_owned());
    }
    Ok(())
}

fn fate(kind: i32, has_failure: bool) -> Result<Fate, Not> {
    let fate = match v1::OutcomeKind::try_from(kind) {
        Ok(v1::OutcomeKind::Downloaded) => Fate::Downloaded,
        Ok(v1::OutcomeKind::Installed) => Fate::Installed,
        Ok(v1::OutcomeKind::Verified) => Fate::Verified,
        Ok(v1::OutcomeKind::Failed) => Fate::Failed,
        Ok(v1::OutcomeKind::Reverted) => Fate::Reverted,
        Ok(v1::OutcomeKind::Unspecified) | Err(_) => return Err(Not::Refused("kind_unknown")),
    };
    // A failure that comes with success would be counted as success: better neither.
    if has_failure && fate != Fate::Failed {
        return Err(Not::Refused("failure_unexpected"));
    }
    Ok(fate)
}

fn overloaded(message: &str) -> WireError {
    WireError::refused(Refusal::Overloaded, message)
}

fn reply(status: v1::OutcomeStatus, code: Option<&str>) -> v1::OutcomeReply {
    v1::OutcomeReply {
        status: status.into(),
        reason: code.map(|code| v1::Reason {
            code: code.to_owned(),
            params: Vec::new(),
        }),
    }
}

fn not_counted(not: Not) -> v1::OutcomeReply {
    match not {
        Not::Refused(code) => reply(v1::OutcomeStatus::Refused, Some(code)),
        Not::Uncertain(code) => reply(v1::OutcomeStatus::Uncertain, Some(code)),
        Not::NoRoom => reply(v1::OutcomeStatus::Uncertain, Some("overloaded")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use tidegate_domain::tally::LATENCY_BUCKETS;
    use tidegate_domain::tally::MEASURED_MAX;

    /// The greatest outcome that is taken.
    fn greatest() -> v1::OutcomeReport {
        let running = v1::RunningComponent {
            component: "c".repeat(Component::MAX),
            version: "1".repeat(VERSION_BYTES_MAX),
            security_version: u64::MAX,
            floor: Some(u64::MAX),
        };
        v1::OutcomeReport {
            device_id: "d".repeat(DeviceId::MAX),
            exposure_token: vec![255; TOKEN_BYTES_MAX],
            kind: v1::OutcomeKind::Failed.into(),
            failure: Some(v1::OutcomeFailure {
                stage: -1,
                code: "e".repeat(FAILURE_CODE_BYTES_MAX),
            }),
            boot_id: "b".repeat(BOOT_ID_BYTES_MAX),
            components: vec![running; COMPONENTS_MAX],
            metrics: Some(v1::ReleaseMetrics {
                errors: MEASURED_MAX,
                operations: MEASURED_MAX,
                correct: MEASURED_MAX,
                labelled: MEASURED_MAX,
                latency_counts: vec![MEASURED_MAX; LATENCY_BUCKETS],
            }),
        }
    }

    #[test]
    fn the_greatest_outcomes_fit_into_one_request() {
        let told = Told::parse(&greatest()).unwrap_or_else(|not| panic!("{not:?}"));
        let request = v1::ForwardOutcomesRequest {
            from_session: u64::MAX,
            reports: vec![told.report; BATCH_MAX],
        };
        assert!(request.encoded_len() <= BATCH_MAX * FORWARDED_BYTES_MAX);
    }

    #[test]
    fn every_field_of_an_outcome_has_a_limit() {
        let too_large = |change: fn(&mut v1::OutcomeReport)| {
            let mut report = greatest();
            change(&mut report);
            assert!(matches!(Told::parse(&report), Err(Not::Refused(_))));
        };
        too_large(|report| report.device_id.push('d'));
        too_large(|report| report.exposure_token.push(0));
        too_large(|report| report.failure.as_mut().unwrap().code.push('e'));
        too_large(|report| report.boot_id.push('b'));
        too_large(|report| report.components.push(v1::RunningComponent::default()));
        too_large(|report| report.components[0].component.push('c'));
        too_large(|report| report.components[0].version.push('1'));
        too_large(|report| report.metrics.as_mut().unwrap().latency_counts.push(0));
    }
}
