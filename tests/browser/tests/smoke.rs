//! Proves the harness itself, on the pages of the model stub.

use browser_tests::{Result, browser};
use parts::model::ModelStub;

#[tokio::test]
async fn a_page_is_opened_filled_in_and_looked_at() -> Result {
    let _turn = browser::turn().await;
    let stub = ModelStub::start().await?;
    let ann = browser::open(360, 740, true).await?;

    ann.goto(stub.page_url()).await?;
    assert_eq!(
        ann.eval("return [innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]")
            .await?
            .to_string(),
        "[360,true]"
    );
    assert_eq!(ann.overflow().await?, 0);
    ann.fill("say", "hello there").await?;
    ann.click("Send it").await?;
    ann.wait_text("hello there").await?;
    ann.wait_url("say=hello").await?;
    ann.fill_label("Say something", "again").await?;
    ann.key(thirtyfour::Key::Enter).await?;
    ann.wait_no_text("hello there").await?;
    ann.click("Follow").await?;
    assert_eq!(ann.shown("#said").await?.text().await?, "clicked");
    let picture = ann.screenshot("smoke").await?;
    assert!(std::fs::metadata(picture)?.len() > 1000);

    ann.new_tab().await?;
    ann.goto(stub.page_url()).await?;
    assert_eq!(ann.eval("return innerWidth").await?, 360);
    ann.eval("fetch('/missing').then(() => 1); return 1").await?;
    ann.wait("the console to tell of the missing page", async || {
        Ok(ann.console_errors().await?.iter().any(|line| line.contains("/missing")))
    })
    .await?;
    ann.quit().await
}

#[tokio::test]
async fn each_test_gets_a_database_of_its_own_on_postgresql() -> Result {
    let (one, other) = (parts::postgres::create().await?, parts::postgres::create().await?);
    assert!(one.starts_with("postgres://") && one != other);
    Ok(())
}
