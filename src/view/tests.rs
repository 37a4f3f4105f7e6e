//! Every layout and shared part, rendered with sample data.

use std::sync::Arc;

use askama::Template;

use super::chat::{Answer, ChatLink, ChatPage, Composer, Message, Problem, Prompt, Rail, State};
use super::samples::{NOW, page};
use super::{AdminLinks, Choice, ErrorPage, Field, Flash, Kind, Page, Theme, Viewer, filters};

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{% extends "door.html" %}{% import "macros.html" as m %}
{% block content %}<h1>Sign in</h1><form method="post" class="fields">{{ page.csrf_field() }}{{ who }}{{ password }}
<button class="btn btn--primary btn--tall btn--wide">Sign in</button></form>
{% call m::notice("warn", "Mind <this>") %}<p>Body</p>{% endcall %}
{% call m::select("model", "Model", choices) %} form="filter"{% endcall %}{% endblock %}"#
)]
struct Door {
    page: Page,
    who: Field,
    password: Field,
    choices: Vec<Choice>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{% extends "shell_admin.html" %}{% import "macros.html" as m %}
{% block content %}<header class="page-head"><div><h1>Users</h1></div></header>
<p>{{ n|count }} · {{ n|counted("person", "people") }} · {{ 381000|seconds }} · {{ 42|percent_of(10000) }} · {{ share|percent }}
· {{ 1449000|bytes }} · {{ speed|rate }} · {{ seen|date }} · {{ 64000000|duration }} · {{ page.when(seen) }} · {{ page.ago(seen) }}
· {{ page.when_or(never, "never") }}{% for row in rows %} · {{ row|count }} {{ page.ago(row) }}{% endfor %}</p>
{% call m::empty("Nobody", "Invite someone") %}<p>First.</p>{% endcall %}
{% let before = Some("/admin/users") %}{% let next = None::<String> %}
{% call m::pager(before, next) %}1 to 9 of 212{% endcall %}{% endblock %}"#
)]
struct Admin {
    page: Page,
    n: u64,
    share: f64,
    speed: f64,
    seen: i64,
    never: Option<i64>,
    rows: Vec<i64>,
}

fn door() -> Door {
    let mut page = page("Sign in", "/login");
    page.viewer = None;
    Door {
        page,
        who: Field::text("username_or_email", "Username or e-mail")
            .value("<mara>\"'")
            .autocomplete("username webauthn")
            .error(Some("Type your username."))
            .required()
            .autofocus()
            .tall(),
        password: Field::password("password", "Password", "current-password")
            .value("never sent back")
            .hint("At least 12 characters.")
            .aside("/forgot", "Forgot it?"),
        choices: Choice::list([("demo", "Demo"), ("qwen", "Qwen")], "qwen"),
    }
}

fn admin(links: AdminLinks) -> String {
    let mut page = page("Users", "/admin/users/0193");
    page.viewer = page.viewer.map(|viewer| Viewer { admin: links, ..viewer });
    let seen = NOW - 7_200_000_000;
    Admin { page, n: 3_412, share: 0.0042, speed: 47.4, seen, never: None, rows: vec![seen] }
        .render()
        .unwrap()
}

fn answer(state: State) -> Answer {
    Answer {
        id: format!("m-{}", state.word()),
        generation: "g1".to_owned(),
        state,
        model: "demo".to_owned(),
        started_at: NOW - 3_200_000,
        finished_at: None,
        html: Arc::from(
            "<div class=\"block\" data-index=\"0\"><p>One</p></div><div class=\"block\" data-index=\"1\"><p>Two</p></div>",
        ),
        problem: None,
        figures: vec!["412 tokens".to_owned(), "58 tok/s".to_owned()],
        versions: None,
        again: true,
    }
}

fn chat_page(thread: Vec<Message>) -> ChatPage {
    let link = |id: &str, days: i64| ChatLink {
        id: id.to_owned(),
        title: format!("Chat <{id}>"),
        updated_at: NOW - days * 86_400_000_000,
        current: id == "c1",
        live: id == "c1",
    };
    let live = thread.iter().any(|message| matches!(message, Message::Answer(answer) if answer.state.live()));
    ChatPage {
        page: page("Percentiles", "/chat/c1"),
        rail: Rail::new([link("c1", 0), link("c2", 0), link("c3", 1), link("c4", 40)], NOW),
        id: Some("c1".to_owned()),
        earlier: None,
        thread,
        live,
        composer: Composer {
            action: "/chat/c1/messages".to_owned(),
            models: Choice::list([("demo", "demo")], "demo"),
            draft: "kept <text>".to_owned(),
            error: None,
            left: None,
        },
    }
}

#[test]
fn a_field_ties_its_error_to_itself_and_escapes_what_was_typed() {
    let html = door().render().unwrap();
    assert!(html.contains("value=\"&#60;mara&#62;&#34;&#39;\""), "{html}");
    assert!(html.contains("aria-invalid=\"true\" aria-describedby=\"username_or_email-error\""));
    assert!(html.contains("id=\"username_or_email-error\""));
    assert!(html.contains("aria-describedby=\"password-hint\""));
    // After the field, where the keyboard comes by on its way out.
    let link = html.find("<a class=\"field-aside\" href=\"/forgot\">Forgot it?</a>").unwrap();
    assert!(link > html.find("name=\"password\"").unwrap());
    assert!(!html.contains("never sent back"));
    assert!(html.contains("name=\"csrf_token\" value=\"token\""));
    assert!(html.contains("<b>Mind &#60;this&#62;</b><p>Body</p>"));
    assert!(html.contains("<option value=\"qwen\" selected>Qwen</option>"));
}

/// SEC-16: a password manager finds its fields, and the person may look.
#[test]
fn sec_16_password_fields_have_autofill_and_a_reveal_button() {
    let html = door().render().unwrap();
    assert!(html.contains("type=\"password\" autocomplete=\"current-password\""));
    assert!(html.contains("data-reveal"));
    assert!(html.contains("autocomplete=\"username webauthn\""));
}

#[test]
fn numbers_and_times_in_templates() {
    let html = admin(AdminLinks::ALL);
    assert!(html.contains("3,412 · 3,412 people · 0.381 s · 0.42 % · 0.42 %"), "{html}");
    assert!(html.contains("1.4 MB · 47 tok/s · 20 Nov 2026 · 1 min 04 s"));
    assert!(html.contains("<time datetime=\"2026-11-20T12:05:00Z\">20 Nov 12:05</time>"));
    assert!(html.contains("data-ago>2 h ago</time>") && html.contains("· never"));
    assert!(html.contains("rel=\"prev\" href=\"/admin/users\"") && !html.contains("rel=\"next\""));
}

#[test]
fn the_rail_shows_only_the_pages_that_open() {
    let all = admin(AdminLinks::ALL);
    for path in
        ["/admin", "/admin/stats", "/admin/users", "/admin/models", "/admin/errors", "/admin/settings"]
    {
        assert!(all.contains(&format!("href=\"{path}\"")), "{path}");
    }
    assert!(all.contains("href=\"/admin/users\" aria-current=\"page\""));
    let some = admin(AdminLinks { stats: true, ..AdminLinks::default() });
    assert!(some.contains("href=\"/admin/stats\"") && !some.contains("href=\"/admin/models\""));
    let none = admin(AdminLinks::default());
    assert!(!none.contains("Administration</a>"));
}

#[test]
fn the_error_page_says_what_happened_and_what_to_do() {
    let mut page = page("This page is not here", "/chat/x");
    page.flash = vec![Flash::new(Kind::Bad, "Not <yours>")];
    page.theme = Theme::from_cookie("dark");
    let html = ErrorPage {
        page,
        status: 404,
        title: "This page is not here".to_owned(),
        what: "The chat was deleted or belongs to someone else.".to_owned(),
        next: None,
        action: Some(("/chat".to_owned(), "Go to your chats".to_owned())),
        request_id: "01JD4T7Q9V".to_owned(),
    }
    .render()
    .unwrap();
    assert!(html.starts_with("<!doctype html>\n<html lang=\"en\" data-theme=\"dark\""));
    assert!(html.contains("<title>This page is not here · Anteroom</title>"));
    assert!(html.contains("<code>01JD4T7Q9V</code>"));
    assert!(html.contains("href=\"/chat\">Go to your chats</a>"));
    assert!(html.contains("role=\"alert\"") && html.contains("Not &#60;yours&#62;"));
}

#[test]
fn a_live_answer_has_a_clock_and_stop_and_a_refresh_without_scripts() {
    let html = chat_page(vec![
        Message::Prompt(Prompt { id: "m0".to_owned(), text: "<b>?".to_owned() }),
        Message::Answer(Box::new(answer(State::Streaming))),
    ])
    .render()
    .unwrap();
    assert!(html.contains("data-message=\"m-streaming\" data-state=\"streaming\""));
    assert!(html.contains("<div class=\"block\" data-index=\"1\"><p>Two</p></div>"));
    assert!(html.contains(&format!("data-since=\"{}\">3.2 s</span>", NOW - 3_200_000)));
    assert!(html.contains("action=\"/generations/g1/stop\""));
    assert!(html.contains("http-equiv=\"refresh\""));
    assert!(html.contains("&#60;b&#62;?") && html.contains("kept &#60;text&#62;"));
    assert!(
        html.contains("<h2>Today</h2>")
            && html.contains("<h2>Yesterday</h2>")
            && html.contains("<h2>October</h2>")
    );
}

#[test]
fn an_answer_that_ended_offers_what_fits() {
    let html = |answer: Answer| chat_page(vec![Message::Answer(Box::new(answer))]).render().unwrap();
    let done = html(answer(State::Done));
    assert!(done.contains("412 tokens") && done.contains("Answer again") && !done.contains("http-equiv"));
    let problem = Problem { title: "No answer came".to_owned(), text: "The server refused.".to_owned() };
    let failed = html(Answer { html: Arc::from(""), problem: Some(problem), ..answer(State::Failed) });
    assert!(
        failed.contains("notice--bad") && failed.contains("The server refused.") && failed.contains("Retry")
    );
    let cut = html(answer(State::Interrupted));
    assert!(cut.contains("Interrupted. What had arrived is kept.") && cut.contains("<p>Two</p>"));
    assert!(html(answer(State::Stopped)).contains("Stopped. What had arrived is kept."));
    assert!(chat_page(Vec::new()).render().unwrap().contains("What is on your mind?"));
}

/// SEC-86: the pages hold under a policy without inline script or style.
#[test]
fn sec_86_no_inline_script_or_style() {
    let pages = [
        door().render().unwrap(),
        admin(AdminLinks::ALL),
        chat_page(vec![Message::Answer(Box::new(answer(State::Thinking)))]).render().unwrap(),
    ];
    for html in pages {
        assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("javascript:"));
        assert!(!html.contains(" onclick") && !html.contains(" onload") && !html.contains(" onsubmit"));
        assert_eq!(
            html.matches("<script").count(),
            html.matches("<script type=\"module\" src=\"/assets/").count()
        );
        assert!(!html.contains("/assets/missing"));
    }
}

/// Every symbol that a template names is in the file.
#[test]
fn symbols_exist() {
    let icons = include_str!("../../assets/icons.svg");
    let pages = [
        door().render().unwrap(),
        admin(AdminLinks::ALL),
        chat_page(
            [State::Thinking, State::Done, State::Failed, State::Stopped]
                .map(answer)
                .map(|answer| Message::Answer(Box::new(answer)))
                .into(),
        )
        .render()
        .unwrap(),
    ];
    for html in &pages {
        for rest in html.split("#i-").skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(icons.contains(&format!("id=\"i-{name}\"")), "{name}");
        }
    }
}

#[test]
fn initials() {
    let of = |display_name: &str| {
        Viewer { display_name: display_name.to_owned(), ..super::samples::viewer() }.initials()
    };
    assert_eq!(of("Mara Lindqvist"), "ML");
    assert_eq!(of("Ingrid von und zu Åkesson"), "IÅ");
    assert_eq!(of("елена"), "Е");
    assert_eq!(of(" "), "M");
}
