//! Tests of the configuration as a whole.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

mod production;
mod providers;

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A strong secret for tests.
const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// A working folder of its own, with what the sources say.
struct Given {
    folder: PathBuf,
    flags: Flags,
    env: BTreeMap<String, String>,
}

impl Given {
    fn nothing() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("anteroom-config-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder, flags: Flags::default(), env: BTreeMap::new() }
    }

    fn file(self, name: &str, text: &str) -> Self {
        self.file_with_mode(name, text, 0o600)
    }

    fn file_with_mode(self, name: &str, text: &str, mode: u32) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn toml(self, text: &str) -> Self {
        self.file("anteroom.toml", text)
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// As an operator in production would have it.
    fn production() -> Self {
        Self::nothing()
            .var("ANTEROOM_LISTEN", "0.0.0.0:5000")
            .var("ANTEROOM_PUBLIC_URL", "https://chat.example.org")
            .var("SECRET_KEY", KEY)
    }

    fn load(&self) -> Result<(Config, Vec<Warning>), ConfigError> {
        Config::load(&self.flags, &self.env, &self.folder)
    }

    fn config(&self) -> Config {
        self.load().unwrap().0
    }

    fn warnings(&self) -> String {
        self.load().unwrap().1.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    fn error(&self) -> String {
        let error = self.load().unwrap_err();
        assert!(error.lines.iter().all(|line| !line.contains('\n')), "{error}");
        error.to_string().replace(&self.folder.display().to_string(), "DIR")
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[test]
fn without_anything_it_is_a_trial_on_this_machine() {
    let given = Given::nothing();
    let (config, warnings) = given.load().unwrap();
    assert_eq!(config.profile(), Profile::Development);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(config.public_origin(), "http://localhost:5000");
    assert_eq!(config.server.data_dir, given.folder.join("data"));
    assert!(
        matches!(config.location(), Location::Sqlite(path) if path == given.folder.join("data/anteroom.db"))
    );
    assert!(!config.verification_required() && !config.is_https() && !config.host_is_ip());
    assert!(config.models.demo && config.upstreams.is_empty());
    assert_eq!(config.mail_from(), "\"Anteroom\" <anteroom@localhost>");
    assert_eq!(warnings, []);
    // Loading writes nothing.
    assert_eq!(std::fs::read_dir(&given.folder).unwrap().count(), 0);
}

#[test]
fn each_source_beats_the_one_before() {
    let mut given =
        Given::nothing().toml("[mail]\nserver = 'toml'\nport = 1\n[server]\nlisten = '127.0.0.1:1'\n");
    let server = |given: &Given| given.config().mail.server.clone();
    assert_eq!(server(&given), "toml");
    given = given.file(".env", "MAIL_SERVER=dotenv-plain\n");
    assert_eq!(server(&given), "dotenv-plain");
    given = given.file(".env", "ANTEROOM_MAIL__SERVER=dotenv\nMAIL_SERVER=dotenv-plain\n");
    assert_eq!(server(&given), "dotenv");
    given = given.var("MAIL_SERVER", "plain");
    assert_eq!(server(&given), "plain");
    given = given.var("ANTEROOM_MAIL__SERVER", "variable");
    assert_eq!(server(&given), "variable");
    assert_eq!(given.config().mail.port, 1);

    given = given.var("ANTEROOM_SERVER__LISTEN", "127.0.0.1:2");
    assert_eq!(given.config().server.listen.port(), 2);
    given.flags.listen = Some("127.0.0.1:3".to_owned());
    given.flags.data_dir = Some("elsewhere".to_owned());
    let config = given.config();
    assert_eq!(config.public_origin(), "http://localhost:3");
    assert_eq!(config.server.data_dir, given.folder.join("elsewhere"));
}

#[test]
fn another_file_can_be_named_and_must_exist() {
    let mut given = Given::nothing().toml("[mail]\nport = 1\n").file("other.toml", "[mail]\nport = 2\n");
    given = given.var("ANTEROOM_CONFIG", "other.toml");
    assert_eq!(given.config().mail.port, 2);
    given.flags.config = Some("anteroom.toml".into());
    assert_eq!(given.config().mail.port, 1);
    given.flags.config = Some("missing.toml".into());
    assert_eq!(
        given.error(),
        "DIR/missing.toml: the configuration cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn strings_stay_strings() {
    for text in ["0123456", "true", "1e5", "[a]", "{b=1}", "\"quoted\"", " blanks ", "null", "é#ü"] {
        let given = Given::nothing().var("ANTEROOM_MAIL__PASSWORD", text).var("MAIL_USERNAME", "007");
        let config = given.config();
        assert_eq!(config.mail.password.expose(), text);
        assert_eq!(config.mail.username, "007");
    }
    let given = Given::nothing().file(".env", "MAIL_USERNAME=me\nMAIL_PASSWORD=0123456\n");
    assert_eq!(given.config().mail.password.expose(), "0123456");
}

#[test]
fn values_are_read_by_the_type_of_their_key() {
    let config = Given::nothing()
        .var("MAIL_USE_TLS", "True")
        .var("MAIL_PORT", "2525")
        .var("MAIL_DEFAULT_SENDER", "loses@example.org")
        .var("MAIL_FROM", "Team <team@example.org>")
        .var("ANTEROOM_TRUSTED_PROXIES", "10.0.0.0/8, ::1,192.0.2.7")
        .var("ANTEROOM_CORS_ORIGINS", "https://app.example.org,https://b.example.org:8443")
        .var("ANTEROOM_SIGN_UP__MODE", "closed")
        .var("ANTEROOM_SIGN_UP__ALLOWED_DOMAINS", "@Example.org, bücher.example")
        .var("ANTEROOM_UPSTREAMS__LOCAL__BASE_URL", "http://localhost:11434")
        .var("OPENAI_BASE_URL", "https://api.openai.com/v1/")
        .var("OPENAI_API_KEY", "sk-1")
        .var("ANTEROOM_TEST_ENGINE", "not for us")
        .config();
    assert!(config.mail.use_tls && config.mail.smtp_port() == 2525);
    assert_eq!(config.mail_from(), "Team <team@example.org>");
    let proxies: Vec<String> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128", "192.0.2.7/32"]);
    let origins: Vec<&str> = config.server.cors_origins.iter().map(WebOrigin::as_str).collect();
    assert_eq!(origins, ["https://app.example.org", "https://b.example.org:8443"]);
    assert_eq!(config.sign_up.mode, SignUpMode::Closed);
    assert_eq!(config.sign_up.allowed_domains, ["example.org", "xn--bcher-kva.example"]);
    let upstreams: Vec<(&str, &str)> = config
        .upstreams
        .iter()
        .map(|(name, upstream)| (name.as_str(), upstream.base_url.as_ref().unwrap().0.as_str()))
        .collect();
    assert_eq!(upstreams, [("local", "http://localhost:11434/v1"), ("openai", "https://api.openai.com/v1")]);
    assert_eq!(config.upstreams["openai"].api_key.as_ref().unwrap().expose(), "sk-1");
}

#[test]
fn an_empty_variable_is_not_set_but_empties_a_text() {
    let given = Given::nothing()
        .toml("[mail]\nserver = 'a'\nfrom = 'x@y.example'\n")
        .var("DATABASE_URL", "")
        .var("MAIL_SERVER", "")
        .var("MAIL_PORT", "")
        .var("ANTEROOM_MAIL__PORT", "")
        .var("ANTEROOM_MAIL__FROM", "");
    assert_eq!(given.config().mail.server, "a");
    assert_eq!(given.config().mail.from, "");
}

#[test]
fn databases_by_url() {
    let location = |url: &str| Given::nothing().var("DATABASE_URL", url).config().location();
    assert!(matches!(location("sqlite:/a/b.db"), Location::Sqlite(path) if path == Path::new("/a/b.db")));
    assert!(matches!(location("sqlite:///a/b.db"), Location::Sqlite(path) if path == Path::new("/a/b.db")));
    assert!(matches!(location("sqlite://b.db"), Location::Sqlite(path) if path.ends_with("b.db")));
    for url in ["postgres://u:p@h/d", "postgresql://u:p@h:5433/d?sslmode=require", "postgres:///d?host=/run"]
    {
        assert!(
            matches!(location(url), Location::Postgres { url: given, connections: 16 } if given == url),
            "{url}"
        );
    }
}

#[test]
fn a_wrong_value_is_one_line_that_names_it() {
    let error = |name: &str, value: &str| Given::nothing().var(name, value).error();
    insta::assert_snapshot!(error("MAIL_PORT", "abc"), @r#"mail.port = "abc" (variable MAIL_PORT): expected a whole number from 0 to 65535"#);
    insta::assert_snapshot!(error("ANTEROOM_LISTEN", "5000"), @r#"server.listen = "5000" (variable ANTEROOM_LISTEN): expected an address and a port such as 127.0.0.1:5000"#);
    insta::assert_snapshot!(error("ANTEROOM_PROFILE", "prod"), @r#"server.profile = "prod" (variable ANTEROOM_PROFILE): expected development, testing or production"#);
    insta::assert_snapshot!(error("ANTEROOM_PUBLIC_URL", "chat.example.org"), @r#"server.public_url = "chat.example.org" (variable ANTEROOM_PUBLIC_URL): expected an address such as https://chat.example.org, without a path"#);
    insta::assert_snapshot!(error("ANTEROOM_PUBLIC_URL", "https://example.org/chat"), @r#"server.public_url = "https://example.org/chat" (variable ANTEROOM_PUBLIC_URL): expected an address such as https://chat.example.org, without a path"#);
    insta::assert_snapshot!(error("MAIL_USE_TLS", "maybe"), @r#"mail.use_tls = "maybe" (variable MAIL_USE_TLS): expected true or false"#);
    insta::assert_snapshot!(error("ANTEROOM_TRUSTED_PROXIES", "10.0.0.0/8,proxy"), @r#"server.trusted_proxies = "10.0.0.0/8,proxy" (variable ANTEROOM_TRUSTED_PROXIES): expected a list of networks such as 10.0.0.0/8"#);
    insta::assert_snapshot!(error("DATABASE_URL", "mysql://root:secret@h/d"), @r#"database.url (variable DATABASE_URL): expected postgres://user:password@host/name or sqlite:path; "mysql:" is not supported"#);
    insta::assert_snapshot!(error("DATABASE_URL", "sqlite::memory:"), @"database.url (variable DATABASE_URL): sqlite: needs the path of a file, without options");
    insta::assert_snapshot!(error("OPENAI_BASE_URL", "https://me:secret@h/"), @"upstreams.openai.base_url (variable OPENAI_BASE_URL): The address must not contain a user name or password. Enter the key in its own field.");
    insta::assert_snapshot!(error("ANTEROOM_PASSWORDS__MIN_LENGTH", "7"), @"passwords.min_length = 7 (variable ANTEROOM_PASSWORDS__MIN_LENGTH): expected a whole number from 8 to 64");
    insta::assert_snapshot!(error("ANTEROOM_SESSIONS__IDLE_HOURS", "400"), @"sessions.idle_hours = 400 (variable ANTEROOM_SESSIONS__IDLE_HOURS): expected a whole number from 1 to sessions.absolute_hours");
    insta::assert_snapshot!(error("MAIL_FROM", "nobody"), @r#"mail.from = "nobody" (variable MAIL_FROM): expected an address such as name@example.org or Name <name@example.org>"#);
    insta::assert_snapshot!(error("MAIL_SERVER", "smtp.example.org:25"), @r#"mail.server = "smtp.example.org:25" (variable MAIL_SERVER): expected a host name, without a port"#);
    insta::assert_snapshot!(error("ANTEROOM_LOGGING__FILTER", "info,base=loud"), @r#"logging.filter = "info,base=loud" (variable ANTEROOM_LOGGING__FILTER): expected a level such as info, or a list such as info,base=debug"#);
    insta::assert_snapshot!(error("ANTEROOM_SIGN_UP__ALLOWED_DOMAINS", "example.org,nobody"), @r#"sign_up.allowed_domains = ["example.org", "nobody"] (variable ANTEROOM_SIGN_UP__ALLOWED_DOMAINS): expected a list of domains such as example.org"#);
    insta::assert_snapshot!(error("ANTEROOM_LIMITS__SIGN_IN_IP", "0"), @"limits.sign_in_ip = 0 (variable ANTEROOM_LIMITS__SIGN_IN_IP): expected a whole number from 1 to 1000000");
    insta::assert_snapshot!(error("ANTEROOM_UPSTREAMS__LOCAL__API_KEY", "sk-secret"), @"upstreams.local.base_url: missing, expected an address such as https://api.openai.com/v1");
    insta::assert_snapshot!(error("ANTEROOM_SECRETS__PEPPER", "short"), @"secrets.pepper (variable ANTEROOM_SECRETS__PEPPER): too short or too regular: it needs at least 32 random bytes");
}

#[test]
fn a_wrong_name_is_told_with_the_nearest_one() {
    let error = |name: &str| Given::nothing().var(name, "x").error();
    insta::assert_snapshot!(error("ANTEROOM_MAIL_SERVER"), @"variable ANTEROOM_MAIL_SERVER: unknown variable; did you mean ANTEROOM_MAIL__SERVER?");
    insta::assert_snapshot!(error("ANTEROOM_LISTN"), @"variable ANTEROOM_LISTN: unknown variable; did you mean ANTEROOM_LISTEN?");
    insta::assert_snapshot!(error("ANTEROOM_DATABASE_URL"), @"variable ANTEROOM_DATABASE_URL: unknown variable; did you mean ANTEROOM_DATABASE__URL?");
    insta::assert_snapshot!(error("ANTEROOM_ZZZZZZZZ"), @"variable ANTEROOM_ZZZZZZZZ: unknown variable");
    let error = |toml: &str| Given::nothing().toml(toml).error();
    insta::assert_snapshot!(error("[server]\nlisten = '127.0.0.1:5000'\nlistn = 1\n"), @"server.listn (anteroom.toml, line 3): unknown key; did you mean server.listen?");
    insta::assert_snapshot!(error("listen = '127.0.0.1:5000'"), @"listen (anteroom.toml, line 1): unknown key; did you mean server.listen?");
    insta::assert_snapshot!(error("[sever]\nlisten = 'x'"), @"sever (anteroom.toml, line 1): unknown key; did you mean server?");
    insta::assert_snapshot!(error("[upstreams.local]\nurl = 'x'\nbase_ur = 'x'"), @r"
    upstreams.local.url (anteroom.toml, line 2): unknown key; did you mean upstreams.local.base_url?
    upstreams.local.base_ur (anteroom.toml, line 3): unknown key; did you mean upstreams.local.base_url?
    ");
    insta::assert_snapshot!(error("server = 5\n[upstreams]\n'A B' = 1\nx = 2"), @r"
    server (anteroom.toml, line 1): expected a table, [server]
    upstreams.A B (anteroom.toml, line 3): expected a name of at most 32 small letters, digits, - and _
    upstreams.x (anteroom.toml, line 4): expected a table, [upstreams.name]
    ");
}

#[test]
fn files_are_checked_by_line() {
    let error = |toml: &str| Given::nothing().toml(toml).error();
    insta::assert_snapshot!(error("[mail]\nport = '25'\nuse_tls = 'true'\nserver = 7\npassword = 12"), @r#"
    mail.port = "25" (anteroom.toml, line 2): expected a whole number from 0 to 65535
    mail.use_tls = "true" (anteroom.toml, line 3): expected true or false
    mail.server = 7 (anteroom.toml, line 4): expected text
    mail.password (anteroom.toml, line 5): expected text
    "#);
    insta::assert_snapshot!(error("[server]\ncors_origins = ['*']"), @"server.cors_origins = […] (anteroom.toml, line 2): expected a list of origins such as https://app.example.org");
    insta::assert_snapshot!(error("[server]\nlisten = "), @"anteroom.toml, line 2: not TOML: something is missing or too much here");
    let error = Given::nothing().file(".env", "# ok\nMAIL_PORT=x\n").error();
    insta::assert_snapshot!(error, @r#"mail.port = "x" (MAIL_PORT in .env, line 2): expected a whole number from 0 to 65535"#);
    let error = Given::nothing().file(".env", "SECRET_KEY 123\n").error();
    insta::assert_snapshot!(error, @".env, line 1: expected NAME=value");
    let error = Given::nothing().file(".env", "ANTEROOM_MAIL__PRT=1\n").error();
    insta::assert_snapshot!(error, @"ANTEROOM_MAIL__PRT in .env, line 1: unknown variable; did you mean ANTEROOM_MAIL__PORT?");
    let mut given = Given::nothing();
    given.flags.listen = Some("nowhere".to_owned());
    insta::assert_snapshot!(given.error(), @r#"server.listen = "nowhere" (flag --listen): expected an address and a port such as 127.0.0.1:5000"#);
}

/// SEC-85: an origin on the list is one that a browser can send; everything and nobody are not.
#[test]
fn sec_85_cors_origins_are_exact() {
    for origin in [
        "*",
        "null",
        "https://a.example/",
        "https://a.example/x",
        "https://u@a.example",
        "a.example",
        "ftp://a",
    ] {
        let loaded = Given::nothing().var("ANTEROOM_CORS_ORIGINS", origin).load();
        // A slash at the end changes nothing about the origin.
        match origin {
            "https://a.example/" => {
                assert_eq!(loaded.unwrap().0.server.cors_origins[0].as_str(), "https://a.example")
            }
            _ => assert!(loaded.is_err(), "{origin}"),
        }
    }
}

/// SEC-13, SEC-18: the floors hold outside the testing profile.
#[test]
fn sec_18_hashing_is_not_made_weak() {
    let weak = Given::nothing()
        .var("ANTEROOM_PASSWORDS__MEMORY_KIB", "8")
        .var("ANTEROOM_PASSWORDS__ITERATIONS", "1");
    insta::assert_snapshot!(weak.error(), @r"
    passwords.memory_kib = 8 (variable ANTEROOM_PASSWORDS__MEMORY_KIB): expected a whole number from 19456 to 4194304 (less only in the testing profile)
    passwords.iterations = 1 (variable ANTEROOM_PASSWORDS__ITERATIONS): expected a whole number from 2 to 100 (less only in the testing profile)
    ");
    assert_eq!(weak.var("ANTEROOM_PROFILE", "testing").config().passwords.memory_kib, 8);
    let defaults = Passwords::default();
    assert_eq!((defaults.memory_kib, defaults.iterations, defaults.minimum()), (19_456, 2, 12));
    assert_eq!(Passwords { strict: true, ..defaults }.minimum(), 15);
}

/// SEC-79
#[test]
fn sec_79_sessions_end() {
    let sessions = Sessions::default();
    assert_eq!((sessions.idle(), sessions.absolute()), (12 * base::HOUR, 14 * base::DAY));
    let strict = Sessions { strict: true, ..sessions };
    assert_eq!((strict.idle(), strict.absolute()), (base::HOUR, base::DAY));
}

#[test]
fn contradictions_are_told() {
    let both = Given::nothing().var("MAIL_SERVER", "a").var("MAIL_USE_TLS", "1").var("MAIL_USE_SSL", "1");
    assert_eq!(both.error(), "mail.use_ssl (variable MAIL_USE_SSL): set this or mail.use_tls, not both");
    let both = Given::nothing()
        .file("key", KEY)
        .var("SECRET_KEY", KEY)
        .var("ANTEROOM_SECRETS__SECRET_KEY_FILE", "key");
    assert_eq!(
        both.error(),
        "secrets.secret_key_file (variable ANTEROOM_SECRETS__SECRET_KEY_FILE): set this or secrets.secret_key, not both"
    );
    let missing = Given::nothing().var("ANTEROOM_SECRETS__SECRET_KEY_FILE", "gone");
    assert!(missing.error().contains("DIR/gone cannot be read: No such file"), "{}", missing.error());
}

#[test]
fn the_public_url_follows_the_address() {
    let listening = |address: &str| {
        let given = Given::nothing().var("ANTEROOM_LISTEN", address).var("ANTEROOM_PROFILE", "development");
        given.config()
    };
    assert_eq!(listening("[::1]:80").public_origin(), "http://localhost");
    assert_eq!(listening("0.0.0.0:81").public_origin(), "http://localhost:81");
    let config = listening("127.0.0.2:82");
    assert_eq!(config.public_origin(), "http://127.0.0.2:82");
    assert!(config.host_is_ip());
    assert!(listening("[fd00::1]:82").host_is_ip());
    let mut config = listening("localhost:0");
    config.bound_to(SocketAddr::from(([127, 0, 0, 1], 4321)));
    assert_eq!(config.public_origin(), "http://localhost:4321");
    let mut config = Given::production().config();
    config.bound_to(SocketAddr::from(([0, 0, 0, 0], 4321)));
    assert_eq!(config.public_origin(), "https://chat.example.org");
}

#[test]
fn what_is_in_force_is_printed_without_secrets() {
    let given = Given::nothing()
        .toml("[upstreams.local]\nbase_url = 'http://localhost:11434'\napi_key = 'sk-very-secret'\n")
        .var("SECRET_KEY", KEY)
        .var("DATABASE_URL", "postgres://anteroom:very-secret@db/anteroom")
        .var("ANTEROOM_SECRETS__FORMER_KEYS", "very-secret-1,very-secret-2")
        .var("ANTEROOM_SECRETS__PEPPER", KEY)
        .var("MAIL_USERNAME", "a \"b\"\n")
        .var("MAIL_PASSWORD", "very-secret");
    let config = given.config();
    let printed = config.print();
    for text in [&printed, &format!("{config:?}"), &config.database.url.to_string()] {
        assert!(!text.contains("very-secret") && !text.contains(KEY), "{text}");
    }
    for line in [
        "[server]\nlisten = \"127.0.0.1:5000\" # default\npublic_url = \"http://localhost:5000\" # default\n",
        "url = \"postgres://anteroom:***@db/anteroom\" # variable DATABASE_URL\n",
        "secret_key = \"***\" # variable SECRET_KEY\n# secret_key_file is not set\nformer_keys = [\"***\", \"***\"] # variable",
        "username = \"a \\\"b\\\"\\n\" # variable MAIL_USERNAME\npassword = \"***\" # variable MAIL_PASSWORD\n",
        "\n[upstreams.local]\nbase_url = \"http://localhost:11434/v1\" # anteroom.toml, line 2\napi_key = \"***\" # anteroom.toml, line 3\n",
    ] {
        assert!(printed.contains(line), "{line}\n---\n{printed}");
    }
    // It is a file that would be read again.
    let again = Given::nothing().toml(&printed.replace("\"***\"", &format!("'{KEY}'"))).config();
    assert_eq!(again.mail.username, "a \"b\"\n");
}

#[test]
fn the_reference_is_the_one_in_docs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var_os("ANTEROOM_TEST_WRITE_DOCS").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == reference(),
        "docs/configuration.md is old: run this test with ANTEROOM_TEST_WRITE_DOCS=1"
    );
}

#[test]
fn the_examples_are_read_and_change_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let toml = std::fs::read_to_string(root.join("anteroom.example.toml")).unwrap();
    let dotenv = std::fs::read_to_string(root.join(".env.example")).unwrap();
    let defaults = Given::nothing().config().print();
    let values = |text: &str, folder: &Path| {
        let text = text.replace(&folder.display().to_string(), "DIR");
        text.lines().map(|line| line.split(" # ").next().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    let plain = Given::nothing();
    let expected = values(&plain.config().print(), &plain.folder);
    assert_eq!(expected.len(), values(&defaults, &plain.folder).len());
    let given = Given::nothing().toml(&toml).file(".env", &dotenv);
    let (config, warnings) = given.load().unwrap();
    assert_eq!(values(&config.print(), &given.folder), expected);
    assert_eq!(warnings, []);

    // Every line that is commented out is right once it is not.
    let uncommented = |text: &str| {
        let is_value = |line: &str| line.contains('=') || line.starts_with('[');
        text.lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') && is_value(rest) => rest,
                _ => line,
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    Given::nothing().toml(&uncommented(&toml)).config();
    let config = Given::nothing().file(".env", &uncommented(&dotenv)).config();
    assert!(config.mail.is_configured() && config.upstreams.contains_key("openai"));
    // Every key of every section stands in the example.
    for section in config.sections() {
        let table = format!("\n[{}]", section.name());
        let (_, rest) = toml.split_once(&table).unwrap_or_else(|| panic!("{table} is missing"));
        let body = rest.split("\n[").next().unwrap_or("");
        for key in section.keys() {
            assert!(
                [format!("\n#{} = ", key.name), format!("\n# {} = ", key.name)]
                    .iter()
                    .any(|l| body.contains(l)),
                "{}.{} is missing",
                section.name(),
                key.name
            );
        }
    }
}
