//! The processes under test: started, measured, stopped for a while, killed.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Nodes of each cluster.
pub(crate) const NODES: usize = 3;

/// How a process is started, again and again with the same words.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
    /// Where it runs, and where what it says is kept.
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
}

/// A process that ends with its owner, however that ends.
#[derive(Debug)]
pub(crate) struct Server {
    program: Program,
    child: Option<Child>,
}

/// The three nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Servers(pub(crate) Vec<Server>);

/// What processes have used since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Processor time, user and system, in µs; to a clock tick, which is 10 ms.
    pub(crate) cpu_us: f64,
    /// Bytes for disks that the process caused, in whole pages.
    pub(crate) disk_bytes: u64,
}

impl Usage {
    /// What was used since an earlier moment.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_us: self.cpu_us - before.cpu_us,
            disk_bytes: self.disk_bytes.saturating_sub(before.disk_bytes),
        }
    }
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.args)
            .current_dir(&self.folder)
            .env_clear()
            .env("HOME", &self.folder)
            .stdin(Stdio::null());
        command
    }

    /// Runs to its end; its standard output.
    pub(crate) fn run(&self) -> Result<String> {
        let output = self.command().output();
        let output = output.with_context(|| format!("cannot start {}", self.path.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{} {} failed: {said}",
            self.name,
            self.args.join(" ")
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }
}

impl Server {
    pub(crate) fn start(program: Program) -> Result<Self> {
        let mut server = Self {
            program,
            child: None,
        };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it after it was killed.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.program.log())
            .context("cannot open a server's log")?;
        let child = self
            .program
            .command()
            .stdout(log.try_clone().context("cannot share a server's log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.path.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Ends it at once, as a power cut of its machine would.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().context("the server does not run")?;
        child.kill().context("cannot kill a server")?;
        child.wait().context("cannot wait for a server")
    }

    /// Fails with the last words of a server that has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        if let Some(status) = child.try_wait().context("cannot look after a server")? {
            let said = fs::read_to_string(self.program.log()).unwrap_or_default();
            let tail: Vec<_> = said.lines().rev().take(5).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            bail!(
                "{} has ended ({status}): {}",
                self.program.name,
                tail.join("\n")
            );
        }
        Ok(())
    }

    fn pid(&self) -> Result<u32> {
        let child = self.child.as_ref().context("the server does not run")?;
        Ok(child.id())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw);
        let pid = pid.context("a process without a number")?;
        kill_process(pid, signal).context("cannot signal a server")
    }

    fn usage(&self) -> Result<Usage> {
        let folder = PathBuf::from(format!("/proc/{}", self.pid()?));
        let read = |name| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let ticks = cpu_ticks(&read("stat")?).context("an unknown form of /proc/PID/stat")?;
        let per_second = rustix::param::clock_ticks_per_second();
        let disk_bytes = disk_bytes(&read("io")?).context("an unknown form of /proc/PID/io")?;
        Ok(Usage {
            cpu_us: ticks as f64 * 1e6 / per_second as f64,
            disk_bytes,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Servers {
    /// Keeps them from running while another cluster is measured.
    pub(crate) fn pause(&self) -> Result<()> {
        self.0.iter().try_for_each(|s| s.signal(Signal::STOP))
    }

    /// Lets them go on.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.0.iter().try_for_each(|s| s.signal(Signal::CONT))
    }

    /// What all of them together have used.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let mut sum = Usage::default();
        for server in &self.0 {
            let usage = server.usage()?;
            sum.cpu_us += usage.cpu_us;
            sum.disk_bytes += usage.disk_bytes;
        }
        Ok(sum)
    }

    pub(crate) fn check(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(Server::check)
    }
}

/// User and system time in clock ticks. The name of the process stands in brackets before, and may
/// hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<_> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(ticks(11)? + ticks(12)?)
}

fn disk_bytes(io: &str) -> Option<u64> {
    let line = io.lines().find_map(|l| l.strip_prefix("write_bytes: "))?;
    line.parse().ok()
}

/// Ports in a row that nobody listens on, so that one number says them all.
pub(crate) fn free_ports(count: u16) -> Result<u16> {
    let start =
        20_000 + u16::try_from(std::process::id() % 20_000).context("a number below 2^16")?;
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (start..60_000)
        .step_by(usize::from(count))
        .find(|base| (*base..base + count).all(free))
        .context("no ports are free")
}

/// The file of a program: as named, or from the folders of `PATH`.
pub(crate) fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_a_process() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 3 4 20 0 9 0 8 9 9";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (x) S 1"), None);
        let io = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        assert_eq!(disk_bytes(io), Some(4096));
    }

    #[test]
    fn a_server_ends_with_its_owner_also_when_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program {
            path: find(Path::new("sleep")).unwrap(),
            args: vec!["60".to_owned()],
            folder: folder.path().to_owned(),
            name: "sleep".to_owned(),
        };
        let mut servers = Servers(vec![Server::start(program).unwrap()]);
        servers.check().unwrap();
        assert!(servers.usage().is_ok());
        servers.pause().unwrap();
        let process = PathBuf::from(format!("/proc/{}", servers.0[0].pid().unwrap()));
        assert!(process.exists());
        drop(servers);
        assert!(!process.exists());
    }
}
