//! DEC-1: a decision is a function of the snapshot, the check-in and the journaled inputs. Answers
//! are repeated here from the cited state: whatever admissions the node held, what it told must be
//! one of the few answers that the engine gives.

use tidegate_decision::engine::{
    Budgets, Draw, Index, Mode, Pool, PseudonymKey, TableOnly, decide,
};
use tidegate_decision::wire;
use tidegate_domain::State;
use tidegate_domain::id::LogTime;
use tidegate_proto::v1;

use super::{Chain, Oracle, Seen, Verdict};

/// Entries between two states that are kept.
const KEPT_EVERY: u64 = 16;
/// Of so many answers, one is repeated: building an index is dear.
const ONE_IN: u64 = 24;
/// How far an offer's expiry may be from where it should be, in ms: a scenario may set the wall clock
/// of a decision node wrong by a week.
const EXPIRY_SLACK_MS: u64 = 8 * 86_400_000;
/// What an answer says when the engine was not asked, or its answer was taken back: the node is
/// overloaded, lost its lease, or has no session.
const WITHOUT_LOOKING: [&str; 5] = [
    "overloaded",
    "lease_lost",
    "budget_pending",
    "blind",
    "check_in_malformed",
];

/// Keeps states along the way.
#[derive(Debug, Default)]
pub(super) struct Dec1 {
    states: Vec<(u64, State)>,
    heard: u64,
}

/// Which admissions a node held is not known here: it had one for what it gave, and for all else
/// there was this answer.
struct Admissions<'a> {
    given: Option<&'a v1::Offer>,
    otherwise: Draw,
}

impl Budgets for Admissions<'_> {
    fn draw(&mut self, pool: Pool<'_>, _: LogTime) -> Draw {
        let name = pool.rollout.map(|id| id.to_string()).unwrap_or_default();
        match self.given {
            Some(offer) if offer.rollout == name => Draw::Granted,
            _ => self.otherwise,
        }
    }
}

impl Oracle for Dec1 {
    fn id(&self) -> &'static str {
        "DEC-1"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Entries { .. } => {
                let last = self.states.last().map_or(0, |(entries, _)| *entries);
                if self.states.is_empty() || chain.len() >= last + KEPT_EVERY {
                    self.states.push((chain.len(), chain.state().clone()));
                }
                Ok(())
            }
            Seen::Decided {
                lane,
                wall_ms,
                request,
                response,
            } => {
                self.heard += 1;
                let reasons = &response.reasons;
                let looked = !reasons
                    .iter()
                    .any(|reason| WITHOUT_LOOKING.contains(&reason.code.as_str()));
                let Some(entries) = response.snapshot_entries else {
                    return Ok(());
                };
                if !self.heard.is_multiple_of(ONE_IN) || !looked || entries > chain.len() {
                    return Ok(());
                }
                let Some(state) = self.state(entries, chain) else {
                    return Ok(());
                };
                repeat(&state, *wall_ms, request, response)
                    .map_err(|why| format!("{lane} at {entries} entries: {why}"))
            }
            _ => Ok(()),
        }
    }
}

impl Dec1 {
    /// The state after so many entries.
    fn state(&self, entries: u64, chain: &Chain) -> Option<State> {
        let mut kept = self.states.iter().rev();
        let (from, state) = kept.find(|(from, _)| *from <= entries)?;
        let mut state = state.clone();
        for index in *from..entries {
            for event in chain.link(index)?.body.applied.events() {
                tidegate_domain::evolve(&mut state, event).ok()?;
            }
        }
        Some(state)
    }
}

/// What an answer says, as far as it follows from what is known here.
#[derive(Debug, PartialEq, Eq)]
struct Essence {
    verdict: v1::Verdict,
    release: String,
    rollout: String,
    floor: u64,
}

fn essence(response: &v1::CheckInResponse) -> Essence {
    let offer = response.offer.as_ref();
    Essence {
        verdict: response.verdict(),
        release: offer.map(|o| o.release.clone()).unwrap_or_default(),
        rollout: offer.map(|o| o.rollout.clone()).unwrap_or_default(),
        floor: offer.map_or(0, |o| o.floor),
    }
}

fn repeat(
    state: &State,
    wall_ms: u64,
    request: &v1::CheckInRequest,
    response: &v1::CheckInResponse,
) -> Verdict {
    let index = Index::build(state);
    let mode = match response.mode() {
        v1::DecisionMode::Fresh => Mode::Fresh,
        v1::DecisionMode::Stale => Mode::Stale,
        v1::DecisionMode::Blind | v1::DecisionMode::Unspecified => return Ok(()),
    };
    let now = LogTime(state.meta().time.0.max(wall_ms));
    let key = PseudonymKey::new(crate::PSEUDONYMS);
    let Ok(check_in) = wire::parse(request, &key, Some(&index), now) else {
        return Err(format!("{} does not parse any more", request.device_id));
    };
    let told = essence(response);
    let (mut possible, mut expiries) = (Vec::new(), Vec::new());
    for otherwise in [Draw::Pending, Draw::Exhausted, Draw::CapReached] {
        let mut admissions = Admissions {
            given: response.offer.as_ref(),
            otherwise,
        };
        let decision = decide(&index, now, mode, &check_in, &TableOnly, &mut admissions);
        let answer = wire::Answer {
            decision: &decision,
            index: Some(&index),
            token: None,
        };
        let repeated = wire::response(&request.device_id, request.sequence, answer);
        possible.push(essence(&repeated));
        expiries.extend(repeated.offer.map(|offer| offer.expires_at_ms));
    }
    if !possible.contains(&told) {
        return Err(format!(
            "{} was told {told:?}, and the engine says {:?}",
            request.device_id, possible
        ));
    }
    let told = response.offer.as_ref().map(|offer| offer.expires_at_ms);
    let is_near = |told: u64| {
        expiries
            .iter()
            .any(|at| at.abs_diff(told) <= EXPIRY_SLACK_MS)
    };
    match told {
        Some(told) if !is_near(told) => Err(format!(
            "{} was told that its offer expires at {told}, and the engine says {expiries:?}",
            request.device_id
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_domain::command::RegisterVariant;
    use tidegate_domain::testing::{Fleet, release, rollout, traits};

    use super::*;

    #[test]
    fn an_answer_that_the_engine_does_not_give_is_found() {
        let mut fleet = Fleet::new();
        let traits = traits("cam/r1/a/none");
        fleet.accept(RegisterVariant { traits });
        fleet.register(release("r").version("2.0.0"));
        fleet.launch(rollout("r"));
        let (state, now) = (&fleet.state, fleet.now);
        let request = v1::CheckInRequest {
            device_id: "device-1".to_owned(),
            variant: "cam/r1/a/none".to_owned(),
            components: vec![v1::RunningComponent {
                component: "os".to_owned(),
                version: "1.0.0".to_owned(),
                security_version: 1,
                floor: None,
            }],
            ..v1::CheckInRequest::default()
        };
        let index = Index::build(state);
        let key = PseudonymKey::new(crate::PSEUDONYMS);
        let check_in = wire::parse(&request, &key, Some(&index), now).unwrap();
        let mut admissions = Admissions {
            given: None,
            otherwise: Draw::Granted,
        };
        let decision = decide(
            &index,
            now,
            Mode::Fresh,
            &check_in,
            &TableOnly,
            &mut admissions,
        );
        let answer = wire::Answer {
            decision: &decision,
            index: Some(&index),
            token: None,
        };
        let told = wire::response("device-1", 1, answer);
        assert_eq!(told.verdict(), v1::Verdict::Offer);
        assert_eq!(repeat(state, now.0, &request, &told), Ok(()));
        let mut other = told.clone();
        other.set_verdict(v1::Verdict::None);
        assert!(repeat(state, now.0, &request, &other).is_err());
        let mut other = told.clone();
        other.offer.as_mut().unwrap().expires_at_ms = 0;
        assert!(repeat(state, now.0, &request, &other).is_err());
        let mut other = told;
        other.offer.as_mut().unwrap().floor += 1;
        assert!(repeat(state, now.0, &request, &other).is_err());
    }
}
