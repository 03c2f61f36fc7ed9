//! What a file leaves out is the release's and the cluster's; what it says must fit them.
use super::{RolloutFile, parse, resolve::ResolveError};
use std::collections::BTreeMap;
use tidegate_domain::{
    Event, State, canonical, evolve,
    id::{Hash, Incarnation, LogTime, Revision, SecurityVersion},
    release::{ArtifactKind, Manifest, Payload, Release, ReleaseStatus, VariantPayload},
    variant::Selector,
};

/// A cluster in which one model is registered, for the variants of one selector.
fn state(audience: &str, critical_security: bool) -> State {
    let manifest = Manifest {
        origin: "fleet.example".to_owned(),
        name: "detector-v3.2".parse().unwrap(),
        kind: ArtifactKind::Model,
        component: "detector-model".parse().unwrap(),
        version: "3.2.0".parse().unwrap(),
        security_version: SecurityVersion(4),
        payloads: vec![VariantPayload {
            selector: Selector::ALL,
            payload: Payload {
                sha256: Hash([1; 32]),
                size: 1,
                urls: vec!["https://cdn.example/x".to_owned()],
                delta: None,
            },
        }],
        upgradable_from: None,
        requires: Vec::new(),
        critical_security,
        audience: audience.parse().unwrap(),
    };
    let release = Release {
        manifest_bytes: canonical::encode(&manifest),
        manifest,
        signatures: BTreeMap::new(),
        status: ReleaseStatus::Registered,
        registered_at: LogTime(0),
        revision: Revision(0),
    };
    let mut state = State::new("fleet.example", Incarnation(1));
    evolve(&mut state, &Event::ReleaseRegistered(Box::new(release))).unwrap();
    state
}

fn file(extra: &str) -> RolloutFile {
    let text = format!(
        "rollout:\n  model_version: detector-v3.2\n  stages:\n    - name: all\n      target_percent: 100\n{extra}"
    );
    parse("x.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn selectors(extra: &str, of_release: &str) -> Vec<String> {
    let spec = file(extra).resolve(&state(of_release, false)).unwrap();
    spec.audience
        .selectors
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn an_audience_that_is_left_out_is_the_releases() {
    assert_eq!(selectors("", "*"), ["*"]);
    assert_eq!(selectors("", "gw-200/*/*/*"), ["gw-200/*/*/*"]);
}

#[test]
fn lists_are_combined_and_what_they_leave_open_is_the_releases() {
    let extra = "  audience:\n    models: [gw-200, gw-220]\n    regions: [eu, us]\n";
    assert_eq!(
        selectors(extra, "*/b2/*/*"),
        [
            "gw-200/b2/eu/*",
            "gw-200/b2/us/*",
            "gw-220/b2/eu/*",
            "gw-220/b2/us/*"
        ]
    );
    assert_eq!(
        selectors("  regions: [eu]\n", "gw-200/*/*/*"),
        ["gw-200/*/eu/*"]
    );
}

#[test]
fn selectors_that_are_written_out_stand_as_written() {
    let extra = "  audience:\n    variants: [\"gw-1/*/*/*\"]\n";
    assert_eq!(selectors(extra, "gw-200/*/*/*"), ["gw-1/*/*/*"]);
}

#[test]
fn defaults_are_the_clusters() {
    let state = state("*", false);
    let spec = file("").resolve(&state).unwrap();
    assert_eq!(spec.credit, state.config().credit);
    assert_eq!(spec.offer_ttl, state.config().offer_ttl);
    let spec = file("  credit: 7\n").resolve(&state).unwrap();
    assert_eq!(spec.credit, 7);
}

#[test]
fn what_does_not_fit_the_release_is_refused_with_both_sides() {
    let check = |text: &str, critical: bool, says: &[&str]| {
        let file = parse("x.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
        let error = file.resolve(&state("*", critical)).unwrap_err().to_string();
        for words in says {
            assert!(error.contains(words), "{error} does not say {words}");
        }
    };
    let stages = "  stages:\n    - name: all\n      target_percent: 100\n";
    let model = format!("rollout:\n  model_version: detector-v3.2\n{stages}");
    check(
        &model.replace("v3.2", "v3.3"),
        false,
        &["no release named detector-v3.3", "but detector-v3.2 is"],
    );
    check(
        &model.replace("model_", "firmware_"),
        false,
        &["`model_version`", "`firmware_version`"],
    );
    check(
        &format!("{model}  component: os\n"),
        false,
        &["detector-model", "os"],
    );
    check(
        &format!("{model}  critical_security: true\n"),
        false,
        &["true", "false"],
    );
    check(
        &format!("{model}  critical_security: false\n"),
        true,
        &["true", "false"],
    );
    check(
        &format!("{model}  on_stale: continue\n"),
        false,
        &["critical_security"],
    );
    check(
        &format!("{model}  supersedes: detector-v3.1\n"),
        false,
        &["fits 0 rollouts"],
    );
    let go_on = file("  on_stale: continue\n").resolve(&state("*", true));
    assert!(go_on.is_ok(), "{go_on:?}");
    let unknown = file("").resolve(&State::new("fleet.example", Incarnation(1)));
    assert!(matches!(
        unknown,
        Err(ResolveError::UnknownRelease { nearest: None, .. })
    ));
}
