//! A watch channel that wakes its receivers in the order in which they subscribed.
//!
//! `tokio::sync::watch` draws the shard it notifies first from a generator seeded by a counter of
//! the whole process: two runs of one seed in one process would then differ.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Poll, Waker};

use openraft_rt::watch::SendError;
use openraft_rt::{OptionalSend, OptionalSync, RecvError, Watch, WatchReceiver, WatchSender};

/// Watch channels with a fixed wake order.
#[derive(Debug)]
pub struct FifoWatch;

/// The sending half; receivers learn when the last one is gone.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// A receiving half, which remembers the version that it saw last.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    id: u64,
    seen: u64,
}

/// Read access to the current value; a sender waits while it is held.
#[derive(Debug)]
pub struct Ref<'a, T>(RwLockReadGuard<'a, T>);

#[derive(Debug)]
struct Shared<T> {
    value: RwLock<T>,
    wakers: Mutex<Wakers>,
}

#[derive(Debug, Default)]
struct Wakers {
    version: u64,
    senders: usize,
    receivers: usize,
    last_id: u64,
    /// By subscription, so that iteration is the wake order.
    waiting: BTreeMap<u64, Waker>,
}

impl<T> Shared<T> {
    // A panic while a lock is held leaves plain data behind that is valid at every step, so a
    // poisoned lock is entered all the same.
    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.value.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(self: &Arc<Self>, seen: Option<u64>) -> Receiver<T> {
        let mut wakers = self.wakers();
        wakers.receivers += 1;
        wakers.last_id += 1;
        let seen = seen.unwrap_or(wakers.version);
        Receiver {
            shared: Arc::clone(self),
            id: wakers.last_id,
            seen,
        }
    }

    fn changed(&self) {
        let waiting = {
            let mut wakers = self.wakers();
            wakers.version += 1;
            std::mem::take(&mut wakers.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }
}

impl Watch for FifoWatch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(initial: T) -> (Sender<T>, Receiver<T>) {
        let wakers = Mutex::new(Wakers {
            senders: 1,
            ..Wakers::default()
        });
        let shared = Arc::new(Shared {
            value: RwLock::new(initial),
            wakers,
        });
        let receiver = shared.subscribe(None);
        (Sender(shared), receiver)
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<FifoWatch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.wakers().receivers == 0 {
            return Err(SendError(value));
        }
        *self.0.write() = value;
        self.0.changed();
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let modified = modify(&mut self.0.write());
        if modified {
            self.0.changed();
        }
        modified
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        Ref(self.0.read())
    }

    fn subscribe(&self) -> Receiver<T> {
        self.0.subscribe(None)
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<FifoWatch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        poll_fn(|cx| {
            let mut wakers = self.shared.wakers();
            if wakers.version != self.seen {
                self.seen = wakers.version;
                return Poll::Ready(Ok(()));
            }
            if wakers.senders == 0 {
                return Poll::Ready(Err(RecvError(())));
            }
            wakers.waiting.insert(self.id, cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.read();
        self.seen = self.shared.wakers().version;
        Ref(value)
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.wakers().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waiting = {
            let mut wakers = self.0.wakers();
            wakers.senders -= 1;
            if wakers.senders > 0 {
                return;
            }
            std::mem::take(&mut wakers.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.subscribe(Some(self.seen))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut wakers = self.shared.wakers();
        wakers.receivers -= 1;
        wakers.waiting.remove(&self.id);
    }
}
