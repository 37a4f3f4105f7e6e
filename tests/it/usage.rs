//! Who used what: the ledger, its roll-ups and the Admin's pages agree.

use base::{DAY, args, sql};
use parts::http::Client;

use crate::harness::{TestApp, Wishes};
use crate::page::{last, text};

/// The cells of the table row that begins with this word.
fn row(page: &str, first: &str) -> Vec<String> {
    let rows = page.split("<tr").skip(1).map(|row| row.split("</tr>").next().unwrap_or_default());
    let mut cells = rows.map(|row| {
        let cell = |part: &str| text(part.split_once('>').map_or("", |(_, inner)| inner));
        row.split("<th").skip(1).chain(row.split("<td").skip(1)).map(cell).collect::<Vec<_>>()
    });
    let fits = |cells: &Vec<String>| cells.first().is_some_and(|cell| cell.split(' ').next() == Some(first));
    let mut found = cells.find(fits).unwrap_or_else(|| panic!("no row {first} in {}", text(page)));
    // The header cell holds what follows it in the row.
    found[0] = found[0].split(' ').next().unwrap().to_owned();
    found
}

/// The first words of each row of a table, in order.
fn order(page: &str, section: &str) -> Vec<String> {
    let (_, table) = page.split_once(&format!("aria-labelledby=\"{section}\"")).unwrap();
    let body = table.split("<tbody").nth(1).unwrap().split("</tbody>").next().unwrap();
    body.split("<th")
        .skip(1)
        .map(|th| text(th.split_once('>').unwrap().1).split(' ').next().unwrap().to_owned())
        .collect()
}

/// A held answer that takes so long, by the clock.
async fn lasting(app: &TestApp, client: &Client, micros: i64) {
    let chat = app.prompt(client, "hold", "x").await;
    app.page_until(client, &chat, |page| last(page).answer() == "one two three").await;
    app.clock.advance(micros);
    app.stub().release();
    app.settle().await;
}

async fn echo(app: &TestApp, client: &Client, model: &str, prompt: &str) -> String {
    let chat = app.prompt(client, model, prompt).await;
    app.settle().await;
    chat
}

async fn busy_day() -> (TestApp, Client) {
    let app = Wishes::default().models().start().await;
    let admin = app.admin().await;
    let (ann, ben) = (app.user("ann").await, app.user("ben").await);
    echo(&app, &ben, "echo", "four words in all").await;
    for prompt in ["one", "one two", "one two three"] {
        echo(&app, &ann, "echo", prompt).await;
    }
    echo(&app, &ann, "fail-500", "no").await;
    lasting(&app, &ann, 1_234_000).await;
    lasting(&app, &ann, 2_000_600).await;
    let chat = app.prompt(&ann, "hold", "x").await;
    let page = app.page_until(&ann, &chat, |page| last(page).answer() == "one two three").await;
    app.post(&ann, &last(&page).must("/stop"), &[]).await;
    app.settle().await;
    app.app.accounts.flush_last_seen().await.unwrap();
    (app, admin)
}

#[tokio::test]
async fn the_page_shows_people_by_prompts_and_models_by_speed() {
    let (app, admin) = busy_day().await;
    let page = admin.get("/admin/stats").await;
    assert_eq!(page.status, 200);
    let page = page.body;
    assert_eq!(order(&page, "users"), ["ann", "ben", "Everybody"]);
    // Prompts, errors, error rate, stopped, tokens in and out.
    assert_eq!(row(&page, "ann")[1..4], ["7", "1", "14.29 %"]);
    assert_eq!(row(&page, "ann")[4], "1");
    assert_eq!(row(&page, "ben")[1..7], ["1", "0", "0.00 %", "0", "4", "4"]);
    assert_eq!(row(&page, "Everybody")[1..3], ["8", "1"]);
    // Prompts, mean, median, p95, first token: answered prompts only, three decimals.
    let models = order(&page, "models");
    let at = |name: &str| models.iter().position(|model| model == name).unwrap();
    assert!(at("echo") < at("hold"), "the fastest first: {models:?}");
    assert_eq!(row(&page, "echo")[1..3], ["4", "0.000 s"]);
    // (1.234 + 2.0006) / 2
    assert_eq!(row(&page, "hold")[1..3], ["3", "1.617 s"]);
    assert_eq!(row(&page, "fail-500")[1..3], ["1", "–"]);
    assert!(!page.contains("four words"), "no prompt is shown");
    // Not for members.
    let ann = app.anon();
    app.sign_in(&ann, "ann").await;
    assert_eq!(ann.get("/admin/stats").await.location(), Some("/chat"));
    assert_eq!(ann.get_json("/admin/stats").await.status, 403);
}

/// The ledger's sums are the roll-ups' sums are the page's.
#[tokio::test]
async fn ledger_roll_ups_and_page_agree() {
    let (app, admin) = busy_day().await;
    let db = &app.app.db;
    // Prompts, errors, stops, tokens in, tokens out, microseconds of what was answered.
    let sums: Vec<(i64, i64, i64, i64, i64, i64)> = db
        .all(
            sql!(
                "SELECT COUNT(*), CAST(SUM(CASE WHEN outcome IN ('failed', 'interrupted') THEN 1 ELSE 0 END) AS BIGINT),
                   CAST(SUM(CASE WHEN outcome = 'stopped' THEN 1 ELSE 0 END) AS BIGINT),
                   CAST(SUM(tokens_in) AS BIGINT), CAST(SUM(tokens_out) AS BIGINT),
                   CAST(SUM(CASE WHEN outcome = 'done' THEN duration_micros ELSE 0 END) AS BIGINT)
                 FROM usage_events
                 UNION ALL SELECT CAST(SUM(prompts) AS BIGINT), CAST(SUM(errors) AS BIGINT), CAST(SUM(stops) AS BIGINT),
                   CAST(SUM(tokens_in) AS BIGINT), CAST(SUM(tokens_out) AS BIGINT), CAST(SUM(duration_micros) AS BIGINT) FROM usage_hourly
                 UNION ALL SELECT CAST(SUM(prompts) AS BIGINT), CAST(SUM(errors) AS BIGINT), CAST(SUM(stops) AS BIGINT),
                   CAST(SUM(tokens_in) AS BIGINT), CAST(SUM(tokens_out) AS BIGINT), CAST(SUM(duration_micros) AS BIGINT) FROM usage_daily
                 UNION ALL SELECT CAST(SUM(prompts) AS BIGINT), CAST(SUM(errors) AS BIGINT), CAST(SUM(stops) AS BIGINT),
                   CAST(SUM(tokens_in) AS BIGINT), CAST(SUM(tokens_out) AS BIGINT), CAST(SUM(duration_micros) AS BIGINT) FROM usage_total"
            ),
            args![],
        )
        .await
        .unwrap();
    let (prompts, errors, stops, tokens_in, tokens_out, duration) = sums[0];
    assert_eq!((prompts, errors, stops, duration), (8, 1, 1, 3_234_600));
    assert_eq!(sums, [sums[0]; 4]);
    let count = |value: i64| value.to_string();
    for range in ["today", "7d", "30d", "90d", "month", "all"] {
        let page = admin.get(&format!("/admin/stats?range={range}")).await.body;
        let all = row(&page, "Everybody");
        assert_eq!(
            [&all[1], &all[2], &all[4], &all[5], &all[6]],
            [&count(prompts), &count(errors), &count(stops), &count(tokens_in), &count(tokens_out)]
        );
    }
    // One row a call, each with its user.
    let users: Vec<(String, i64)> = db
        .all(
            sql!(
                "SELECT u.username, COUNT(*) FROM usage_events e JOIN users u ON u.id = e.user_id
                 GROUP BY u.username ORDER BY u.username"
            ),
            args![],
        )
        .await
        .unwrap();
    assert_eq!(users, [("ann".to_owned(), 7), ("ben".to_owned(), 1)]);
}

#[tokio::test]
async fn ranges_hold_their_days_and_wrong_dates_are_told() {
    let (app, admin) = busy_day().await;
    app.no_requirement().await;
    app.clock.advance(10 * DAY);
    app.sign_in(&admin, "root").await;
    let ben = app.anon();
    app.sign_in(&ben, "ben").await;
    echo(&app, &ben, "echo", "ten days later").await;
    // The first day was 2026-11-20.
    for (query, everybody) in [
        ("range=today", "1"),
        ("range=7d", "1"),
        ("range=30d", "9"),
        ("range=month", "9"),
        ("range=all", "9"),
        ("", "9"),
        ("from=2026-11-20&to=2026-11-20", "8"),
        ("from=2026-11-21&to=2026-11-30", "1"),
        ("from=2026-11-20&to=2026-11-30", "9"),
    ] {
        let page = admin.get(&format!("/admin/stats?{query}")).await;
        assert_eq!(page.status, 200, "{query}");
        assert_eq!(row(&page.body, "Everybody")[1], everybody, "{query}");
    }
    let none = admin.get("/admin/stats?from=2026-11-21&to=2026-11-22").await;
    assert!(text(&none.body).contains("Nothing was prompted in this range"));
    for (query, typed) in [
        ("from=2026-11-31&to=2026-12-01", "2026-11-31"),
        ("from=2026-11-20&to=yesterday", "yesterday"),
        ("from=2026-11-21&to=2026-11-20", "2026-11-21"),
        ("from=2026-11-20", "2026-11-20"),
        ("range=fortnight", ""),
        ("from=%27%3Cscript%3E&to=2026-11-20", "&#39;&#60;script&#62;"),
    ] {
        let page = admin.get(&format!("/admin/stats?{query}")).await;
        assert_eq!(page.status, 422, "{query}");
        assert!(page.body.contains(&format!("value=\"{typed}\"")), "{query}: what was typed is kept");
        assert!(!page.body.contains("<script>"), "{query}");
        assert!(!page.body.contains("<tbody"), "{query}: no figures for a range that was not understood");
    }
}

#[tokio::test]
async fn the_overview_counts_people_chats_and_today() {
    let (app, admin) = busy_day().await;
    let page = text(&admin.get("/admin").await.body);
    for line in [
        "Users 3 0 deactivated",
        "Active today 3 3 in 7 days · 3 in 30 days",
        // Eight began with a prompt; each of the three has a Welcome Chat.
        "Chats 11 of all people",
        "Prompts today 8 by 2 people",
        "Errors today 1 1 kind · 12.50 % of prompts",
        "8 prompts in 30 days, at most 8 on a day",
    ] {
        assert!(page.contains(line) || admin.get("/admin").await.body.contains(line), "{line} in {page}");
    }
    app.no_requirement().await;
    app.clock.advance(10 * DAY);
    app.sign_in(&admin, "root").await;
    let id = app.app.accounts.find_person("ben").await.unwrap().unwrap().user.id;
    app.post(&admin, &format!("/admin/users/{id}/deactivate"), &[]).await;
    app.app.accounts.flush_last_seen().await.unwrap();
    let page = text(&admin.get("/admin").await.body);
    for line in
        ["Users 3 1 deactivated", "Active today 1 1 in 7 days · 3 in 30 days", "Prompts today 0 by 0 people"]
    {
        assert!(page.contains(line), "{line} in {page}");
    }
    // Another person's statistics outlive their account's end.
    assert_eq!(row(&admin.get("/admin/stats").await.body, "ben")[1], "1");
}
