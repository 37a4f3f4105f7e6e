//! The real binary as a process of its own, in a folder of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use base::db::Location;
use parts::http::Client;

use crate::harness::{PASSWORD, folder};

/// An installation: its folder, which goes with it, and its variables.
pub struct Program {
    pub folder: PathBuf,
    env: BTreeMap<String, String>,
    /// Goes before the program's own name.
    before: Vec<String>,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Left {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Program {
    /// With the database of the engine under test.
    pub async fn new() -> Self {
        let program = Self::on_sqlite();
        match parts::postgres::database().await.unwrap() {
            Some(url) => program.set("DATABASE_URL", &url),
            None => program,
        }
    }

    /// With SQLite in its data folder, whatever the engine under test.
    pub fn on_sqlite() -> Self {
        let env = [
            ("ANTEROOM_PROFILE", "testing"),
            ("ANTEROOM_LISTEN", "127.0.0.1:0"),
            ("ANTEROOM_PASSWORDS__MEMORY_KIB", "64"),
            ("ANTEROOM_PASSWORDS__ITERATIONS", "1"),
            ("ANTEROOM_MODELS__DETECT_LOCAL", "false"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { folder: folder(), env: env.into(), before: Vec::new() }
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// As a user without any rights, where the tests run as root.
    pub fn unprivileged(mut self) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
            self.before = words.map(str::to_owned).to_vec();
        }
        self
    }

    /// Where its database is.
    pub fn location(&self) -> Location {
        match self.env.get("DATABASE_URL") {
            Some(url) => Location::Postgres { url: url.clone(), connections: 1 },
            None => Location::Sqlite(self.folder.join("data/anteroom.db")),
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_anteroom");
        let mut command = match self.before.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.args(arguments).current_dir(&self.folder).env_clear().envs(&self.env);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stderr(File::options().create(true).append(true).open(self.folder.join("stderr")).unwrap());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Left {
        let _ = std::fs::remove_file(self.folder.join("stderr"));
        let out = self.folder.join("stdout");
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(File::create(&out).unwrap())
            .spawn()
            .unwrap();
        // Who does not read it is not interested.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let code = ended(&mut child).await.code();
        Left { code, out: std::fs::read_to_string(out).unwrap(), err: self.log() }
    }

    /// Makes an account.
    pub async fn account(&self, username: &str, role: &str) {
        let email = format!("{username}@example.org");
        let arguments =
            ["user", "create", "--username", username, "--email", &email, "--role", role, "--password-stdin"];
        let left = self.run(&arguments, PASSWORD).await;
        assert_eq!(left.code, Some(0), "{left:?}");
    }

    /// Starts the server and waits until it says where it is.
    pub async fn serve(&self) -> Server {
        let mut child = self.command(&[]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (out, said) = tokio::task::spawn_blocking(move || {
            let mut said = String::new();
            let _ = out.read_line(&mut said);
            (out, said)
        })
        .await
        .unwrap();
        let base = said.trim().strip_prefix("Anteroom is at ").map(str::to_owned);
        let base = base.unwrap_or_else(|| panic!("it said {said:?} and {}", self.log()));
        Server { child, out, base }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    pub base: String,
}

impl Server {
    pub fn client(&self) -> Client {
        Client::new(&self.base)
    }

    /// Someone signed in, and the token for forms.
    pub async fn sign_in(&self, username: &str) -> (Client, String) {
        let client = self.client();
        let body = serde_json::json!({ "username_or_email": username, "password": PASSWORD });
        let reply = client.post_json("/login", None, &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let csrf = reply.json()["csrf_token"].as_str().unwrap().to_owned();
        (client, csrf)
    }

    /// The set-up link's path, from the lines after the first.
    pub fn setup_path(&mut self) -> String {
        let mut line = String::new();
        while !line.contains("/setup?token=") {
            line.clear();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "no set-up link is printed");
        }
        line.trim().strip_prefix(&self.base).unwrap().to_owned()
    }

    /// `kill -9`
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// `kill -TERM`
    pub fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        ended(&mut self.child).await
    }
}

async fn ended(child: &mut Child) -> ExitStatus {
    let waited = tokio::time::timeout(parts::PATIENCE, async {
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let waited = waited.await;
    if waited.is_err() {
        let _ = child.kill();
    }
    waited.unwrap_or_else(|_| panic!("the program did not end"))
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
