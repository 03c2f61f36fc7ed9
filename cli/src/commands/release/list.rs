//! `release list` and `release show`.
use super::file;
use crate::{
    context::Context,
    describe,
    failure::Failure,
    terminal::{Tone, table},
};
use clap::Args;
use serde_json::{Value as Json, json};
use tidegate_domain::{
    State,
    id::{Component, ReleaseName},
    key::Role,
    release::{Release, ReleaseStatus, offerable},
};

/// Lists the registered releases.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate release list
  tidegate release list --component os --json")]
pub(crate) struct List {
    /// Only those of this component.
    #[arg(long)]
    component: Option<Component>,
}

/// Shows all that is known of a release, and whether it may be offered.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate release show detector-v3.2")]
pub(crate) struct Show {
    /// The release.
    name: ReleaseName,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let view = context.view().await?;
        let wanted = |release: &Release| {
            let component = self.component.as_ref();
            component.is_none_or(|component| *component == release.manifest.component)
        };
        let (mut rows, mut json) = (Vec::new(), Vec::new());
        for (name, release) in view.state().releases().iter() {
            if !wanted(release) {
                continue;
            }
            let manifest = &release.manifest;
            rows.push(vec![
                name.to_string(),
                manifest.kind.to_string(),
                manifest.component.to_string(),
                manifest.version.to_string(),
                manifest.security_version.to_string(),
                status(context, release),
                release.signatures.len().to_string(),
            ]);
            json.push(release_json(view.state(), release));
        }
        let header = [
            "NAME",
            "KIND",
            "COMPONENT",
            "VERSION",
            "SECURITY",
            "STATUS",
            "SIGNATURES",
        ];
        context
            .terminal
            .show(table(&header, &rows), json!({ "releases": json }));
        Ok(())
    }
}

fn status(context: &Context, release: &Release) -> String {
    let tone = match release.status {
        ReleaseStatus::Registered => Tone::Good,
        ReleaseStatus::Retired => Tone::Warning,
        ReleaseStatus::Revoked => Tone::Bad,
    };
    let word = describe::release_status(release.status);
    context.terminal.paint(tone, word)
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let view = context.view().await?;
        let state = view.state();
        let release = state.releases().get(&self.name).ok_or_else(|| {
            Failure::refused(format!("no release {} is registered", self.name))
                .next("`tidegate release list` shows those that are")
        })?;
        let manifest = &release.manifest;
        let mut text = format!(
            "{} release {}: {} {}, security version {}{}\nstatus      {}\nregistered  {}\nrevision    {}\naudience    {}\n",
            manifest.kind,
            manifest.name,
            manifest.component,
            manifest.version,
            manifest.security_version,
            if manifest.critical_security {
                ", critical security"
            } else {
                ""
            },
            status(context, release),
            describe::time(release.registered_at),
            release.revision,
            manifest.audience,
        );
        match offerable(state, release) {
            Ok(()) => text.push_str("offerable   yes\n"),
            Err(why) => text.push_str(&format!("offerable   no: {why}\n")),
        }
        if let Some(range) = &manifest.upgradable_from {
            text.push_str(&format!("from        {range}\n"));
        }
        for requirement in &manifest.requires {
            text.push_str(&format!(
                "requires    {} {}\n",
                requirement.component, requirement.range
            ));
        }
        for key in release.signatures.keys() {
            let entry = state
                .keys()
                .role(Role::Release)
                .and_then(|keys| keys.keys.get(key));
            let who = entry.map_or_else(
                || "a key that this epoch does not know".to_owned(),
                |entry| format!("{} ({})", entry.name, describe::key_status(entry.status)),
            );
            text.push_str(&format!("signed by   {who} {key}\n"));
        }
        for part in &manifest.payloads {
            let payload = &part.payload;
            text.push_str(&format!(
                "payload     {} {} bytes, SHA-256 {}\n",
                part.selector, payload.size, payload.sha256
            ));
            for url in &payload.urls {
                text.push_str(&format!("            {url}\n"));
            }
        }
        context.terminal.show(text, release_json(state, release));
        Ok(())
    }
}

fn release_json(state: &State, release: &Release) -> Json {
    let manifest = &release.manifest;
    let why_not = offerable(state, release).err().map(|why| why.to_string());
    json!({
        "name": manifest.name.as_str(),
        "kind": manifest.kind.name(),
        "component": manifest.component.as_str(),
        "version": manifest.version.to_string(),
        "security_version": manifest.security_version.0,
        "critical_security": manifest.critical_security,
        "status": describe::release_status(release.status),
        "offerable": why_not.is_none(),
        "not_offerable_because": why_not,
        "registered_ms": release.registered_at.0,
        "revision": release.revision.0,
        "signatures": release.signatures.keys().map(ToString::to_string).collect::<Vec<_>>(),
        "payloads": file::payloads_json(manifest),
    })
}
