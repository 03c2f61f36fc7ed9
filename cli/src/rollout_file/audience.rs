//! Whom a rollout file is for.
use super::{
    fields::{Fields, Found, items, text},
    keys,
    node::Node,
    problem::Problem,
};
use std::{collections::BTreeSet, fmt::Display, str::FromStr};
use tidegate_domain::{
    id::{Carrier, Channel, HardwareRevision, Model, Region},
    release::VersionRange,
    rollout::Audience,
    variant::Selector,
};

/// An audience as written: traits that are left out are the release's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AudienceFile {
    /// Every combination of the lists; a trait without a list is left open. Empty without lists.
    pub(crate) combinations: BTreeSet<Selector>,
    /// Selectors that are written out.
    pub(crate) variants: BTreeSet<Selector>,
    /// The release channels; empty means all.
    pub(crate) channels: BTreeSet<Channel>,
    /// The running versions that take part.
    pub(crate) from_versions: Option<VersionRange>,
}

/// Reads `audience`, and the `regions` and `from_versions` that may stand beside it.
pub(super) fn read(rollout: &Fields<'_>, found: &mut Found) -> Option<AudienceFile> {
    let audience = match rollout.get("audience") {
        Some(node) => Some(Fields::of(node, &keys::AUDIENCE, found)?),
        None => None,
    };
    let inside = |key: &str| audience.as_ref().and_then(|fields| fields.get(key));
    for key in ["regions", "from_versions"] {
        if rollout.get(key).is_some() && inside(key).is_some() {
            let message = format!("`{key}` stands in `rollout` and in its `audience`");
            let problem = Problem::new(rollout.place_of(key), message);
            found.push(problem.help("keep one of them"));
        }
    }
    let models = list::<Model>(inside("models"), "models", found);
    let revisions = list::<HardwareRevision>(inside("revisions"), "revisions", found);
    let regions = inside("regions").or_else(|| rollout.get("regions"));
    let regions = list::<Region>(regions, "regions", found);
    let carriers = list::<Carrier>(inside("carriers"), "carriers", found);
    let variants = list::<Selector>(inside("variants"), "variants", found);
    let channels = list::<Channel>(inside("channels"), "channels", found);
    let range = inside("from_versions").or_else(|| rollout.get("from_versions"));
    let range = range.map(|node| {
        let expected = "a range of semantic versions, such as `>=3.0, <3.2`";
        text::<VersionRange>(node, "from_versions", expected, found)
    });
    let combinations = combine(&models?, &revisions?, &regions?, &carriers?);
    let variants: BTreeSet<Selector> = variants?.into_iter().collect();
    let count = combinations.len() + variants.len();
    if count > Audience::SELECTORS_MAX {
        let message = format!("the audience has {count} combinations of traits");
        let problem = Problem::new(rollout.place_of("audience"), message);
        found.push(
            problem
                .expected(format!("at most {}", Audience::SELECTORS_MAX))
                .help("leave out a list whose every value is meant: what is not named is open"),
        );
        return None;
    }
    Some(AudienceFile {
        combinations,
        variants,
        channels: channels?.into_iter().collect(),
        from_versions: range.flatten(),
    })
}

/// A list of names, empty if it is not there.
fn list<T: FromStr<Err: Display>>(
    node: Option<&Node>,
    key: &str,
    found: &mut Found,
) -> Option<Vec<T>> {
    let Some(node) = node else {
        return Some(Vec::new());
    };
    let expected = match key {
        "variants" => "a selector `model/revision/region/carrier` with `*` for any",
        _ => "a name of ASCII letters, digits, `.`, `-`, `_` and `+`",
    };
    let items = items(node, key, 1..=Audience::SELECTORS_MAX, found)?;
    let names = items.iter().map(|item| text(item, key, expected, found));
    names.collect::<Vec<_>>().into_iter().collect()
}

fn combine(
    models: &[Model],
    revisions: &[HardwareRevision],
    regions: &[Region],
    carriers: &[Carrier],
) -> BTreeSet<Selector> {
    let open = [Selector::ALL];
    let mut all: Vec<Selector> = open.to_vec();
    all = each(&all, models, |selector, model| selector.model = Some(model));
    all = each(&all, revisions, |s, revision| s.revision = Some(revision));
    all = each(&all, regions, |selector, region| {
        selector.region = Some(region)
    });
    all = each(&all, carriers, |s, carrier| s.carrier = Some(carrier));
    if all == open {
        return BTreeSet::new();
    }
    all.into_iter().collect()
}

fn each<T: Clone>(
    selectors: &[Selector],
    values: &[T],
    set: impl Fn(&mut Selector, T),
) -> Vec<Selector> {
    // Far more than is accepted: no need to write a product of four long lists out.
    if values.is_empty() || selectors.len() > Audience::SELECTORS_MAX {
        return selectors.to_vec();
    }
    let with = |selector: &Selector, value: &T| {
        let mut selector = selector.clone();
        set(&mut selector, value.clone());
        selector
    };
    let product = selectors
        .iter()
        .flat_map(|selector| values.iter().map(move |value| with(selector, value)));
    product.collect()
}
