//! One device: what it runs, was offered, and has to report.

use tidegate_proto::v1::{self, OutcomeKind};

use super::witness::now_us;
use crate::dice::Dice;

/// One device. It installs what it is offered after it was told twice.
pub(super) struct Device {
    pub(super) id: String,
    pub(super) place: String,
    /// The release channel that it names; empty for none.
    pub(super) channel: &'static str,
    pub(super) version: String,
    pub(super) security_version: u64,
    pub(super) sequence: u64,
    /// When the last check-in was sent, in µs, until it is answered.
    pub(super) asked_us: u64,
    /// The last check-in, as it was sent.
    pub(super) asked: v1::CheckInRequest,
    pub(super) offer: Option<v1::Offer>,
    pub(super) outcome: Option<v1::OutcomeReport>,
    pub(super) told: String,
    /// It is switched off until then, in µs, and does not check in.
    pub(super) away_until_us: u64,
}

impl Device {
    pub(super) fn check_in(&mut self) -> v1::CheckInRequest {
        self.sequence += 1;
        self.asked_us = now_us();
        let token = self
            .offer
            .as_ref()
            .map(|offer| offer.exposure_token.clone());
        self.asked = v1::CheckInRequest {
            device_id: self.id.clone(),
            variant: format!("cam/r1/{}/none", self.place),
            channel: self.channel.to_owned(),
            components: vec![self.running()],
            sequence: self.sequence,
            exposure_tokens: token.into_iter().collect(),
            ..v1::CheckInRequest::default()
        };
        self.asked.clone()
    }

    fn running(&self) -> v1::RunningComponent {
        v1::RunningComponent {
            component: "os".to_owned(),
            version: self.version.clone(),
            security_version: self.security_version,
            floor: None,
        }
    }

    pub(super) fn hear(&mut self, answer: &v1::CheckInResponse, dice: &mut Dice) {
        let Some(new) = &answer.offer else {
            self.offer = None;
            return;
        };
        let same = |old: &v1::Offer| old.release == new.release;
        if !self.offer.as_ref().is_some_and(same) || self.outcome.is_some() {
            self.offer = Some(new.clone());
            return;
        }
        let fails = dice.one_in(12);
        if !fails {
            self.version.clone_from(&new.version);
            self.security_version = new.security_version;
        }
        let failure = v1::OutcomeFailure {
            stage: v1::InstallStage::Boot.into(),
            code: "no-boot".to_owned(),
        };
        let kind = if fails {
            OutcomeKind::Failed
        } else {
            OutcomeKind::Verified
        };
        self.outcome = Some(v1::OutcomeReport {
            device_id: self.id.clone(),
            exposure_token: new.exposure_token.clone(),
            kind: kind.into(),
            failure: fails.then_some(failure),
            components: vec![self.running()],
            ..v1::OutcomeReport::default()
        });
        self.offer = None;
    }
}
