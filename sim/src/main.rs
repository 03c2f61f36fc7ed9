//! The simulator's command line: runs seeds and schedules, and says what broke.

#[cfg(madsim)]
mod chaos;
#[cfg(madsim)]
mod command;

/// A run makes and drops millions of small things, all in one thread.
#[cfg(madsim)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Times of log lines: the simulated ones.
#[cfg(madsim)]
struct SimulatedTime;

#[cfg(madsim)]
impl tracing_subscriber::fmt::time::FormatTime for SimulatedTime {
    fn format_time(
        &self,
        out: &mut tracing_subscriber::fmt::format::Writer<'_>,
    ) -> std::fmt::Result {
        match madsim::time::TimeHandle::try_current() {
            Some(time) => write!(out, "{:>11.6}", time.elapsed().as_secs_f64()),
            None => Ok(()),
        }
    }
}

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    // Whoever reads the first lines alone, as `head` does, ends this process without a word.
    sigpipe::reset();
    // Unless somebody asks, nobody listens: what nodes would log is not even put together.
    if let Ok(directives) = std::env::var("RUST_LOG") {
        let filter = match directives.parse::<tracing_subscriber::EnvFilter>() {
            Ok(filter) => filter,
            Err(error) => {
                eprintln!("tidegate-sim: RUST_LOG: {error}");
                return std::process::ExitCode::from(2);
            }
        };
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_timer(SimulatedTime)
            .with_writer(std::io::stderr)
            .init();
    }
    command::main()
}

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    eprintln!("tidegate-sim: this is a real build; build it with RUSTFLAGS='--cfg madsim'");
    std::process::ExitCode::from(2)
}
