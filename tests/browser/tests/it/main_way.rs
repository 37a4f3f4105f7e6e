//! The whole way of the product, as its people go it.

use browser_tests::house::{self, last_answer, last_state, no_complaints, prompt, wait_state};
use browser_tests::{Result, browser};

#[tokio::test]
async fn from_the_set_up_link_to_a_deactivated_account() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ada = browser::open(1440, 900, false).await?;
    house.become_admin(&ada).await?;
    ada.goto(house.at("/chat")).await?;
    ada.wait_text("Welcome Chat").await?;

    // Somebody else, in another browser.
    let ben = browser::open(390, 844, true).await?;
    ben.hurry().await?;
    house.sign_up(&ben, "ben", "Ben", "Okri").await?;
    ben.wait_text("What is on your mind?").await?;
    let page = ben.page_text().await?;
    assert!(!page.contains("Administration"), "{page}");

    // The prompt stands there at once, with a running clock, before the model has said a word.
    prompt(&ben, "!slow-hold and four").await?;
    ben.wait_text("Thinking…").await?;
    assert!(ben.page_text().await?.contains("!slow-hold and four"));
    let clock = async || -> Result<String> {
        Ok(ben
            .eval("return document.querySelector('.clock').textContent")
            .await?
            .as_str()
            .unwrap_or("")
            .into())
    };
    let first = clock().await?;
    ben.wait("the clock to run", async || Ok(clock().await? != first)).await?;
    house.stub.wait_live(1).await;
    ben.wait_url("/chat/").await?;
    assert_eq!(last_state(&ben).await?.as_deref(), Some("thinking"));

    // Words are visible while the answer is still being written.
    house.stub.release();
    ben.wait("the first words", async || Ok(last_answer(&ben).await? == "one two three")).await?;
    assert_eq!(last_state(&ben).await?.as_deref(), Some("streaming"));
    assert!(ben.page_text().await?.contains("Writing…"));
    assert_eq!(house.stub.live(), 1, "the model has more to say");
    house.stub.release();
    wait_state(&ben, "done").await?;
    assert_eq!(last_answer(&ben).await?, "one two three and four");
    let page = ben.page_text().await?;
    assert!(page.contains("first token ") && page.contains(" tokens"), "figures: {page}");
    assert!(!page.contains("Thinking…") && !page.contains("Writing…"), "{page}");
    no_complaints(&ben).await?;

    // The Admin sees who used what.
    ada.goto(house.at("/admin/stats")).await?;
    let row = |table: &str, who: &str| {
        format!(
            "return [...document.querySelectorAll('section[aria-labelledby={table}] tbody tr')]\
             .filter(row => row.cells[0].textContent.startsWith('{who}')).map(row => [...row.cells].map(c => c.textContent.trim()))"
        )
    };
    let people = ada.eval(&row("users", "ben")).await?;
    assert_eq!((&people[0][1], &people[0][2]), (&"1".into(), &"0".into()), "{people}");
    let models = ada.eval(&row("models", "echo")).await?;
    assert_eq!(models[0][1], "1", "{models}");
    let seconds = models[0][2].as_str().unwrap_or_default();
    let digits = seconds.strip_suffix(" s").and_then(|s| s.split_once('.')).map(|(_, digits)| digits.len());
    assert_eq!(digits, Some(3), "seconds with three decimals: {seconds:?}");

    ada.click("Users").await?;
    ada.wait_text("ben@example.org").await?;
    ada.click("Actions for ben").await?;
    ada.click("Deactivate").await?;
    ada.wait_text("signed out everywhere").await?;
    ada.click_css("#confirm-yes").await?;
    ada.wait_text("Deactivated").await?;
    no_complaints(&ada).await?;

    // His page, which nobody touched, ends at the sign-in by itself.
    ben.wait_url("/login").await?;
    house::sign_in_here(&ben, "ben").await?;
    ben.wait_text("is not right").await?;
    assert!(!ben.current_url().await?.as_str().contains("/chat"));
    ada.quit().await?;
    ben.quit().await
}
