//! Nodes whose disk holds what nobody wrote. A database that meets it may panic; in a real process
//! that ends the blocking call and not the world.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use madsim::task::NodeId;

thread_local! {
    // One simulation owns one thread.
    static DAMAGED: RefCell<BTreeSet<NodeId>> = const { RefCell::new(BTreeSet::new()) };
    /// What runs now is a call on such a disk.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// From now on the disk of `node` is not to be believed: panics in its blocking calls stay there.
/// On a sound disk a panic is a bug, and ends the run.
pub fn set_damaged(node: NodeId) {
    DAMAGED.with_borrow_mut(|damaged| damaged.insert(node));
}

/// Whether the disk of `node` is not to be believed.
#[must_use]
pub fn is_damaged(node: NodeId) -> bool {
    DAMAGED.with_borrow(|damaged| damaged.contains(&node))
}

/// Every disk is sound again; call between two simulations on one thread.
pub fn clear_damaged() {
    DAMAGED.with_borrow_mut(BTreeSet::clear);
}

/// Runs what reads or writes the disk of `node`, whoever calls.
///
/// # Errors
/// It panicked, and the disk is damaged.
pub fn contain<T>(node: NodeId, work: impl FnOnce() -> T) -> io::Result<T> {
    if !is_damaged(node) {
        return Ok(work());
    }
    let within = CONTAINED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(within);
    done.map_err(|_| io::Error::other("a call on a damaged disk panicked"))
}

/// Whether what runs on this thread now is a call on a damaged disk, and a panic no bug.
#[must_use]
pub fn is_contained() -> bool {
    CONTAINED.get()
}

#[cfg(test)]
mod tests {
    use madsim::runtime::{Handle, Runtime};

    use super::*;

    #[test]
    fn a_panic_stays_where_the_disk_is_damaged() {
        Runtime::new().block_on(async {
            let node = Handle::current().create_node().build().id();
            let panics = || contain(node, || assert_eq!(1, 2, "a page makes no sense"));
            set_damaged(node);
            assert!(panics().is_err());
            assert_eq!(contain(node, || 7).unwrap(), 7);
            clear_damaged();
            assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        });
    }
}
