//! Proves the harness itself, on the pages of the model stub.

use std::collections::HashMap;

use browser_tests::browser::Driver;
use browser_tests::idp::{self, CLIENT_ID, CLIENT_SECRET, Idp};
use browser_tests::{Result, browser};
use parts::model::ModelStub;
use serde_json::{Value, json};

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

/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn authorize(idp: &Idp, redirect_uri: &str, further: &str) -> String {
    format!(
        "{}/auth?response_type=code&client_id={CLIENT_ID}&redirect_uri={redirect_uri}&scope=openid+profile+email&\
         state=xyz&code_challenge={CHALLENGE}&code_challenge_method=S256{further}",
        idp.issuer()
    )
}

/// What came back in the address, once the browser is at the redirect URI.
async fn back(driver: &Driver, redirect_uri: &str) -> Result<HashMap<String, String>> {
    driver.wait_url(&format!("{redirect_uri}?")).await?;
    Ok(driver.current_url().await?.query_pairs().into_owned().collect())
}

async fn told(idp: &Idp, redirect_uri: &str, code: &str) -> Result<Value> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={redirect_uri}&code_verifier={VERIFIER}"
    );
    let token = http.post(format!("{}/token", idp.issuer()));
    // RFC 6749, 2.3.1: form-encoded before they are put together.
    let token = token.basic_auth(CLIENT_ID, Some(CLIENT_SECRET.replace(' ', "+").replace(',', "%2C")));
    let token = token.header("content-type", "application/x-www-form-urlencoded").body(form).send().await?;
    let token: Value = token.error_for_status()?.json().await?;
    let access = token["access_token"].as_str().ok_or("no access token")?;
    let info = http.get(format!("{}/me", idp.issuer())).bearer_auth(access).send().await?;
    Ok(info.error_for_status()?.json().await?)
}

#[tokio::test]
async fn a_person_signs_in_at_the_provider_and_comes_back_with_a_code() -> Result {
    let _turn = browser::turn().await;
    let stub = ModelStub::start().await?;
    let here = stub.page_url() + "/";
    let idp = Idp::start(std::slice::from_ref(&here)).await?;
    let ann = browser::open(1200, 800, false).await?;

    ann.goto(authorize(&idp, &here, "")).await?;
    idp::sign_in(&ann, "ann").await?;
    let got = back(&ann, &here).await?;
    assert_eq!((got["state"].as_str(), got["iss"].as_str()), ("xyz", idp.issuer()));
    let claims = told(&idp, &here, &got["code"]).await?;
    assert_eq!(claims["email"], "ann@example.org");
    assert_eq!((&claims["email_verified"], &claims["groups"]), (&json!(true), &json!(["staff"])));

    // She is known there now, even behind another key, and what is said of her can change.
    idp.rotate_key().await?;
    idp.change("ann", json!({ "groups": ["chat-admins"], "email_verified": null })).await?;
    ann.goto(authorize(&idp, &here, "")).await?;
    let got = back(&ann, &here).await?;
    let claims = told(&idp, &here, &got["code"]).await?;
    assert_eq!((&claims["email_verified"], &claims["groups"]), (&Value::Null, &json!(["chat-admins"])));

    // Except where she has to show it anew; there she may also say no.
    for fresh in ["&prompt=login", "&max_age=0"] {
        ann.goto(authorize(&idp, &here, fresh)).await?;
        idp::sign_in_with_code(&ann, "ann").await?;
        assert!(back(&ann, &here).await?.contains_key("code"));
    }
    ann.goto(authorize(&idp, &here, "&prompt=login")).await?;
    idp::cancel(&ann).await?;
    assert_eq!(back(&ann, &here).await?["error"], "access_denied");

    // Signing out there comes back too, and asks the next time.
    let origin = reqwest::Url::parse(&here)?.origin().ascii_serialization();
    let leave = format!("client_id={CLIENT_ID}&post_logout_redirect_uri={origin}/login&state=bye");
    ann.goto(format!("{}/session/end?{leave}", idp.issuer())).await?;
    idp::sign_out(&ann).await?;
    assert_eq!(back(&ann, &format!("{origin}/login")).await?["state"], "bye");
    ann.goto(authorize(&idp, &here, "")).await?;
    idp::sign_in(&ann, "cleo").await?;
    let got = back(&ann, &here).await?;
    assert_eq!(told(&idp, &here, &got["code"]).await?["email"], Value::Null);
    ann.quit().await
}

#[tokio::test]
async fn the_provider_rotates_its_key_and_stops_answering_when_told() -> Result {
    let idp = Idp::start(&["http://localhost:1/back".to_owned()]).await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let keys = format!("{}/jwks", idp.issuer());
    let ids = async || -> Result<Vec<Value>> {
        let set: Value = http.get(&keys).send().await?.error_for_status()?.json().await?;
        Ok(set["keys"].as_array().ok_or("no keys")?.iter().map(|key| key["kid"].clone()).collect())
    };
    let before = ids().await?;
    idp.rotate_key().await?;
    let after = ids().await?;
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
    idp.down().await?;
    assert_eq!(http.get(&keys).send().await?.status(), 503);
    idp.up().await?;
    assert_eq!(ids().await?, after);
    Ok(())
}
