//! A running application with people in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use accounts::{NewAccount, Principal, SecondFactorRules, SessionToken};
use anteroom::app::{App, Outside};
use anteroom::config::{Config, Flags};
use anteroom::{jobs, joining, serve};
use base::{Clock, Random};
use parts::http::{Client, Reply};
use parts::mail::Mail;
use parts::model::ModelStub;
use tokio::net::TcpListener;

/// 20 Nov 2026, 12:00 UTC.
pub const NOW: i64 = 1_795_176_000_000_000;
/// A password that passes the rules.
pub const PASSWORD: &str = "tern-oxbow-quarry-17";

/// The application, listening on loopback with a clock that only tests move.
pub struct TestApp {
    pub app: App,
    pub clock: Clock,
    pub base: String,
    pub folder: PathBuf,
    /// The model server behind it, where the test has one.
    pub models: Option<ModelStub>,
}

/// What a test wants otherwise.
#[derive(Default)]
pub struct Wishes {
    env: BTreeMap<String, String>,
    models: bool,
}

impl Wishes {
    /// The limits of sign-up and sign-in out of the way.
    pub fn unlimited() -> Self {
        let names = ["SIGN_UP_IP", "SIGN_IN_IP", "SIGN_IN_ACCOUNT_IP"];
        names
            .iter()
            .fold(Self::default(), |wishes, name| wishes.set(&format!("ANTEROOM_LIMITS__{name}"), "1000000"))
    }

    /// A setting, by its variable.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The stub model server as the upstream `openai`, its models listed.
    pub fn models(mut self) -> Self {
        self.models = true;
        self
    }

    pub async fn start(mut self) -> TestApp {
        let folder = folder();
        let models = if self.models { Some(ModelStub::start().await.unwrap()) } else { None };
        if let Some(models) = &models {
            self.env.insert("OPENAI_BASE_URL".into(), models.base_url());
            self.env.entry("OPENAI_API_KEY".into()).or_insert_with(|| "sk-test-key-of-the-stub".into());
        }
        if let Some(url) = parts::postgres::database().await.unwrap() {
            self.env.insert("DATABASE_URL".into(), url);
            self.env.entry("ANTEROOM_DATABASE__CONNECTIONS".into()).or_insert_with(|| "6".into());
        }
        // Cheap hashes; one test asserts the real ones.
        for (name, value) in [
            ("ANTEROOM_PROFILE", "testing"),
            ("ANTEROOM_PASSWORDS__MEMORY_KIB", "64"),
            ("ANTEROOM_PASSWORDS__ITERATIONS", "1"),
            ("ANTEROOM_PASSWORDS__HASH_QUEUE", "200"),
            ("ANTEROOM_MODELS__DETECT_LOCAL", "false"),
            ("ANTEROOM_LISTEN", "127.0.0.1:0"),
        ] {
            self.env.entry(name.into()).or_insert_with(|| value.into());
        }
        let (mut config, _) =
            Config::load(&Flags::default(), &self.env, &folder).unwrap_or_else(|e| panic!("{e}"));
        let listener = TcpListener::bind(config.server.listen).await.unwrap();
        config.bound_to(listener.local_addr().unwrap());
        let base = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let clock = Clock::manual(NOW);
        let outside = Outside { clock: clock.clone(), random: Random::os(), demo_pace: Some(Duration::ZERO) };
        let app = App::build(config, outside).await.unwrap_or_else(|error| panic!("{error}"));
        app.models.sync_config(&app).await.unwrap();
        if models.is_some() {
            app.models.refresh(&app).await;
        }
        let running = jobs::spawn(&app);
        let serving = app.clone();
        tokio::spawn(async move {
            serve::serve(&serving, listener).await;
            running.finish(&serving).await;
        });
        TestApp { app, clock, base, folder, models }
    }
}

/// A folder of its own for each application.
pub fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("anteroom-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl TestApp {
    pub async fn start() -> Self {
        Wishes::default().start().await
    }

    /// Someone who is not signed in.
    pub fn anon(&self) -> Client {
        Client::new(&self.base)
    }

    /// A person with the role User, signed in.
    pub async fn user(&self, username: &str) -> Client {
        self.person(username, "User").await
    }

    /// An Admin, signed in.
    pub async fn admin(&self) -> Client {
        self.person("root", "Admin").await
    }

    /// A new account, signed in.
    pub async fn person(&self, username: &str, role: &str) -> Client {
        self.account(username, role).await;
        let client = self.anon();
        let reply = self.sign_in(&client, username).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        client
    }

    /// A new account; gives its id.
    pub async fn account(&self, username: &str, role: &str) -> String {
        let new = NewAccount {
            first_name: "Given".into(),
            last_name: "Family".into(),
            username: username.into(),
            email: format!("{username}@example.org"),
            password: PASSWORD.into(),
        };
        match joining::create(&self.app, &new, role).await {
            Ok(user) => {
                self.app.setup_done();
                user.id
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Signs in by JSON.
    pub async fn sign_in(&self, client: &Client, who: &str) -> Reply {
        self.sign_in_with(client, who, PASSWORD).await
    }

    pub async fn sign_in_with(&self, client: &Client, who: &str, password: &str) -> Reply {
        let body = serde_json::json!({ "username_or_email": who, "password": password });
        client.post_json("/login", None, &body).await
    }

    /// The token for `X-CSRFToken`.
    pub async fn csrf(&self, client: &Client) -> String {
        client.get_json("/api/v1/csrf").await.json()["csrf_token"].as_str().unwrap().to_owned()
    }

    /// Posts a form with a fresh token.
    pub async fn post(&self, client: &Client, path: &str, fields: &[(&str, &str)]) -> Reply {
        let token = self.csrf(client).await;
        let mut all = vec![("csrf_token", token.as_str())];
        all.extend_from_slice(fields);
        client.post(path, &all).await
    }

    /// Sends a prompt to a new chat and gives the chat's path.
    pub async fn prompt(&self, client: &Client, model: &str, prompt: &str) -> String {
        let reply = self.post(client, "/chat", &[("prompt", prompt), ("model", model)]).await;
        assert_eq!(reply.status, 303, "{reply:?}");
        reply.location().unwrap().to_owned()
    }

    /// Every mail queued so far, as its file in the data folder has it: kind and message.
    pub async fn mails(&self) -> Vec<(String, Mail)> {
        let sent = tokio::time::timeout(parts::PATIENCE, async {
            while self.app.accounts.waiting_mail_count().await.unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        sent.await.unwrap_or_else(|_| panic!("a mail still waits"));
        let Ok(files) = std::fs::read_dir(self.folder.join("data/mail")) else { return Vec::new() };
        let mut names: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        names.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        names.sort();
        let read = |path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let kind = name.split_once("Z-").unwrap().1.split_once('-').unwrap().0.to_owned();
            let data = std::fs::read_to_string(path).unwrap();
            let mut mail = Mail { from: String::new(), to: Vec::new(), data };
            mail.to.extend(mail.header("To"));
            (kind, mail)
        };
        names.into_iter().map(read).collect()
    }

    /// The mails of one kind to one address.
    pub async fn mails_to(&self, kind: &str, address: &str) -> Vec<Mail> {
        let is_it = |(of, mail): (String, Mail)| {
            (of == kind && mail.to.iter().any(|to| to.contains(address))).then_some(mail)
        };
        self.mails().await.into_iter().filter_map(is_it).collect()
    }

    /// Opens a page again until it shows what is waited for.
    pub async fn page_until(&self, client: &Client, path: &str, ready: impl Fn(&str) -> bool) -> String {
        let mut page = String::new();
        let waited = tokio::time::timeout(parts::PATIENCE, async {
            loop {
                page = client.get(path).await.body;
                if ready(&page) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain for {path}; it shows {page}");
        page
    }

    /// No role requires a second factor: for what happens long after the Admins' days of grace.
    pub async fn no_requirement(&self) {
        let none = base::sql!("UPDATE roles SET second_factor_required = FALSE");
        self.app.db.run(none, &[]).await.unwrap();
    }

    /// Puts an authenticator app in place for this account; gives its secret. The code of this very
    /// moment is not spent.
    pub async fn totp(&self, user_id: &str) -> String {
        let pending = self.app.accounts.begin_totp(user_id, "test", "test").await.unwrap();
        let confirm =
            base::sql!("UPDATE totp_factors SET confirmed_at = $2, expires_at = NULL WHERE user_id = $1");
        self.app.db.run(confirm, base::args![user_id, self.clock.now()]).await.unwrap();
        pending.secret
    }

    /// What an authenticator app with this secret shows so many steps of 30 seconds from now.
    pub fn code(&self, secret: &str, steps: i64) -> String {
        parts::totp::code(secret, self.clock.now() / base::SECOND + 30 * steps)
    }

    /// Whose session a client holds, as the application sees it.
    pub async fn principal(&self, client: &Client) -> Principal {
        let token = SessionToken::from_cookie(&client.cookie("anteroom").unwrap()).unwrap();
        self.app.accounts.principal(&token).await.unwrap().unwrap()
    }

    /// A new User with an authenticator app: the secret and the backup codes that came with it. The codes of this
    /// moment are not spent.
    pub async fn with_app(&self, username: &str) -> (String, Vec<String>) {
        let client = self.person(username, "User").await;
        let principal = self.principal(&client).await;
        let accounts = &self.app.accounts;
        let secret =
            accounts.begin_totp(&principal.user_id, &principal.session.id, "test").await.unwrap().secret;
        let here = accounts::Client::new([127, 0, 0, 1].into(), "test");
        let added = accounts.confirm_totp(&principal, &self.code(&secret, 0), &here).await.unwrap();
        // The confirming code was spent, and with it the one before.
        self.clock.advance(60 * base::SECOND);
        (secret, added.backup_codes.unwrap())
    }

    /// A new User with codes by e-mail, which are allowed here from now on.
    pub async fn with_email_codes(&self, username: &str) {
        let rules = SecondFactorRules { email_codes: true, ..SecondFactorRules::default() };
        self.app.accounts.save_second_factor("test", &rules).await.unwrap();
        let client = self.person(username, "User").await;
        let here = accounts::Client::new([127, 0, 0, 1].into(), "test");
        self.app.accounts.set_email_codes(&self.principal(&client).await, true, &here).await.unwrap();
    }

    /// The code of the newest mail with one.
    pub async fn mailed_code(&self, username: &str) -> String {
        let mail = self.mails_to("email_code", &format!("{username}@example.org")).await.pop().unwrap();
        let text = mail.text();
        let mut words = text.split(|c: char| !c.is_ascii_digit());
        words.find(|word| word.len() == 8).unwrap_or_else(|| panic!("no code in {text}")).to_owned()
    }

    /// Someone whose password was right and whose second factor is still to come.
    pub async fn challenged(&self, username: &str) -> Client {
        let client = self.anon();
        let reply = self.sign_in(&client, username).await;
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(reply.json()["type"], "/problems/second-factor-required");
        client
    }

    /// Answers a challenge by JSON.
    pub async fn answer(&self, client: &Client, code: &str) -> Reply {
        client.post_json("/login/2fa", None, &serde_json::json!({ "code": code })).await
    }

    /// Waits until no answer is being written any more.
    pub async fn settle(&self) {
        let waited = tokio::time::timeout(parts::PATIENCE, async {
            while self.app.engine.live_count() > 0 {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("an answer is still being written"));
    }

    /// The model server.
    pub fn stub(&self) -> &ModelStub {
        self.models.as_ref().unwrap_or_else(|| panic!("this test has no model server"))
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.app.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
