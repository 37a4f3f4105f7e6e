//! Answers that are followed, left, stopped, repeated, that fail and that are cut off.

use browser_tests::house::{self, last_answer, last_state, no_complaints, prompt, wait_state};
use browser_tests::{Result, browser};

#[tokio::test]
async fn an_answer_goes_on_without_its_tab_and_several_tabs_follow_it() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    prompt(&ben, "!hold left alone").await?;
    wait_state(&ben, "streaming").await?;
    ben.wait_url("/chat/").await?;
    let chat = ben.current_url().await?.to_string();

    // Another tab, and the first one is closed in the middle.
    let first = ben.window().await?;
    let second = ben.new_tab().await?;
    ben.switch_to_window(first).await?;
    ben.close_window().await?;
    ben.switch_to_window(second.clone()).await?;
    assert_eq!(house.stub.live(), 1, "the answer does not need the tab");
    ben.goto(&chat).await?;
    ben.wait("what had come", async || Ok(last_answer(&ben).await? == "one two three")).await?;
    assert_eq!(last_state(&ben).await?.as_deref(), Some("streaming"));

    // A third one follows beside it.
    let third = ben.new_tab().await?;
    ben.goto(&chat).await?;
    ben.wait("what had come", async || Ok(last_answer(&ben).await? == "one two three")).await?;
    house.stub.release();
    for tab in [third, second] {
        ben.switch_to_window(tab).await?;
        wait_state(&ben, "done").await?;
        assert_eq!(last_answer(&ben).await?, "one two three left alone");
    }

    // Nobody looks at all while it ends.
    prompt(&ben, "!hold unseen").await?;
    house.stub.wait_live(1).await;
    ben.goto("about:blank").await?;
    house.stub.release();
    house.stub.wait_live(0).await;
    ben.goto(&chat).await?;
    wait_state(&ben, "done").await?;
    assert_eq!(last_answer(&ben).await?, "one two three unseen");
    no_complaints(&ben).await?;
    ben.quit().await
}

#[tokio::test]
async fn stop_keeps_the_text_and_answer_again_makes_a_version() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    prompt(&ben, "!hold to the end").await?;
    wait_state(&ben, "streaming").await?;
    ben.click("Stop").await?;
    wait_state(&ben, "stopped").await?;
    house.stub.wait_live(0).await;
    assert_eq!(last_answer(&ben).await?, "one two three");
    ben.wait_text("Stopped. What had arrived is kept.").await?;

    ben.click("Answer again").await?;
    wait_state(&ben, "streaming").await?;
    house.stub.release();
    wait_state(&ben, "done").await?;
    assert_eq!(last_answer(&ben).await?, "one two three to the end");
    ben.wait_text("2 of 2").await?;
    assert_eq!(ben.find_all(thirtyfour::By::Css(".msg")).await?.len(), 2, "one prompt, one answer shown");
    ben.click("Version before").await?;
    ben.wait_text("1 of 2").await?;
    wait_state(&ben, "stopped").await?;
    ben.click("Version after").await?;
    ben.wait_text("2 of 2").await?;

    // The chosen one is the one that stays.
    ben.click("Version before").await?;
    ben.wait_text("1 of 2").await?;
    ben.refresh().await?;
    ben.wait_text("1 of 2").await?;
    no_complaints(&ben).await?;
    ben.quit().await
}

#[tokio::test]
async fn a_failed_model_is_told_in_words_and_retried() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    prompt(&ben, "!fail-503-once speak up").await?;
    wait_state(&ben, "failed").await?;
    let words = ben.shown(".msg .notice").await?.text().await?;
    assert!(words.contains("No answer came") && words.contains("Your prompt is kept"), "{words}");
    assert!(!words.contains("503") && !words.contains("127.0.0.1"), "the cause is the Admin's: {words}");
    assert!(ben.shown(".msg--user").await?.text().await?.contains("speak up"));
    ben.click("Retry").await?;
    wait_state(&ben, "done").await?;
    assert_eq!(last_answer(&ben).await?, "speak up");
    ben.wait_text("2 of 2").await?;

    prompt(&ben, "!cut halfway").await?;
    wait_state(&ben, "failed").await?;
    assert_eq!(last_answer(&ben).await?, "This answer breaks");
    ben.wait_text("What had arrived is kept").await?;
    ben.clickable("Retry").await?;
    no_complaints(&ben).await?;
    ben.quit().await
}

#[tokio::test]
async fn what_had_come_when_the_server_was_killed_is_there_after_its_restart() -> Result {
    let _turn = browser::turn().await;
    let mut house = house::open(&[("ANTEROOM_LOGGING__FILTER", "debug")]).await?;
    let ben = house.member("ben").await?;
    prompt(&ben, "!hold after the crash").await?;
    ben.wait("the first words", async || Ok(last_answer(&ben).await? == "one two three")).await?;
    ben.wait_url("/chat/").await?;
    // The third tick from now begins when the second one, which saw these words, is on the disk.
    house.server.wait_more("SET heartbeat_at", 3).await?;
    house.server.kill().await?;
    house.server.restart().await?;

    ben.refresh().await?;
    wait_state(&ben, "interrupted").await?;
    assert_eq!(last_answer(&ben).await?, "one two three");
    ben.wait_text("Interrupted.").await?;
    ben.console_errors().await?; // the broken stream
    ben.click("Retry").await?;
    wait_state(&ben, "streaming").await?;
    house.stub.release();
    wait_state(&ben, "done").await?;
    assert_eq!(last_answer(&ben).await?, "one two three after the crash");
    no_complaints(&ben).await?;
    ben.quit().await
}

#[tokio::test]
async fn a_page_left_open_finds_back_to_a_restarted_server() -> Result {
    let _turn = browser::turn().await;
    let mut house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    prompt(&ben, "!hold on").await?;
    wait_state(&ben, "streaming").await?;
    house.server.kill().await?;
    house.server.restart().await?;
    // Nobody touches the page.
    wait_state(&ben, "interrupted").await?;
    ben.wait_text("Retry").await?;
    ben.quit().await
}
