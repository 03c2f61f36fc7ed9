//! Panics for which Rust ends the whole process.
//!
//! A database that meets a damaged page may panic, and once more in a destructor while that unwinds.
//! Of a real process nothing is left then. Here every other run would go with it; so the thread stands
//! still for ever instead, with all that its run has used, and only that run is over.

use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::{Once, mpsc};

use tidegate_runtime::sim::is_contained;

/// What std says when a destructor panics while another panic unwinds.
const IN_CLEANUP: &str = "panic in a destructor during cleanup";

/// Nothing is left of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abort {
    /// It was over the call on a damaged disk; otherwise a bug.
    pub(crate) contained: bool,
}

type Tell = Box<dyn FnOnce(Abort)>;

thread_local! {
    /// How the thread of a run tells that it is at its end.
    static TELL: RefCell<Option<Tell>> = const { RefCell::new(None) };
}

/// Runs something in a thread of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "outside the simulator: a fresh thread for each run"
)]
pub(crate) fn in_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Abort> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // First, since the test runner's own hook locks the output for good then.
            stand_still(panic);
            // What is contained is no news: the node's end stands in the record.
            if !is_contained() {
                usual(panic);
            }
        }));
    });
    let (ends, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let aborts = ends.clone();
        // Whoever waits for the end is there until it hears of it.
        let tell = move |abort| drop(aborts.send(Err(abort)));
        TELL.set(Some(Box::new(tell)));
        let done = work();
        TELL.take();
        drop(ends.send(Ok(done)));
    });
    match ended.recv() {
        Ok(Err(abort)) => Err(abort),
        Ok(Ok(done)) => {
            // The memory of the thread is free before the next run begins.
            let _ = thread.join();
            Ok(done)
        }
        Err(_) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("a thread that ends tells before"),
        },
    }
}

fn stand_still(panic: &PanicHookInfo<'_>) {
    if panic.payload_as_str() != Some(IN_CLEANUP) {
        return;
    }
    let Some(tell) = TELL.take() else {
        return;
    };
    tell(Abort {
        contained: is_contained(),
    });
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use madsim::runtime::{Handle, Runtime};
    use tidegate_runtime::sim::{contain, set_damaged};

    use super::*;

    /// As redb's pages do, whose cache is poisoned by the first panic.
    struct PanicsInDrop;

    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            assert!(!std::thread::panicking(), "and once more");
        }
    }

    fn panics_twice() {
        let _page = PanicsInDrop;
        unreachable!("a page makes no sense");
    }

    #[test]
    fn what_is_done_is_answered() {
        assert_eq!(in_own_thread(|| 7), Ok(7));
    }

    #[test]
    fn a_panic_in_a_panic_ends_its_thread_alone() {
        in_own_process("a_panic_in_a_panic_ends_its_thread_alone", || {
            assert_eq!(in_own_thread(panics_twice), Err(Abort { contained: false }));
        });
    }

    #[test]
    fn on_a_damaged_disk_that_is_no_bug() {
        in_own_process("on_a_damaged_disk_that_is_no_bug", || {
            let aborted = in_own_thread(|| {
                Runtime::new().block_on(async {
                    let node = Handle::current().create_node().build().id();
                    set_damaged(node);
                    contain(node, panics_twice).is_ok()
                })
            });
            assert_eq!(aborted, Err(Abort { contained: true }));
        });
    }

    /// A thread that stands still in the hook keeps the hook, for which the test runner would wait
    /// at its end.
    fn in_own_process(test: &str, check: impl FnOnce()) {
        const ALONE: &str = "TIDEGATE_TEST_ALONE";
        if std::env::var_os(ALONE).is_some() {
            check();
            std::process::exit(0);
        }
        let name = format!("aborts::tests::{test}");
        let alone = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name])
            .env(ALONE, "1")
            .output()
            .unwrap();
        assert!(alone.status.success(), "{alone:?}");
    }
}
