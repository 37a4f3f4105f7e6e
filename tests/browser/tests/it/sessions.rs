//! Prompts that outlive the session they were typed in.

use browser_tests::house::{self, last_answer, prompt, sign_in_here, wait_state};
use browser_tests::{Result, browser};

#[tokio::test]
async fn a_prompt_sent_after_the_session_ended_waits_in_the_composer() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    for path in ["/chat", "the chat"] {
        // First in a new chat, then in the one that came of it.
        if path.starts_with('/') {
            ben.goto(house.at(path)).await?;
        }
        ben.delete_all_cookies().await?;
        let words = format!("kept for {path},\nline two & <b>");
        ben.eval(&format!("document.getElementById('prompt').value = {}", serde_json::json!(words))).await?;
        ben.key(thirtyfour::Key::Enter).await?;
        ben.wait_text("Sign in").await?;
        ben.shown("input[name=password]").await?;
        sign_in_here(&ben, "ben").await?;
        ben.wait_url("/chat").await?;
        ben.wait("the prompt in the composer", async || {
            Ok(ben.eval("return document.getElementById('prompt')?.value ?? ''").await? == words.as_str())
        })
        .await?;
        assert_eq!(house.stub.count(), usize::from(path == "the chat"), "nothing was sent by itself");
        ben.key(thirtyfour::Key::Enter).await?;
        wait_state(&ben, "done").await?;
        assert!(last_answer(&ben).await?.starts_with(&format!("kept for {path}")));
        assert_eq!(ben.eval("return document.getElementById('prompt').value").await?, "");
    }
    ben.quit().await
}

#[tokio::test]
async fn a_draft_outlives_a_sign_out_in_another_tab() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    prompt(&ben, "hello").await?;
    wait_state(&ben, "done").await?;
    ben.hurry().await?;
    ben.refresh().await?;
    ben.fill("prompt", "half a thought").await?;
    let chat = ben.current_url().await?;
    let first = ben.window().await?;
    ben.new_tab().await?;
    ben.goto(house.at("/settings")).await?;
    ben.click_css("main form button").await?;
    ben.wait_text("signed out").await?;
    ben.close_window().await?;
    ben.switch_to_window(first).await?;
    // The first page notices by itself, and leads back to the same chat.
    ben.wait_url("/login").await?;
    sign_in_here(&ben, "ben").await?;
    ben.wait_url(chat.path()).await?;
    ben.wait("the draft", async || {
        Ok(ben.eval("return document.getElementById('prompt')?.value").await? == "half a thought")
    })
    .await?;
    ben.quit().await
}
