use base::{Db, KeyRing, Random, sql};
use usage::catalog::{self, CatalogError, ConfigUpstream, Source};

use crate::{NOW, open};

fn ring() -> KeyRing {
    KeyRing::new(&[b"a secret of the operator, long enough"])
}

fn upstream<'a>(name: &'a str, key: Option<&'a str>) -> ConfigUpstream<'a> {
    ConfigUpstream { name, base_url: "http://models.example/v1", key }
}

async fn add(db: &Db, upstream: ConfigUpstream<'_>) -> Result<String, CatalogError> {
    add_at(db, NOW, upstream).await
}

async fn add_at(db: &Db, now: i64, upstream: ConfigUpstream<'_>) -> Result<String, CatalogError> {
    let mut tx = db.begin().await.unwrap();
    let id = catalog::add(&mut tx, &ring(), &Random::os(), now, upstream).await?;
    tx.commit().await.unwrap();
    Ok(id)
}

async fn list(db: &Db, id: &str, now: i64, names: &[&str]) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    catalog::listed(db, &Random::os(), now, id, &names, true).await.unwrap();
}

#[tokio::test]
async fn config_rows_follow_the_configuration() {
    let db = open("config").await;
    let (ring, random) = (ring(), Random::os());
    let sync = |now, configured: Vec<ConfigUpstream<'static>>| {
        let (db, ring, random) = (db.clone(), ring.clone(), random.clone());
        async move { catalog::sync_config(&db, &ring, &random, now, &configured).await }
    };
    let added = add(&db, upstream("Mine", Some("sk-mine"))).await.unwrap();
    sync(NOW + 1, vec![upstream("openai", Some("sk-1")), upstream("local", None)]).await.unwrap();
    let seen = |rows: Vec<catalog::Upstream>| -> Vec<(String, Source, bool, bool)> {
        rows.into_iter().map(|row| (row.name, row.source, row.enabled, row.has_key)).collect()
    };
    assert_eq!(
        seen(catalog::upstreams(&db).await.unwrap()),
        [
            ("Mine".into(), Source::Admin, true, true),
            ("openai".into(), Source::Config, true, true),
            ("local".into(), Source::Config, true, false),
        ]
    );
    // `local` vanishes, the key changes, an Admin's upstream is taken over by its name.
    sync(NOW + 9, vec![upstream("OpenAI", Some("sk-2")), upstream("mine", Some("sk-config"))]).await.unwrap();
    let rows = catalog::upstreams(&db).await.unwrap();
    assert_eq!(
        seen(rows.clone()),
        [
            ("mine".into(), Source::Config, true, true),
            ("OpenAI".into(), Source::Config, true, true),
            ("local".into(), Source::Config, false, false),
        ]
    );
    assert_eq!(rows[0].id, added);
    let opened = catalog::key(&db, &ring, &rows[1].id).await.unwrap().unwrap();
    assert_eq!(opened.expose(), "sk-2");
    // The configuration's own can only be switched off, until the next start; or removed then.
    let mut tx = db.begin().await.unwrap();
    assert!(matches!(catalog::rename(&mut tx, &added, "x", NOW).await, Err(CatalogError::Configured)));
    assert!(matches!(catalog::remove(&mut tx, &added).await, Err(CatalogError::Configured)));
    assert!(catalog::remove(&mut tx, &rows[2].id).await.unwrap());
    assert!(catalog::set_enabled(&mut tx, &added, false, NOW).await.unwrap());
    assert!(!catalog::set_enabled(&mut tx, "nobody", false, NOW).await.unwrap());
    tx.commit().await.unwrap();
    sync(NOW + 20, vec![upstream("mine", None)]).await.unwrap();
    let rows = seen(catalog::upstreams(&db).await.unwrap());
    assert_eq!(
        rows,
        [("mine".into(), Source::Config, true, false), ("OpenAI".into(), Source::Config, false, true)]
    );
    assert!(matches!(
        sync(NOW, vec![upstream("a", None), upstream("A", None)]).await,
        Err(CatalogError::Taken)
    ));
}

/// SEC-46, SEC-98
#[tokio::test]
async fn sec_46_a_key_is_sealed_for_its_upstream_and_never_shown() {
    let db = open("keys").await;
    let id = add(&db, upstream("One", Some(" sk-secret "))).await.unwrap();
    let sealed = db.all::<String>(sql!("SELECT key_sealed FROM upstreams"), &[]).await.unwrap();
    assert!(!sealed[0].contains("sk-secret"));
    let key = catalog::key(&db, &ring(), &id).await.unwrap().unwrap();
    assert_eq!(key.expose(), "sk-secret");
    list(&db, &id, NOW, &["m"]).await;
    let routes = catalog::routes(&db, &ring()).await.unwrap();
    let shown = format!("{key:?} {routes:?} {:?}", catalog::upstreams(&db).await.unwrap());
    assert!(!shown.contains("sk-secret"), "{shown}");
    // Another secret, or another upstream's row, does not open it.
    let other = KeyRing::new(&[b"another secret of the operator, long"]);
    assert!(matches!(catalog::routes(&db, &other).await, Err(CatalogError::Sealed { .. })));
    let thief = add(&db, upstream("Two", None)).await.unwrap();
    db.run(sql!("UPDATE upstreams SET key_sealed = (SELECT MAX(key_sealed) FROM upstreams)"), &[])
        .await
        .unwrap();
    assert!(matches!(catalog::key(&db, &ring(), &thief).await, Err(CatalogError::Sealed { .. })));
    let mut tx = db.begin().await.unwrap();
    assert!(catalog::set_key(&mut tx, &ring(), &Random::os(), &id, Some(""), NOW).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(catalog::key(&db, &ring(), &id).await.unwrap(), None);
}

#[tokio::test]
async fn a_taken_or_empty_name_is_the_forms_error() {
    let db = open("names").await;
    let id = add(&db, upstream("One", None)).await.unwrap();
    add(&db, upstream("Two", None)).await.unwrap();
    assert!(matches!(add(&db, upstream(" ONE ", None)).await, Err(CatalogError::Taken)));
    assert!(matches!(add(&db, upstream("  ", None)).await, Err(CatalogError::BadName)));
    assert!(matches!(add(&db, upstream(&"n".repeat(65), None)).await, Err(CatalogError::BadName)));
    let mut tx = db.begin().await.unwrap();
    assert!(matches!(catalog::rename(&mut tx, &id, "two", NOW).await, Err(CatalogError::Taken)));
    drop(tx);
    let mut tx = db.begin().await.unwrap();
    assert!(catalog::rename(&mut tx, &id, "Three", NOW).await.unwrap());
    assert!(!catalog::rename(&mut tx, "nobody", "Four", NOW).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(catalog::upstream(&db, &id).await.unwrap().unwrap().name, "Three");
}

#[tokio::test]
async fn models_follow_the_lists_and_routes_what_is_enabled() {
    let db = open("models-listed").await;
    let one = add(&db, upstream("One", Some("sk-1"))).await.unwrap();
    list(&db, &one, NOW, &["zeta", "alpha", "", "zeta", "bad\nname"]).await;
    let two =
        add_at(&db, NOW + 1, ConfigUpstream { base_url: "http://two.example", ..upstream("Two", None) })
            .await
            .unwrap();
    list(&db, &two, NOW + 1, &["alpha", "quiet"]).await;
    list(&db, "nobody", NOW, &["ghost"]).await;
    let routes = |db: &Db| {
        let db = db.clone();
        async move {
            let routes = catalog::routes(&db, &ring()).await.unwrap();
            routes.into_iter().map(|route| (route.model, route.upstream)).collect::<Vec<_>>()
        }
    };
    let named = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(model, upstream)| ((*model).to_owned(), (*upstream).to_owned())).collect()
    };
    // In the order of the lists: the first one is the default.
    assert_eq!(
        routes(&db).await,
        named(&[("zeta", "One"), ("alpha", "One"), ("alpha", "Two"), ("quiet", "Two")])
    );
    let mut tx = db.begin().await.unwrap();
    assert!(catalog::set_model_enabled(&mut tx, "alpha", Some(&one), false).await.unwrap());
    assert!(catalog::set_model_enabled(&mut tx, "quiet", None, false).await.unwrap());
    assert!(!catalog::set_model_enabled(&mut tx, "none", None, false).await.unwrap());
    tx.commit().await.unwrap();
    // Listed again, what an Admin disabled stays so; what is no longer listed keeps its row.
    list(&db, &one, NOW + 5, &["alpha", "newer"]).await;
    assert_eq!(routes(&db).await, named(&[("zeta", "One"), ("newer", "One"), ("alpha", "Two")]));
    let models = catalog::models(&db).await.unwrap();
    let seen: Vec<String> = models
        .iter()
        .map(|model| {
            let at: Vec<String> = model
                .upstreams
                .iter()
                .map(|at| format!("{} enabled {} listed {}", at.upstream, at.enabled, at.listed))
                .collect();
            format!("{} enabled {}: {}", model.name, model.enabled, at.join(", "))
        })
        .collect();
    assert_eq!(
        seen,
        [
            "alpha enabled true: One enabled false listed true, Two enabled true listed true",
            "newer enabled true: One enabled true listed true",
            "quiet enabled false: Two enabled false listed true",
            "zeta enabled true: One enabled true listed false",
        ]
    );
    let mut tx = db.begin().await.unwrap();
    catalog::set_enabled(&mut tx, &two, false, NOW).await.unwrap();
    assert!(catalog::remove(&mut tx, &one).await.unwrap());
    tx.commit().await.unwrap();
    assert!(routes(&db).await.is_empty());
    assert_eq!(catalog::models(&db).await.unwrap().len(), 2);
}
