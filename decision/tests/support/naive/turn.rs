//! Whose turn it is, as plain as can be.
use super::*;

impl Scan<'_> {
    pub(super) fn turn(
        &self,
        candidate: &Candidate<'_>,
        running: &Running,
        given: &Release,
        payload: &Payload,
        budgets: &mut impl Budgets,
    ) -> Result<WaveIndex, Skip> {
        let offers = candidate.kind != Kind::Return;
        let attempt = self.attempt(candidate, given)?;
        let id = candidate.rollout.map(|rollout| rollout.id);
        let arm = if offers { Arm::Treatment } else { Arm::Return };
        if offers && self.holds_another(id, running) {
            return Err(WAIT);
        }
        let echo = self.check_in.echoes.iter().find(|token| {
            token.rollout == id
                && token.component == running.component
                && token.arm == arm
                && token.attempt == attempt
                && token.stratum.variant == self.variant.id
                && token.stratum.channel == self.check_in.channel
                && (id.is_some() || token.release == *candidate.subject.name())
        });
        let waves = match candidate.rollout {
            None => vec![0],
            Some(rollout) => match echo {
                Some(token) if offers => vec![usize::from(token.wave.0)],
                _ => self.waves(rollout, offers)?,
            },
        };
        if offers && !given.manifest.critical_security {
            let wave = WaveIndex(waves[0] as u16);
            let manifest = &given.manifest;
            let features = risk::Features::of(
                self.check_in,
                manifest.kind,
                payload.size,
                false,
                wave,
                attempt - 1,
            );
            if risk::table(&features) > risk::limit(wave) {
                return Err(WAIT);
            }
        }
        if let Some(token) = echo {
            return Ok(token.wave);
        }
        for wave in waves {
            let wave = WaveIndex(wave as u16);
            let pool = Pool {
                rollout: id,
                wave,
                variant: self.variant.id,
                channel: &self.check_in.channel,
                arm,
            };
            match budgets.draw(pool, self.now) {
                Draw::Granted => return Ok(wave),
                Draw::CapReached => {}
                Draw::Pending | Draw::Exhausted => return Err(WAIT),
            }
        }
        Err(WAIT)
    }

    /// The open waves that the device belongs to, if it is its turn.
    fn waves(&self, rollout: &Rollout, offers: bool) -> Result<Vec<usize>, Skip> {
        let device = self.check_in.device.as_str();
        let place = bucket(&rollout.salt, device);
        let specs = rollout.spec.waves.iter().enumerate();
        let belongs: Vec<usize> = specs
            .filter(|(_, wave)| bucket::is_in(wave, &self.variant.traits, place))
            .map(|(at, _)| at)
            .collect();
        let opened = rollout
            .waves
            .iter()
            .take_while(|wave| wave.opened.is_some())
            .count();
        if !offers {
            let last = opened.saturating_sub(1);
            let wave = belongs.first().map_or(last, |first| *first.min(&last));
            return if opened == 0 {
                Err(WAIT)
            } else {
                Ok(vec![wave])
            };
        }
        let open: Vec<usize> = belongs
            .iter()
            .copied()
            .filter(|wave| *wave < opened)
            .collect();
        let Some(first) = open.first() else {
            return Err(WAIT);
        };
        let holdout = self.state.config().holdout;
        let salt = bucket::holdout_salt(&self.state.meta().origin);
        if bucket::in_holdout(&salt, device, holdout)
            || bucket::in_control(place, rollout.spec.control)
        {
            return Err(NOTHING);
        }
        // Admission goes on to later waves without a gap only.
        let next = (*first..).zip(&open).take_while(|(a, b)| a == *b);
        Ok(next.map(|(wave, _)| wave).collect())
    }

    fn attempt(&self, candidate: &Candidate<'_>, given: &Release) -> Result<u16, Skip> {
        let Some(past) = self
            .check_in
            .attempts_of(given.name())
            .filter(|p| p.failures > 0)
        else {
            return Ok(1);
        };
        let own = candidate.rollout.filter(|_| candidate.kind != Kind::Return);
        let hour = tidegate_domain::id::Millis(3_600_000);
        let retry = own.map_or(
            RetryPolicy {
                attempts: 5,
                backoff: hour,
            },
            |r| r.spec.retry,
        );
        if past.failures >= retry.attempts {
            return Err(NOTHING);
        }
        let pause = retry.backoff.0 << (past.failures - 1);
        if self.now.0 < past.last_failed.0 + pause {
            return Err(WAIT);
        }
        Ok(past.failures + 1)
    }

    fn holds_another(&self, own: Option<RolloutId>, running: &Running) -> bool {
        self.check_in.echoes.iter().any(|token| {
            let failed = self.check_in.attempts_of(&token.release);
            let live = token.rollout.and_then(|id| self.state.rollouts().get(&id));
            token.rollout != own
                && token.arm == Arm::Treatment
                && token.component == running.component
                && self.now < token.expires
                && failed.is_none_or(|past| past.failures < token.attempt)
                && live.is_some_and(|rollout| rollout.life.is_underway())
        })
    }
}
