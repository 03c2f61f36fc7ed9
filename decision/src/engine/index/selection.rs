//! Which variants a selector means: traits as numbers, so that building the index compares integers.
use std::collections::HashMap;
use tidegate_domain::{
    state::State,
    variant::{Selector, VariantTraits},
};

const ANY: u32 = u32::MAX;
/// A trait that no registered variant has.
const NOBODY: u32 = u32::MAX - 1;

/// A selector, or the traits of one variant, in numbers: model, revision, region, carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Coded([u32; 4]);

impl Coded {
    /// Whether the selector holds a variant.
    pub(crate) fn matches(self, variant: Self) -> bool {
        self.0
            .iter()
            .zip(variant.0)
            .all(|(wanted, found)| *wanted == ANY || *wanted == found)
    }

    /// Whether it names every trait.
    pub(crate) fn is_exact(self) -> bool {
        !self.0.contains(&ANY)
    }
}

/// A set of variants by slot.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct Members(Vec<u64>);

impl Members {
    fn none(variants: usize) -> Self {
        Self(vec![0; variants.div_ceil(64)])
    }

    fn add(&mut self, slot: u32) {
        if let Some(word) = self.0.get_mut(slot as usize / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    /// Whether a variant is in.
    pub(crate) fn contains(&self, slot: u32) -> bool {
        let word = self.0.get(slot as usize / 64);
        word.is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    /// The variants in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        (0_u32..).step_by(64).zip(&self.0).flat_map(|(base, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.checked_sub(1)?;
                Some(base + bit)
            })
        })
    }
}

/// All registered variants, in slot order: ascending by id.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    dimensions: [HashMap<&'a str, u32>; 4],
    variants: Vec<Coded>,
    by_model: Vec<Vec<u32>>,
}

impl<'a> Selection<'a> {
    pub(crate) fn of(state: &'a State) -> Self {
        let mut all = Self {
            dimensions: Default::default(),
            variants: Vec::with_capacity(state.variants().len()),
            by_model: Vec::new(),
        };
        for (slot, (_, variant)) in (0_u32..).zip(state.variants().iter()) {
            let texts = texts(&variant.traits);
            let mut coded = [NOBODY; 4];
            for ((names, text), code) in all.dimensions.iter_mut().zip(texts).zip(&mut coded) {
                let next = u32::try_from(names.len()).unwrap_or(NOBODY);
                *code = *names.entry(text).or_insert(next);
            }
            all.variants.push(Coded(coded));
            let model = coded[0] as usize;
            if all.by_model.len() <= model {
                all.by_model.resize_with(model + 1, Vec::new);
            }
            if let Some(same) = all.by_model.get_mut(model) {
                same.push(slot);
            }
        }
        all
    }

    /// A selector in numbers.
    pub(crate) fn code(&self, selector: &Selector) -> Coded {
        let Selector {
            model,
            revision,
            region,
            carrier,
        } = selector;
        let texts = [
            model.as_ref().map(|t| t.as_str()),
            revision.as_ref().map(|t| t.as_str()),
            region.as_ref().map(|t| t.as_str()),
            carrier.as_ref().map(|t| t.as_str()),
        ];
        let mut coded = [ANY; 4];
        for ((names, text), code) in self.dimensions.iter().zip(texts).zip(&mut coded) {
            if let Some(text) = text {
                *code = names.get(text).copied().unwrap_or(NOBODY);
            }
        }
        Coded(coded)
    }

    /// The traits of a variant in numbers.
    pub(crate) fn variant(&self, slot: u32) -> Option<Coded> {
        self.variants.get(slot as usize).copied()
    }

    /// The variants that any of the selectors holds.
    pub(crate) fn members<'s>(&self, selectors: impl IntoIterator<Item = &'s Selector>) -> Members {
        let mut members = Members::none(self.variants.len());
        for selector in selectors {
            let coded = self.code(selector);
            let mut take = |slot: u32| {
                if self
                    .variant(slot)
                    .is_some_and(|variant| coded.matches(variant))
                {
                    members.add(slot);
                }
            };
            match coded.0[0] {
                ANY => (0_u32..).take(self.variants.len()).for_each(&mut take),
                model => {
                    let same = self.by_model.get(model as usize);
                    same.into_iter().flatten().copied().for_each(&mut take);
                }
            }
        }
        members
    }
}

fn texts(traits: &VariantTraits) -> [&str; 4] {
    let VariantTraits {
        model,
        revision,
        region,
        carrier,
    } = traits;
    [
        model.as_str(),
        revision.as_str(),
        region.as_str(),
        carrier.as_str(),
    ]
}
