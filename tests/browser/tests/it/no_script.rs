//! Every page works without JavaScript.

use browser_tests::house::{self, no_complaints, sign_in_here};
use browser_tests::{Result, browser};
use thirtyfour::By;

#[tokio::test]
async fn signing_up_chatting_and_administration_need_no_script() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ada = browser::open(1200, 800, false).await?;
    ada.scripts(false).await?;
    house.become_admin(&ada).await?;
    let ben = browser::open(390, 844, false).await?;
    ben.scripts(false).await?;
    house.sign_up(&ben, "ben", "Ben", "Okri").await?;

    // Nothing that only a script could serve is shown.
    for hidden in ben.find_all(By::Css(".js-only, [data-reveal], [data-copy]")).await? {
        assert!(!hidden.is_displayed().await?, "{:?}", hidden.text().await?);
    }
    ben.fill("prompt", "!hold and more").await?;
    ben.click("Send").await?;
    ben.wait_text("loads itself again").await?;
    ben.wait_text("one two three").await?;
    house.stub.release();
    ben.wait_text("one two three and more").await?; // the page loads itself
    ben.wait_no_text("loads itself again").await?;

    ben.fill("prompt", "!hold on").await?;
    ben.click("Send").await?;
    ben.click("Stop").await?;
    ben.wait_text("Stopped. What had arrived is kept.").await?;
    house.stub.wait_live(0).await;
    ben.fill("prompt", "!fail-503-once hello again").await?;
    ben.click("Send").await?;
    ben.wait_text("No answer came").await?;
    ben.click("Retry").await?;
    ben.wait_text("2 of 2").await?;
    ben.wait_text("hello again").await?;
    ben.click("Version before").await?;
    ben.wait_text("1 of 2").await?;

    // The page opens where the newest words are.
    let lines = "line\n".repeat(80);
    ben.eval(&format!("document.getElementById('prompt').value = {}", serde_json::json!(lines))).await?;
    ben.click("Send").await?;
    ben.wait_url("#end").await?;
    let at_end = "return scrollY > 100 && scrollY + innerHeight >= document.documentElement.scrollHeight - 2";
    ben.wait("the end of the page", async || Ok(ben.eval(at_end).await? == true)).await?;

    // Menus are the browser's own; without a script nothing asks first.
    ada.goto(house.at("/admin/users")).await?;
    ada.click("Actions for ben").await?;
    ada.click("Promote to Admin").await?;
    ada.wait_text("Admin now").await?;
    ada.click("Actions for ben").await?;
    ada.click("Demote from Admin").await?;
    ada.wait_no_text("Admin now").await?;
    ada.click("Actions for ben").await?;
    ada.click("Deactivate").await?;
    ada.wait_text("1 deactivated").await?;
    ben.goto(house.at("/chat")).await?;
    ben.wait_url("/login").await?;
    ada.click("Actions for ben").await?;
    ada.click("Reactivate").await?;
    ada.wait_text("2 active").await?;
    sign_in_here(&ben, "ben").await?;
    ben.wait_url("/chat").await?;
    ben.click_css("header.bar button").await?;
    ben.click_css("button.account").await?;
    ben.click("Sign out").await?;
    ben.wait_text("signed out").await?;
    no_complaints(&ada).await?;
    no_complaints(&ben).await?;
    ada.quit().await?;
    ben.quit().await
}
