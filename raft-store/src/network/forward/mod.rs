//! Commands that a follower forwards to the leader: in batches on one stream for each peer, answered
//! one by one, in whatever order they are settled.
//!
//! A call for each command costs both nodes a stream of their connection, headers and wake-ups; under
//! load many commands share a frame here, and alone each goes at once.
//!
//! | File | What |
//! |---|---|
//! | `line` | the calling side: [`Lines`], one to each peer that leads |
//! | `answer` | the answering side |
//! | `batch` | what the frames carry, and its encoding |

mod answer;
mod batch;
mod line;

use tokio::sync::mpsc;

pub(super) use answer::answer;
pub(crate) use line::Lines;

/// Bytes of commands or answers after which a batch takes no more.
const BATCH_BYTES: usize = 1 << 20;
/// Most commands or answers in a batch.
const BATCH_MAX: usize = 1_024;

/// The next item and those that wait behind it, as long as they fit one batch; `None` once nobody
/// can send any more. Nothing is lost if it is dropped while it waits.
async fn next_batch<T>(
    queue: &mut mpsc::UnboundedReceiver<T>,
    bytes: impl Fn(&T) -> usize,
) -> Option<Vec<T>> {
    let first = queue.recv().await?;
    let mut len = bytes(&first);
    let mut batch = vec![first];
    while len < BATCH_BYTES
        && batch.len() < BATCH_MAX
        && let Ok(next) = queue.try_recv()
    {
        len += bytes(&next);
        batch.push(next);
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_runtime::{AsyncRuntime as _, Rt};

    #[test]
    fn a_batch_takes_what_waits_up_to_its_bounds() {
        Rt::new(1).block_on(async {
            let (sender, mut queue) = mpsc::unbounded_channel();
            (0..BATCH_MAX + 2).for_each(|_| sender.send(1).unwrap());
            sender.send(BATCH_BYTES).unwrap();
            (0..2).for_each(|_| sender.send(1).unwrap());
            drop(sender);
            let mut lengths = Vec::new();
            while let Some(batch) = next_batch(&mut queue, |bytes| *bytes).await {
                lengths.push(batch.len());
            }
            assert_eq!(lengths, [BATCH_MAX, 3, 2]);
        });
    }
}
