//! Commands in words: all that a command says, since whoever signs it has nothing else to go by.
use super::{arguments::*, config, rollout};
use serde_json::{Map, Value as Json, json};
use std::fmt::Display;
use tidegate_domain::{
    Command,
    command::{
        AddReleaseSignatures, AdvanceWave, AmendRollout, ApproveRollout, ChangeMembership,
        CompleteRollout, CreateRollout, EmergencyStop, ExcludeVariant, ExpediteRollout,
        HaltRollout, LiftStop, OpenSession, PauseRollout, RaiseStateVersion, RegisterChannel,
        RegisterVariant, ResumeRollout, RevokeRelease, RollBack, SetClusterConfig, StartRollout,
        Tick, WriteOffBudget,
    },
};

/// A command in words.
#[derive(Clone, Debug)]
pub(crate) struct Wording {
    /// What it asks for, in a sentence.
    pub(crate) sentence: String,
    /// All that it says, each with its label; labels repeat.
    details: Vec<(&'static str, String)>,
}

impl Wording {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            details: Vec::new(),
        }
    }

    pub(super) fn with(mut self, label: &'static str, value: impl Display) -> Self {
        self.details.push((label, value.to_string()));
        self
    }

    pub(super) fn maybe(self, label: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(label, value),
            None => self,
        }
    }

    pub(super) fn each<T: Display>(
        self,
        label: &'static str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        values
            .into_iter()
            .fold(self, |wording, value| wording.with(label, value))
    }

    /// The sentence, and a line for each detail.
    pub(crate) fn to_text(&self) -> String {
        let widest = self.details.iter().map(|(label, _)| label.len()).max();
        let width = widest.unwrap_or(0);
        let lines = self
            .details
            .iter()
            .map(|(label, value)| format!("\n  {label:width$}  {value}"));
        format!("{}{}", self.sentence, lines.collect::<String>())
    }

    /// The sentence and the details by label; a list where a label stands more than once.
    pub(crate) fn to_json(&self) -> Json {
        let mut details: Map<String, Json> = Map::new();
        for (label, value) in &self.details {
            match details.get_mut(*label) {
                None => {
                    details.insert((*label).to_owned(), json!(value));
                }
                Some(Json::Array(list)) => list.push(json!(value)),
                Some(first) => *first = json!([first.clone(), value]),
            }
        }
        json!({ "sentence": self.sentence, "details": details })
    }
}

/// What a command asks for.
pub(crate) fn command(command: &Command) -> Wording {
    match command {
        Command::RotateKeys(a) => rotate_keys(a),
        Command::RevokeKey(a) => revoke_key(a),
        Command::RegisterRelease(a) => register_release(a),
        Command::AddReleaseSignatures(AddReleaseSignatures {
            release,
            signatures,
        }) => Wording::new(format!("add signatures to release {release}"))
            .each("signed by", signatures.iter().map(signer)),
        Command::RevokeRelease(RevokeRelease { release, reason }) => {
            Wording::new(format!("withdraw release {release} for good")).with("reason", reason)
        }
        Command::RegisterVariant(RegisterVariant { traits }) => {
            Wording::new(format!("register the variant {traits}"))
        }
        Command::DeclareRecoveryImage(a) => recovery_image(a),
        Command::RaiseFloor(a) => raise_floor(a),
        Command::CreateRollout(CreateRollout { spec }) => rollout::spec(
            Wording::new(format!("write down a rollout of {}", spec.release)),
            spec,
        ),
        Command::AmendRollout(AmendRollout { rollout, spec }) => rollout::spec(
            Wording::new(format!("change rollout {rollout} into this")),
            spec,
        ),
        Command::ApproveRollout(ApproveRollout { rollout }) => {
            Wording::new(format!("approve rollout {rollout}"))
        }
        Command::StartRollout(StartRollout { rollout }) => {
            Wording::new(format!("start rollout {rollout}"))
        }
        Command::AdvanceWave(AdvanceWave {
            rollout,
            wave,
            reason,
        }) => Wording::new(format!(
            "OVERRIDE the gate of wave {wave} of rollout {rollout}, so that the next one opens without it"
        ))
        .with("reason", reason),
        Command::PauseRollout(PauseRollout { rollout, reason }) => {
            Wording::new(format!("pause rollout {rollout}")).with("reason", reason)
        }
        Command::ResumeRollout(ResumeRollout { rollout, reason }) => Wording::new(format!(
            "let rollout {rollout} go on; if it is halted, lift the halt"
        ))
        .with("reason", reason),
        Command::HaltRollout(HaltRollout { rollout, reason }) => Wording::new(format!(
            "halt rollout {rollout} and bar its release from its audience"
        ))
        .with("reason", reason),
        Command::RollBack(RollBack { rollout, reason }) => {
            Wording::new(format!("send devices of rollout {rollout} back")).with("reason", reason)
        }
        Command::CompleteRollout(CompleteRollout { rollout }) => Wording::new(format!(
            "complete rollout {rollout}: its release becomes the baseline, if its last wave lets everybody in"
        )),
        Command::ExcludeVariant(ExcludeVariant {
            rollout,
            variant,
            reason,
        }) => Wording::new(format!("take variant {variant} out of rollout {rollout}"))
            .with("reason", reason),
        Command::ExpediteRollout(ExpediteRollout { rollout, reason }) => Wording::new(format!(
            "shorten soak of rollout {rollout} for an emergency"
        ))
        .with("reason", reason),
        other => guard(other),
    }
}

fn guard(command: &Command) -> Wording {
    match command {
        Command::RegisterChannel(RegisterChannel { channel }) => {
            Wording::new(format!("register the channel {channel}"))
        }
        Command::EmergencyStop(EmergencyStop {
            scope,
            covers,
            reason,
        }) => Wording::new(format!(
            "stop {} {}",
            stop_covers(*covers),
            stop_scope(scope)
        ))
        .with("reason", reason),
        Command::LiftStop(LiftStop { stop, reason }) => {
            Wording::new(format!("lift emergency stop {stop}")).with("reason", reason)
        }
        Command::SetRegionPolicy(a) => region_policy(a),
        Command::SetHold(a) => set_hold(a),
        Command::OpenSession(OpenSession { region, address }) => {
            Wording::new("open a session of the decision node that signs this")
                .with("region", region)
                .with("address", address)
        }
        Command::AdvanceSession(a) => advance_session(a),
        Command::WriteOffBudget(WriteOffBudget { session, reason }) => Wording::new(format!(
            "give session {session} up with everything that it holds"
        ))
        .with("reason", reason),
        Command::Tick(Tick {}) => Wording::new("move log time on"),
        #[cfg(feature = "bench")]
        Command::BenchFiller(_) => Wording::new("take room in the log"),
        Command::ChangeMembership(ChangeMembership { members }) => {
            Wording::new("the store shall have these nodes, and no others")
                .each("node", members.iter().map(member))
        }
        Command::SetClusterConfig(SetClusterConfig { config }) => {
            Wording::new("replace the replicated configuration by this one").each(
                "setting",
                config::settings(config).map(|setting| setting.to_string()),
            )
        }
        Command::RaiseStateVersion(RaiseStateVersion { version }) => Wording::new(format!(
            "follow the rules of version {version} from the next entry on; there is no way back"
        )),
        other => unreachable!("{} is described above", other.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::testing::{Fleet, every_kind};

    /// No kind is described as another, none panics, and none shows how Rust writes values.
    #[test]
    fn every_kind_is_described() {
        for asked in every_kind(&Fleet::new()) {
            let wording = command(&asked);
            let text = wording.to_text();
            assert!(!text.contains("{ ") && !text.contains("Some("), "{text}");
            assert_eq!(wording.to_json()["sentence"], wording.sentence);
        }
    }

    #[test]
    fn details_stand_by_label_and_repeat_in_a_list() {
        let wording = Wording::new("do").each("a", [1, 2, 3]).with("b", 4);
        let details = &wording.to_json()["details"];
        assert_eq!(details["a"], json!(["1", "2", "3"]));
        assert_eq!(details["b"], "4");
        assert_eq!(wording.to_text(), "do\n  a  1\n  a  2\n  a  3\n  b  4");
    }
}
