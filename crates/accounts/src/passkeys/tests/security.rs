//! SEC-53 to SEC-56.

use base::{args, sql};
use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn sec_53_a_ceremony_counts_for_its_purpose_and_holder_only() {
    let site = Site::new("bound").await;
    let mut device = Authenticator::new(ORIGIN);
    site.add(&mut device, PasskeyKind::Passkey).await;
    let expired = |done: Result<PasskeyUse, PasskeyError>| matches!(done, Err(PasskeyError::Expired));

    let options = site.ask(CheckPurpose::SecondFactor).await;
    let answer = device.get(&options).unwrap();
    assert!(expired(site.check_as(HOLDER, CheckPurpose::StepUp, &options, &answer).await));
    assert!(
        expired(site.check_as("another", CheckPurpose::SecondFactor, &options, &answer).await),
        "another holder"
    );
    assert!(matches!(site.enter(&options, &answer).await, Err(PasskeyError::Expired)));
    assert!(matches!(site.finish(&options, "", &answer).await, Err(PasskeyError::Expired)));
    // None of that used it up.
    site.check(&options, &answer).await.unwrap();

    // Begun for one account, finished for another one in the same session.
    let ben = site.t.person("ben").await;
    let options = site.ask(CheckPurpose::SecondFactor).await;
    let answer = device.get(&options).unwrap();
    let ceremony = options["ceremony"].as_str().unwrap();
    let mut tx = site.accounts.db.begin().await.unwrap();
    let purpose = CheckPurpose::SecondFactor;
    let done = site.accounts.check_passkey(&mut tx, HOLDER, &ben.id, purpose, ceremony, &answer).await;
    assert!(expired(done));
    drop(tx);

    // A newer one of the same purpose takes its place.
    let older = site.ask(CheckPurpose::SecondFactor).await;
    site.ask(CheckPurpose::SecondFactor).await;
    let answer = device.get(&older).unwrap();
    assert!(expired(site.check(&older, &answer).await));
}

#[tokio::test]
async fn sec_53_a_ceremony_lasts_five_minutes() {
    let site = Site::new("expired").await;
    let mut device = Authenticator::new(ORIGIN);
    site.add(&mut device, PasskeyKind::Passkey).await;
    for (wait, is_good) in [(CEREMONY_LIFETIME - 1, true), (CEREMONY_LIFETIME, false)] {
        let options = site.visit().await;
        let answer = device.get(&options).unwrap();
        site.t.clock.advance(wait);
        assert_eq!(site.enter(&options, &answer).await.is_ok(), is_good);
    }
    let options = site.begin(PasskeyKind::SecurityKey).await.unwrap();
    let answer = Authenticator { seed: 2, ..Authenticator::new(ORIGIN) }.create(&options);
    site.t.clock.advance(CEREMONY_LIFETIME);
    assert!(matches!(site.finish(&options, "", &answer).await, Err(PasskeyError::Expired)));
}

#[tokio::test]
async fn sec_53_of_twenty_replays_at_once_one_counts() {
    let site = Site::new("replay").await;
    // Without a counter only the single use stands against replays.
    let mut device = Authenticator { counter: None, ..Authenticator::new(ORIGIN) };
    site.add(&mut device, PasskeyKind::Passkey).await;
    let second = site.ask(CheckPurpose::SecondFactor).await;
    let alone = site.visit().await;
    let (second_answer, alone_answer) = (device.get(&second).unwrap(), device.get(&alone).unwrap());
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let accounts = site.accounts.clone();
        let (user, options, answer) = (site.ann.id.clone(), second.clone(), second_answer.clone());
        tasks.spawn(async move {
            let mut tx = accounts.db.begin().await.unwrap();
            let ceremony = options["ceremony"].as_str().unwrap();
            let purpose = CheckPurpose::SecondFactor;
            let done = accounts.check_passkey(&mut tx, HOLDER, &user, purpose, ceremony, &answer).await;
            tx.commit().await.unwrap();
            done.is_ok()
        });
        let accounts = site.accounts.clone();
        let (options, answer) = (alone.clone(), alone_answer.clone());
        tasks.spawn(async move {
            let ceremony = options["ceremony"].as_str().unwrap();
            accounts.finish_passwordless(VISITOR, ceremony, &answer).await.is_ok()
        });
    }
    let done = tasks.join_all().await;
    assert_eq!(done.iter().filter(|ok| **ok).count(), 2, "one each");
}

#[tokio::test]
async fn sec_53_other_origins_and_relying_parties_are_refused() {
    let site = Site::new("origin").await;
    let foreign = [
        "https://chat.example.org.evil.example",
        "https://evil.example",
        "https://sub.chat.example.org",
        "https://chat.example.org:8443",
        "http://chat.example.org",
    ];
    for origin in foreign {
        let options = site.begin(PasskeyKind::Passkey).await.unwrap();
        let answer = Authenticator::new(origin).create(&options);
        let refused = site.finish(&options, "", &answer).await;
        assert!(matches!(refused, Err(PasskeyError::NotAccepted)), "{origin}");
    }
    let options = site.begin(PasskeyKind::Passkey).await.unwrap();
    let mut device = Authenticator::new(ORIGIN);
    device.rp_id = Some("evil.example".into());
    let answer = device.create(&options);
    assert!(matches!(site.finish(&options, "", &answer).await, Err(PasskeyError::NotAccepted)));
    assert_eq!(site.accounts.list_passkeys(&site.ann.id).await.unwrap().len(), 0);

    let mut device = Authenticator::new(ORIGIN);
    site.add(&mut device, PasskeyKind::Passkey).await;
    let before = site.stored().await;
    for origin in foreign {
        device.origin = origin.into();
        let options = site.ask(CheckPurpose::SecondFactor).await;
        let answer = device.get(&options).unwrap();
        assert!(matches!(site.check(&options, &answer).await, Err(PasskeyError::NotAccepted)), "{origin}");
    }
    device.origin = ORIGIN.into();
    device.rp_id = Some("evil.example".into());
    let options = site.visit().await;
    let answer = device.get(&options).unwrap();
    assert!(matches!(site.enter(&options, &answer).await, Err(PasskeyError::NotAccepted)));
    assert_eq!(site.stored().await, before);
}

#[tokio::test]
async fn sec_54_who_signs_in_alone_was_verified_when_it_was_added_and_now() {
    let site = Site::new("alone").await;
    // A key that cannot verify is no passkey.
    let mut device = Authenticator { verifies: false, ..Authenticator::new(ORIGIN) };
    let options = site.begin(PasskeyKind::Passkey).await.unwrap();
    let answer = device.create(&options);
    assert!(matches!(site.finish(&options, "", &answer).await, Err(PasskeyError::NotVerified)));

    // A touch-only key stays a second factor, even where it could verify now.
    let mut device = Authenticator { seed: 2, ..Authenticator::new(ORIGIN) };
    site.add(&mut device, PasskeyKind::SecurityKey).await;
    let options = site.visit().await;
    let answer = device.get(&options).unwrap();
    assert!(matches!(site.enter(&options, &answer).await, Err(PasskeyError::SecondFactorOnly)));
    // Its owner alone learns that.
    let options = site.visit().await;
    let answer = spoiled(device.get(&options).unwrap());
    assert!(matches!(site.enter(&options, &answer).await, Err(PasskeyError::NotAccepted)));

    let mut device = Authenticator { seed: 3, ..Authenticator::new(ORIGIN) };
    site.add(&mut device, PasskeyKind::Passkey).await;
    device.verifies = false;
    let before = site.stored().await;
    let options = site.visit().await;
    let answer = device.get(&options).unwrap();
    assert!(matches!(site.enter(&options, &answer).await, Err(PasskeyError::NotVerified)));
    assert_eq!(site.stored().await, before);
}

#[tokio::test]
async fn sec_54_the_user_handle_and_the_credential_belong_together() {
    let site = Site::new("handle").await;
    let mut device = Authenticator::new(ORIGIN);
    site.add(&mut device, PasskeyKind::Passkey).await;
    let ben = site.t.person("ben").await;
    let ben_handle = json!(base64_url(ben.id.as_bytes()));
    for handle in [Value::Null, ben_handle.clone(), json!("AAAA"), json!("_w")] {
        let options = site.visit().await;
        let mut answer = device.get(&options).unwrap();
        answer["response"]["userHandle"] = handle.clone();
        assert!(matches!(site.enter(&options, &answer).await, Err(PasskeyError::NotAccepted)), "{handle}");
    }
    let options = site.ask(CheckPurpose::SecondFactor).await;
    let mut answer = device.get(&options).unwrap();
    answer["response"]["userHandle"] = ben_handle;
    assert!(matches!(site.check(&options, &answer).await, Err(PasskeyError::NotAccepted)));

    // Someone else's key does not prove Ben, and cannot be added to a second account.
    let ben_name = ben.full_name();
    let user = PasskeyUser::new(&ben, &ben_name);
    let options = site.accounts.begin_passkey("ben's", user, PasskeyKind::Passkey).await.unwrap();
    let answer = Authenticator::new(ORIGIN).create(&options);
    let mut tx = site.accounts.db.begin().await.unwrap();
    let ceremony = options["ceremony"].as_str().unwrap();
    let again = site.accounts.finish_passkey(&mut tx, "ben's", &ben.id, ceremony, "", &answer).await;
    assert!(matches!(again, Err(PasskeyError::AlreadyAdded)));
    drop(tx);
    let none = site.accounts.begin_passkey_check(HOLDER, &ben.id, CheckPurpose::StepUp).await;
    assert!(matches!(none, Err(PasskeyError::NoneYet)));

    // Whoever was deactivated stays out.
    let set = sql!("UPDATE users SET deactivated_at = 1 WHERE id = $1");
    site.t.db.run(set, args![&site.ann.id]).await.unwrap();
    let options = site.visit().await;
    let answer = device.get(&options).unwrap();
    assert!(matches!(site.enter(&options, &answer).await, Err(PasskeyError::NotAccepted)));
}

#[tokio::test]
async fn sec_55_what_is_not_verified_writes_nothing() {
    let site = Site::new("unverified").await;
    let mut device = Authenticator::new(ORIGIN);
    // A registration for another challenge.
    let old = site.begin(PasskeyKind::Passkey).await.unwrap();
    let answer = device.create(&old);
    let options = site.begin(PasskeyKind::Passkey).await.unwrap();
    assert!(matches!(site.finish(&options, "", &answer).await, Err(PasskeyError::NotAccepted)));
    for junk in [json!(null), json!({}), json!("{"), json!("[]"), json!({ "id": "x", "response": {} })] {
        let options = site.begin(PasskeyKind::Passkey).await.unwrap();
        assert!(matches!(site.finish(&options, "", &junk).await, Err(PasskeyError::NotAccepted)), "{junk}");
    }
    assert_eq!(site.stored().await, []);

    let mut device = Authenticator::new(ORIGIN);
    site.add(&mut device, PasskeyKind::Passkey).await;
    let before = site.stored().await;
    let options = site.ask(CheckPurpose::SecondFactor).await;
    let answer = device.get(&options).unwrap();
    let bad = spoiled(answer.clone());
    assert!(matches!(site.check(&options, &bad).await, Err(PasskeyError::NotAccepted)));
    assert_eq!(site.stored().await, before);
    // The ceremony is spent all the same.
    assert!(matches!(site.check(&options, &answer).await, Err(PasskeyError::Expired)));
    let options = site.visit().await;
    let answer = device.get(&options).unwrap();
    assert!(site.enter(&options, &spoiled(answer.clone())).await.is_err());
    assert_eq!(site.stored().await, before);
    assert!(matches!(site.enter(&options, &answer).await, Err(PasskeyError::Expired)));
}

#[tokio::test]
async fn sec_55_a_counter_that_goes_back_is_refused() {
    let site = Site::new("counter").await;
    let mut device = Authenticator { counter: Some(7), ..Authenticator::new(ORIGIN) };
    site.add(&mut device, PasskeyKind::Passkey).await;
    for _ in 0..2 {
        let options = site.ask(CheckPurpose::SecondFactor).await;
        let answer = device.get(&options).unwrap();
        site.check(&options, &answer).await.unwrap();
    }
    let before = site.stored().await;
    // The copy answers with a number that was there already.
    for counter in [Some(3), Some(8), None] {
        device.counter = counter;
        let options = site.visit().await;
        let answer = device.get(&options).unwrap();
        assert!(matches!(site.enter(&options, &answer).await, Err(PasskeyError::MayBeCopied)), "{counter:?}");
        let options = site.ask(CheckPurpose::StepUp).await;
        device.counter = counter;
        let answer = device.get(&options).unwrap();
        let refused = site.check_as(HOLDER, CheckPurpose::StepUp, &options, &answer).await;
        assert!(matches!(refused, Err(PasskeyError::MayBeCopied)), "{counter:?}");
    }
    assert_eq!(site.stored().await, before);
}

#[tokio::test]
async fn sec_56_the_twenty_first_is_refused() {
    let site = Site::new("many").await;
    let mut device = Authenticator::new(ORIGIN);
    site.add(&mut device, PasskeyKind::Passkey).await;
    let copy = async |from: i64, to: i64| {
        for n in from..to {
            let insert = sql!(
                "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
                 SELECT $1, user_id, $1, credential, user_verified, name, created_at FROM passkeys LIMIT 1"
            );
            site.t.db.run(insert, args![&format!("copy {n}")]).await.unwrap();
        }
    };
    copy(1, MAX_PASSKEYS - 1).await;
    let mut other = Authenticator { seed: 2, ..Authenticator::new(ORIGIN) };
    let options = site.begin(PasskeyKind::SecurityKey).await.unwrap();
    let answer = other.create(&options);
    // Another one came in between.
    copy(MAX_PASSKEYS - 1, MAX_PASSKEYS).await;
    assert!(matches!(site.finish(&options, "", &answer).await, Err(PasskeyError::TooMany)));
    assert!(matches!(site.begin(PasskeyKind::Passkey).await, Err(PasskeyError::TooMany)));
    assert_eq!(site.accounts.list_passkeys(&site.ann.id).await.unwrap().len(), MAX_PASSKEYS as usize);
}

#[tokio::test]
async fn sec_56_the_last_way_in_stays() {
    let site = Site::new("last").await;
    let mut device = Authenticator::new(ORIGIN);
    let first = site.add(&mut device, PasskeyKind::Passkey).await;
    assert_eq!(site.remove("no such").await.unwrap(), None);
    assert_eq!(site.remove(&first.id).await.unwrap(), Some(first), "there is the password");

    let password = sql!("UPDATE users SET password = NULL WHERE id = $1");
    site.t.db.run(password, args![&site.ann.id]).await.unwrap();
    let mut device = Authenticator { seed: 2, ..Authenticator::new(ORIGIN) };
    let first = site.add(&mut device, PasskeyKind::Passkey).await;
    let mut touch = Authenticator { seed: 3, ..Authenticator::new(ORIGIN) };
    let key = site.add(&mut touch, PasskeyKind::SecurityKey).await;
    assert!(matches!(site.remove(&first.id).await, Err(PasskeyError::LastWayIn)), "a key is no way in");
    let mut device = Authenticator { seed: 4, ..Authenticator::new(ORIGIN) };
    let second = site.add(&mut device, PasskeyKind::Passkey).await;
    site.remove(&first.id).await.unwrap().unwrap();
    site.remove(&key.id).await.unwrap().unwrap();
    assert!(matches!(site.remove(&second.id).await, Err(PasskeyError::LastWayIn)));
    assert_eq!(site.accounts.list_passkeys(&site.ann.id).await.unwrap(), [second]);
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
