//! Rows of the state by key, as of a confirmed read point.

use tidegate_domain::State;
use tidegate_mutant::{Mutant, is_on};
use tidegate_proto::{Refusal, WireError, v1};

use super::store::Serving;

/// Most rows that are asked for at once.
const KEYS_MAX: usize = 64;
/// Most bytes of values in one answer.
const VALUES_BYTES_MAX: usize = 8 << 20;

/// The rows with these keys. They are of one entry, which covers everything that was acknowledged
/// anywhere before the call.
pub(super) async fn rows(
    serving: &Serving,
    keys: &[Vec<u8>],
) -> Result<v1::GetRowsResponse, WireError> {
    if keys.is_empty() || keys.len() > KEYS_MAX {
        let message = format!("{} keys, 1 to {KEYS_MAX} are answered at once", keys.len());
        return Err(WireError::refused(Refusal::Malformed, message));
    }
    if !is_on(Mutant::RowsUnconfirmed) {
        serving.reads.confirm().await?;
    }
    serving.state.read(|state| look_up(state, keys))
}

/// The rows with these keys, as they are now.
fn look_up(state: &State, keys: &[Vec<u8>]) -> Result<v1::GetRowsResponse, WireError> {
    let mut left = VALUES_BYTES_MAX;
    let values = keys.iter().enumerate().map(|(place, key)| {
        let value = state.row(key).map_err(|error| {
            let message = format!("key {place} of the request is none: {error}");
            WireError::refused(Refusal::Malformed, message)
        })?;
        let len = value.as_ref().map_or(0, Vec::len);
        left = left.checked_sub(len).ok_or_else(|| {
            let message = format!("more than {VALUES_BYTES_MAX} bytes of rows; ask for fewer");
            WireError::refused(Refusal::TooLarge, message)
        })?;
        Ok(v1::RowValue { value })
    });
    let values = values.collect::<Result<_, WireError>>()?;
    let meta = state.meta();
    Ok(v1::GetRowsResponse {
        point: Some(v1::ReadIndexResponse {
            incarnation: meta.incarnation.0,
            entries: meta.next.0,
            log_time_ms: meta.time.0,
            origin: meta.origin.clone(),
        }),
        values,
    })
}

#[cfg(test)]
mod tests {
    use tidegate_domain::id::{Incarnation, StopId};
    use tidegate_domain::state::row;

    use super::*;

    #[test]
    fn keys_are_answered_in_order_also_when_there_is_no_such_row() {
        let state = State::new("a.example", Incarnation(3));
        let keys = [row::stops(&StopId(7)), row::meta(), row::meta()];
        let answer = look_up(&state, &keys).unwrap();
        let [none, meta, again] = &answer.values[..] else {
            panic!("{answer:?}");
        };
        assert_eq!(none.value, None);
        assert_eq!(meta, again);
        let rows: Vec<_> = state.rows().collect();
        let stored = rows.iter().find(|(key, _)| *key == row::meta()).unwrap();
        assert_eq!(meta.value.as_ref(), Some(&stored.1));
        assert_eq!(answer.point.unwrap().incarnation, 3);
    }

    #[test]
    fn what_is_no_key_is_named() {
        let state = State::new("a.example", Incarnation(1));
        for none in [&[][..], &[200], &[1, 0], &[23, 0xff]] {
            let error = look_up(&state, &[row::meta(), none.to_vec()]).unwrap_err();
            assert_eq!(error.refusal, Refusal::Malformed);
            let place = "key 1 of the request is none";
            assert!(error.message.contains(place), "{error}");
        }
    }
}
