//! SEC-81: the list of one's sessions, ending them, and what an Admin may end and unlock.

use parts::http::{Client, Reply};
use serde_json::json;

use crate::harness::{TestApp, Wishes};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/19.0 Mobile/15E148 Safari/604.1";

async fn is_in(client: &Client) -> bool {
    client.get_json("/api/v1/me").await.status == 200
}

/// Signs `username` in with what a browser calls itself.
async fn on(app: &TestApp, username: &str, user_agent: &str) -> Client {
    let client = app.anon().with_header("user-agent", user_agent);
    assert_eq!(app.sign_in(&client, username).await.status, 200);
    client
}

/// The ids of the sessions that a page offers to end, in its order.
fn offered(page: &Reply) -> Vec<String> {
    let parts = page.body.split("action=\"/settings/sessions/").skip(1);
    let ids = parts.filter_map(|part| part.split_once("/end\"")).map(|(id, _)| id.to_owned());
    ids.filter(|id| !id.contains('"')).collect()
}

/// SEC-81: device, address, times and method; one of them ended, then all but this one.
#[tokio::test]
async fn sec_81_a_person_sees_their_sessions_and_ends_them() {
    let app = TestApp::start().await;
    app.account("ann", "User").await;
    let other = app.user("bob").await;
    let here = on(&app, "ann", FIREFOX).await;
    let phone = on(&app, "ann", PHONE).await;
    let program = on(&app, "ann", "curl/8.14.1").await;
    let hostile = on(&app, "ann", "<script>alert(1)</script>").await;

    let page = here.get("/settings/sessions").await;
    assert_eq!(page.status, 200);
    for part in [
        "Firefox on Linux",
        "This one",
        "Safari on iPhone",
        "curl",
        "An unknown device",
        "127.0.0.1",
        "Password",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert!(!page.body.contains("<script>alert"));
    assert_eq!(page.body.matches("This one").count(), 1);
    assert!(here.get("/settings").await.body.contains("href=\"/settings/sessions\""));
    let ids = offered(&page);
    assert_eq!(ids.len(), 3, "not this one: {ids:?}");

    // Somebody else's session is none of mine, whoever knows its id.
    let token = app.csrf(&other).await;
    let theirs = format!("/settings/sessions/{}/end", ids[0]);
    assert_eq!(other.post_json(&theirs, Some(&token), &json!({})).await.status, 404);
    assert_eq!(app.post(&other, &theirs, &[]).await.status, 303);
    assert!(other.get("/settings/sessions").await.body.contains("had ended already"));

    let phone_id = page.body.split("Safari on iPhone").nth(1).unwrap();
    let phone_id = phone_id.split("/settings/sessions/").nth(1).unwrap().split("/end").next().unwrap();
    assert!(is_in(&phone).await && is_in(&program).await && is_in(&hostile).await);
    let reply = app.post(&here, &format!("/settings/sessions/{phone_id}/end"), &[]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/settings/sessions")));
    let page = here.get("/settings/sessions").await;
    assert!(
        page.body.contains("That device is signed out.") && !page.body.contains("iPhone"),
        "{}",
        page.body
    );
    assert_eq!((is_in(&phone).await, is_in(&program).await, is_in(&here).await), (false, true, true));

    let reply = app.post(&here, "/settings/sessions/end-others", &[]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/settings/sessions")));
    let page = here.get("/settings/sessions").await;
    assert!(page.body.contains("signed out everywhere else: 2 sessions ended"), "{}", page.body);
    assert!(!page.body.contains("end-others"), "nothing to end is offered");
    assert_eq!((is_in(&program).await, is_in(&hostile).await, is_in(&here).await), (false, false, true));
    assert!(is_in(&other).await, "nobody else's");

    // As JSON; and this very one, which is a sign-out.
    let token = app.csrf(&here).await;
    let none = here.post_json("/settings/sessions/end-others", Some(&token), &json!({})).await;
    assert_eq!(none.json()["message"], "You are signed in nowhere else.");
    let own = here.post_json("/settings/sessions/end-others", Some(&token), &json!({ "id": 1 })).await;
    assert_eq!(own.status, 422);
    let me = app.app.accounts.find_person("ann").await.unwrap().unwrap().user.id;
    let own = app.app.accounts.list_sessions(&me).await.unwrap();
    assert_eq!(own.len(), 1);
    let reply = app.post(&here, &format!("/settings/sessions/{}/end", own[0].id), &[]).await;
    assert_eq!(reply.location(), Some("/login?signed_out"));
    assert!(!is_in(&here).await);
}

/// SEC-83
#[tokio::test]
async fn sec_83_ending_sessions_takes_a_token() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let second = app.anon();
    app.sign_in(&second, "ann").await;
    assert_eq!(ann.post("/settings/sessions/end-others", &[]).await.status, 403);
    assert!(is_in(&second).await);
}

/// SEC-81: an Admin ends every session of a person.
#[tokio::test]
async fn sec_81_an_admin_signs_someone_out_everywhere() {
    let app = TestApp::start().await;
    let (root, ann) = (app.admin().await, app.user("ann").await);
    let again = app.anon();
    app.sign_in(&again, "ann").await;
    let id = ann.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/users/{id}/sign-out");
    assert!(root.get("/admin/users").await.body.contains(&path));
    let reply = app.post(&root, &path, &[("back", "/admin/users?q=ann")]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/admin/users?q=ann")));
    assert!(root.get("/admin/users").await.body.contains("ann is signed out everywhere."));
    assert_eq!((is_in(&ann).await, is_in(&again).await, is_in(&root).await), (false, false, true));
    app.post(&root, &path, &[]).await;
    assert!(root.get("/admin/users").await.body.contains("ann was not signed in."));
    // They may come back.
    assert_eq!(app.sign_in(&ann, "ann").await.status, 200);
}

/// SEC-81: what was begun of a sign-in ends with the sessions.
#[tokio::test]
async fn sec_81_signing_someone_out_ends_begun_sign_ins() {
    let app = Wishes::unlimited().start().await;
    let root = app.admin().await;
    let (_, codes) = app.with_app("ann").await;
    let id = app.app.accounts.find_person("ann").await.unwrap().unwrap().user.id;
    let ann = app.challenged("ann").await;
    app.post(&root, &format!("/admin/users/{id}/sign-out"), &[]).await;
    let reply = app.answer(&ann, &codes[0]).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["type"]), (401, &"/problems/unauthenticated".into()));
}

/// SEC-28: the lock is seen in the list, with its end, and lifted there.
#[tokio::test]
async fn sec_28_an_admin_sees_and_lifts_a_lock() {
    let app = Wishes::unlimited().start().await;
    let root = app.admin().await;
    let ann = app.account("ann", "User").await;
    let path = format!("/admin/users/{ann}/unlock");
    assert!(!root.get("/admin/users").await.body.contains(&path), "nothing to unlock");
    let client = app.anon();
    for _ in 0..10 {
        app.sign_in_with(&client, "ann", "wrong-wrong-wrong").await;
    }
    assert_eq!(app.sign_in(&client, "ann").await.status, 429);
    let page = root.get("/admin/users").await.body;
    // 15 minutes after noon.
    assert!(page.contains("Locked") && page.contains("12:15") && page.contains(&path), "{page}");
    let reply = app.post(&root, &path, &[]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/admin/users")));
    let page = root.get("/admin/users").await.body;
    assert!(page.contains("ann may sign in again.") && !page.contains("Locked"), "{page}");
    assert_eq!(app.sign_in(&client, "ann").await.status, 200);
    let token = app.csrf(&root).await;
    let reply = root.post_json(&path, Some(&token), &json!({})).await;
    assert_eq!(reply.json()["message"], "ann was not locked.");
}
