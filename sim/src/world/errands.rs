//! What the world does by itself, on no machine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use madsim::task::AbortHandle;

/// Tasks that end with the run at the latest. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Errands(Arc<Mutex<Vec<AbortHandle>>>);

impl Errands {
    pub(crate) fn spawn(&self, errand: impl Future<Output = ()> + Send + 'static) {
        let task = madsim::task::spawn(errand);
        self.tasks().push(task.abort_handle());
    }

    /// The run is over.
    pub(crate) fn end(&self) {
        self.tasks().drain(..).for_each(|task| task.abort());
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
