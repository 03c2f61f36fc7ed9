//! The calling side: commands wait in a queue, travel in batches, and each gets its own answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tidegate_proto::v1::Frame;
use tidegate_proto::{Refusal, WireError};
use tidegate_runtime::Leg;
use tokio::sync::{mpsc, oneshot};
use tokio::time::interval;

use super::batch::{Answered, Asked, decode_answered, encode_asked};
use super::next_batch;
use crate::api::Proposed;
use crate::network::peer::{Peer, PeerError};
use crate::types::NodeId;

/// How long opening a line may take.
const OPENS_WITHIN: Duration = Duration::from_secs(2);
/// How often the silence of a line is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After how many looks without any answer, while some are owed, a line is given up: a partition
/// resets nothing. Whoever waits is told that its outcome is unknown, and may ask again on another.
const SILENT_LOOKS_MAX: u32 = 4;

type Result<T> = std::result::Result<T, WireError>;

/// The lines to all peers that led and were sent something. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<BTreeMap<NodeId, mpsc::UnboundedSender<Waiting>>>>);

/// A command that waits to be sent.
#[derive(Debug)]
struct Waiting {
    command: Bytes,
    answer: oneshot::Sender<Result<Proposed>>,
}

impl Lines {
    /// Has `peer` commit a command. Waits for as long as the line lasts; whoever asks sets the time.
    ///
    /// # Errors
    /// What the peer says, or that the line broke: with an effect of `none` if the command was never
    /// sent, else unknown.
    pub(crate) async fn forward(&self, peer: &Peer, command: Bytes) -> Result<Proposed> {
        let (answer, answered) = oneshot::channel();
        self.send(peer, Waiting { command, answer });
        let ended = "this node's line to the leader has ended";
        answered
            .await
            .unwrap_or_else(|_| Err(WireError::unknown(Refusal::Unreachable, ended)))
    }

    /// On the line that there is, or on a new one if there is none or it has broken.
    fn send(&self, peer: &Peer, waiting: Waiting) {
        // Plain data, valid at every step: a panic elsewhere does not spoil it.
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = match lines.get(&peer.id()) {
            Some(line) => match line.send(waiting) {
                Ok(()) => return,
                Err(mpsc::error::SendError(waiting)) => waiting,
            },
            None => waiting,
        };
        let (line, queue) = mpsc::unbounded_channel();
        // It is listened to: the other end is in the task that is spawned here.
        let _ = line.send(waiting);
        tokio::spawn(run(peer.clone(), queue));
        lines.insert(peer.id(), line);
    }
}

/// A line from its first command to its end.
async fn run(peer: Peer, queue: mpsc::UnboundedReceiver<Waiting>) {
    let mut line = Line {
        peer,
        queue,
        owed: BTreeMap::new(),
        numbers: 0,
    };
    let broke = match line.carry().await {
        Ok(()) => PeerError::Unreachable("the peer ended its line".to_owned()),
        Err(error) => error,
    };
    tracing::debug!(peer = line.peer.id(), %broke, "a line for forwarded commands ended");
    line.end(&broke);
}

struct Line {
    peer: Peer,
    queue: mpsc::UnboundedReceiver<Waiting>,
    /// Whom the peer owes an answer, by number.
    owed: BTreeMap<u64, oneshot::Sender<Result<Proposed>>>,
    /// How many commands were sent.
    numbers: u64,
}

impl Line {
    /// Sends and hears until the line breaks, the peer ends it, or nobody can ask any more.
    async fn carry(&mut self) -> std::result::Result<(), PeerError> {
        let mut client = self.peer.client()?;
        let way = self.peer.way();
        // One frame may wait, so that commands gather while the connection takes no more.
        let (sender, frames) = mpsc::channel(1);
        let frames = futures::stream::unfold(frames, async |mut frames| {
            frames.recv().await.map(|frame| (frame, frames))
        });
        let opening = client.forward(way.stream(Leg::There, frames));
        let answers = tokio::time::timeout(OPENS_WITHIN, opening)
            .await
            .map_err(|_| PeerError::TimedOut(OPENS_WITHIN))?
            .map_err(|status| PeerError::Refused(Box::new(status)))?;
        let mut answers = std::pin::pin!(way.stream(Leg::Back, answers.into_inner()));
        let mut looks = interval(LOOK_EVERY);
        let mut silent = 0;
        loop {
            tokio::select! {
                biased;
                answer = answers.next() => {
                    silent = 0;
                    match answer {
                        None => return Ok(()),
                        Some(Err(status)) => return Err(PeerError::Refused(Box::new(status))),
                        Some(Ok(frame)) => self.hear(frame)?,
                    }
                }
                batch = next_frame(&sender, &mut self.queue) => {
                    let Some((room, batch)) = batch else { return Ok(()) };
                    room.send(self.frame(batch));
                }
                _ = looks.tick() => {
                    silent = if self.owed.is_empty() { 0 } else { silent + 1 };
                    if silent > SILENT_LOOKS_MAX {
                        return Err(PeerError::TimedOut(LOOK_EVERY * SILENT_LOOKS_MAX));
                    }
                }
            }
        }
    }

    /// A frame of these commands, whose answers are owed from now on.
    fn frame(&mut self, batch: Vec<Waiting>) -> Frame {
        let batch = batch.into_iter().map(|Waiting { command, answer }| {
            let number = self.numbers;
            self.numbers += 1;
            self.owed.insert(number, answer);
            Asked { number, command }
        });
        let batch: Vec<_> = batch.collect();
        let Peer { id, link, .. } = &self.peer;
        link.seal(*id, |out| encode_asked(&batch, out))
    }

    fn hear(&mut self, frame: Frame) -> std::result::Result<(), PeerError> {
        let garbled = |error: &dyn std::fmt::Display| PeerError::Garbled(error.to_string());
        let opened = self.peer.link.open(frame);
        let (_, body) = opened.map_err(|error| garbled(&error))?;
        for Answered { number, result } in decode_answered(&body).map_err(|e| garbled(&e))? {
            let Some(answer) = self.owed.remove(&number) else {
                return Err(garbled(&"an answer to no command"));
            };
            // Whoever no longer waits needs no answer.
            let _ = answer.send(result);
        }
        Ok(())
    }

    /// Tells everybody who waits what became of the line.
    fn end(mut self, broke: &PeerError) {
        self.queue.close();
        let refusal = match broke {
            PeerError::TimedOut(_) => Refusal::TimedOut,
            PeerError::Unreachable(_) | PeerError::Garbled(_) | PeerError::Refused(_) => {
                Refusal::Unreachable
            }
        };
        for (_, answer) in self.owed {
            let _ = answer.send(Err(WireError::unknown(refusal, broke.to_string())));
        }
        while let Ok(Waiting { answer, .. }) = self.queue.try_recv() {
            let _ = answer.send(Err(WireError::refused(refusal, broke.to_string())));
        }
    }
}

/// Room for a frame, and what is to go into it: taken from the queue only once it can be sent.
async fn next_frame<'a>(
    sender: &'a mpsc::Sender<Frame>,
    queue: &mut mpsc::UnboundedReceiver<Waiting>,
) -> Option<(mpsc::Permit<'a, Frame>, Vec<Waiting>)> {
    let room = sender.reserve().await.ok()?;
    let batch = next_batch(queue, |waiting| waiting.command.len()).await?;
    Some((room, batch))
}
