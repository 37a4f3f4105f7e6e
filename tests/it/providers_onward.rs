//! SEC-76, SEC-83, SEC-84: where a sign-in by a provider leads, what it carries along, and what a mere GET may do.

use base::{DAY, MINUTE, sql};
use parts::http::{Client, Reply, escape, field};
use parts::oidc::{Fault, Part};

use crate::harness::{TestApp, Wishes};
use crate::page::{composer, last, models, text};
use crate::providers_harness::{
    Corp, at_provider, begin, come_back, corp, corp_with, going_url, idp, is_in, travel,
};

/// What is no path of ours.
fn bad_paths() -> Vec<String> {
    let plain = [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https://evil.example",
        "http:/evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.example",
        "chat",
        "",
        " /chat",
        "%2F%2Fevil.example",
        "%2Fevil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        "/a\r\nset-cookie: a=b",
        "/\0",
        "/chat\\..\\evil",
        "/\u{85}x",
        "@evil.example",
        "?next=//evil.example",
        "#//evil.example",
    ];
    plain.iter().map(|path| (*path).to_owned()).chain([format!("/{}", "a".repeat(2_000))]).collect()
}

/// SEC-76: whatever stands in `next`, nobody is led off the site, by link or by form.
#[tokio::test]
async fn sec_76_next_is_a_path_of_ours_only() {
    let house = corp().await;
    for bad in bad_paths() {
        let client = house.app.anon();
        let path = format!("/login/corp?next={}", escape(&bad));
        if bad.contains('\0') {
            assert_eq!(client.get(&path).await.status, 400, "{bad:?}");
            continue;
        }
        let reply = travel(&client, &path).await;
        assert_eq!(reply.location(), Some("/chat"), "{bad:?}: {reply:?}");
        assert!(is_in(&client));
        let client = house.app.anon();
        let reply = client.submit("/login", "/login/corp", &[("next", &bad)]).await;
        let callback = at_provider(&going_url(&reply)).await;
        assert_eq!(come_back(&client, &callback).await.location(), Some("/chat"), "form, {bad:?}");
        assert!(is_in(&client));
    }
    // Of two the first counts, and where that is none of ours nothing does.
    let twice = travel(&house.app.anon(), "/login/corp?next=//evil.example&next=/settings").await;
    assert!(matches!(twice.location(), Some("/chat" | "/settings")), "{twice:?}");
    // The provider's answer adds none.
    let client = house.app.anon();
    let callback = at_provider(&begin(&client, "/login/corp").await).await;
    assert_eq!(
        come_back(&client, &format!("{callback}&next=//evil.example")).await.location(),
        Some("/chat")
    );
}

/// SEC-76: a path of ours comes through, also through the second factor.
#[tokio::test]
async fn sec_76_a_path_of_ours_is_gone_on_to() {
    let house = corp().await;
    let good =
        ["/settings", "/chat?older=1&x=%2F%2F", "/admin/users?q=a%2Fb#top", "/a//b", "/%2Fevil.example"];
    for good in good {
        let path = format!("/login/corp?next={}", escape(good));
        assert_eq!(travel(&house.app.anon(), &path).await.location(), Some(good));
        let client = house.app.anon();
        let reply = client.submit("/login", "/login/corp", &[("next", good)]).await;
        let callback = at_provider(&going_url(&reply)).await;
        assert_eq!(come_back(&client, &callback).await.location(), Some(good));
    }
    let ada = house.person().await;
    let secret = house.app.totp(&house.app.principal(&ada).await.user_id).await;
    let client = house.app.anon();
    assert_eq!(travel(&client, "/login/corp?next=/settings").await.location(), Some("/login/2fa"));
    let code = house.app.code(&secret, 0);
    let reply = client.submit("/login/2fa", "/login/2fa", &[("method", "totp"), ("code", &code)]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/settings")), "{reply:?}");
    assert!(is_in(&client));
}

/// Names its origin, as browsers do.
fn browser(house: &Corp) -> Client {
    house.app.anon().with_header("origin", &house.app.base)
}

/// A house with models, and a person of the provider whose session has run out with this prompt in hand.
async fn too_late(house: &Corp, client: &Client, prompt: &str) -> Reply {
    house.sign_in(client).await;
    let token = house.app.csrf(client).await;
    house.advance(15 * DAY);
    let fields = [("csrf_token", token.as_str()), ("prompt", prompt), ("model", "markdown")];
    let page = client.post("/chat", &fields).await;
    assert_eq!(page.status, 401);
    assert!(!page.body.contains(prompt), "it is sealed in the page");
    page
}

/// The form of the provider on that page.
async fn by_provider(client: &Client, page: &Reply) -> Reply {
    let (_, form) = page.body.split_once("action=\"/login/corp\"").unwrap_or_else(|| panic!("{page:?}"));
    let form = form.split("</form>").next().unwrap();
    let values: Vec<(&str, String)> = ["csrf_token", "next", "carry"]
        .into_iter()
        .filter_map(|name| Some((name, field(form, name)?)))
        .collect();
    assert!(values.iter().any(|(name, _)| *name == "carry"), "{form}");
    let fields: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client.post("/login/corp", &fields).await
}

/// SEC-86: a posted form leads on by a page, since the policy about forms holds redirects, too.
#[tokio::test]
async fn sec_86_a_posted_form_leads_on_by_a_page() {
    let house = corp().await;
    let client = house.app.anon();
    let reply = client.submit("/login", "/login/corp", &[]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (200, None), "{reply:?}");
    assert!(reply.header("content-security-policy").unwrap().contains("form-action 'self'"));
    assert!(
        reply
            .header("referrer-policy")
            .is_some_and(|policy| policy == "no-referrer" || policy == "same-origin")
    );
    let url = going_url(&reply);
    assert!(reply.body.contains("Go on to Corp ID"));
    assert_eq!(come_back(&client, &at_provider(&url).await).await.location(), Some("/chat"));
}

/// A prompt that met an ended session stands in the composer after a sign-in by the provider.
#[tokio::test]
async fn a_prompt_comes_through_a_sign_in_by_a_provider() {
    let house = corp_with(Wishes::models).await;
    let ada = browser(&house);
    let prompt = "dear model, count <b>twice</b> & rest";
    let page = too_late(&house, &ada, prompt).await;
    let callback = at_provider(&going_url(&by_provider(&ada, &page).await)).await;
    assert!(!callback.contains("carry"), "the prompt does not travel");
    let reply = come_back(&ada, &callback).await;
    assert_eq!(reply.location(), Some("/chat?draft"), "{reply:?}");
    let shown = ada.get("/chat?draft").await.body;
    assert_eq!((composer(&shown).as_str(), models(&shown).1.as_str()), (prompt, "markdown"));
    assert_eq!(house.app.stub().count(), 0, "nothing was sent");
    let chat = house.app.prompt(&ada, "echo", "again").await;
    house.app.settle().await;
    assert_eq!(last(&ada.get(&chat).await.body).answer(), "again");
}

/// It also outlives what goes wrong there: before the trip, at the provider, and on return.
#[tokio::test]
async fn a_prompt_outlives_a_provider_that_fails() {
    let house = corp_with(Wishes::models).await;
    let ada = browser(&house);
    let mut page = too_late(&house, &ada, "precious words").await;
    // Its metadata are too old by now, and there are no new ones.
    house.idp.fault(Fault::Error(Part::Discovery));
    page = by_provider(&ada, &page).await;
    assert_eq!(page.status, 502, "{page:?}");
    assert!(text(&page.body).contains("Corp ID does not answer") && page.body.contains("name=\"password\""));
    house.idp.heal();
    for (fault, status, title) in [
        (Fault::AccessDenied, 403, "Corp ID did not let you through"),
        (Fault::BadSignature, 502, "What Corp ID sent does not hold"),
    ] {
        house.idp.fault(fault);
        let callback = at_provider(&going_url(&by_provider(&ada, &page).await)).await;
        page = come_back(&ada, &callback).await;
        assert_eq!(page.status, status, "{page:?}");
        assert!(text(&page.body).contains(title) && !page.body.contains("precious"), "{}", page.body);
        house.idp.heal();
    }
    let callback = at_provider(&going_url(&by_provider(&ada, &page).await)).await;
    assert_eq!(come_back(&ada, &callback).await.location(), Some("/chat?draft"));
    assert_eq!(composer(&ada.get("/chat?draft").await.body), "precious words");
}

/// SEC-100: who comes back as somebody else does not get the prompt.
#[tokio::test]
async fn sec_100_another_person_of_the_provider_does_not_get_the_prompt() {
    let house = corp_with(Wishes::models).await;
    let browser = browser(&house);
    let page = too_late(&house, &browser, "for nobody else").await;
    house
        .idp
        .person(serde_json::json!({ "sub": "b", "email": "ben@example.com", "preferred_username": "ben" }));
    let callback = at_provider(&going_url(&by_provider(&browser, &page).await)).await;
    assert_eq!(come_back(&browser, &callback).await.location(), Some("/chat"));
    assert_eq!(house.who(&browser).await, "ben");
    assert_eq!(composer(&browser.get("/chat?draft").await.body), "");
}

/// SEC-83: a trip by form needs the form's token and an own origin, and takes no field that is not its own.
#[tokio::test]
async fn sec_83_a_trip_by_form_needs_its_token() {
    let house = corp().await;
    let client = house.app.anon();
    let token = house.app.csrf(&client).await;
    let other = house.app.csrf(&house.app.anon()).await;
    for fields in [vec![], vec![("csrf_token", "")], vec![("csrf_token", other.as_str())]] {
        assert_eq!(client.post("/login/corp", &fields).await.status, 403, "{fields:?}");
    }
    for (name, value) in
        [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
    {
        let foreign = client.clone().with_header(name, value);
        assert_eq!(
            foreign.post("/login/corp", &[("csrf_token", &token)]).await.status,
            403,
            "{name}: {value}"
        );
    }
    for more in ["role", "redirect_uri", "purpose", "user_id"] {
        let reply = client.post("/login/corp", &[("csrf_token", &token), (more, "x")]).await;
        assert_eq!(reply.status, 422, "{more}: {reply:?}");
    }
    assert_eq!(trips(&house.app).await, 0);
    let reply = client.post("/login/corp", &[("csrf_token", &token)]).await;
    going_url(&reply);
    assert_eq!(trips(&house.app).await, 1);
}

async fn trips(app: &TestApp) -> i64 {
    app.app.db.one(sql!("SELECT COUNT(*) FROM oauth_states"), &[]).await.unwrap().unwrap()
}

/// SEC-84: a link to the provider notes the trip and changes nothing else.
#[tokio::test]
async fn sec_84_a_link_to_the_provider_changes_nothing() {
    let house = corp().await;
    house.person().await;
    let all = async || -> Vec<i64> {
        let mut counts = Vec::new();
        for statement in [
            sql!("SELECT COUNT(*) FROM users"),
            sql!("SELECT COUNT(*) FROM sessions"),
            sql!("SELECT COUNT(*) FROM identities"),
            sql!("SELECT COUNT(*) FROM challenges"),
            sql!("SELECT COUNT(*) FROM pending_links"),
            sql!("SELECT COUNT(*) FROM mail_outbox"),
        ] {
            counts.push(house.app.app.db.one(statement, &[]).await.unwrap().unwrap());
        }
        counts
    };
    let before = all().await;
    let client = house.app.anon();
    begin(&client, "/login/corp?next=/settings&carry=x&csrf_token=y").await;
    assert_eq!((all().await, trips(&house.app).await), (before, 1));
    assert!(!is_in(&client));
    // One who did not come back in time leaves nothing behind.
    house.advance(11 * MINUTE);
    house.app.app.accounts.sweep().await.unwrap();
    assert_eq!(trips(&house.app).await, 0);
}

/// Sixty trips a minute from one address; another address is not caught, nor is a trip on its way back.
#[tokio::test]
async fn trips_from_one_address_are_limited() {
    let other = idp().await;
    let app = Wishes::default()
        .openid("corp", "Corp ID", &other)
        .set("ANTEROOM_SERVER__TRUSTED_PROXIES", "127.0.0.1/32")
        .start()
        .await;
    let from = |ip: &str| app.anon().with_header("x-forwarded-for", ip);
    let first = from("192.0.2.1");
    let url = begin(&first, "/login/corp").await;
    for _ in 1..60 {
        begin(&from("192.0.2.1"), "/login/corp").await;
    }
    let reply = from("192.0.2.1").get("/login/corp").await;
    assert_eq!(reply.status, 429, "{reply:?}");
    assert!(reply.header("retry-after").is_some() && text(&reply.body).contains("Too many tries"));
    let reply = from("192.0.2.1").submit("/login", "/login/corp", &[]).await;
    assert_eq!(reply.status, 429, "a form counts as well: {reply:?}");
    let json = from("192.0.2.1").get_json("/login/corp").await;
    assert_eq!((json.status.as_u16(), json.json()["type"].as_str()), (429, Some("/problems/rate-limited")));
    begin(&from("192.0.2.2"), "/login/corp").await;
    assert_eq!(come_back(&first, &at_provider(&url).await).await.location(), Some("/chat"));
    app.clock.advance(MINUTE);
    begin(&from("192.0.2.1"), "/login/corp").await;
}
