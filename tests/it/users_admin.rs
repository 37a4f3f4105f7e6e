//! What an Admin does to people, and what keeps it within bounds.

use accounts::Cursor;
use base::{args, sql};
use parts::http::{Client, Reply};
use serde_json::json;

use crate::harness::{TestApp, Wishes};

async fn act(app: &TestApp, client: &Client, id: &str, what: &str) -> Reply {
    app.post(client, &format!("/admin/users/{id}/{what}"), &[]).await
}

/// The flash that the next page shows, and no page after it.
async fn flash(client: &Client, page: &str) -> String {
    let of = |reply: Reply| {
        let part = reply.body.split("id=\"flashes\">").nth(1).unwrap();
        let part = part.split("<b>").nth(1).filter(|_| part.trim_start().starts_with("<div class=\"notice"));
        part.map_or_else(String::new, |part| part.split("</b>").next().unwrap().to_owned())
    };
    let shown = of(client.get(page).await);
    assert_eq!(of(client.get(page).await), "", "a flash is shown once");
    shown
}

async fn active_admins(app: &TestApp) -> Vec<String> {
    let people = app.app.accounts.people("", &Cursor::Start).await.unwrap();
    let admins = people.rows.into_iter().filter(|person| person.is_admin && person.user.is_active());
    admins.map(|person| person.user.username).collect()
}

async fn assign(
    client: &Client,
    token: &str,
    user: impl Into<serde_json::Value>,
    role: impl Into<serde_json::Value>,
) -> Reply {
    let body = json!({ "user_id": user.into(), "role_id": role.into() });
    client.post_json("/assign_role_to_user", Some(token), &body).await
}

#[tokio::test]
async fn each_action_says_what_it_did_and_again_is_no_error() {
    let app = TestApp::start().await;
    let (root, ann) = (app.admin().await, app.account("ann", "User").await);
    for (what, words) in [
        ("promote", "ann is an Admin now."),
        ("promote", "ann was an Admin already."),
        ("demote", "ann is no Admin any more."),
        ("demote", "ann was no Admin."),
        ("deactivate", "ann is deactivated and signed out everywhere."),
        ("deactivate", "ann was deactivated already."),
        ("reactivate", "ann may sign in again."),
        ("reactivate", "ann was active already."),
    ] {
        let reply = act(&app, &root, &ann, what).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/admin/users")), "{what}");
        assert_eq!(flash(&root, "/admin/users").await, words);
    }
    // SEC-76: the way back is the list, as it was, and nothing else.
    for (back, way) in [
        ("/admin/users?q=an&after=a", "/admin/users?q=an&after=a"),
        ("https://evil.example/", "/admin/users"),
        ("//evil.example", "/admin/users"),
    ] {
        let reply = app.post(&root, &format!("/admin/users/{ann}/promote"), &[("back", back)]).await;
        assert_eq!(reply.location(), Some(way));
    }
    // As JSON.
    let token = app.csrf(&root).await;
    let reply = root.post_json(&format!("/admin/users/{ann}/demote"), Some(&token), &json!({})).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["message"].as_str()),
        (200, Some("ann is no Admin any more."))
    );
    let reply = root.post_json("/admin/users/nobody/demote", Some(&token), &json!({})).await;
    assert_eq!(reply.status, 404);
    let reply =
        root.post_json(&format!("/admin/users/{ann}/demote"), Some(&token), &json!({ "role": 1 })).await;
    assert_eq!(reply.status, 422);
}

/// SEC-93: alone, an Admin neither steps down nor is shut out; and nobody deactivates themselves.
#[tokio::test]
async fn sec_93_the_last_admin_stays() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let id = root.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    act(&app, &root, &id, "demote").await;
    assert!(flash(&root, "/admin/users").await.contains("last active Admin"));
    act(&app, &root, &id, "deactivate").await;
    assert!(flash(&root, "/admin/users").await.contains("your own account"));
    let token = app.csrf(&root).await;
    let reply = root.post_json(&format!("/admin/users/{id}/demote"), Some(&token), &json!({})).await;
    assert_eq!((reply.status.as_u16(), reply.json()["type"].as_str()), (409, Some("/problems/conflict")));
    assert_eq!(active_admins(&app).await, ["root"]);

    // A shut Admin is none: beside one, the other is still the last.
    let bob = app.account("bob", "Admin").await;
    act(&app, &root, &bob, "deactivate").await;
    act(&app, &root, &id, "demote").await;
    assert_eq!(active_admins(&app).await, ["root"]);
    act(&app, &root, &bob, "reactivate").await;
    let reply = act(&app, &root, &id, "demote").await;
    assert_eq!(reply.location(), Some("/chat"), "these pages are closed to one who stepped down");
    assert!(flash(&root, "/chat").await.contains("root is no Admin any more"));
    assert_eq!(root.get_json("/admin/users").await.status, 403);
    assert_eq!(active_admins(&app).await, ["bob"]);
}

/// SEC-93, SEC-99: five Admins, fifty tries at once to take it from each other.
#[tokio::test]
async fn sec_93_one_admin_is_left_of_fifty_parallel_tries() {
    let app = Wishes::unlimited().start().await;
    let mut admins = Vec::new();
    for n in 0..5 {
        let client = app.person(&format!("root{n}"), "Admin").await;
        let id = client.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
        let token = app.csrf(&client).await;
        admins.push((client, id, token));
    }
    let mut tries = Vec::new();
    for (client, _, token) in &admins {
        for (_, id, _) in &admins {
            for what in ["demote", "deactivate"] {
                let (client, token, path) =
                    (client.clone(), token.clone(), format!("/admin/users/{id}/{what}"));
                tries.push(tokio::spawn(async move {
                    client.post_json(&path, Some(&token), &json!({})).await.status.as_u16()
                }));
            }
        }
    }
    assert_eq!(tries.len(), 50);
    for one in tries {
        let status = one.await.unwrap();
        assert!(matches!(status, 200 | 401 | 403 | 409), "{status}");
    }
    let left = active_admins(&app).await;
    assert!(!left.is_empty());
    // Whoever is left may still act, and is the last one once alone.
    for name in &left {
        let client = app.anon();
        assert_eq!(app.sign_in(&client, name).await.status, 200);
        assert_eq!(client.get("/admin/users").await.status, 200);
    }
}

/// SEC-92: a helper may manage people, but neither give more than they have nor touch who has more.
#[tokio::test]
async fn sec_92_nobody_gives_or_takes_more_than_they_have() {
    let app = TestApp::start().await;
    let root = app.account("root", "Admin").await;
    let ann = app.account("ann", "User").await;
    let db = &app.app.db;
    db.run(sql!("INSERT INTO roles (id, name, name_canonical, built_in, created_at) VALUES ('7', 'Helper', 'helper', $1, 1)"), args![false])
        .await
        .unwrap();
    for permission in ["chat.use", "api_keys.use", "users.read", "users.manage", "roles.manage"] {
        db.run(
            sql!("INSERT INTO role_permissions (role_id, permission) VALUES ('7', $1)"),
            args![permission],
        )
        .await
        .unwrap();
    }
    let helper = app.person("helper", "Helper").await;
    for (id, what) in [(&ann, "promote"), (&root, "demote"), (&root, "deactivate"), (&root, "reactivate")] {
        act(&app, &helper, id, what).await;
        assert!(flash(&helper, "/admin/users").await.contains("permissions that you do not have"), "{what}");
        let token = app.csrf(&helper).await;
        let reply = helper.post_json(&format!("/admin/users/{id}/{what}"), Some(&token), &json!({})).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["type"].as_str()),
            (403, Some("/problems/forbidden")),
            "{what}"
        );
    }
    let token = app.csrf(&helper).await;
    assert_eq!(assign(&helper, &token, ann.as_str(), "Admin").await.status, 403);
    let me = helper.get_json("/api/v1/me").await.json()["id"].clone();
    assert_eq!(assign(&helper, &token, me, 1).await.status, 403);
    // What they may, they may.
    assert_eq!(assign(&helper, &token, "ann", "helper").await.status, 200);
    act(&app, &helper, &ann, "deactivate").await;
    assert!(flash(&helper, "/admin/users").await.contains("is deactivated"));
    assert_eq!(active_admins(&app).await, ["root"]);
}

#[tokio::test]
async fn assign_role_takes_ids_and_names_and_adds() {
    let app = TestApp::start().await;
    let (root, ann) = (app.admin().await, app.account("ann", "User").await);
    let token = app.csrf(&root).await;
    let roles = async || {
        let people = app.app.accounts.people("ann", &Cursor::Start).await.unwrap();
        people.rows[0].roles.join(" ")
    };
    for (user, role) in [
        (json!("ann"), json!(1)),
        (json!(ann), json!("1")),
        (json!("ANN"), json!("Admin")),
        (json!(ann), json!("admin")),
        (json!("ann"), json!(2)),
        (json!("ann"), json!("User")),
    ] {
        let reply = assign(&root, &token, user.clone(), role.clone()).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-type")),
            (200, Some("application/json")),
            "{user} {role}"
        );
        assert!(reply.json()["message"].is_string());
        assert_eq!(roles().await, "Admin User", "{user} {role}");
    }
    for (user, role, field) in [
        (json!("nobody"), json!(1), "user_id"),
        (json!(7), json!(1), "user_id"),
        (json!("ann"), json!("Emperor"), "role_id"),
        (json!("ann"), json!(99), "role_id"),
        (json!(""), json!(1), "user_id"),
        (json!(null), json!(1), "user_id"),
        (json!(["ann"]), json!(1), "user_id"),
        (json!("ann"), json!(1.5), "role_id"),
        (json!("ann"), json!(true), "role_id"),
    ] {
        let reply = assign(&root, &token, user.clone(), role.clone()).await;
        assert_eq!(reply.status, 422, "{user} {role}");
        assert!(reply.json()["errors"][field].is_string(), "{user} {role}: {reply:?}");
    }
    let more = json!({ "user_id": "ann", "role_id": 1, "permissions": ["users.manage"] });
    assert_eq!(root.post_json("/assign_role_to_user", Some(&token), &more).await.status, 422);
    let body = json!({ "user_id": "ann", "role_id": 1 });
    assert_eq!(root.post_json("/assign_role_to_user", None, &body).await.json()["type"], "/problems/csrf");

    let user = app.user("bob").await;
    let token = app.csrf(&user).await;
    let reply = assign(&user, &token, "bob", "Admin").await;
    assert_eq!((reply.status.as_u16(), reply.json()["type"].as_str()), (403, Some("/problems/forbidden")));
    let reply = app.anon().post_json("/assign_role_to_user", None, &body).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["type"].as_str()),
        (401, Some("/problems/unauthenticated"))
    );
}

#[tokio::test]
async fn who_may_not_is_sent_to_the_chats_with_a_word() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let ann = app.user("ann").await;
    for page in
        ["/admin", "/admin/stats", "/admin/users", "/admin/models", "/admin/errors", "/admin/settings"]
    {
        let reply = ann.get(page).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{page}");
        assert!(flash(&ann, "/chat").await.contains("may not open that page"), "{page}");
        let json = ann.get_json(page).await;
        assert_eq!(
            (json.status.as_u16(), json.json()["type"].as_str()),
            (403, Some("/problems/forbidden")),
            "{page}"
        );
        assert_eq!(root.get(page).await.status, 200, "{page}");
    }
    assert!(!ann.get("/chat").await.body.contains("href=\"/admin"));
    assert!(root.get("/chat").await.body.contains("href=\"/admin"));
    // A flash is ours or none: what somebody else wrote into the cookie is not shown.
    ann.set_cookie("anteroom-flash", "bVBheSBtZSE.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert!(!ann.get("/chat").await.body.contains("Pay me!"));
}

#[tokio::test]
async fn people_are_found_and_stand_on_pages_of_fifty() {
    let app = Wishes::unlimited().start().await;
    let root = app.admin().await;
    for n in 0..104 {
        app.account(&format!("p{n:03}"), "User").await;
    }
    let rows = |body: &str| -> Vec<String> {
        let parts = body.split("Actions for ").skip(1);
        parts.map(|part| part.split('<').next().unwrap().to_owned()).collect()
    };
    let link = |body: &str, cursor: &str| {
        let hrefs =
            body.split("href=\"").skip(1).map(|part| parts::http::unescape(part.split('"').next().unwrap()));
        hrefs
            .into_iter()
            .find(|href| href.starts_with("/admin/users?") && href.contains(&format!("{cursor}=")))
    };
    let first = root.get("/admin/users").await.body;
    assert!(first.contains("105 accounts"));
    assert_eq!(link(&first, "before"), None);
    let second = root.get(&link(&first, "after").unwrap()).await.body;
    let third = root.get(&link(&second, "after").unwrap()).await.body;
    assert_eq!(link(&third, "after"), None);
    let mut all = [rows(&first), rows(&second), rows(&third)];
    assert_eq!(all.each_ref().map(Vec::len), [50, 50, 5]);
    let back = root.get(&link(&third, "before").unwrap()).await.body;
    assert_eq!(rows(&back), all[1]);
    let all: Vec<String> = all.iter_mut().flat_map(std::mem::take).collect();
    assert!(all.is_sorted() && all.len() == 105);

    let found =
        async |q: &str| rows(&root.get(&format!("/admin/users?q={}", parts::http::escape(q))).await.body);
    assert_eq!(found("P042").await, ["p042"]);
    assert_eq!(found("p042@EXAMPLE").await, ["p042"]);
    assert_eq!(found("p10").await, ["p100", "p101", "p102", "p103"]);
    for nothing in ["%", "_042", "p042\\", "zzz", "' OR 1=1 --"] {
        assert_eq!(found(nothing).await, Vec::<String>::new(), "{nothing}");
    }
    let hostile = root.get("/admin/users?q=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(!hostile.body.contains("<script>alert"));
    let searched = root.get("/admin/users?q=given").await.body;
    assert!(link(&searched, "after").unwrap().contains("q=given"));
}

#[tokio::test]
async fn the_sign_up_section_takes_effect_at_once() {
    let app = Wishes::unlimited().start().await;
    let root = app.admin().await;
    let save = async |fields: &[(&str, &str)]| app.post(&root, "/admin/settings/sign-up", fields).await;
    let sign_up = async |name: &str| {
        let body = json!({
            "first_name": "A", "last_name": "B", "username": name, "email": format!("{name}@example.org"),
            "password": crate::harness::PASSWORD,
        });
        app.anon().post_json("/signup", None, &body).await
    };
    assert_eq!(sign_up("one").await.status, 201);
    let saved = save(&[("mode", "closed"), ("allowed_domains", "")]).await;
    assert!(saved.status == 303 && saved.location().unwrap().starts_with("/admin/settings"), "{saved:?}");
    assert!(flash(&root, "/admin/settings").await.contains("Sign-up is closed"));
    assert_eq!(sign_up("two").await.status, 409);
    assert!(app.anon().get("/signup").await.body.contains("Sign-up is closed"));

    save(&[("mode", "open"), ("allowed_domains", "Example.com\n@example.net")]).await;
    assert_eq!(sign_up("two").await.status, 422);
    let page = root.get("/admin/settings").await.body;
    assert!(page.contains("example.com\nexample.net"), "{page}");

    save(&[("mode", "open"), ("allowed_domains", ""), ("verification_required", "on")]).await;
    let pending = sign_up("two").await.json();
    assert!(pending.get("user").is_none(), "{pending}");
    assert_eq!(app.mails_to("verify_email", "two@example.org").await.len(), 1);
    // The unchecked box counts.
    save(&[("mode", "open"), ("allowed_domains", "")]).await;
    assert!(sign_up("three").await.json().get("user").is_some());

    let wrong = save(&[("mode", "maybe"), ("allowed_domains", "not a domain")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("not a domain") && wrong.body.contains("Choose open or closed."));
    let unknown = save(&[("mode", "open"), ("role", "Admin")]).await;
    assert_eq!(unknown.status, 422);
    assert_eq!(sign_up("four").await.status, 201);
}
