//! The pages around identity providers as pictures, and an Admin who sets one up and tries it.

use browser_tests::house::{self, House};
use browser_tests::idp::{self, CLIENT_ID, CLIENT_SECRET, Idp};
use browser_tests::{Result, browser};

use super::pages::{look, look_at};

/// Providers that nobody is sent to: only their buttons are looked at.
const OTHERS: [(&str, &str); 9] = [
    ("ANTEROOM_PROVIDERS__GOOGLE__CLIENT_ID", "id"),
    ("ANTEROOM_PROVIDERS__GOOGLE__CLIENT_SECRET", "secret"),
    ("ANTEROOM_PROVIDERS__GITLAB__CLIENT_ID", "id"),
    ("ANTEROOM_PROVIDERS__GITLAB__CLIENT_SECRET", "secret"),
    ("ANTEROOM_PROVIDERS__GITHUB__CLIENT_ID", "id"),
    ("ANTEROOM_PROVIDERS__GITHUB__CLIENT_SECRET", "secret"),
    ("ANTEROOM_PROVIDERS__MICROSOFT__CLIENT_ID", "id"),
    ("ANTEROOM_PROVIDERS__MICROSOFT__CLIENT_SECRET", "secret"),
    ("ANTEROOM_PROVIDERS__MICROSOFT__TENANT", "organizations"),
];

#[tokio::test]
async fn the_door_with_providers() -> Result {
    let _turn = browser::turn().await;
    let (house, idp) = house::open_with_idp(&[], &OTHERS).await?;
    house.create("root", "Admin").await?;
    let ben = browser::open(1440, 900, false).await?;
    look_at(&ben, &house, "/login", "login-providers").await?;
    look_at(&ben, &house, "/signup", "signup-providers").await?;
    ben.goto(house.at("/login")).await?;
    ben.click("Continue with Company account").await?;
    idp::cancel(&ben).await?;
    ben.wait_text("did not let you through").await?;
    look(&ben, "provider-denied").await?;
    // A way back is good once.
    ben.refresh().await?;
    ben.wait_text("does not go on").await?;
    look(&ben, "provider-lost").await?;

    house.create("ben", "User").await?;
    ben.goto(house.at("/login")).await?;
    ben.click("Continue with Company account").await?;
    idp::sign_in(&ben, "ben").await?;
    ben.wait_text("Is this account yours?").await?;
    look(&ben, "link").await?;
    ben.fill("username_or_email", "ben").await?;
    ben.fill("password", "not the password").await?;
    ben.click("Sign in and link it").await?;
    ben.wait_text("is not right").await?;
    look(&ben, "link-wrong").await?;
    ben.click("Mail a link").await?;
    ben.wait_text("mail").await?;
    look(&ben, "link-mailed").await?;
    look_at(&ben, &house, "/login/link/unknown", "link-dead").await?;
    ben.goto(house.at("/login/link")).await?;
    ben.click("Cancel").await?;
    ben.wait_url("/login").await?;
    look_at(&ben, &house, "/login/link", "link-nothing").await?;

    idp.change("cleo", serde_json::json!({ "given_name": "Cleo" })).await?;
    ben.goto(format!("{}/nowhere", idp.issuer())).await?;
    ben.delete_all_cookies().await?;
    ben.goto(house.at("/login")).await?;
    ben.click("Continue with Company account").await?;
    idp::sign_in(&ben, "cleo").await?;
    ben.wait_text("Your e-mail address is missing").await?;
    look(&ben, "provider-no-email").await?;
    ben.quit().await
}

#[tokio::test]
async fn connections_and_the_proof_at_a_provider() -> Result {
    let _turn = browser::turn().await;
    let (house, _idp) = house::open_with_idp(&[], &OTHERS).await?;
    house.create("root", "Admin").await?;
    let ann = browser::open(1440, 900, false).await?;
    ann.goto(house.at("/login")).await?;
    ann.click("Continue with Company account").await?;
    idp::sign_in(&ann, "ann").await?;
    ann.wait_url("/chat").await?;
    look(&ann, "provider-first-sign-in").await?;
    look_at(&ann, &house, "/settings/connections", "connections").await?;
    look_at(&ann, &house, "/settings/2fa", "security-provider").await?;
    house.forget_proofs().await?;
    ann.goto(house.at("/settings/connections")).await?;
    ann.click("Unlink").await?;
    ann.click_css("#confirm-yes").await?;
    ann.wait_text("Confirm that it is you").await?;
    look(&ann, "step-up-provider").await?;
    // Without scripts the page in between and the one that goes on stand still.
    ann.scripts(false).await?;
    ann.click("Sign in with Company account again").await?;
    idp::sign_in(&ann, "ann").await?;
    ann.clickable("Go on").await?;
    ann.scripts(true).await?;
    look(&ann, "step-up-provider-confirmed").await?;
    ann.click("Go on").await?;
    ann.wait_text("the only way you can sign in").await?;
    look(&ann, "connections-last").await?;
    ann.quit().await
}

/// The variables' provider aside, one that an Admin sets up on the page, tries, changes and takes away.
#[tokio::test]
async fn an_admin_sets_one_up_and_tries_it() -> Result {
    let _turn = browser::turn().await;
    let port = parts::free_address()?.port();
    let back = |name: &str| format!("http://localhost:{port}/login/{name}/authorized");
    let idp = Idp::start(&[back("corp"), back("staff")]).await?;
    let variables = idp.variables("corp", &[]);
    let all: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let house: House = house::open_at(port, &all).await?;
    let ada = browser::open(1440, 900, false).await?;
    house.become_admin(&ada).await?;
    look_at(&ada, &house, "/admin/settings", "admin-providers-configured").await?;
    for preset in ["google", "gitlab", "github", "microsoft", "oidc"] {
        let path = format!("/admin/settings/providers/new?preset={preset}");
        look_at(&ada, &house, &path, &format!("admin-provider-new-{preset}")).await?;
    }
    ada.fill("name", "2fa").await?;
    ada.fill("label", "Staff").await?;
    ada.fill("issuer", "not an address").await?;
    ada.fill("client_id", CLIENT_ID).await?;
    ada.fill("client_secret", CLIENT_SECRET).await?;
    ada.eval(
        "document.querySelector('form[action=\"/admin/settings/providers\"]').noValidate = true; return 1",
    )
    .await?;
    ada.click("Add").await?;
    ada.wait_text("Some fields need another look").await?;
    look(&ada, "admin-provider-wrong").await?;
    ada.fill("name", "staff").await?;
    ada.fill("issuer", idp.issuer()).await?;
    ada.fill("client_secret", CLIENT_SECRET).await?;
    ada.click_css("details.more > summary").await?;
    ada.fill("role_claim", "groups").await?;
    ada.fill("roles", "chat-admins=Admin").await?;
    ada.click("Add").await?;
    ada.wait_url("/admin/settings").await?;
    ada.clickable("Test sign-in with Staff").await?;
    look(&ada, "admin-providers").await?;

    ada.click("Test sign-in with Staff").await?;
    idp::sign_in(&ada, "dora").await?;
    ada.wait_text("Test of Staff").await?;
    ada.wait_text("Nothing was changed").await?;
    ada.wait_text("chat-admins").await?;
    ada.wait_text("dora@example.org").await?;
    look(&ada, "admin-provider-trial").await?;
    ada.goto(house.at("/admin/users")).await?;
    assert!(!ada.page_text().await?.contains("dora"), "trying makes nobody");

    // What was tried is what comes.
    let dora = browser::open(1200, 800, false).await?;
    dora.goto(house.at("/login")).await?;
    dora.click("Continue with Staff").await?;
    idp::sign_in(&dora, "dora").await?;
    dora.wait_url("/chat").await?;
    dora.goto(house.at("/admin")).await?;
    dora.wait_url("/admin").await?;
    dora.quit().await?;

    ada.goto(house.at("/admin/settings/providers/staff")).await?;
    look(&ada, "admin-provider-edit").await?;
    idp.down().await?;
    ada.goto(house.at("/admin/settings")).await?;
    ada.click("Disable Staff").await?;
    ada.clickable("Enable Staff").await?;
    ada.goto(house.at("/login")).await?;
    ada.goto(house.at("/admin/errors")).await?;
    look(&ada, "admin-errors-none").await?;
    ada.goto(house.at("/admin/settings")).await?;
    ada.click("Remove Staff").await?;
    ada.click_css("#confirm-yes").await?;
    ada.wait_no_text("Disable Staff").await?;
    ada.quit().await
}
