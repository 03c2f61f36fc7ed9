//! openraft's channel traits over `tokio::sync`, which is deterministic under madsim's executor
//! (all but its watch channel: see [`super::FifoWatch`]).

use openraft_rt::mpsc::MpscWeakSender;
use openraft_rt::{
    Mpsc, MpscReceiver, MpscSender, Mutex, Oneshot, OneshotSender, OptionalSend, SendError,
    TryRecvError,
};
use tokio::sync as tk;

/// Bounded multi-producer channels.
#[derive(Debug)]
pub struct SimMpsc;

/// The sending half.
#[derive(Debug)]
pub struct Sender<T>(tk::mpsc::Sender<T>);

/// A sending half that does not keep the channel open.
#[derive(Debug)]
pub struct WeakSender<T>(tk::mpsc::WeakSender<T>);

/// The receiving half.
#[derive(Debug)]
pub struct Receiver<T>(tk::mpsc::Receiver<T>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Mpsc for SimMpsc {
    type Sender<T: OptionalSend> = Sender<T>;
    type Receiver<T: OptionalSend> = Receiver<T>;
    type WeakSender<T: OptionalSend> = WeakSender<T>;

    fn channel<T: OptionalSend>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = tk::mpsc::channel(capacity);
        (Sender(sender), Receiver(receiver))
    }
}

impl<T: OptionalSend> MpscSender<SimMpsc, T> for Sender<T> {
    async fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0
            .send(message)
            .await
            .map_err(|refused| SendError(refused.0))
    }

    fn downgrade(&self) -> WeakSender<T> {
        WeakSender(self.0.downgrade())
    }
}

impl<T: OptionalSend> MpscReceiver<T> for Receiver<T> {
    async fn recv(&mut self) -> Option<T> {
        self.0.recv().await
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_recv().map_err(|error| match error {
            tk::mpsc::error::TryRecvError::Empty => TryRecvError::Empty,
            tk::mpsc::error::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }
}

impl<T: OptionalSend> MpscWeakSender<SimMpsc, T> for WeakSender<T> {
    fn upgrade(&self) -> Option<Sender<T>> {
        self.0.upgrade().map(Sender)
    }
}

/// Channels for one message.
#[derive(Debug)]
pub struct SimOneshot;

/// The sending half of a [`SimOneshot`].
#[derive(Debug)]
pub struct OnceSender<T>(tk::oneshot::Sender<T>);

impl Oneshot for SimOneshot {
    type Sender<T: OptionalSend> = OnceSender<T>;
    type Receiver<T: OptionalSend> = tk::oneshot::Receiver<T>;
    type ReceiverError = tk::oneshot::error::RecvError;

    fn channel<T: OptionalSend>() -> (OnceSender<T>, tk::oneshot::Receiver<T>) {
        let (sender, receiver) = tk::oneshot::channel();
        (OnceSender(sender), receiver)
    }
}

impl<T: OptionalSend> OneshotSender<T> for OnceSender<T> {
    fn send(self, message: T) -> Result<(), T> {
        self.0.send(message)
    }
}

/// An asynchronous mutex.
#[derive(Debug)]
pub struct SimMutex<T>(tk::Mutex<T>);

impl<T: OptionalSend + 'static> Mutex<T> for SimMutex<T> {
    type Guard<'a> = tk::MutexGuard<'a, T>;

    fn new(value: T) -> Self {
        Self(tk::Mutex::new(value))
    }

    async fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().await
    }
}
