//! What a new password must be, as people meet it at sign-up.

use serde_json::json;

use crate::harness::{TestApp, Wishes};

/// The words at the field, or nothing where the password was taken.
async fn refusal(app: &TestApp, username: &str, password: &str) -> Option<String> {
    let body = json!({
        "first_name": "Marguerite", "last_name": "Yourcenar", "username": username,
        "email": format!("{username}@zenoun.example"), "password": password,
    });
    let reply = app.anon().post_json("/signup", None, &body).await;
    match reply.status.as_u16() {
        201 => None,
        422 => Some(reply.json()["errors"]["password"].as_str().unwrap().to_owned()),
        _ => panic!("{reply:?}"),
    }
}

/// SEC-13, SEC-14
#[tokio::test]
async fn sec_13_from_12_to_256_code_points_and_never_cut() {
    let app = Wishes::unlimited().start().await;
    let long: String = (0..7).map(|_| app.app.random.token()).collect();
    let words = refusal(&app, "ann", "kq7-Vu2!xz9").await.unwrap();
    assert!(words.contains("12"), "{words}");
    assert_eq!(refusal(&app, "ann", "kq7-Vu2!xz9w").await, None);
    assert_eq!(refusal(&app, "bob", &long[..64]).await, None);
    assert_eq!(refusal(&app, "cee", &long[..256]).await, None);
    let words = refusal(&app, "dee", &long[..257]).await.unwrap();
    assert!(words.contains("256"), "{words}");
    // Code points count, not bytes.
    assert!(refusal(&app, "dee", "ßéñ漢字かな🦀øł").await.is_some());
    assert_eq!(refusal(&app, "dee", "ßéñ漢字かな🦀øłşđ").await, None);
    // The whole of it counts.
    let client = app.anon();
    assert_eq!(app.sign_in_with(&client, "cee", &long[..255]).await.status, 401);
    assert_eq!(app.sign_in_with(&client, "cee", &long[..257]).await.status, 401);
    assert_eq!(app.sign_in_with(&client, "cee", &long[..256]).await.status, 200);
    assert_eq!(app.sign_in_with(&app.anon(), "dee", "ßéñ漢字かな🦀øłşđ").await.status, 200);
}

/// SEC-13: the strict profile, and the least that can be configured.
#[tokio::test]
async fn sec_13_strict_means_15() {
    let app = Wishes::unlimited().set("ANTEROOM_PASSWORDS__STRICT", "true").start().await;
    assert!(refusal(&app, "ann", "kq7-Vu2!xz9w4t").await.unwrap().contains("15"));
    assert_eq!(refusal(&app, "ann", "kq7-Vu2!xz9w4tR").await, None);
    assert!(app.anon().get("/signup").await.body.contains("At least 15 characters"));
}

/// SEC-15: no rules of composition; blanks and any script are fine.
#[tokio::test]
async fn sec_15_there_are_no_composition_rules() {
    let app = Wishes::unlimited().start().await;
    for (name, password) in
        [("low", "gravelplinthwombat"), ("blank", "  oxbow quarry tern  "), ("cyr", "облако ртуть жираф")]
    {
        assert_eq!(refusal(&app, name, password).await, None, "{password}");
        assert_eq!(app.sign_in_with(&app.anon(), name, password).await.status, 200, "{password}");
    }
    // A blank more or less is another password.
    assert_eq!(app.sign_in_with(&app.anon(), "blank", "oxbow quarry tern").await.status, 401);
}

/// SEC-16: password managers find their way.
#[tokio::test]
async fn sec_16_the_fields_say_what_they_are() {
    let app = TestApp::start().await;
    let input = |body: &str, name: &str| {
        let tag = body.split("<input").find(|tag| tag.contains(&format!("name=\"{name}\""))).unwrap();
        tag.split("</").next().unwrap().to_owned()
    };
    let page = app.anon().get("/signup").await.body;
    for (name, token) in [
        ("first_name", "given-name"),
        ("last_name", "family-name"),
        ("username", "username"),
        ("email", "email"),
        ("password", "new-password"),
    ] {
        assert!(input(&page, name).contains(&format!("autocomplete=\"{token}\"")), "{name}");
    }
    let sign_in = app.anon().get("/login").await.body;
    assert!(input(&sign_in, "username_or_email").contains("autocomplete=\"username webauthn\""));
    assert!(input(&sign_in, "password").contains("autocomplete=\"current-password\""));
    for page in [&page, &sign_in] {
        assert!(input(page, "password").contains("data-reveal"));
        assert!(!page.contains("onpaste") && !page.contains("maxlength=\"16\""));
    }
}

/// SEC-17: the block list whatever the case, zxcvbn, and words of the person and the place.
#[tokio::test]
async fn sec_17_guessable_passwords_are_refused_with_a_reason() {
    let app = Wishes::unlimited().start().await;
    for bad in [
        "password1234",
        "PasswordPassword",
        "qwertyuiop[]",
        "qwertyuiopasdf",
        "123456789012",
        "aaaaaaaaaaaa",
        "letmeinletmein",
        "abcabcabcabc",
        "iloveyou2026",
        "anteroom-anteroom",
        "Anteroom2026!",
        "localhost12345",
    ] {
        let words = refusal(&app, "ann", bad).await;
        assert!(words.as_ref().is_some_and(|words| words.len() > 20), "{bad}: {words:?}");
    }
    for (name, bad) in [
        ("mollusc", "mollusc-mollusc"),
        ("mollusc", "mollusc12345"),
        ("ann", "zenoun.example"),
        ("ann", "Marguerite-1903"),
        ("ann", "yourcenaryourcenar"),
    ] {
        assert!(refusal(&app, name, bad).await.is_some(), "{name} {bad}");
    }
}

/// SEC-17: an operator's own list.
#[tokio::test]
async fn sec_17_the_block_list_can_be_extended() {
    let file = crate::harness::folder().join("blocked.txt");
    std::fs::write(&file, "Gravel-plinth-wombat\n\n  oxbow quarry tern\n").unwrap();
    let app =
        Wishes::unlimited().set("ANTEROOM_PASSWORDS__BLOCK_LIST_FILE", file.to_str().unwrap()).start().await;
    assert!(refusal(&app, "ann", "gravel-PLINTH-wombat").await.is_some());
    assert!(refusal(&app, "ann", "oxbow quarry tern").await.is_some());
    assert_eq!(refusal(&app, "ann", "gravel-plinth-wombats").await, None);
}
