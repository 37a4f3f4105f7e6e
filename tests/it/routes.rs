//! Every route, as every kind of caller, held against its guard.

use std::path::Path;

use accounts::Permission;
use anteroom::guard::Guard;
use anteroom::router::{self, Route};
use base::DAY;
use parts::http::{Client, Reply};
use reqwest::Method;

use crate::harness::TestApp;
use crate::page::text;
use crate::providers_harness::{Corp, corp};

/// Who asks, and whether for a page or for JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Nobody,
    /// An Admin whose password was right and whose second factor is still to come.
    Challenged,
    /// An Admin who has to set a second factor up first.
    Enrolling,
    User,
    Admin,
}

const ROLES: [Role; 5] = [Role::Nobody, Role::Challenged, Role::Enrolling, Role::User, Role::Admin];

impl Role {
    fn may(self, permission: Permission) -> bool {
        match self {
            Self::Nobody | Self::Challenged | Self::Enrolling => false,
            Self::User => matches!(permission, Permission::ChatUse | Permission::ApiKeysUse),
            Self::Admin => true,
        }
    }

    fn has_session(self) -> bool {
        matches!(self, Self::User | Self::Admin)
    }

    async fn client(self, app: &TestApp) -> Client {
        let client = app.anon();
        let (name, status) = match self {
            Self::Nobody => return client,
            Self::Challenged => ("cleo", 401),
            Self::Enrolling => ("enid", 403),
            Self::User => ("ann", 200),
            Self::Admin => ("root", 200),
        };
        let reply = app.sign_in(&client, name).await;
        assert_eq!(reply.status, status, "{self:?}: {reply:?}");
        assert_eq!(client.cookie("anteroom").is_some(), self.has_session());
        assert_eq!(client.cookie("anteroom-challenge").is_some(), !self.has_session());
        client
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The handler had it.
    In,
    /// 303 to the sign-in, or the sign-in itself where a prompt is carried through it.
    SignIn,
    /// 303 to /chat for those who are in already.
    ToChat,
    /// 303 to /chat with a flash.
    NotYours,
    Unauthenticated,
    Forbidden,
    Csrf,
}

fn verdict(reply: &Reply) -> Verdict {
    let problem = match reply.header("content-type") {
        Some("application/problem+json") => reply.json()["type"].as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    match (reply.status.as_u16(), reply.location(), problem.as_str()) {
        (401, _, "/problems/unauthenticated") => Verdict::Unauthenticated,
        (403, _, "/problems/forbidden") => Verdict::Forbidden,
        (403, _, "/problems/csrf") => Verdict::Csrf,
        // The handler's word: in this challenge there is nothing to verify.
        (403, _, "/problems/second-factor-enrolment-required") => Verdict::In,
        (403, ..) if reply.body.contains("This form is out of date") => Verdict::Csrf,
        (403, ..) if reply.body.contains("A second factor is required") => Verdict::In,
        (403, ..) => Verdict::Forbidden,
        (401, ..) if reply.body.contains("Your session has ended") => Verdict::SignIn,
        (303, Some("/login?signed_out" | "/login/2fa" | "/login/2fa/enrol" | "/login/link"), _) => {
            Verdict::In
        }
        // Cancelled; who has no challenge is told so.
        (303, Some("/login"), _) if sets(reply, "anteroom-challenge=") && !sets(reply, "anteroom-flash=") => {
            Verdict::In
        }
        (303, Some("/login"), _) if sets(reply, "anteroom-link=") => Verdict::In,
        (303, Some(path), _) if path.starts_with("/login") => Verdict::SignIn,
        (303, Some("/chat"), _) if sets(reply, "anteroom-flash=") => Verdict::NotYours,
        (303, Some("/chat"), _) if sets(reply, "anteroom=") => Verdict::In,
        (303, Some("/chat"), _) => Verdict::ToChat,
        _ => Verdict::In,
    }
}

fn sets(reply: &Reply, cookie: &str) -> bool {
    reply
        .headers
        .get_all("set-cookie")
        .iter()
        .any(|value| value.to_str().is_ok_and(|v| v.starts_with(cookie)))
}

/// What the guard promises.
fn expected(route: &Route, role: Role, json: bool) -> Verdict {
    let out = if json { Verdict::Unauthenticated } else { Verdict::SignIn };
    match route.guard {
        Guard::Public if route.path == "/" && !role.has_session() => Verdict::SignIn,
        Guard::Public if route.path == "/" => Verdict::ToChat,
        Guard::Public => Verdict::In,
        Guard::SignedOut if !role.has_session() || json => Verdict::In,
        Guard::SignedOut => Verdict::ToChat,
        Guard::Challenge if matches!(role, Role::Challenged | Role::Enrolling) => Verdict::In,
        Guard::Challenge if role == Role::Nobody || json => out,
        Guard::Challenge => Verdict::ToChat,
        Guard::Member | Guard::May(_) if !role.has_session() => out,
        Guard::Member => Verdict::In,
        Guard::May(permission) if role.may(permission) => Verdict::In,
        Guard::May(_) if json => Verdict::Forbidden,
        Guard::May(_) => Verdict::NotYours,
    }
}

const PARTS: [&str; 5] = ["{id}", "{token}", "{file}", "{name}", "{provider}"];

/// The route with ids of nothing, and with the one provider.
fn filled(route: &Route) -> String {
    let fill = |path: String, part: &&str| {
        path.replace(part, if *part == "{provider}" { "corp" } else { "nothing" })
    };
    PARTS.iter().fold(route.path.to_owned(), fill)
}

struct Ask<'a> {
    json: bool,
    token: Option<&'a str>,
    headers: &'a [(&'a str, &'a str)],
}

async fn ask(client: &Client, route: &Route, ask: &Ask<'_>) -> Reply {
    let accept = if ask.json { "application/json" } else { "text/html,*/*;q=0.8" };
    let mut request = client.request(route.method.clone(), &filled(route)).header("accept", accept);
    for (name, value) in ask.headers {
        request = request.header(*name, *value);
    }
    if route.method != Method::GET {
        request = match (ask.json, ask.token) {
            (true, Some(token)) => request.header("x-csrftoken", token).json(&serde_json::json!({})),
            (true, None) => request.json(&serde_json::json!({})),
            (false, token) => request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(token.map_or_else(String::new, |token| format!("csrf_token={token}"))),
        };
    }
    client.send(request).await
}

/// An application with `ann`, a User, `root`, an Admin, and two Admins who do not get past the gate,
/// where limits are not in the way, and a provider to go to.
async fn peopled() -> Corp {
    let house = corp().await;
    let app = &house.app;
    let cleo = app.account("cleo", "Admin").await;
    app.totp(&cleo).await;
    app.account("enid", "Admin").await;
    app.clock.advance(8 * DAY);
    app.account("root", "Admin").await;
    app.account("ann", "User").await;
    house
}

fn unsafe_routes() -> Vec<Route> {
    router::routes().into_iter().filter(|route| route.method != Method::GET).collect()
}

/// SEC-90: the published matrix is the one in force.
#[test]
fn sec_90_the_published_matrix_is_the_routers() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/routes.md");
    let published = std::fs::read_to_string(published).unwrap();
    assert_eq!(published, router::matrix(), "write it anew: anteroom config routes > docs/routes.md");
}

/// SEC-90, SEC-33 and SEC-35: a challenge opens its own routes and nothing else, for programs and for people, and
/// nothing else opens those.
#[tokio::test]
async fn sec_90_every_route_lets_in_whom_its_guard_names() {
    let house = peopled().await;
    let app = &house.app;
    let mut wrong = Vec::new();
    for route in router::routes() {
        for (role, json) in ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]) {
            // A fresh one, since some routes end or replace the session.
            let client = role.client(app).await;
            let token = app.csrf(&client).await;
            let reply = ask(&client, &route, &Ask { json, token: Some(&token), headers: &[] }).await;
            let (want, got) = (expected(&route, role, json), verdict(&reply));
            assert!(reply.status.as_u16() < 500, "{route:?} {role:?}: {reply:?}");
            if want != got {
                wrong.push(format!(
                    "{} {} as {role:?}, JSON {json}: {got:?}, not {want:?}",
                    route.method, route.path
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// SEC-35: with a challenge alone every other route answers as it does to somebody who is signed out, to the letter.
/// SEC-34: nor does a challenge's token in the session's cookie, or the other way round, open anything.
#[tokio::test]
async fn sec_35_a_challenge_is_worth_nothing_elsewhere() {
    let house = peopled().await;
    let app = &house.app;
    let told = |reply: &Reply| {
        let shown = match reply.header("content-type") {
            Some("application/problem+json") => {
                reply.json()["detail"].as_str().unwrap_or_default().to_owned()
            }
            // What is random on a page stands in its tags, but for the request's id.
            _ => {
                let id = reply.header("x-request-id").unwrap_or("none");
                text(&reply.body).replace(id, "")
            }
        };
        (reply.status.as_u16(), reply.location().map(str::to_owned), shown)
    };
    for route in router::routes().into_iter().filter(|route| route.guard != Guard::Challenge) {
        for json in [false, true] {
            let mut answers = Vec::new();
            for (role, swapped) in [
                (Role::Nobody, false),
                (Role::Challenged, false),
                (Role::Challenged, true),
                (Role::Enrolling, false),
                (Role::Enrolling, true),
            ] {
                let client = role.client(app).await;
                if swapped {
                    client.set_cookie("anteroom", &client.cookie("anteroom-challenge").unwrap());
                }
                let token = app.csrf(&client).await;
                if swapped {
                    client.set_cookie("anteroom", &client.cookie("anteroom-challenge").unwrap());
                }
                let challenge = client.cookie("anteroom-challenge");
                let reply = ask(&client, &route, &Ask { json, token: Some(&token), headers: &[] }).await;
                let session = client.cookie("anteroom");
                assert!(session.is_none() || session == challenge, "{route:?} {role:?}: {reply:?}");
                answers.push((role, swapped, told(&reply)));
            }
            for answer in &answers[1..] {
                // These say a word that is new each time.
                let varies = ["/api/v1/csrf", "/login/passkey/options", "/login/{provider}", "/readyz"]
                    .contains(&route.path);
                let same = if varies { answer.2.0 == answers[0].2.0 } else { answer.2 == answers[0].2 };
                assert!(
                    same,
                    "{} {} JSON {json}: {answer:?}, but {:?}",
                    route.method, route.path, answers[0]
                );
            }
        }
    }
    let root = Role::Admin.client(app).await;
    root.set_cookie("anteroom-challenge", &root.cookie("anteroom").unwrap());
    for route in router::routes().into_iter().filter(|route| route.guard == Guard::Challenge) {
        let token = app.csrf(&root).await;
        let reply = ask(&root, &route, &Ask { json: true, token: Some(&token), headers: &[] }).await;
        assert_eq!(verdict(&reply), Verdict::Unauthenticated, "{route:?}");
        root.set_cookie("anteroom-challenge", &root.cookie("anteroom").unwrap());
    }
}

/// SEC-83: without the token of this session nothing changes, whatever the route.
#[tokio::test]
async fn sec_83_every_unsafe_route_needs_the_token_of_its_own_session() {
    let house = peopled().await;
    let app = &house.app;
    let other = Role::Admin.client(app).await;
    let others = app.csrf(&other).await;
    for role in ROLES {
        let client = role.client(app).await;
        // Signed out, the token hangs on a cookie; take one now.
        app.csrf(&client).await;
        for route in unsafe_routes() {
            if !role.has_session() && route.path == "/logout" {
                // There is nothing to end.
                continue;
            }
            for token in [None, Some("AAAA"), Some(others.as_str())] {
                let reply = ask(&client, &route, &Ask { json: false, token, headers: &[] }).await;
                let in_or_open = role.has_session()
                    || matches!(route.guard, Guard::Public | Guard::SignedOut | Guard::Challenge);
                let want = if in_or_open { Verdict::Csrf } else { Verdict::SignIn };
                assert_eq!(verdict(&reply), want, "{route:?} {role:?} {token:?}: {reply:?}");
                if role.has_session() {
                    let reply = ask(&client, &route, &Ask { json: true, token, headers: &[] }).await;
                    assert_eq!(verdict(&reply), Verdict::Csrf, "{route:?} {role:?} JSON: {reply:?}");
                }
            }
            // A token in the address is none.
            let reply = client.post(&format!("{}?csrf_token={others}", filled(&route)), &[]).await;
            assert_ne!(verdict(&reply), Verdict::In, "{route:?} {role:?}");
        }
    }
}

/// SEC-83: what comes from another origin is refused whatever its token.
#[tokio::test]
async fn sec_83_every_unsafe_route_refuses_other_origins() {
    let house = peopled().await;
    let app = &house.app;
    let own = app.base.clone();
    let foreign: [&[(&str, &str)]; 9] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", "http://localhost:1")],
        &[("origin", &own), ("sec-fetch-site", "cross-site")],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
    ];
    for role in ROLES {
        let client = role.client(app).await;
        let token = app.csrf(&client).await;
        for route in unsafe_routes() {
            for headers in foreign {
                for json in [false, true] {
                    let reply = ask(&client, &route, &Ask { json, token: Some(&token), headers }).await;
                    assert_eq!(verdict(&reply), Verdict::Csrf, "{route:?} {role:?} {headers:?}: {reply:?}");
                }
            }
        }
    }
    let own: [&[(&str, &str)]; 3] = [
        &[("origin", &own), ("sec-fetch-site", "same-origin")],
        &[("origin", &own)],
        &[("sec-fetch-site", "same-origin")],
    ];
    for headers in own {
        let client = Role::Admin.client(app).await;
        let token = app.csrf(&client).await;
        for route in unsafe_routes().iter().filter(|route| matches!(route.guard, Guard::May(_))) {
            let reply = ask(&client, route, &Ask { json: false, token: Some(&token), headers }).await;
            assert_eq!(verdict(&reply), Verdict::In, "{route:?} {headers:?}: {reply:?}");
        }
    }
}

/// SEC-84: a GET or HEAD with everything a form would send reaches no handler that changes things.
#[tokio::test]
async fn sec_84_what_changes_things_takes_no_get() {
    let house = peopled().await;
    let app = &house.app;
    let client = Role::Admin.client(app).await;
    let pages: Vec<String> =
        router::routes().iter().filter(|route| route.method == Method::GET).map(filled).collect();
    for route in unsafe_routes() {
        let path = filled(&route);
        if pages.contains(&path) {
            continue;
        }
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            // A path of two routes (/chat/{id} takes any id) may answer 404 instead.
            let reply = client.send(client.request(method.clone(), &path)).await;
            assert!(matches!(reply.status.as_u16(), 403..=405), "{method} {path}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_told_as_page_and_as_problem() {
    let house = peopled().await;
    let app = &house.app;
    for role in ROLES {
        let client = role.client(app).await;
        let page = client.get("/no/such/page").await;
        assert_eq!(page.status, 404);
        assert!(page.body.contains("There is nothing here"), "{page:?}");
        let json = client.get_json("/no/such/page").await;
        assert_eq!(
            (json.status.as_u16(), json.header("content-type")),
            (404, Some("application/problem+json"))
        );
        let problem = json.json();
        assert_eq!(
            (problem["type"].as_str(), problem["status"].as_i64()),
            (Some("/problems/not-found"), Some(404))
        );
        assert_eq!(problem["request_id"].as_str(), json.header("x-request-id"));

        let page = client.get("/logout").await;
        assert_eq!((page.status.as_u16(), page.header("allow")), (405, Some("POST")), "{page:?}");
        assert!(page.body.contains("This address is not used that way"));
        let json = client.get_json("/assign_role_to_user").await;
        assert_eq!(
            (json.status.as_u16(), json.json()["type"].as_str()),
            (405, Some("/problems/method-not-allowed"))
        );
    }
}

/// What no id can be is not there, and no error of the server's.
#[tokio::test]
async fn addresses_with_bytes_that_are_no_text_are_not_there() {
    let house = peopled().await;
    let app = &house.app;
    let client = Role::Admin.client(app).await;
    let token = app.csrf(&client).await;
    for odd in ["%00", "a%00b", "%ff", "%0a", "%ED%A0%80"] {
        for route in router::routes().iter().filter(|route| route.path.contains('{')) {
            let path = PARTS.iter().fold(route.path.to_owned(), |path, part| path.replace(part, odd));
            let reply = match route.method {
                Method::GET => client.get(&path).await,
                _ => client.post(&path, &[("csrf_token", &token)]).await,
            };
            assert_eq!(reply.status, 404, "{path}: {reply:?}");
        }
        for path in [
            "/login?next=",
            "/login/corp?next=",
            "/login/corp/authorized?state=",
            "/login/corp/authorized?code=1&iss=",
            "/admin/users?q=",
            "/admin/users?after=",
            "/chat?older=1.",
            "/setup?token=",
            "/admin/stats?from=",
            "/admin/errors?after=",
        ] {
            let reply = client.get(&format!("{path}{odd}")).await;
            assert!(reply.status.as_u16() < 500, "{path}{odd}: {reply:?}");
        }
    }
}

/// The direction rule: pages, JSON, gateway, jobs and the command line never import each other.
#[test]
fn the_entry_points_never_import_each_other() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let parts = ["pages", "api", "gateway", "jobs", "cli"];
    let mut files = Vec::new();
    for part in parts {
        collect(&source.join(part), part, &mut files);
    }
    assert!(files.len() > 15, "only {} files were found", files.len());
    for (part, name, text) in &files {
        for other in parts.iter().filter(|other| *other != part) {
            for form in [format!("crate::{other}::"), format!("crate::{other};"), format!("crate::{{{other}")]
            {
                assert!(!text.contains(&form), "{name} imports {other}");
            }
        }
    }
}

fn collect<'a>(folder: &Path, part: &'a str, out: &mut Vec<(&'a str, String, String)>) {
    // The gateway is not there yet.
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, part, out);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            out.push((part, path.display().to_string(), text));
        }
    }
}
