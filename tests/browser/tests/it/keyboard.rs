//! Everything by keyboard alone.

use browser_tests::browser::Driver;
use browser_tests::house::{self, last_answer, no_complaints, wait_state};
use browser_tests::{Result, browser};
use thirtyfour::Key;

/// What has the focus, by what a person would call it.
async fn focus(driver: &Driver) -> Result<String> {
    let name = "const e = document.activeElement; if (!e || e === document.body) return 'page'; \
                return (e.getAttribute('aria-label') ?? (e.textContent.trim() || e.name || e.id)).trim()";
    Ok(driver.eval(name).await?.as_str().unwrap_or_default().to_owned())
}

/// Presses Tab until something with that name has the focus, which must also be visible.
async fn tab_to(driver: &Driver, name: &str) -> Result {
    let mut seen = Vec::new();
    for _ in 0..60 {
        driver.key(Key::Tab).await?;
        let at = focus(driver).await?;
        if at.contains(name) {
            let shows = "const s = getComputedStyle(document.activeElement); \
                         return s.outlineStyle !== 'none' || s.boxShadow !== 'none' || document.activeElement.matches('textarea')";
            assert_eq!(driver.eval(shows).await?, true, "the focus on {at:?} is not visible");
            return Ok(());
        }
        seen.push(at);
    }
    Err(format!("Tab never came to {name:?}, only to {seen:?}").into())
}

#[tokio::test]
async fn from_the_sign_in_to_an_answer_and_out_again() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    house.create("ben", "User").await?;
    let ben = browser::open(1200, 800, false).await?;
    ben.goto(house.at("/login")).await?;
    assert_eq!(ben.eval("return document.activeElement.name").await?, "username_or_email");
    ben.active_element().await?.send_keys("ben").await?;
    ben.key(Key::Tab).await?;
    assert_eq!(ben.eval("return document.activeElement.name").await?, "password");
    ben.active_element().await?.send_keys(house::PASSWORD).await?;
    ben.key(Key::Enter).await?;
    ben.wait_url("/chat").await?;

    // The composer has the focus; Shift+Enter starts a line, Enter sends.
    ben.wait("the focus in the composer", async || Ok(focus(&ben).await? == "Prompt")).await?;
    ben.active_element().await?.send_keys("one").await?;
    ben.active_element().await?.send_keys(Key::Shift + Key::Enter).await?;
    ben.active_element().await?.send_keys("two").await?;
    assert_eq!(ben.eval("return document.getElementById('prompt').value").await?, "one\ntwo");
    tab_to(&ben, "Model").await?;
    tab_to(&ben, "Send").await?;
    ben.active_element().await?.send_keys(Key::Shift + Key::Tab).await?;
    ben.active_element().await?.send_keys(Key::Shift + Key::Tab).await?;
    assert_eq!(focus(&ben).await?, "Prompt");
    ben.key(Key::Enter).await?;
    wait_state(&ben, "done").await?;
    assert!(last_answer(&ben).await?.starts_with("one"));
    assert_eq!(focus(&ben).await?, "Prompt", "ready for the next one");

    // From the top of the page: the first stop skips to the content.
    ben.refresh().await?;
    ben.eval("document.activeElement.blur(); scrollTo(0, 0)").await?;
    tab_to(&ben, "Skip to content").await?;
    ben.key(Key::Enter).await?;
    ben.wait("the prompt", async || Ok(focus(&ben).await? == "Prompt")).await?;

    // Menus open by Enter, close by Escape, and give the focus back.
    let open = "return document.querySelectorAll(':popover-open, dialog[open]').length";
    ben.eval("document.activeElement.blur(); document.querySelector('.rail a').focus()").await?;
    tab_to(&ben, "More").await?;
    ben.key(Key::Enter).await?;
    ben.wait("the menu", async || Ok(ben.eval(open).await? == 1)).await?;
    tab_to(&ben, "Delete chat").await?;
    ben.key(Key::Enter).await?;
    ben.wait_text("Delete this chat?").await?;
    ben.key(Key::Escape).await?;
    ben.wait("the dialog to close", async || Ok(ben.eval(open).await? == 0)).await?;
    assert!(ben.page_text().await?.contains("two"), "nothing was deleted");

    ben.eval("document.querySelector('button.account').focus()").await?;
    ben.key(Key::Enter).await?;
    ben.wait("the menu", async || Ok(ben.eval(open).await? == 1)).await?;
    ben.key(Key::Escape).await?;
    ben.wait("the menu to close", async || Ok(ben.eval(open).await? == 0)).await?;
    assert!(focus(&ben).await?.contains("ben@example.org"));
    ben.key(Key::Enter).await?;
    tab_to(&ben, "Sign out").await?;
    ben.key(Key::Enter).await?;
    ben.wait_text("signed out").await?;
    no_complaints(&ben).await?;
    ben.quit().await
}
