//! The settings of second factors: authenticator app, backup codes, codes by e-mail, passkeys.

use base::{MINUTE, SECOND, args, sql};
use parts::authenticator::Authenticator;
use parts::http::{Client, Reply, unescape};
use parts::totp;
use serde_json::{Value, json};

use crate::harness::{NOW, PASSWORD, TestApp, Wishes};

const PATH: &str = "/settings/2fa";
pub const CODES: &str = "/settings/2fa/backup-codes";
pub const KEYS: &str = "/settings/passkeys";

pub async fn send(app: &TestApp, client: &Client, path: &str, body: Value) -> Reply {
    let token = app.csrf(client).await;
    client.post_json(path, Some(&token), &body).await
}

pub async fn action(app: &TestApp, client: &Client, action: &str) -> Reply {
    send(app, client, PATH, json!({ "action": action })).await
}

/// What the app shows now.
pub fn code(app: &TestApp, secret: &str) -> String {
    totp::code(secret, app.clock.now() / SECOND)
}

/// A code that is none.
fn wrong(app: &TestApp, secret: &str) -> String {
    let now = app.clock.now() / SECOND;
    let right = [now - 30, now].map(|at| totp::code(secret, at));
    (0..10).map(|digit| digit.to_string().repeat(6)).find(|code| !right.contains(code)).unwrap()
}

/// Sets an authenticator app up; gives its secret and what the confirmation answered.
pub async fn enrol(app: &TestApp, client: &Client) -> (String, Value) {
    let begun = action(app, client, "generate").await;
    assert_eq!(begun.status, 200, "{begun:?}");
    let secret = begun.json()["secret"].as_str().unwrap().to_owned();
    let done = send(app, client, PATH, json!({ "action": "confirm", "code": code(app, &secret) })).await;
    assert_eq!(done.status, 200, "{done:?}");
    (secret, done.json())
}

/// Signs in with password and code; gives the answer to the code.
async fn second_step(app: &TestApp, username: &str, code: &str) -> Reply {
    let client = app.anon();
    let first = app.sign_in(&client, username).await;
    assert_eq!(first.status, 401, "{first:?}");
    let token = app.csrf(&client).await;
    client.post_json("/login/2fa", Some(&token), &json!({ "code": code })).await
}

/// Another session of someone who is there already.
pub async fn again(app: &TestApp, username: &str) -> Client {
    let client = app.anon();
    let reply = app.sign_in(&client, username).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    client
}

/// Somebody who may hold another one's factors for a moment.
async fn stand_in(app: &TestApp) -> String {
    match app.app.accounts.find_person("keeper").await.unwrap() {
        Some(person) => person.user.id,
        None => app.account("keeper", "User").await,
    }
}

async fn status(client: &Client) -> Value {
    client.get_json(PATH).await.json()
}

fn no_store(reply: &Reply) -> bool {
    reply.header("cache-control") == Some("no-store")
}

/// SEC-40: 160 bits, and everything an app needs to know.
#[tokio::test]
async fn sec_40_a_new_secret_and_its_address() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let first = action(&app, &ann, "generate").await;
    let body = first.json();
    let secret = body["secret"].as_str().unwrap();
    assert_eq!(secret.len(), 32);
    assert!(secret.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)), "{secret}");
    assert_eq!(
        (body["issuer"].as_str(), body["account"].as_str()),
        (Some("Anteroom"), Some("ann@example.org"))
    );
    assert_eq!(body["expires_at"], NOW + 10 * MINUTE);
    let uri = body["uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/Anteroom:ann%40example.org?"), "{uri}");
    for (name, want) in
        [("secret", secret), ("issuer", "Anteroom"), ("algorithm", "SHA1"), ("digits", "6"), ("period", "30")]
    {
        assert_eq!(totp::parameter(uri, name).as_deref(), Some(want), "{uri}");
    }
    assert!(no_store(&first));
    let second = action(&app, &ann, "generate").await.json();
    assert_ne!(second["secret"], secret, "every time another one");
    assert_eq!(status(&ann).await["totp"], false);

    // The page has the same for eyes and hands.
    let page = ann.get("/settings/2fa/setup").await;
    let grouped: Vec<&str> =
        page.body.split("<p class=\"secret\"").nth(1).unwrap().split("<span>").skip(1).collect();
    let shown: String = grouped.iter().take(8).map(|part| part.split('<').next().unwrap()).collect();
    assert_eq!(second["secret"], *shown);
    for part in ["<path d=\"M0 0h7v1h-7z", "ann@example.org", "time based, 6 digits", "inputmode=\"numeric\""]
    {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert!(no_store(&page));
}

/// SEC-42: the code that confirmed signs nobody in.
#[tokio::test]
async fn sec_42_the_confirming_code_is_spent() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let (secret, _) = enrol(&app, &ann).await;
    let used = code(&app, &secret);
    assert_eq!(second_step(&app, "ann", &used).await.status, 401);
    // It cannot confirm another secret either, nor is the next step's code the same.
    app.clock.advance(30 * SECOND);
    assert_eq!(second_step(&app, "ann", &used).await.status, 401, "one step later it would be in the window");
    let next = second_step(&app, "ann", &code(&app, &secret)).await;
    assert_eq!(next.status, 200, "{next:?}");
}

/// SEC-44: a secret waits ten minutes, and an app in use stays so until the new one is confirmed.
#[tokio::test]
async fn sec_44_a_secret_counts_from_its_first_code() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    let secret = action(&app, &ann, "generate").await.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200, "nothing is asked for yet");
    app.clock.advance(10 * MINUTE);
    // The same session, which alone could confirm it.
    let late = ann;
    assert_eq!(send(&app, &late, "/api/v1/step-up", json!({ "password": PASSWORD })).await.status, 200);
    let reply = send(&app, &late, PATH, json!({ "action": "confirm", "code": code(&app, &secret) })).await;
    assert_eq!((reply.status.as_u16(), reply.json()["type"].as_str()), (409, Some("/problems/conflict")));
    assert!(reply.json()["detail"].as_str().unwrap().contains("Start again"), "{reply:?}");
    assert_eq!(late.get("/settings/2fa/setup").await.location(), Some(PATH));

    // A wrong code: told at the field, and the same secret waits on.
    let (old, _) = enrol(&app, &late).await;
    assert_eq!(
        app.post(&late, PATH, &[("action", "generate")]).await.location(),
        Some("/settings/2fa/setup")
    );
    let page = late.get("/settings/2fa/setup").await.body;
    let path = page.split("<path d=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let digits = wrong(&app, &old);
    let reply = app.post(&late, PATH, &[("action", "confirm"), ("code", &digits)]).await;
    assert_eq!(reply.status, 422, "{reply:?}");
    assert!(reply.body.contains("id=\"code-error\"") && reply.body.contains(&path), "{}", reply.body);
    let reply = send(&app, &late, PATH, json!({ "action": "confirm", "otp_code": digits })).await;
    assert!(reply.json()["errors"]["code"].is_string(), "{reply:?}");

    // Meanwhile the old app signs in.
    app.clock.advance(30 * SECOND);
    assert_eq!(second_step(&app, "ann", &code(&app, &old)).await.status, 200);
    let new = action(&app, &late, "generate").await.json()["secret"].as_str().unwrap().to_owned();
    let spaced = code(&app, &new);
    let spaced = format!("{} {}", &spaced[..3], &spaced[3..]);
    let reply = send(&app, &late, PATH, json!({ "action": "confirm", "otp_code": spaced })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.json().get("backup_codes").is_none(), "the set stays: {reply:?}");
    app.clock.advance(30 * SECOND);
    assert_eq!(second_step(&app, "ann", &code(&app, &old)).await.status, 401);
    assert_eq!(second_step(&app, "ann", &code(&app, &new)).await.status, 200);

    // What waits can be forgotten.
    assert_eq!(action(&app, &late, "generate").await.status, 200);
    assert_eq!(status(&late).await["pending"], true);
    assert_eq!(action(&app, &late, "cancel").await.status, 200);
    let left = status(&late).await;
    assert_eq!((&left["pending"], &left["totp"]), (&json!(false), &json!(true)));
    assert_eq!(action(&app, &late, "nonsense").await.status, 422);
}

/// SEC-45: the secret is there while it waits, and for nobody else.
#[tokio::test]
async fn sec_45_the_secret_is_shown_only_while_it_waits() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    assert_eq!(ann.get("/2fa/qrcode.png").await.status, 404);
    let secret = action(&app, &ann, "generate").await.json()["secret"].as_str().unwrap().to_owned();
    let picture = ann.get("/2fa/qrcode.png").await;
    assert_eq!((picture.status.as_u16(), picture.header("content-type")), (200, Some("image/png")));
    assert!(no_store(&picture) && no_store(&ann.get("/settings/2fa/setup").await));
    assert_eq!(bob.get("/2fa/qrcode.png").await.status, 404);
    assert_eq!(bob.get("/settings/2fa/setup").await.location(), Some(PATH));
    assert_eq!(app.anon().get_json("/2fa/qrcode.png").await.status, 401);

    let reply = send(&app, &ann, PATH, json!({ "action": "confirm", "code": code(&app, &secret) })).await;
    assert!(no_store(&reply));
    assert_eq!(ann.get("/2fa/qrcode.png").await.status, 404);
    assert_eq!(ann.get("/settings/2fa/setup").await.location(), Some(PATH));
    for path in [PATH, "/settings", CODES, "/settings/2fa/disable"] {
        let page = ann.get(path).await;
        assert!(!page.body.contains(&secret) && !page.body.contains("otpauth"), "{path}");
        assert!(no_store(&page), "{path}");
    }
    assert!(!ann.get_json(PATH).await.body.contains(&secret));
}

/// SEC-46: what the database holds is sealed.
#[tokio::test]
async fn sec_46_the_database_holds_no_secret() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let (secret, _) = enrol(&app, &ann).await;
    action(&app, &ann, "generate").await;
    let stored: Vec<(String, String)> = app
        .app
        .db
        .all(sql!("SELECT id, secret FROM totp_factors ORDER BY confirmed_at IS NULL"), &[])
        .await
        .unwrap();
    assert_eq!(stored.len(), 2);
    for (_, sealed) in &stored {
        assert!(!sealed.contains(&secret) && sealed.len() > 60, "{sealed}");
    }
    // Sealed for this row: put into another one it opens nothing.
    let swap = sql!("UPDATE totp_factors SET secret = $1 WHERE confirmed_at IS NULL");
    app.app.db.run(swap, args![&stored[0].1]).await.unwrap();
    assert_eq!(ann.get("/2fa/qrcode.png").await.status, 500);
    // Nor do the files.
    for file in std::fs::read_dir(app.folder.join("data")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
        }
    }
}

/// SEC-47: off unless an Admin allows them, and never an Admin's only factor.
#[tokio::test]
async fn sec_47_codes_by_e_mail_are_off_unless_allowed() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let ann = app.user("ann").await;
    let verified = sql!("UPDATE users SET email_verified_at = $1");
    app.app.db.run(verified, args![None::<i64>]).await.unwrap();
    let reply = action(&app, &ann, "email-on").await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert!(ann.get(PATH).await.body.contains("An Admin has not allowed them here."));
    let me = root.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    let mut rules = app.app.accounts.settings().second_factor.clone();
    rules.email_codes = true;
    app.app.accounts.save_second_factor(&me, &rules).await.unwrap();
    let reply = action(&app, &ann, "email-on").await;
    assert!(reply.json()["detail"].as_str().unwrap().contains("Confirm your e-mail"), "{reply:?}");
    app.app.db.run(verified, args![Some(NOW)]).await.unwrap();

    let reply = action(&app, &root, "email-on").await;
    assert!(reply.json()["detail"].as_str().unwrap().contains("not enough alone"), "{reply:?}");
    let page = ann.get(PATH).await.body;
    assert!(page.contains("Weaker") && page.contains("value=\"email-on\""), "{page}");
    assert_eq!(action(&app, &ann, "email-on").await.status, 200);
    assert_eq!(status(&ann).await["email_codes"], true);
    assert_eq!(app.mails_to("email_codes_on", "ann@example.org").await.len(), 1);
    assert_eq!(app.sign_in(&app.anon(), "ann").await.json()["methods"], json!(["email"]));
    assert_eq!(action(&app, &ann, "email-off").await.status, 200);
    assert_eq!(app.mails_to("email_codes_off", "ann@example.org").await.len(), 1);
    assert_eq!(action(&app, &ann, "email-off").await.status, 409);

    // Beside an app an Admin may have them; without it they go first.
    enrol(&app, &root).await;
    assert_eq!(action(&app, &root, "email-on").await.status, 200);
    let reply = action(&app, &root, "disable").await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert_eq!(status(&root).await["totp"], true);
}

pub fn codes(reply: &Value) -> Vec<String> {
    let list = reply["backup_codes"].as_array().unwrap();
    list.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

/// SEC-50: ten codes of sixteen signs, in the one answer that made them.
#[tokio::test]
async fn sec_50_backup_codes_are_shown_once() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    assert_eq!(send(&app, &ann, CODES, json!({})).await.status, 409, "they go with a factor");
    let begun = action(&app, &ann, "generate").await.json();
    let digits = code(&app, begun["secret"].as_str().unwrap());
    let page = app.post(&ann, PATH, &[("action", "confirm"), ("code", &digits)]).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(no_store(&page));
    let list = page.body.split("<ol class=\"codes\"").nth(1).unwrap().split("</ol>").next().unwrap();
    let shown: Vec<&str> =
        list.split("<li>").skip(1).map(|item| item.split("</li>").next().unwrap()).collect();
    assert_eq!(shown.len(), 10, "{}", page.body);
    for code in &shown {
        let bare = code.replace('-', "");
        assert_eq!((bare.len(), code.len()), (16, 19));
        assert!(bare.bytes().all(|b| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&b)), "{code}");
    }
    assert_eq!(shown.iter().collect::<std::collections::BTreeSet<_>>().len(), 10);
    // The file to download has them all.
    let file = page.body.split("href=\"data:text/plain").nth(1).unwrap().split('"').next().unwrap();
    assert!(shown.iter().all(|code| unescape(file).contains(code)), "{file}");
    assert!(page.body.contains("download=\"anteroom-backup-codes.txt\""));

    for path in [PATH, CODES, "/settings", "/settings/2fa/setup"] {
        let later = ann.get(path).await.body;
        assert!(shown.iter().all(|code| !later.contains(code)), "{path}");
    }
    assert!(ann.get(CODES).await.body.contains("10 <small>of 10</small>"));
    let hashes: Vec<String> = app.app.db.all(sql!("SELECT hash FROM backup_codes"), &[]).await.unwrap();
    assert!(hashes.iter().all(|hash| !shown.iter().any(|code| hash.contains(&code.replace('-', "")))));
    // One of them signs in, once.
    assert_eq!(second_step(&app, "ann", shown[0]).await.status, 200);
    assert_eq!(second_step(&app, "ann", shown[0]).await.status, 401);
}

/// SEC-52: a new set voids the old one, after a step-up; three or fewer are warned of.
#[tokio::test]
async fn sec_52_a_new_set_voids_the_old_one() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    let (secret, done) = enrol(&app, &ann).await;
    let old = codes(&done);
    assert!(!ann.get(PATH).await.body.contains("backup codes are left"));
    let spend = sql!(
        "UPDATE backup_codes SET used_at = 1 WHERE hash IN (SELECT hash FROM backup_codes ORDER BY hash LIMIT 7)"
    );
    app.app.db.run(spend, &[]).await.unwrap();
    for path in [PATH, CODES] {
        assert!(ann.get(path).await.body.contains("Only 3 backup codes are left"), "{path}");
    }
    app.clock.advance(11 * MINUTE);
    let late = send(&app, &ann, CODES, json!({})).await;
    assert_eq!(
        (late.status.as_u16(), late.json()["type"].as_str()),
        (403, Some("/problems/step-up-required"))
    );
    let form = app.post(&ann, CODES, &[("action", "regenerate")]).await;
    assert_eq!(form.status, 403);
    let carry = parts::http::field(&form.body, "step_up_carry").unwrap();
    let fields = [("step_up_carry", carry.as_str()), ("step_up_code", &code(&app, &secret))];
    let page = app.post(&ann, CODES, &fields).await;
    assert_eq!(page.status, 200, "{page:?}");
    let new = page.body.split("<li>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!(status(&ann).await["backup_codes_left"], 10);
    assert_eq!(app.mails_to("backup_codes_made", "ann@example.org").await.len(), 1);
    for code in &old {
        assert_eq!(second_step(&app, "ann", code).await.status, 401);
        // Ten in a row would lock.
        app.app.db.run(sql!("UPDATE users SET factor_failures = 0"), &[]).await.unwrap();
    }
    let reply = second_step(&app, "ann", &new.to_lowercase().replace('-', " ")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(app.mails_to("backup_code_used", "ann@example.org").await.len(), 1, "used, and told");
}

pub async fn add(
    app: &TestApp,
    client: &Client,
    device: &mut Authenticator,
    kind: &str,
    name: &str,
) -> Reply {
    let options =
        send(app, client, "/settings/passkeys/options", json!({ "kind": kind, "name": name })).await;
    assert_eq!(options.status, 200, "{options:?}");
    let options = options.json();
    let credential = device.create(&options).to_string();
    let ceremony = options["ceremony"].as_str().unwrap();
    let fields = [("kind", kind), ("name", name), ("ceremony", ceremony), ("credential", &credential)];
    app.post(client, KEYS, &fields).await
}

pub async fn key_ids(client: &Client) -> Vec<String> {
    let list = client.get_json(KEYS).await.json();
    list["passkeys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect()
}

/// Adding, naming and removing; the first factor of an account comes with backup codes.
#[tokio::test]
async fn passkeys_are_added_named_and_removed() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let other = app.user("bob").await;
    let mut device = Authenticator::new(&app.base);
    let page = app.post(&ann, "/settings/passkeys/new", &[("kind", "passkey")]).await;
    assert_eq!(page.status, 200, "{page:?}");
    for part in ["data-passkey=\"register\"", "data-options=\"/settings/passkeys/options\"", "name=\"name\""]
    {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let first = add(&app, &ann, &mut device, "passkey", "Laptop").await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.body.matches("<li>").count(), 10, "backup codes: {}", first.body);
    let mut key = Authenticator { seed: 2, ..Authenticator::new(&app.base) };
    let second = add(&app, &ann, &mut key, "security-key", "").await;
    assert_eq!((second.status.as_u16(), second.location()), (303, Some(KEYS)));
    let page = ann.get(KEYS).await.body;
    for part in ["Laptop", "Signs in without a password", "Security key", "Second step only", "never used"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // Without what the browser makes, as after a step-up, the page stands again with its name.
    let again = app.post(&ann, KEYS, &[("kind", "security-key"), ("name", "Blue <key>")]).await;
    assert_eq!(again.status, 200);
    assert!(again.body.contains("Blue &#60;key&#62;") && again.body.contains("Add a security key"));
    // The same ceremony is no good twice, and a wrong one is told on the page.
    let reply = app
        .post(&ann, KEYS, &[("kind", "passkey"), ("name", "x"), ("ceremony", "no"), ("credential", "{}")])
        .await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert!(reply.body.contains("too long or was used before"), "{}", reply.body);

    let ids = key_ids(&ann).await;
    let rename = |name: &'static str| {
        let path = format!("{KEYS}/{}/rename", ids[0]);
        let (app, ann) = (&app, &ann);
        async move { send(app, ann, &path, json!({ "name": name })).await }
    };
    assert_eq!(rename("Home laptop").await.status, 200);
    assert_eq!(rename(" ").await.json()["errors"]["name"], "Type a name.");
    assert!(ann.get(KEYS).await.body.contains("Home laptop"));
    for what in ["rename", "remove"] {
        let body = if what == "rename" { json!({ "name": "mine" }) } else { json!({}) };
        let reply = send(&app, &other, &format!("{KEYS}/{}/{what}", ids[0]), body).await;
        assert_eq!(reply.status, 404, "{what}: {reply:?}");
    }
    assert_eq!(app.post(&ann, &format!("{KEYS}/{}/remove", ids[0]), &[]).await.location(), Some(KEYS));
    assert_eq!(key_ids(&ann).await, [ids[1].clone()]);
    assert_eq!(app.mails_to("passkey_added", "ann@example.org").await.len(), 2);
    assert_eq!(app.mails_to("passkey_removed", "ann@example.org").await.len(), 1);
    // The last factor takes the backup codes with it.
    assert_eq!(status(&ann).await["backup_codes_left"], 10);
    send(&app, &ann, &format!("{KEYS}/{}/remove", ids[1]), json!({})).await;
    assert_eq!(status(&ann).await["backup_codes_left"], 0);
}

/// SEC-56: at most twenty, and the last way in stays.
#[tokio::test]
async fn sec_56_twenty_passkeys_and_the_last_way_in() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let mut device = Authenticator::new(&app.base);
    add(&app, &ann, &mut device, "passkey", "Only").await;
    let ids = key_ids(&ann).await;
    app.app.db.run(sql!("UPDATE users SET password = NULL"), &[]).await.unwrap();
    let remove = format!("{KEYS}/{}/remove", ids[0]);
    let reply = send(&app, &ann, &remove, json!({})).await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert!(reply.json()["detail"].as_str().unwrap().contains("the only way you can sign in"), "{reply:?}");
    assert_eq!(app.post(&ann, &remove, &[]).await.status, 303);
    assert!(ann.get(KEYS).await.body.contains("the only way you can sign in"), "in words on the page");
    assert_eq!(key_ids(&ann).await.len(), 1);

    let copy = sql!(
        "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
         SELECT id || $1, user_id, credential_id || $1, credential, user_verified, name, created_at FROM passkeys
         WHERE name = 'Only' AND id = $2"
    );
    for number in 1..20 {
        app.app.db.run(copy, args![&number.to_string(), &ids[0]]).await.unwrap();
    }
    let reply = send(&app, &ann, "/settings/passkeys/options", json!({ "kind": "passkey" })).await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert!(reply.json()["detail"].as_str().unwrap().contains("20 passkeys"), "{reply:?}");
}

/// SEC-61, SEC-96: each change ends the other sessions and is mailed.
#[tokio::test]
async fn sec_61_a_change_of_factors_ends_the_other_sessions() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    let id = ann.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    let is_in = async |client: &Client| client.get_json("/api/v1/me").await.status == 200;
    let other = again(&app, "ann").await;
    let (secret, _) = enrol(&app, &ann).await;
    assert_eq!((is_in(&ann).await, is_in(&other).await), (true, false));

    for (what, kind) in [
        (json!({ "action": "regenerate" }), "backup_codes_made"),
        (json!({ "action": "confirm" }), "totp_replaced"),
        (json!({ "action": "disable" }), "totp_off"),
    ] {
        // A second session, made behind the gate's back: only the changes count here.
        let other = app.anon();
        let factors = sql!("UPDATE totp_factors SET user_id = $2 WHERE user_id = $1");
        let stand_in = stand_in(&app).await;
        app.app.db.run(factors, args![&id, &stand_in]).await.unwrap();
        assert_eq!(app.sign_in(&other, "ann").await.status, 200);
        app.app.db.run(factors, args![&stand_in, &id]).await.unwrap();
        assert!(is_in(&other).await);
        let path = if what["action"] == "regenerate" { CODES } else { PATH };
        let mut what = what;
        if what["action"] == "confirm" {
            let new = action(&app, &ann, "generate").await.json()["secret"].as_str().unwrap().to_owned();
            assert_ne!(new, secret);
            what["code"] = json!(code(&app, &new));
        }
        let reply = send(&app, &ann, path, what).await;
        assert_eq!(reply.status, 200, "{kind}: {reply:?}");
        assert_eq!((is_in(&ann).await, is_in(&other).await), (true, false), "{kind}");
        assert_eq!(app.mails_to(kind, "ann@example.org").await.len(), 1, "{kind}");
    }
    assert_eq!(app.mails_to("totp_on", "ann@example.org").await.len(), 1);
    assert_eq!(action(&app, &ann, "disable").await.status, 409, "there is nothing to turn off");
}

/// SEC-3: by when a factor is due stands on every page, and what is required cannot be turned off.
#[tokio::test]
async fn sec_3_the_time_that_is_left_is_shown() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let ann = app.user("ann").await;
    assert!(!ann.get("/chat").await.body.contains("Set up a second factor by"));
    let me = root.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    let mut rules = app.app.accounts.settings().second_factor.clone();
    (rules.required_of_everyone, rules.grace_days) = (true, 6);
    app.app.accounts.save_second_factor(&me, &rules).await.unwrap();
    // The harness's day is a Friday.
    for path in ["/chat", "/settings", PATH, KEYS, "/settings/sessions"] {
        let page = ann.get(path).await.body;
        assert!(page.contains("Set up a second factor by Thursday 26 Nov, 6 days left"), "{path}: {page}");
    }
    let (_, _) = enrol(&app, &ann).await;
    let page = ann.get(PATH).await.body;
    assert!(
        !page.contains("Set up a second factor by") && page.contains("required for your account"),
        "{page}"
    );
    // Within the grace it may go; after it, not.
    let due = sql!("UPDATE settings SET value = REPLACE(value, $1, $2) WHERE name = 'second_factor'");
    app.app.db.run(due, args!["\"grace_days\":6", "\"grace_days\":0"]).await.unwrap();
    app.app.accounts.reload_settings().await.unwrap();
    let page = ann.get("/settings/2fa/disable").await.body;
    assert!(page.contains("A second factor is required for your account"), "{page}");
    assert!(!page.contains("value=\"disable\""));
    let reply = app.post(&ann, PATH, &[("action", "disable")]).await;
    assert_eq!(reply.location(), Some(PATH));
    assert!(ann.get(PATH).await.body.contains("A second factor is required for your account."));
    assert_eq!(status(&ann).await["totp"], true);
}

/// The person's own page: what is on, what is missing, and the last sign-ins.
#[tokio::test]
async fn the_first_page_of_the_settings_shows_the_state_of_security() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let page = ann.get("/settings").await.body;
    for part in [
        "Confirmed",
        "href=\"/settings/email\"",
        "href=\"/settings/password\"",
        "href=\"/settings/2fa\"",
        "href=\"/settings/passkeys\"",
        "Last sign-ins",
        "This one",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let (secret, _) = enrol(&app, &ann).await;
    app.clock.advance(MINUTE);
    let there = app.anon();
    app.sign_in(&there, "ann").await;
    let token = app.csrf(&there).await;
    let reply = there.post_json("/login/2fa", Some(&token), &json!({ "code": code(&app, &secret) })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let page = there.get("/settings").await.body;
    for part in ["Authenticator app", "10 left", "Password, authenticator app"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(there.get("/settings/sessions").await.body.contains("Password, authenticator app"));
}
