//! Variants and rollouts, as an operator registers them.

use std::fs;

use anyhow::Result;
use tidegate_domain::command::RegisterVariant;

use crate::ours::Ours;
use crate::system::{Client as _, System as _};

/// What a row needs of a fleet. Names in it begin with `name`: each row has a fleet of its own.
pub(super) struct Fleet {
    pub(super) name: &'static str,
    pub(super) variants: usize,
    pub(super) rollouts: usize,
    /// Most exposures of a variant whose fate is unknown; the cluster's own limit if it is absent.
    pub(super) credit: Option<u64>,
}

impl Fleet {
    /// Registers the variants and starts the rollouts.
    pub(super) async fn populate(&self, ours: &Ours) -> Result<()> {
        let client = ours.connect(0)?;
        for at in 0..self.variants {
            let (model, revision) = (self.model(at / 50), at % 50);
            let traits = format!("{model}/r{revision}/eu-west/none").parse()?;
            client
                .write(client.signed(RegisterVariant { traits }.into()))
                .await?;
        }
        (0..self.rollouts).try_for_each(|at| self.roll_out(ours, at))
    }

    fn model(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// Whether a variant of this model is one of the fleet's.
    pub(super) fn has(&self, model: &str) -> bool {
        let number = model.strip_prefix(self.name);
        number.is_some_and(|number| number.starts_with('-'))
    }

    /// The name of a rollout's release.
    pub(super) fn release(&self, at: usize) -> String {
        format!("{}-release-{at}", self.name)
    }

    fn roll_out(&self, ours: &Ours, at: usize) -> Result<()> {
        let folder = ours.tool().folder();
        let (name, component) = (self.release(at), format!("{}-component-{at}", self.name));
        let (file, rollout) = (format!("{name}.release"), format!("{name}.yaml"));
        fs::write(folder.join("payload.bin"), format!("payload of {name}"))?;
        let of = [
            "--name",
            &name,
            "--kind",
            "model",
            "--component",
            &component,
        ];
        let version = ["--release-version", "1.0.0", "--security-version", "1"];
        let from = ["--payload", "payload.bin", "--url", "https://cdn.example"];
        let sign = [
            "release",
            "sign",
            &file,
            "--key",
            "fleet/keys/release-1.key",
        ];
        ours.tool()
            .run(&[&sign[..], &of, &version, &from].concat())?;
        ours.tool().run(&["release", "register", &file])?;
        let credit = self.credit.map(|credit| format!("  credit: {credit}\n"));
        let text = format!(
            "rollout:\n  model_version: {name}\n{}  stages:\n    - name: all\n      target_percent: 100\n      \
             duration_hours: 24\n  rollback:\n    auto_rollback: false\n    to: fix_forward_only\n",
            credit.unwrap_or_default()
        );
        fs::write(folder.join(&rollout), text)?;
        ours.tool()
            .run(&["rollout", "apply", &rollout, "--approve"])?;
        Ok(())
    }
}
