//! What a row of the table measures, and how rounds become a row.

use anyhow::{Context as _, Result};

use crate::report::{Row, Side};
use crate::samples::median;
use crate::system::System;

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// What a row is called, and how to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) name: &'static str,
    pub(crate) clients: usize,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

/// What one round gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Round {
    /// In the row's unit.
    pub(crate) value: f64,
    /// Processor time of all three nodes for each operation.
    pub(crate) cpu_us: Option<f64>,
    /// What else is worth a field.
    pub(crate) also: Vec<(&'static str, f64)>,
}

impl Round {
    pub(crate) const fn of(value: f64) -> Self {
        Self {
            value,
            cpu_us: None,
            also: Vec::new(),
        }
    }

    /// Adds a field, if there is a value for it.
    pub(crate) fn also(&mut self, name: &'static str, value: Option<f64>) {
        self.also.extend(value.map(|value| (name, value)));
    }
}

/// One way to measure a system.
pub(crate) trait Probe {
    fn head(&self) -> Head;

    async fn round<S: System>(&self, system: &mut S) -> Result<Round>;
}

/// The medians of rounds, value by value.
fn side(rounds: &[Round]) -> Option<Side> {
    let of = |read: &dyn Fn(&Round) -> Option<f64>| {
        median(&rounds.iter().filter_map(read).collect::<Vec<_>>())
    };
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rounds.iter().flat_map(|round| &round.also) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let also = names.into_iter().filter_map(|name| {
        let found = |round: &Round| round.also.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        Some((name.to_owned(), of(&found)?))
    });
    Some(Side {
        value: of(&|round| Some(round.value))?,
        cpu_us: of(&|round| round.cpu_us),
        also: also.collect(),
    })
}

/// The row of rounds that were run in turns.
pub(crate) fn row(head: Head, ours: &[Round], etcd: &[Round]) -> Result<Row> {
    let ours = side(ours).context("no round was run")?;
    let etcd = side(etcd);
    let ratio = etcd.as_ref().map(|etcd| match head.better {
        Better::More => ours.value / etcd.value,
        Better::Less => etcd.value / ours.value,
    });
    Ok(Row {
        name: head.name,
        clients: head.clients,
        unit: head.unit,
        ratio: ratio.filter(|ratio| ratio.is_finite()),
        ours,
        etcd,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(better: Better) -> Head {
        Head {
            name: "write",
            clients: 64,
            unit: "ops/s",
            better,
        }
    }

    #[test]
    fn a_ratio_says_how_many_times_better_ours_is() {
        let rounds = |value: f64| [Round::of(value)];
        let ratio = |better| {
            row(head(better), &rounds(20.0), &rounds(10.0))
                .unwrap()
                .ratio
        };
        assert_eq!(ratio(Better::More), Some(2.0));
        assert_eq!(ratio(Better::Less), Some(0.5));
        assert_eq!(
            row(head(Better::More), &rounds(20.0), &[]).unwrap().ratio,
            None
        );
        let never = row(head(Better::Less), &rounds(0.0), &rounds(1.0)).unwrap();
        assert_eq!(never.ratio, None);
        assert!(row(head(Better::More), &[], &rounds(1.0)).is_err());
    }

    #[test]
    fn rounds_become_their_medians() {
        let round = |value: f64, p99: Option<f64>| {
            let mut round = Round::of(value);
            round.cpu_us = Some(value / 10.0);
            round.also("p99_ms", p99);
            round
        };
        let rounds = [
            round(1.0, None),
            round(9.0, Some(4.0)),
            round(5.0, Some(6.0)),
        ];
        let side = side(&rounds).unwrap();
        assert_eq!((side.value, side.cpu_us), (5.0, Some(0.5)));
        assert_eq!(side.also, [("p99_ms".to_owned(), 5.0)]);
    }
}
