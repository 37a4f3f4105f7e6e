//! Tests of what production refuses, of the warnings and of the secret key.

use super::*;

#[test]
fn production_refuses_what_is_unsafe() {
    let (config, warnings) = Given::production().load().unwrap();
    assert!(config.is_production() && config.is_https() && config.verification_required());
    assert_eq!(warnings.len(), 2);
    assert_eq!(config.mail_from(), "\"Anteroom\" <anteroom@chat.example.org>");

    let bare = Given::nothing().var("ANTEROOM_LISTEN", "0.0.0.0:80");
    insta::assert_snapshot!(bare.error(), @r"
    secrets.secret_key: missing; production needs a secret key of at least 32 random bytes, for instance from openssl rand -hex 32
    server.public_url: missing, expected the address that people use, such as https://chat.example.org (production; for a trial on this machine listen on 127.0.0.1 or set the profile to development)
    ");
    let plain = Given::production().var("ANTEROOM_PUBLIC_URL", "http://chat.example.org");
    insta::assert_snapshot!(plain.error(), @r#"server.public_url = "http://chat.example.org" (variable ANTEROOM_PUBLIC_URL): expected an address with https:// (production)"#);
    for weak in ["changeme", &KEY[..31], &"ab".repeat(40)] {
        let weak = Given::production().var("SECRET_KEY", weak);
        let words = "secrets.secret_key (variable SECRET_KEY): too short or too regular: it needs at least 32 random \
                     bytes, for instance from openssl rand -hex 32";
        assert_eq!(weak.error(), words);
    }
    let unverified = Given::production().var("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "false");
    insta::assert_snapshot!(unverified.error(), @"sign_up.verification_required (variable ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED): production always requires it; remove this line");
    let mut made = Given::nothing();
    std::fs::create_dir(made.folder.join("data")).unwrap();
    made = made
        .file("data/secret.key", KEY)
        .var("ANTEROOM_PUBLIC_URL", "https://a.example")
        .var("ANTEROOM_PROFILE", "production");
    assert!(made.error().ends_with("set secrets.secret_key_file to DIR/data/secret.key"), "{}", made.error());
    assert_eq!(
        made.var("ANTEROOM_SECRETS__SECRET_KEY_FILE", "data/secret.key").config().profile(),
        Profile::Production
    );
}

#[test]
fn production_refuses_secrets_that_everybody_can_read() {
    let given = Given::production().file_with_mode(".env", "", 0o644);
    assert_eq!(given.error(), ".env: every user of this machine can read DIR/.env; run chmod o-rwx DIR/.env");
    let mut given =
        Given::production().file_with_mode("key", KEY, 0o604).var("ANTEROOM_SECRETS__SECRET_KEY_FILE", "key");
    given.env.remove("SECRET_KEY");
    assert_eq!(
        given.error(),
        "secrets.secret_key_file (variable ANTEROOM_SECRETS__SECRET_KEY_FILE): every user of this machine can read \
         DIR/key; run chmod o-rwx DIR/key"
    );
    let given = given.file_with_mode("key", KEY, 0o640);
    assert_eq!(given.config().secret_keys(&Random::seeded(1)).unwrap(), [KEY]);
    let secret = "[mail]\nserver = 'a'\nuse_tls = true\nusername = 'u'\npassword = 'p'\n";
    let given = Given::production().file_with_mode("anteroom.toml", secret, 0o644);
    assert!(
        given.error().starts_with("mail.password (anteroom.toml, line 5): every user"),
        "{}",
        given.error()
    );
    // Without a secret in it, it may be public.
    Given::production().file_with_mode("anteroom.toml", "[mail]\nserver = 'a'\n", 0o644).config();
}

#[test]
fn warnings_say_what_to_think_of() {
    let warnings = Given::production().warnings();
    assert!(warnings.contains("sign-up is open, but without mail.server"), "{warnings}");
    assert!(warnings.contains("server.trusted_proxies is empty"), "{warnings}");
    let given = Given::production()
        .var("MAIL_SERVER", "smtp.example.org")
        .var("MAIL_USE_TLS", "true")
        .var("ANTEROOM_TRUSTED_PROXIES", "10.0.0.0/8");
    assert_eq!(given.warnings(), "");
    let given = Given::nothing().file(".env", "SECRETKEY=1\nHOME=2\n").var("SECRET_KEY", "short");
    insta::assert_snapshot!(given.warnings(), @r"
    HOME in .env is not a name that the server knows
    SECRETKEY in .env is not a name that the server knows; did you mean SECRET_KEY?
    secrets.secret_key is weak (under 32 random bytes); production refuses it
    ");
    let given = Given::nothing().var("OPENAI_API_KEY", "sk-1");
    assert_eq!(
        given.warnings(),
        "OPENAI_API_KEY is not used without OPENAI_BASE_URL; for OpenAI itself that is https://api.openai.com/v1"
    );
    assert!(given.config().upstreams.is_empty());
}

#[test]
fn the_first_start_makes_a_secret_key_and_the_next_one_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let given = Given::nothing();
    let made = given.config().secret_keys(&Random::os()).unwrap();
    let file = given.folder.join("data/secret.key");
    assert_eq!(made[0].len(), 64);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(given.folder.join("data")).unwrap().count(), 1);
    assert_eq!(given.config().secret_keys(&Random::os()).unwrap(), made);

    let given = given.var("ANTEROOM_SECRETS__FORMER_KEYS", "old one,older one");
    assert_eq!(given.config().secret_keys(&Random::os()).unwrap(), [&made[0], "old one", "older one"]);
    std::fs::write(&file, "cut").unwrap();
    let error = given.config().secret_keys(&Random::os()).unwrap_err().to_string();
    assert!(error.ends_with("restore the file from a backup"), "{error}");
}

#[test]
fn servers_that_start_at_once_agree_on_the_key() {
    let given = Given::nothing();
    let config = given.config();
    let keys: Vec<Vec<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| config.secret_keys(&Random::os()).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
}
