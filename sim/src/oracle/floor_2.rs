//! FLOOR-2: no offer or return is below the floor in the snapshot that it cites, and no offer below
//! what the device runs.

use tidegate_domain::State;
use tidegate_domain::floor::floor_of;
use tidegate_domain::testing::{component, traits};

use super::{Chain, Oracle, Seen, Verdict};

/// Keeps the state whenever floors changed.
#[derive(Debug, Default)]
pub(super) struct Floor2 {
    /// States by the entries that they cover, at every change of a floor.
    history: Vec<(u64, State)>,
}

impl Oracle for Floor2 {
    fn id(&self) -> &'static str {
        "FLOOR-2"
    }

    fn see(&mut self, _: u64, seen: &Seen<'_>, chain: &Chain) -> Verdict {
        match seen {
            Seen::Entries { .. } => {
                let last = self.history.last();
                if last.is_none_or(|(_, state)| state.floors() != chain.state().floors()) {
                    self.history.push((chain.len(), chain.state().clone()));
                }
                Ok(())
            }
            Seen::Told {
                lane,
                device,
                place,
                answer,
                ..
            } => {
                let Some(version) = answer.security_version else {
                    return Ok(());
                };
                if answer.is_offer && version < answer.running {
                    return Err(format!(
                        "{lane} offered {device} security version {version}, it runs {}",
                        answer.running
                    ));
                }
                let entries = answer.entries.unwrap_or(0);
                let covers = |(from, _): &&(u64, State)| *from <= entries;
                let Some((_, state)) = self.history.iter().rev().find(covers) else {
                    return Ok(());
                };
                let variant = traits(&format!("cam/r1/{place}/none"));
                let floor = floor_of(state, &component("os"), &variant).0;
                if version < floor || answer.floor != Some(floor) {
                    return Err(format!(
                        "{lane} gave {device} security version {version} under floor {:?}; in the \
                         snapshot of {entries} entries it is {floor}",
                        answer.floor
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
