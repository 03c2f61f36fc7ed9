//! DEGR-1: without the store every check-in that reaches a live node is still answered in time, and
//! while a node is cut off only what may go on does.

use tidegate_decision::engine::Mode;
use tidegate_domain::id::RolloutId;
use tidegate_domain::rollout::OnStale;

use super::{Chain, Oracle, Seen, Verdict};

/// Listens to the nodes' neighbours, and to what stale nodes offer.
#[derive(Debug, Default)]
pub(super) struct Degr1;

impl Oracle for Degr1 {
    fn id(&self) -> &'static str {
        "DEGR-1"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Unanswered { lane, waited_ms } => Err(format!(
                "{lane} runs, and left a check-in on its own machine unanswered for {waited_ms} ms"
            )),
            Seen::Told {
                lane,
                device,
                answer,
                ..
            } => match (answer.mode, &answer.release) {
                (Some(Mode::Blind), Some(release)) => {
                    Err(format!("{lane} knows nothing and gave {device} {release}"))
                }
                (Some(Mode::Stale), Some(release)) if !goes_on(answer, chain) => Err(format!(
                    "{lane} is cut off and gave {device} {release}, which does not go on"
                )),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// Whether a rollout is of a critical security release and says that it goes on. What it says does
/// not change in these runs, so the newest state is as good as the cited one.
fn goes_on(answer: &super::Answer, chain: &Chain) -> bool {
    let state = chain.state();
    let rollout = answer.rollout.map(RolloutId);
    let rollout = rollout.and_then(|id| state.rollouts().get(&id));
    rollout.is_some_and(|rollout| {
        let release = state.releases().get(&rollout.spec.release);
        answer.is_offer
            && rollout.spec.on_stale == OnStale::Continue
            && release.is_some_and(|release| release.manifest.critical_security)
    })
}
