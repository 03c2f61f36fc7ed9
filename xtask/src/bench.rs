//! `cargo xtask bench`: every bench target of the workspace, one after the other.

use anyhow::{Result, ensure};

use crate::metadata::Metadata;
use crate::step::Step;

/// One step for each bench whose name contains `filter`.
///
/// # Errors
/// When no bench matches, with the names of those that exist.
pub(crate) fn steps(metadata: &Metadata, filter: &str) -> Result<Vec<Step>> {
    let benches: Vec<_> = metadata
        .packages
        .iter()
        .flat_map(|package| package.targets.iter().map(move |target| (package, target)))
        .filter(|(_, target)| target.kind.iter().any(|kind| kind == "bench"))
        .collect();
    let chosen: Vec<_> = benches
        .iter()
        .filter(|(_, target)| target.name.contains(filter))
        .map(|(package, target)| {
            let args = format!(
                "bench --locked --quiet -p {} --bench {}",
                package.name, target.name
            );
            Step::cargo("bench", &args)
        })
        .collect();
    let names: Vec<_> = benches
        .iter()
        .map(|(_, target)| target.name.as_str())
        .collect();
    ensure!(
        !chosen.is_empty(),
        "no bench is called {filter:?}; there are: {}",
        names.join(", ")
    );
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::tests::package;

    #[test]
    fn finds_benches_by_part_of_their_name() {
        let audit = package("tidegate-audit-log", &[], &["verify"]);
        let domain = package("tidegate-domain", &[], &["apply"]);
        let metadata = Metadata {
            packages: vec![audit, domain],
        };
        assert_eq!(steps(&metadata, "").unwrap().len(), 2);
        let only = steps(&metadata, "ver").unwrap();
        assert!(
            only[0]
                .to_string()
                .ends_with("-p tidegate-audit-log --bench verify")
        );
        let message = steps(&metadata, "nothing").unwrap_err().to_string();
        assert!(message.contains("verify, apply"), "{message}");
    }
}
