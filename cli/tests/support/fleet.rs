//! A cluster of real processes in a folder, as `tidegate init` makes it.
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real processes on real time"
)]
use super::{Ran, done, run};
use serde_json::Value as Json;
use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with the test, however it ends. What it says is in `NAME.out` and `NAME.err`.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    /// Asks it to end, and waits until it has; its exit code.
    pub(crate) fn end(mut self) -> i32 {
        self.signal("TERM");
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Fleet<'a> {
    pub(crate) folder: &'a Path,
}

impl<'a> Fleet<'a> {
    /// The files of a cluster with a node in each region; nothing runs.
    pub(crate) fn init(folder: &'a Path, regions: &str) -> Self {
        let port = free_ports().to_string();
        let init = ["init", "fleet", "--origin", "fleet.example"];
        let where_ = ["--regions", regions, "--port", &port];
        done(folder, &[&init[..], &where_].concat());
        Self { folder }
    }

    /// A cluster of one node after its key ceremony.
    pub(crate) fn single(folder: &'a Path) -> (Self, Process) {
        let fleet = Self::init(folder, "eu-west");
        let node = fleet.serve(1);
        fleet.eventually(&["cluster", "status"], |status| status["quorum"] == true);
        fleet.done(&["approval", "submit", "fleet/epoch-1.command"]);
        fleet.done(&["approval", "submit", "fleet/members.command"]);
        (fleet, node)
    }

    /// Starts a process, which is named after the file of its configuration.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let name = arguments.last().unwrap().replace(['/', '.'], "-");
        let log = |what| File::create(self.folder.join(format!("{name}.{what}"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(arguments)
            .current_dir(self.folder)
            .env_remove("RUST_LOG")
            .stdout(log("out"))
            .stderr(log("err"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Process { child }
    }

    /// Starts a store node, and waits until it listens.
    pub(crate) fn serve(&self, node: u8) -> Process {
        let config = format!("fleet/node-{node}.toml");
        let process = self.start(&["serve", "--config", &config]);
        self.says(&format!("fleet-node-{node}-toml.out"), "serves on");
        process
    }

    /// Waits until a process has said something.
    pub(crate) fn says(&self, file: &str, words: &str) {
        let began = Instant::now();
        while !self.log(file).contains(words) {
            assert!(
                began.elapsed() < PATIENCE,
                "{file} says no {words:?}: {}",
                self.log(file)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a process has said so far.
    pub(crate) fn log(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let settings = ["--settings", "fleet/tidegate.toml", "--json"];
        run(self.folder, &[arguments, &settings].concat())
    }

    pub(crate) fn done(&self, arguments: &[&str]) -> Json {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.json()
    }

    /// Runs a command as people do, and gives what it says to them.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let settings = ["--settings", "fleet/tidegate.toml"];
        done(self.folder, &[arguments, &settings].concat()).stdout
    }

    pub(crate) fn refused(&self, arguments: &[&str], says: &str) {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 1, "{arguments:?}: {ran:?}");
        assert!(
            ran.stderr.contains(says),
            "{arguments:?} does not say {says:?}: {ran:?}"
        );
    }

    /// Runs a command until it succeeds and its answer is as wanted.
    pub(crate) fn eventually(&self, arguments: &[&str], wanted: impl Fn(&Json) -> bool) {
        let began = Instant::now();
        loop {
            let ran = self.run(arguments);
            if ran.code == 0 && wanted(&ran.json()) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{arguments:?}: {ran:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Signs a release of a component, without registering it.
    pub(crate) fn sign(&self, name: &str, version: &str, security: &str) -> String {
        let payload = format!("{name}.bin");
        fs::write(self.folder.join(&payload), name).unwrap();
        let file = format!("{name}.release");
        let key = ["--key", "fleet/keys/release-1.key"];
        let what = ["--name", name, "--kind", "model"];
        let of = ["--component", "detector-model"];
        let versions = ["--release-version", version, "--security-version", security];
        let from = ["--payload", &payload, "--url", "https://cdn.example"];
        let sign = ["release", "sign", &file];
        self.done(&[&sign[..], &key, &what, &of, &versions, &from].concat());
        file
    }

    pub(crate) fn release(&self, name: &str, version: &str, security: &str) {
        let file = self.sign(name, version, security);
        self.done(&["release", "register", &file]);
    }
}

/// Lets real time pass.
pub(crate) fn wait(length: Duration) {
    std::thread::sleep(length);
}

/// Five ports in a row that nobody has, and that no other test of this process was given.
pub(crate) fn free_ports() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 20_000) as u16;
    loop {
        let base = first + 7 * GIVEN.fetch_add(1, Ordering::Relaxed);
        assert!(base < 60_000, "no free ports");
        let free = |offset| TcpListener::bind(("127.0.0.1", base + offset)).is_ok();
        if (0..5).all(free) {
            return base;
        }
    }
}
