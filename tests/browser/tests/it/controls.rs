//! What an answer looks like, and the small controls of every page.

use browser_tests::house::{self, no_complaints, prompt, wait_state};
use browser_tests::{Result, browser};
use serde_json::json;

#[tokio::test]
async fn an_answer_is_rendered_and_copied() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    prompt(&ben, "!markdown").await?;
    wait_state(&ben, "done").await?;
    let counted = |css: &str| format!("return document.querySelectorAll('.prose {css}').length");
    for (css, least) in [
        ("h1", 1),
        ("table tbody tr", 2),
        ("td.n", 2),
        ("figure.code pre", 1),
        ("figure.code .k", 2),
        ("figure.code .c", 1),
        ("math", 2),
        ("math[display=block] mfrac, math[display=block] msqrt", 1),
        ("blockquote", 1),
        ("ol ul li", 2),
        ("a[rel~=nofollow][rel~=noopener]", 1),
    ] {
        let found = ben.eval(&counted(css)).await?.as_i64().unwrap_or_default();
        assert!(found >= least, "{css}: {found}");
    }

    let may = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": house.server.url()});
    ben.cdp().send_raw("Browser.grantPermissions", may).await?;
    let clipboard = async || {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
            ben.eval("return navigator.clipboard.readText()").await?.as_str().unwrap_or_default().to_owned(),
        )
    };
    ben.click_css(".code button").await?;
    ben.wait("the code on the clipboard", async || Ok(clipboard().await?.starts_with("fn main() {"))).await?;
    assert!(clipboard().await?.contains("\n    let answer = 6 * 7; // a comment\n"));
    ben.click("Copy answer").await?;
    ben.wait("the answer on the clipboard", async || Ok(clipboard().await?.starts_with("A rich answer")))
        .await?;
    let copied = clipboard().await?;
    assert!(copied.contains("fn main() {") && !copied.contains("Copied"), "{copied}");
    no_complaints(&ben).await?;

    // What a model writes runs nothing and loads nothing.
    prompt(&ben, "!hostile").await?;
    wait_state(&ben, "done").await?;
    let foreign = ben
        .eval(
            "return performance.getEntriesByType('resource').map(e => new URL(e.name).host).filter(h => h && h !== location.host)",
        )
        .await?;
    assert_eq!(foreign, json!([]));
    let dangerous = "return document.querySelectorAll('.prose :is(script, iframe, form, input:not([type=checkbox]), object, embed, style, link, svg, [style], [onclick], [onerror], a[href^=\"javascript\" i])').length";
    assert_eq!(ben.eval(dangerous).await?, 0);
    no_complaints(&ben).await?;
    ben.quit().await
}

#[tokio::test]
async fn a_theme_is_chosen_kept_and_rendered_from_the_first_byte() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    let ground = "return getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).backgroundColor";
    let light = ben.eval(ground).await?;
    ben.click_css("button.account").await?;
    ben.click("Dark").await?;
    ben.wait("the dark ground", async || Ok(ben.eval(ground).await? != light)).await?;
    let dark = ben.eval(ground).await?;
    let served = "return fetch('/settings').then(r => r.text()).then(t => t.slice(0, 120))";
    assert!(ben.eval(served).await?.as_str().unwrap_or("").contains("data-theme=\"dark\""));
    ben.goto(house.at("/settings")).await?;
    assert_eq!(ben.eval(ground).await?, dark);
    ben.click_css("button.account").await?;
    ben.click("System").await?;
    ben.wait("the light ground", async || Ok(ben.eval(ground).await? == light)).await?;
    ben.refresh().await?;
    assert_eq!(ben.eval(ground).await?, light);
    no_complaints(&ben).await?;
    ben.quit().await
}

#[tokio::test]
async fn a_chat_is_renamed_and_deleted() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    prompt(&ben, "A first question").await?;
    wait_state(&ben, "done").await?;
    ben.wait_text("A first question").await?;
    ben.click("More").await?;
    ben.fill("title", "Tulips").await?;
    ben.click("Rename").await?;
    ben.wait_text("The chat is renamed.").await?;
    assert_eq!(ben.shown("h1").await?.text().await?, "Tulips");
    ben.click("Dismiss").await?;
    ben.wait("the message to go", async || {
        Ok(ben.eval("return !document.querySelector('.flash')").await? == true)
    })
    .await?;
    let chat = ben.current_url().await?;
    ben.click("More").await?;
    ben.click("Delete chat").await?;
    ben.wait_text("Its messages are deleted for good.").await?;
    ben.click("Cancel").await?;
    assert_eq!(ben.current_url().await?, chat);
    ben.click("More").await?;
    ben.click("Delete chat").await?;
    ben.click_css("#confirm-yes").await?;
    ben.wait_text("The chat is deleted.").await?;
    ben.wait_no_text("Tulips").await?;
    no_complaints(&ben).await?;
    ben.quit().await
}
