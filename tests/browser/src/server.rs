//! The real server program, in a data folder of its own.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::{Result, target_dir};

/// How long a start, a line of output or a stop may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at `/healthz`.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What the program printed, on both streams.
#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Notify,
}

impl Log {
    fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running server. Killed, and its folder removed, when dropped.
pub struct Server {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    log: Arc<Log>,
    data: TempDir,
    port: u16,
    env: Vec<(String, String)>,
}

/// The program: `ANTEROOM_TEST_BINARY`, else the one that stands beside this test's folder.
///
/// # Errors
/// Where it is not built.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("ANTEROOM_TEST_BINARY") {
        Some(path) => PathBuf::from(path),
        None => {
            let own = std::env::current_exe()?;
            own.ancestors().nth(2).ok_or("the test stands in no target folder")?.join("anteroom")
        }
    };
    if path.is_file() { Ok(path) } else { Err(format!("{} is missing: cargo build", path.display()).into()) }
}

/// Starts the server on a free port with an empty data folder, and waits until `/healthz` answers. It gets `env` and
/// nothing of this process's environment but `PATH` and `RUST_…`; it stands in its data folder, so that no `.env` or
/// `anteroom.toml` of a developer is read. Where `ANTEROOM_TEST_ENGINE` is `postgres` and `env` says nothing else, it
/// gets an empty database there.
///
/// # Errors
/// Where it does not come up; the error has what it printed.
pub async fn start(env: &[(&str, &str)]) -> Result<Server> {
    start_at(parts::free_address()?.port(), env).await
}

/// The same on that port, where something has to know the public URL before: `http://localhost:PORT`.
///
/// # Errors
/// As [`start`].
pub async fn start_at(port: u16, env: &[(&str, &str)]) -> Result<Server> {
    let data = tempfile::Builder::new().prefix("anteroom-data-").tempdir()?;
    let mut env: Vec<_> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    if !env.iter().any(|(name, _)| name == "DATABASE_URL")
        && let Some(url) = parts::postgres::database().await?
    {
        env.push(("DATABASE_URL".to_owned(), url));
    }
    let log = Arc::new(Log::default());
    let (child, readers) = spawn(data.path(), port, &env, &log)?;
    let mut server = Server { child, readers, log, data, port, env };
    server.up().await?;
    Ok(server)
}

fn command(data: &Path, env: &[(String, String)]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.env_clear().current_dir(data).env("ANTEROOM_DATA_DIR", data.join("data")).kill_on_drop(true);
    command.envs(std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        name == "PATH" || name.starts_with("RUST_")
    }));
    command.envs(env.iter().map(|(k, v)| (k, v)));
    Ok(command)
}

fn spawn(
    data: &Path,
    port: u16,
    env: &[(String, String)],
    log: &Arc<Log>,
) -> Result<(Child, Vec<JoinHandle<()>>)> {
    let mut command = command(data, env)?;
    command.arg("serve").env("ANTEROOM_LISTEN", format!("127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut readers = Vec::new();
    readers.extend(child.stdout.take().map(|out| tokio::spawn(read(out, log.clone()))));
    readers.extend(child.stderr.take().map(|out| tokio::spawn(read(out, log.clone()))));
    Ok((child, readers))
}

async fn read(out: impl AsyncRead + Unpin, log: Arc<Log>) {
    let mut lines = BufReader::new(out).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut text = log.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&line);
        text.push('\n');
        drop(text);
        log.grown.notify_waiters();
    }
}

impl Server {
    async fn up(&mut self) -> Result {
        parts::install_crypto();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let health = format!("http://127.0.0.1:{}/healthz", self.port);
        let answers = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    return Err(format!("the server ended with {status}").into());
                }
                if http.get(&health).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let result: Result =
            tokio::time::timeout(PATIENCE, answers).await.unwrap_or_else(|_| Err("no answer".into()));
        result.map_err(|error| format!("{error}; it printed:\n{}", self.log.text()).into())
    }

    /// The public URL, `http://localhost:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The data folder, which outlives [`Server::kill`].
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// Everything printed so far, since the first start.
    #[must_use]
    pub fn output(&self) -> String {
        self.log.text()
    }

    /// Waits until a line contains `part`, and gives the last such line.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn wait_line(&self, part: &str) -> Result<String> {
        let wait = async {
            loop {
                let grown = self.log.grown.notified();
                tokio::pin!(grown);
                // Registered before looking, so that no line falls between the look and the wait.
                grown.as_mut().enable();
                if let Some(line) = self.log.text().lines().rev().find(|line| line.contains(part)) {
                    return line.to_owned();
                }
                grown.await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        found.map_err(|_| format!("no line with {part:?}; it printed:\n{}", self.log.text()).into())
    }

    /// Waits until `more` further lines contain `part`.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn wait_more(&self, part: &str, more: usize) -> Result {
        let count = || self.log.text().lines().filter(|line| line.contains(part)).count();
        let wanted = count() + more;
        let wait = async {
            loop {
                let grown = self.log.grown.notified();
                tokio::pin!(grown);
                grown.as_mut().enable();
                if count() >= wanted {
                    return;
                }
                grown.await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.map_err(|_| {
            format!("not {more} more lines with {part:?}; it printed:\n{}", self.log.text()).into()
        })
    }

    /// The one-time set-up link that it printed (SEC-4).
    ///
    /// # Errors
    /// When it printed none.
    pub async fn setup_link(&self) -> Result<String> {
        let line = self.wait_line("/setup?token=").await?;
        let link = line.split_whitespace().find(|word| word.contains("/setup?token=")).unwrap_or_default();
        // The address may stand in a log field: message="… http://…".
        let start = link.find("http").ok_or_else(|| format!("no link in {line:?}"))?;
        let end = |c: char| matches!(c, '"' | '\'' | '>' | ')' | ',' | '\u{1b}');
        Ok(link[start..].split(end).next().unwrap_or_default().to_owned())
    }

    /// Ends it at once, as a crash does (SIGKILL).
    ///
    /// # Errors
    /// Where it has ended already.
    pub async fn kill(&mut self) -> Result {
        self.child.kill().await?;
        self.drain().await;
        Ok(())
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// Where it does not end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        let id = self.child.id().ok_or("the server has ended already")?;
        Command::new("kill").arg("-TERM").arg(id.to_string()).status().await?;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        self.drain().await;
        Ok(status)
    }

    async fn drain(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader ends with the stream that it reads.
            drop(reader.await);
        }
    }

    /// Starts it again after [`Server::kill`] or [`Server::stop`]: same folder, same port, same settings.
    ///
    /// # Errors
    /// As [`start`].
    pub async fn restart(&mut self) -> Result {
        (self.child, self.readers) = spawn(self.data.path(), self.port, &self.env, &self.log)?;
        self.up().await
    }

    /// Runs another subcommand of the program on the same data folder and settings, to its end.
    ///
    /// # Errors
    /// Where it cannot be run; a failure of its own is in the output's status.
    pub async fn command(&self, arguments: &[&str], stdin: &str) -> Result<Output> {
        let mut command = command(self.data.path(), &self.env)?;
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            // A program that does not read its input ends before it has all.
            drop(pipe.write_all(stdin.as_bytes()).await);
        }
        Ok(tokio::time::timeout(PATIENCE, child.wait_with_output()).await??)
    }

    /// Runs one statement on its database, beside it: how a test lets time pass for what is stored there. The
    /// program's clock is the machine's.
    ///
    /// # Errors
    /// Where the statement fails.
    pub async fn sql(&self, statement: &str) -> Result {
        match self.env.iter().find(|(name, _)| name == "DATABASE_URL") {
            Some((_, url)) => parts::postgres::execute(url, statement).await,
            None => {
                let database = rusqlite::Connection::open(self.data_dir().join("anteroom.db"))?;
                database.busy_timeout(PATIENCE)?;
                database.execute_batch(statement)?;
                Ok(())
            }
        }
    }

    /// Leaves what it printed in `target/screens/NAME.log`, beside the pictures.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn keep_output(&self, name: &str) -> Result {
        let folder = target_dir()?.join("screens");
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join(format!("{name}.log")), self.log.text())?)
    }
}
