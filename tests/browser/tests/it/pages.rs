//! Every page as a picture, at both widths and in both themes: nothing runs out of the window, nothing complains.
//! The pictures lie in `target/screens`, to be looked at after a change.

use browser_tests::browser::Driver;
use browser_tests::house::{self, House, PASSWORD, post, prompt, wait_state};
use browser_tests::{Result, browser};

const LOOKS: [(&str, u32, u32, bool); 4] = [
    ("360-light", 360, 740, false),
    ("360-dark", 360, 740, true),
    ("1440-light", 1440, 900, false),
    ("1440-dark", 1440, 900, true),
];

/// Looks at the page that is open.
pub(super) async fn look(driver: &Driver, name: &str) -> Result {
    for (words, width, height, dark) in LOOKS {
        driver.look(width, height, dark).await?;
        // Two frames later it is laid out anew.
        driver.eval("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))").await?;
        let wider = driver.overflow().await?;
        let who = "return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)\
                   .slice(0, 5).map(e => e.tagName + '.' + e.className + ' ' + e.textContent.trim().slice(0, 40))";
        if wider > 0 {
            let who = driver.eval(who).await?;
            driver.picture(&format!("{name}-{words}")).await?;
            return Err(format!("{name} at {words} is {wider} px too wide: {who}").into());
        }
        driver.picture(&format!("{name}-{words}")).await?;
    }
    driver.look(1440, 900, false).await?;
    // A page with a status of its own is told as a failed load; anything else is a fault.
    let told = driver.console_errors().await?;
    let faults: Vec<_> = told
        .iter()
        .filter(|line| !line.contains("responded with a status of 4") || line.contains("/assets/"))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(format!("{name}: the console has {faults:#?}").into()) }
}

pub(super) async fn look_at(driver: &Driver, house: &House, path: &str, name: &str) -> Result {
    driver.goto(house.at(path)).await?;
    look(driver, name).await
}

#[tokio::test]
async fn the_door() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true")]).await?;
    let ann = browser::open(1440, 900, false).await?;
    ann.goto(house.server.setup_link().await?).await?;
    look(&ann, "setup").await?;
    look_at(&ann, &house, "/setup?token=none", "setup-dead").await?;
    house.become_admin(&ann).await?;
    ann.delete_all_cookies().await?;

    look_at(&ann, &house, "/login", "login").await?;
    ann.fill("username_or_email", "nobody").await?;
    ann.fill("password", "not the password").await?;
    ann.click_css("main form button:not([type=button])").await?;
    ann.wait_text("not right").await?;
    look(&ann, "login-failed").await?;
    look_at(&ann, &house, "/login?signed_out", "login-signed-out").await?;

    look_at(&ann, &house, "/signup", "signup").await?;
    for (field, value) in [
        ("first_name", "Ann"),
        ("last_name", "Lee"),
        ("username", "a b"),
        ("email", "ann@"),
        ("password", "short"),
    ] {
        ann.fill(field, value).await?;
    }
    ann.eval("document.querySelector('main form').noValidate = true").await?;
    ann.click_css("main form button:not([type=button])").await?;
    ann.shown("[aria-invalid]").await?;
    look(&ann, "signup-errors").await?;
    for (field, value) in [("username", "ann"), ("email", "ann@example.org"), ("password", PASSWORD)] {
        ann.fill(field, value).await?;
    }
    ann.click_css("main form button:not([type=button])").await?;
    ann.wait_text("Check your mail").await?;
    look(&ann, "signup-mail").await?;
    let link = verify_link(&house, &ann).await?;
    ann.goto(&link).await?;
    look(&ann, "verify").await?;
    ann.click("Confirm").await?;
    ann.wait_text("is confirmed").await?;
    look(&ann, "login-confirmed").await?;
    ann.goto(&link).await?;
    look(&ann, "verify-dead").await?;
    look_at(&ann, &house, "/no/such/page", "error-404").await?;
    ann.quit().await
}

/// The link in the mail that lies in the data folder.
async fn verify_link(house: &House, driver: &Driver) -> Result<String> {
    let folder = house.server.data_dir().join("mail");
    let found = std::cell::RefCell::new(String::new());
    driver
        .wait("the mail", async || {
            for file in std::fs::read_dir(&folder)? {
                let mail = std::fs::read_to_string(file?.path())?.replace("=\r\n", "").replace("=\n", "");
                let link = mail.split_whitespace().find(|word| word.contains("/verify-email/"));
                if let Some(link) = link.and_then(|word| word.find("http").map(|at| word[at..].to_owned())) {
                    found.replace(link);
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await?;
    Ok(found.into_inner())
}

const LONG: &str = "Here is the table and the line that you asked for.\n\n\
| Quarter | Revenue in thousands | Cost of goods sold | Gross margin | Operating expenses | Net income |\n\
|---|---:|---:|---:|---:|---:|\n\
| 2026 Q1 | 1,204,118 | 702,009 | 502,109 | 300,442 | 201,667 |\n\n\
```sh\nfind . -type f -name '*.rs' -print0 | xargs -0 grep --line-number --with-filename --fixed-strings 'a very long needle in an even longer haystack'\n```\n\n\
Averyveryveryveryveryveryveryveryveryveryveryveryveryveryveryverylongwordthatnobodyeverwrites and `a::path::that::goes::on::and::on::and::on::and::on::for_ever` \
with https://example.org/a/very/long/address/that/does/not/end/where/it/should?with=many&more=parameters\n\n\
$$a_1 + a_2 + a_3 + a_4 + a_5 + a_6 + a_7 + a_8 + a_9 + a_{10} + a_{11} + a_{12} + a_{13} + a_{14} + a_{15} = \\sum_{i=1}^{15} a_i$$";

#[tokio::test]
async fn the_chat() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    look(&ben, "chat-empty").await?;
    ben.click("Welcome Chat").await?;
    ben.shown(".msg").await?;
    look(&ben, "chat-welcome").await?;

    ben.goto(house.at("/chat")).await?;
    prompt(&ben, "!markdown").await?;
    wait_state(&ben, "done").await?;
    look(&ben, "chat-markdown").await?;
    ben.goto(house.at("/chat")).await?;
    let chat = post(&ben, "/chat", &[("prompt", LONG)]).await?;
    ben.goto(&chat).await?;
    wait_state(&ben, "done").await?;
    look(&ben, "chat-long").await?;

    for (name, text, state) in [
        ("chat-failed", "!fail-500 what is an anteroom?", "failed"),
        ("chat-cut", "!cut and once more?", "failed"),
        ("chat-thinking", "!slow are you there?", "thinking"),
        ("chat-streaming", "!hold in some detail, please", "streaming"),
    ] {
        ben.goto(house.at("/chat")).await?;
        prompt(&ben, text).await?;
        ben.wait_url("/chat/").await?;
        wait_state(&ben, state).await?;
        look(&ben, name).await?;
        if matches!(state, "thinking" | "streaming") {
            ben.click("Stop").await?;
            wait_state(&ben, "stopped").await?;
        }
    }
    look(&ben, "chat-stopped").await?;
    ben.click("More").await?;
    look(&ben, "chat-menu").await?;
    ben.click("Delete chat").await?;
    look(&ben, "chat-confirm").await?;
    ben.click("Cancel").await?;
    ben.eval("document.getElementById('rail').showPopover?.()").await?;
    look(&ben, "chat-rail").await?;
    look_at(&ben, &house, "/settings", "settings").await?;
    ben.click_css("button.account").await?;
    look(&ben, "account-menu").await?;
    look_at(&ben, &house, "/chat/none", "error-chat").await?;
    look_at(&ben, &house, "/admin", "flash-forbidden").await?;
    ben.quit().await
}

#[tokio::test]
async fn an_interrupted_answer() -> Result {
    let _turn = browser::turn().await;
    let mut house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    prompt(&ben, "!hold the line").await?;
    wait_state(&ben, "streaming").await?;
    house.server.kill().await?;
    house.server.restart().await?;
    wait_state(&ben, "interrupted").await?;
    ben.console_errors().await?; // the broken stream
    look(&ben, "chat-interrupted").await?;
    ben.quit().await
}

#[tokio::test]
async fn the_administration() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ada = browser::open(1440, 900, false).await?;
    house.become_admin(&ada).await?;
    look(&ada, "admin-first").await?;
    look_at(&ada, &house, "/admin/stats", "admin-stats-empty").await?;
    look_at(&ada, &house, "/admin/errors", "admin-errors-empty").await?;
    for username in ["ben", "carla", "a-very-long-username-of-thirty-2"] {
        house.create(username, "User").await?;
    }
    ada.goto(house.at("/chat")).await?;
    for model in ["echo", "markdown", "reasoning", "fail-500", "fail-401", "tokens-200", "slow-300"] {
        let chat = post(&ada, "/chat", &[("prompt", "Tell me about tulips"), ("model", model)]).await?;
        ada.goto(&chat).await?;
        ada.wait("an end", async || {
            Ok(matches!(house::last_state(&ada).await?.as_deref(), Some("done" | "failed")))
        })
        .await?;
    }
    for (path, name) in [
        ("/admin", "admin"),
        ("/admin/stats", "admin-stats"),
        ("/admin/stats?range=custom&from=2026-13-01&to=x", "admin-stats-dates"),
        ("/admin/users", "admin-users"),
        ("/admin/users?q=nobody", "admin-users-none"),
        ("/admin/models", "admin-models"),
        ("/admin/errors", "admin-errors"),
        ("/admin/settings", "admin-settings"),
    ] {
        look_at(&ada, &house, path, name).await?;
    }
    ada.goto(house.at("/admin/users")).await?;
    ada.click("Actions for carla").await?;
    look(&ada, "admin-users-menu").await?;
    ada.click("Deactivate").await?;
    ada.click_css("#confirm-yes").await?;
    ada.wait_text("1 deactivated").await?;
    look(&ada, "admin-users-deactivated").await?;

    ada.goto(house.at("/admin/models")).await?;
    ada.fill("base_url", "ftp://nowhere").await?;
    ada.fill("name", "no good name!").await?;
    ada.eval("document.querySelector('input[name=base_url]').form.noValidate = true").await?;
    ada.eval("document.querySelector('input[name=base_url]').form.requestSubmit()").await?;
    ada.shown("[aria-invalid]").await?;
    look(&ada, "admin-models-errors").await?;
    ada.goto(house.at("/admin/models")).await?;
    ada.click("Test").await?;
    ada.shown("#trial").await?;
    look(&ada, "admin-models-test").await?;
    ada.quit().await
}

#[tokio::test]
async fn the_sessions_and_a_lock() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[("ANTEROOM_LIMITS__SIGN_IN_ACCOUNT_IP", "1000")]).await?;
    let ada = browser::open(1440, 900, false).await?;
    house.become_admin(&ada).await?;
    look_at(&ada, &house, "/settings/sessions", "sessions-one").await?;
    house.create("carla", "User").await?;
    house.create("a-very-long-username-of-thirty-2", "User").await?;
    let ben = house.member("ben").await?;
    // Elsewhere: without this browser's cookies.
    let elsewhere = "const sign = (who, password) => fetch('/login', { method: 'POST', credentials: 'omit', \
        headers: { 'content-type': 'application/json', accept: 'application/json' }, \
        body: JSON.stringify({ username_or_email: who, password }) }).then(answer => answer.status);";
    for _ in 0..3 {
        ben.eval(&format!("{elsewhere} return sign('ben', '{PASSWORD}')")).await?;
    }
    for _ in 0..10 {
        for who in ["carla", "a-very-long-username-of-thirty-2"] {
            ben.eval(&format!("{elsewhere} return sign('{who}', 'wrong-wrong-wrong')")).await?;
        }
    }
    ben.console_errors().await?; // the refused sign-ins
    look_at(&ben, &house, "/settings/sessions", "sessions").await?;
    ben.click("Sign out everywhere else").await?;
    look(&ben, "sessions-confirm").await?;
    ben.click_css("#confirm-yes").await?;
    ben.wait_text("signed out everywhere else").await?;
    look(&ben, "sessions-ended").await?;
    look_at(&ada, &house, "/admin/users", "admin-users-locked").await?;
    ada.click("Actions for carla").await?;
    look(&ada, "admin-users-locked-menu").await?;
    ada.click("Unlock").await?;
    ada.wait_text("carla may sign in again").await?;
    ben.quit().await?;
    ada.quit().await
}
