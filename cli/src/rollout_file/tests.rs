//! A corpus of good and bad files: what each is told is golden, and the JSON Schema agrees.
use super::{
    keys,
    node::{self, Node, Value},
    number::Decimal,
    *,
};
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, fs, path::PathBuf};
use tidegate_domain::rollout::RollbackTarget;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `(file name, text)` of every YAML file in a folder, sorted.
fn yaml_files(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {folder}");
    files
}

/// The document as a schema sees it: YAML 1.2 core schema.
fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, node)| (key.text.clone(), json_of(node)))
            .collect(),
        Value::Scalar { text, quoted: true } => json!(text),
        Value::Scalar { .. } if node.is_null() => Json::Null,
        Value::Scalar { text, .. } => match text.as_str() {
            "true" => json!(true),
            "false" => json!(false),
            text => match text.parse::<i64>() {
                Ok(number) => json!(number),
                Err(_) if !node.is_text() => json!(text.parse::<f64>().unwrap_or(f64::NAN)),
                Err(_) => json!(text),
            },
        },
    }
}

fn schema() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap()
}

#[test]
fn the_example_of_the_readme_is_accepted_and_means_what_it_says() {
    let text = fs::read_to_string(root().join("examples/detector-v3.2.yaml")).unwrap();
    let file = parse("detector-v3.2.yaml", &text).unwrap();
    assert_eq!(file.release.as_str(), "detector-v3.2");
    assert_eq!(file.kind, ArtifactKind::Model);
    let waves: Vec<_> = file
        .waves
        .iter()
        .map(|wave| (wave.name.as_str(), wave.target.get(), wave.soak.0))
        .collect();
    assert_eq!(
        waves,
        [
            ("canary", 50_000, 24 * 3_600_000),
            ("early_adopters", 250_000, 48 * 3_600_000),
            ("general", 1_000_000, 0),
        ]
    );
    let criteria = file.waves[0].criteria.clone().unwrap();
    assert_eq!(criteria.accuracy_drop_max, Ppm::new(20_000));
    assert_eq!(criteria.error_rate_max, Ppm::new(1_000));
    assert_eq!(criteria.latency_p99_max_ms, Some(50));
    assert_eq!(file.waves[1].criteria, None);
    assert!(file.rollback.auto);
    assert_eq!(file.rollback.health_check_interval, Millis(300_000));
    assert_eq!(file.rollback.target, RollbackTarget::Baseline);
}

#[test]
fn every_example_is_accepted_by_parser_and_schema() {
    let schema = schema();
    for (name, text) in yaml_files("examples") {
        parse(&name, &text).unwrap_or_else(|problems| panic!("{problems}"));
        let json = json_of(&node::parse(&text).unwrap());
        let errors: Vec<_> = schema.iter_errors(&json).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

/// Bless with `TIDEGATE_BLESS=1`, and read the difference before committing it.
#[test]
fn every_bad_file_is_told_what_is_wrong_with_it() {
    for (name, text) in yaml_files("cli/tests/corpus/rollout") {
        let problems = parse(&name, &text).expect_err(&name).to_string();
        let golden = root().join("cli/tests/corpus/rollout").join(&name);
        let golden = golden.with_extension("stderr");
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            fs::write(&golden, &problems).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(problems, expected, "{name}");
    }
}

/// Files in the corpus that only the parser can refuse begin with this line.
const BEYOND_SCHEMA: &str = "# beyond the schema: ";

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let schema = schema();
    for (name, text) in yaml_files("cli/tests/corpus/rollout") {
        let Ok(tree) = node::parse(&text) else {
            assert!(text.starts_with(BEYOND_SCHEMA), "{name} is not even a tree");
            continue;
        };
        let accepts = schema.is_valid(&json_of(&tree));
        assert_eq!(accepts, text.starts_with(BEYOND_SCHEMA), "{name}");
    }
}

#[test]
fn schema_and_parser_know_the_same_keys() {
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    let keys_at = |pointer: &str| -> BTreeSet<String> {
        let properties = schema.pointer(pointer).and_then(Json::as_object);
        let properties = properties.unwrap_or_else(|| panic!("no {pointer} in the schema"));
        properties.keys().cloned().collect()
    };
    for (map, pointer) in [
        (&keys::FILE, "/properties"),
        (&keys::ROLLOUT, "/$defs/rollout/properties"),
        (&keys::STAGE, "/$defs/stage/properties"),
        (&keys::CRITERIA, "/$defs/criteria/properties"),
        (&keys::ROLLBACK, "/$defs/rollback/properties"),
        (&keys::AUDIENCE, "/$defs/audience/properties"),
        (&keys::PACING, "/$defs/pacing/properties"),
        (&keys::WINDOW, "/$defs/window/properties"),
        (&keys::FREEZE, "/$defs/freeze/properties"),
        (&keys::RETRY, "/$defs/retry/properties"),
    ] {
        let known: BTreeSet<String> = map.keys.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(keys_at(pointer), known, "{}", map.what);
    }
}

#[test]
fn any_single_typo_in_a_key_is_answered_with_the_key_that_was_meant() {
    let text = fs::read_to_string(root().join("examples/firmware-7.4.1.yaml")).unwrap();
    for map in keys::ALL {
        for key in map.keys.iter().filter(|key| key.len() > 5) {
            // Two letters change places.
            let typo = format!("{}{}{}{}", &key[..2], &key[3..4], &key[2..3], &key[4..]);
            let broken = text.replace(&format!("{key}:"), &format!("{typo}:"));
            if typo == *key || broken == text {
                continue;
            }
            let problems = parse("typo.yaml", &broken).expect_err(key).to_string();
            let advice = format!("did you mean `{key}`?");
            assert!(problems.contains(&advice), "{typo}:\n{problems}");
        }
    }
}

proptest::proptest! {
    /// Whatever the bytes, the answer is a rollout or problems that stand inside the file.
    #[test]
    fn parsing_never_panics(text in "\\PC{0,200}|[ \\-a-z:\\[\\]{}\"'&*!|>#%\n0-9.]{0,300}") {
        if let Err(problems) = parse("x.yaml", &text) {
            proptest::prop_assert!(!problems.list.is_empty());
            let lines = text.lines().count().max(1) + 1;
            for problem in &problems.list {
                proptest::prop_assert!(problem.place.line <= lines, "{problem:?}");
            }
            let _ = problems.to_string();
        }
    }

    /// A percent with at most four decimals is exact.
    #[test]
    fn percents_are_exact(parts in 0_u32..=1_000_000) {
        let text = format!("{}.{:04}", parts / 10_000, parts % 10_000);
        let units = Decimal::parse(&text).unwrap().in_units(10_000);
        proptest::prop_assert_eq!(units, Some(u64::from(parts)));
    }
}
