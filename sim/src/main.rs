//! The simulator's command line: runs seeds and schedules, and says what broke.

#[cfg(madsim)]
mod chaos;
#[cfg(madsim)]
mod command;

/// A run makes and drops millions of small things, all in one thread.
#[cfg(madsim)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    command::main()
}

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    eprintln!("tidegate-sim: this is a real build; build it with RUSTFLAGS='--cfg madsim'");
    std::process::ExitCode::from(2)
}
