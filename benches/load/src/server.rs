//! The application's program, and others, as processes that end with this one's work.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base::Clock;

use crate::Result;
use crate::client::Connection;

/// How long a process may take to answer its first request, in microseconds.
const PATIENCE: i64 = 120_000_000;

/// A running process that listens on loopback. Killed when dropped.
pub struct Process {
    child: Child,
    pub port: u16,
    /// From its start to its first answer, in microseconds.
    pub started_in: i64,
}

/// How the application is started.
#[derive(Clone)]
pub struct Setup {
    pub binary: PathBuf,
    /// Its working folder; the data folder stands in it.
    pub folder: PathBuf,
    pub env: Vec<(String, String)>,
}

impl Setup {
    /// The application in a folder of its own under `work`, which is made.
    pub fn new(binary: &Path, work: &Path, name: &str) -> Result<Self> {
        let folder = work.join(name);
        std::fs::create_dir_all(folder.join("data"))?;
        Ok(Self { binary: binary.to_owned(), folder, env: Vec::new() })
    }

    /// With a variable.
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Where the database is.
    pub fn location(&self) -> base::db::Location {
        match self.env.iter().find(|(name, _)| name == "DATABASE_URL") {
            Some((_, url)) => base::db::Location::Postgres { url: url.clone(), connections: 4 },
            None => base::db::Location::Sqlite(self.folder.join("data/anteroom.db")),
        }
    }

    /// Starts it; comes back when `/healthz` answers. Its log goes to a file, as a service's does.
    pub async fn start(&self, clock: &Clock) -> Result<Process> {
        let port = parts::free_address()?.port();
        let mut command = Command::new(&self.binary);
        command.env("ANTEROOM_LISTEN", format!("127.0.0.1:{port}")).envs(self.env.iter().cloned());
        Process::start(command, &self.folder, port, "/healthz", clock).await
    }
}

impl Process {
    /// Starts a program with nothing of this process's environment but `PATH`, `HOME` and what the command sets; comes
    /// back when it answers a GET of `path`.
    pub async fn start(
        mut command: Command,
        folder: &Path,
        port: u16,
        path: &str,
        clock: &Clock,
    ) -> Result<Self> {
        let log = std::fs::File::create(folder.join("log"))?;
        let own: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let kept = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.env_clear().envs(kept).envs(own);
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let before = clock.monotonic();
        let mut process = Self { child: command.spawn()?, port, started_in: 0 };
        loop {
            if answers(port, path).await {
                process.started_in = clock.monotonic() - before;
                return Ok(process);
            }
            if let Some(status) = process.child.try_wait()? {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                let mut last: Vec<&str> = log.lines().rev().take(12).collect();
                last.reverse();
                return Err(format!("the program ended at its start ({status}): {}", last.join("\n")).into());
            }
            if clock.monotonic() - before > PATIENCE {
                return Err("the program does not answer".into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the application offers this model to the person: models are listed in the background at its start.
    pub async fn offers(&self, model: &str, cookie: &str) -> Result<()> {
        let mut connection = Connection::open(self.port).await?;
        let option = format!("value=\"{model}\"");
        for _ in 0..300 {
            if connection.send("GET", "/chat", cookie, "").await?.text().contains(&option) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("the model {model} is not offered").into())
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> Result<i64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Processor time that it took so far, in microseconds; the kernel counts hundredths of a second.
    pub fn processor(&self) -> Result<i64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in brackets, may hold anything.
        let (_, rest) = stat.rsplit_once(')').ok_or("no stat")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let [user, system] =
            [fields.get(11), fields.get(12)].map(|field| field.copied().unwrap_or("0").parse::<i64>());
        Ok((user? + system?) * 10_000)
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        for _ in 0..1500 {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err("the program does not stop".into())
    }
}

async fn answers(port: u16, path: &str) -> bool {
    let reply = async { Connection::open(port).await?.send("GET", path, "", "").await };
    matches!(tokio::time::timeout(Duration::from_secs(5), reply).await, Ok(Ok(reply)) if reply.status == 200)
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is no matter.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
