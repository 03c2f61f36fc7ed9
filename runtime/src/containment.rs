//! Where a panic over what a disk made up comes to its end.

use std::io;

/// Catches panics of work on a disk that may hold what nobody wrote. Cheap to copy.
///
/// For code that must not panic where it stands, such as a destructor. In the simulator a panic is
/// caught only where the disk is damaged: on a sound one it is a bug, and ends the run.
#[derive(Clone, Copy, Debug)]
pub struct Containment {
    #[cfg(madsim)]
    node: madsim::task::NodeId,
}

impl Containment {
    /// For the disk of the node that runs here, wherever the work is done later.
    #[must_use]
    pub fn here() -> Self {
        Self {
            #[cfg(madsim)]
            node: madsim::plugin::node(),
        }
    }

    /// Runs `work`.
    ///
    /// # Errors
    /// It panicked, with these words.
    #[cfg(not(madsim))]
    pub fn run<T>(self, work: impl FnOnce() -> T) -> io::Result<T> {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.map_err(|panic| {
            let said = panic.downcast_ref::<&str>().copied();
            let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            io::Error::other(said.unwrap_or("a panic without words").to_owned())
        })
    }

    /// Runs `work`.
    ///
    /// # Errors
    /// It panicked, and the disk is damaged.
    #[cfg(madsim)]
    pub fn run<T>(self, work: impl FnOnce() -> T) -> io::Result<T> {
        crate::sim::contain(self.node, work)
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_words() {
        let containment = Containment::here();
        assert_eq!(containment.run(|| 7).unwrap(), 7);
        let panicked = containment.run(|| assert_eq!(1, 2, "page 3 makes no sense"));
        let said = panicked.unwrap_err().to_string();
        assert!(said.contains("page 3 makes no sense"), "{said}");
    }
}
