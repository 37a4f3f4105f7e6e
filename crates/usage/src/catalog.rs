//! The catalog: upstreams, their sealed keys, and the models they serve.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base::seal::SealError;
use base::{Db, DbError, FromRow, KeyRing, Micros, Random, Row, Tx, args, sql};
use serde::Serialize;

use crate::stats::json;

/// The longest name of an upstream, in characters.
const NAME: usize = 64;
/// The longest name of a model, in bytes.
const MODEL_NAME: usize = 200;
/// The most models taken from one list.
const MODELS: usize = 5_000;

/// Where an upstream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration, which it follows at each start.
    Config,
    /// The Admin page.
    Admin,
}

impl Source {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Result<Self, DbError> {
        match text {
            "config" => Ok(Self::Config),
            "admin" => Ok(Self::Admin),
            _ => Err(DbError::Corrupt { column: "upstreams.source".into(), problem: text.to_owned() }),
        }
    }
}

/// An OpenAI-compatible server. Its key is not here: it is opened only to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub id: String,
    pub name: String,
    pub base_url: String,
    pub source: Source,
    pub enabled: bool,
    pub has_key: bool,
    pub created_at: Micros,
}

impl FromRow for Upstream {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            base_url: row.get("base_url")?,
            source: Source::parse(&row.get::<String>("source")?)?,
            enabled: row.get("enabled")?,
            has_key: row.get("has_key")?,
            created_at: row.get("created_at")?,
        })
    }
}

/// An upstream's key in the clear. It is never shown, logged or serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key itself, for the upstream it belongs to (SEC-98).
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

/// An upstream as the configuration names it.
#[derive(Clone, Copy)]
pub struct ConfigUpstream<'a> {
    pub name: &'a str,
    pub base_url: &'a str,
    pub key: Option<&'a str>,
}

/// Why the catalog did not do it; the first three are for the form.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("There is an upstream of this name already. Choose another name.")]
    Taken,
    #[error("A name has 1 to 64 characters.")]
    BadName,
    #[error("This upstream comes from the configuration. Change it there and restart.")]
    Configured,
    #[error("the key of the upstream {name} cannot be opened: {problem}")]
    Sealed { name: String, problem: SealError },
    #[error("the key cannot be sealed: {0}")]
    Seal(#[from] SealError),
    #[error(transparent)]
    Db(DbError),
}

impl From<DbError> for CatalogError {
    fn from(error: DbError) -> Self {
        if error.is_unique("upstreams", "name_canonical") { Self::Taken } else { Self::Db(error) }
    }
}

/// Every upstream, the oldest first.
pub async fn upstreams(db: &Db) -> Result<Vec<Upstream>, DbError> {
    db.all(
        sql!(
            "SELECT id, name, base_url, source, enabled, key_sealed IS NOT NULL AS has_key, created_at \
             FROM upstreams ORDER BY created_at, id"
        ),
        &[],
    )
    .await
}

/// One upstream.
pub async fn upstream(db: &Db, id: &str) -> Result<Option<Upstream>, DbError> {
    db.one(
        sql!(
            "SELECT id, name, base_url, source, enabled, key_sealed IS NOT NULL AS has_key, created_at \
             FROM upstreams WHERE id = $1"
        ),
        args![id],
    )
    .await
}

/// The upstream's key, opened; none if it has none.
pub async fn key(db: &Db, ring: &KeyRing, id: &str) -> Result<Option<ApiKey>, CatalogError> {
    let row = db
        .one::<(String, Option<String>)>(
            sql!("SELECT name, key_sealed FROM upstreams WHERE id = $1"),
            args![id],
        )
        .await?;
    match row {
        Some((name, Some(sealed))) => open(ring, id, &name, &sealed).map(Some),
        _ => Ok(None),
    }
}

/// Makes the `config` rows follow the configuration, at each start: new ones are added, changed
/// ones changed, all of them enabled, and those that vanished disabled. One that an Admin added
/// under the same name is taken over, with its models.
pub async fn sync_config(
    db: &Db,
    ring: &KeyRing,
    random: &Random,
    now: Micros,
    configured: &[ConfigUpstream<'_>],
) -> Result<(), CatalogError> {
    let mut tx = db.begin().await?;
    tx.lock("upstreams").await?;
    let ids: HashMap<String, String> = tx
        .all::<(String, String)>(sql!("SELECT name_canonical, id FROM upstreams"), &[])
        .await?
        .into_iter()
        .collect();
    let mut kept = Vec::new();
    for (order, upstream) in (0..).zip(configured) {
        let (name, canonical) = checked_name(upstream.name)?;
        let id = match ids.get(&canonical) {
            Some(id) => id.clone(),
            None => random.id(now + order),
        };
        let sealed = seal(ring, random, &id, upstream.key)?;
        tx.run(
            sql!(
                "INSERT INTO upstreams (id, name, name_canonical, base_url, key_sealed, source, enabled, created_at, \
                 updated_at) VALUES ($1, $2, $3, $4, $5, 'config', TRUE, $6, $6) \
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, base_url = excluded.base_url, \
                 key_sealed = excluded.key_sealed, source = 'config', enabled = TRUE, \
                 updated_at = excluded.updated_at"
            ),
            args![&id, &name, &canonical, upstream.base_url, &sealed, now + order],
        )
        .await?;
        kept.push(id);
    }
    tx.run(
        sql!(
            "UPDATE upstreams SET enabled = FALSE, updated_at = $1 WHERE source = 'config' AND enabled \
             AND id NOT IN (SELECT value FROM json_each($2))"
        ),
        args![now, &json(&kept)?],
    )
    .await?;
    Ok(tx.commit().await?)
}

/// Adds an upstream from the Admin page, enabled; gives its id. The caller has checked the URL.
///
/// # Errors
/// [`CatalogError::BadName`], [`CatalogError::Taken`] by the constraint.
pub async fn add(
    tx: &mut Tx,
    ring: &KeyRing,
    random: &Random,
    now: Micros,
    upstream: ConfigUpstream<'_>,
) -> Result<String, CatalogError> {
    let (name, canonical) = checked_name(upstream.name)?;
    let id = random.id(now);
    let sealed = seal(ring, random, &id, upstream.key)?;
    tx.run(
        sql!(
            "INSERT INTO upstreams (id, name, name_canonical, base_url, key_sealed, source, enabled, created_at, \
             updated_at) VALUES ($1, $2, $3, $4, $5, 'admin', TRUE, $6, $6)"
        ),
        args![&id, &name, &canonical, upstream.base_url, &sealed, now],
    )
    .await?;
    Ok(id)
}

/// Enables or disables an upstream; false if there is none. A configured one is enabled again at
/// the next start.
pub async fn set_enabled(tx: &mut Tx, id: &str, enabled: bool, now: Micros) -> Result<bool, DbError> {
    let rows = tx
        .run(
            sql!("UPDATE upstreams SET enabled = $1, updated_at = $2 WHERE id = $3"),
            args![enabled, now, id],
        )
        .await?;
    Ok(rows == 1)
}

/// Gives an upstream of the Admin page another name; false if there is none.
pub async fn rename(tx: &mut Tx, id: &str, name: &str, now: Micros) -> Result<bool, CatalogError> {
    let (name, canonical) = checked_name(name)?;
    let rows = tx
        .run(
            sql!(
                "UPDATE upstreams SET name = $1, name_canonical = $2, updated_at = $3 \
                 WHERE id = $4 AND source = 'admin'"
            ),
            args![&name, &canonical, now, id],
        )
        .await?;
    changed(tx, id, rows).await
}

/// Gives an upstream of the Admin page another key, or none; false if there is none. The URL
/// cannot be changed, so that no key ever goes to another server (SEC-98).
pub async fn set_key(
    tx: &mut Tx,
    ring: &KeyRing,
    random: &Random,
    id: &str,
    key: Option<&str>,
    now: Micros,
) -> Result<bool, CatalogError> {
    let sealed = seal(ring, random, id, key)?;
    let rows = tx
        .run(
            sql!("UPDATE upstreams SET key_sealed = $1, updated_at = $2 WHERE id = $3 AND source = 'admin'"),
            args![&sealed, now, id],
        )
        .await?;
    changed(tx, id, rows).await
}

/// Removes an upstream of the Admin page, or a disabled one of the configuration, with its
/// models; false if there is none. What was used of it stays in the ledger.
pub async fn remove(tx: &mut Tx, id: &str) -> Result<bool, CatalogError> {
    let rows = tx
        .run(sql!("DELETE FROM upstreams WHERE id = $1 AND (source = 'admin' OR NOT enabled)"), args![id])
        .await?;
    changed(tx, id, rows).await
}

/// One changed row is done; none is a configured upstream or no upstream at all.
async fn changed(tx: &mut Tx, id: &str, rows: u64) -> Result<bool, CatalogError> {
    if rows > 0 {
        return Ok(true);
    }
    match tx.one::<String>(sql!("SELECT source FROM upstreams WHERE id = $1"), args![id]).await? {
        Some(_) => Err(CatalogError::Configured),
        None => Ok(false),
    }
}

/// Takes over the models that an upstream lists, in its order. Those it lists no more keep their
/// row. New ones begin enabled if `enable_new`.
pub async fn listed(
    db: &Db,
    random: &Random,
    now: Micros,
    upstream_id: &str,
    names: &[String],
    enable_new: bool,
) -> Result<(), DbError> {
    #[derive(Serialize)]
    struct Listed<'a> {
        id: String,
        name: &'a str,
    }
    let mut seen = BTreeSet::new();
    let models: Vec<Listed<'_>> = (0..)
        .zip(names.iter().take(MODELS))
        .filter(|(_, name)| {
            (1..=MODEL_NAME).contains(&name.len())
                && !name.chars().any(char::is_control)
                && seen.insert(name.as_str())
        })
        // Ids sort as the list does: the first model can be a default.
        .map(|(order, name)| Listed { id: random.id(now + order), name })
        .collect();
    let mut tx = db.begin().await?;
    // The rows come in the list's order, not in the key's, so lists take turns.
    tx.lock("upstreams").await?;
    tx.run(
        sql!(
            "INSERT INTO models (id, upstream_id, name, enabled, created_at, listed_at) \
             SELECT json_extract(value, '$.id'), CAST($1 AS TEXT), json_extract(value, '$.name'), \
             CAST($2 AS BOOLEAN), CAST($3 AS BIGINT), CAST($3 AS BIGINT) \
             FROM json_each($4) WHERE EXISTS (SELECT 1 FROM upstreams WHERE id = $1) \
             ON CONFLICT (upstream_id, name) DO UPDATE SET listed_at = excluded.listed_at"
        ),
        args![upstream_id, enable_new, now, &json(&models)?],
    )
    .await?;
    tx.commit().await
}

/// Enables or disables a model at one upstream, or at all that serve it; false if none does.
pub async fn set_model_enabled(
    tx: &mut Tx,
    name: &str,
    upstream_id: Option<&str>,
    enabled: bool,
) -> Result<bool, DbError> {
    let rows = tx
        .run(
            sql!(
                "UPDATE models SET enabled = $1 WHERE name = $2 \
                 AND (CAST($3 AS TEXT) IS NULL OR upstream_id = $3)"
            ),
            args![enabled, name, upstream_id],
        )
        .await?;
    Ok(rows > 0)
}

/// A model and the upstreams that serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    pub name: String,
    /// Whether people can choose it: enabled at an enabled upstream.
    pub enabled: bool,
    pub upstreams: Vec<ServedBy>,
}

/// A model at one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedBy {
    pub upstream_id: String,
    pub upstream: String,
    pub upstream_enabled: bool,
    /// Whether the model is enabled here.
    pub enabled: bool,
    /// When the upstream last listed it.
    pub listed_at: Micros,
    /// Whether the upstream's newest list has it.
    pub listed: bool,
}

struct ModelLine {
    model: String,
    at: ServedBy,
}

impl FromRow for ModelLine {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let listed_at = row.get("listed_at")?;
        Ok(Self {
            model: row.get("model")?,
            at: ServedBy {
                upstream_id: row.get("upstream_id")?,
                upstream: row.get("upstream")?,
                upstream_enabled: row.get("upstream_enabled")?,
                enabled: row.get("enabled")?,
                listed_at,
                listed: listed_at == row.get::<i64>("newest")?,
            },
        })
    }
}

/// Every model by name, with its upstreams, the oldest first.
pub async fn models(db: &Db) -> Result<Vec<ModelEntry>, DbError> {
    let lines = db
        .all::<ModelLine>(
            sql!(
                "SELECT m.name AS model, m.upstream_id, u.name AS upstream, u.enabled AS upstream_enabled, m.enabled, \
                 m.listed_at, MAX(m.listed_at) OVER (PARTITION BY m.upstream_id) AS newest \
                 FROM models m JOIN upstreams u ON u.id = m.upstream_id ORDER BY m.name, u.created_at, u.id"
            ),
            &[],
        )
        .await?;
    let mut models: BTreeMap<String, Vec<ServedBy>> = BTreeMap::new();
    for line in lines {
        models.entry(line.model).or_default().push(line.at);
    }
    Ok(models
        .into_iter()
        .map(|(name, upstreams)| ModelEntry {
            name,
            enabled: upstreams.iter().any(|at| at.enabled && at.upstream_enabled),
            upstreams,
        })
        .collect())
}

/// A way to a model: one enabled upstream that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub model: String,
    pub upstream_id: String,
    pub upstream: String,
    pub base_url: String,
    pub key: Option<ApiKey>,
}

/// Every enabled model at every enabled upstream, the oldest upstream first, its models as it
/// listed them first; so the first route's model can be a default.
///
/// # Errors
/// [`CatalogError::Sealed`] if a key was sealed with another secret.
pub async fn routes(db: &Db, ring: &KeyRing) -> Result<Vec<Route>, CatalogError> {
    let rows = db
        .all::<(String, String, String, String, Option<String>)>(
            sql!(
                "SELECT m.name, u.id, u.name, u.base_url, u.key_sealed FROM upstreams u \
                 JOIN models m ON m.upstream_id = u.id WHERE u.enabled AND m.enabled \
                 ORDER BY u.created_at, u.id, m.id"
            ),
            &[],
        )
        .await?;
    let mut keys: HashMap<String, ApiKey> = HashMap::new();
    let mut routes = Vec::with_capacity(rows.len());
    for (model, upstream_id, upstream, base_url, sealed) in rows {
        let key = match (keys.get(&upstream_id), sealed) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(sealed)) => {
                let key = open(ring, &upstream_id, &upstream, &sealed)?;
                keys.insert(upstream_id.clone(), key.clone());
                Some(key)
            }
            (None, None) => None,
        };
        routes.push(Route { model, upstream_id, upstream, base_url, key });
    }
    Ok(routes)
}

fn checked_name(name: &str) -> Result<(String, String), CatalogError> {
    let name = name.trim();
    if !(1..=NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(CatalogError::BadName);
    }
    Ok((name.to_owned(), name.to_lowercase()))
}

fn context(id: &str) -> String {
    format!("upstream-key:{id}")
}

/// Seals a key for its upstream alone; an empty key is none.
fn seal(ring: &KeyRing, random: &Random, id: &str, key: Option<&str>) -> Result<Option<String>, SealError> {
    key.map(str::trim)
        .filter(|key| !key.is_empty())
        .map(|key| ring.seal(random, &context(id), key.as_bytes()))
        .transpose()
}

fn open(ring: &KeyRing, id: &str, name: &str, sealed: &str) -> Result<ApiKey, CatalogError> {
    ring.open(&context(id), sealed)
        .and_then(|plain| String::from_utf8(plain).map_err(|_| SealError::Damaged))
        .map(ApiKey)
        .map_err(|problem| CatalogError::Sealed { name: name.to_owned(), problem })
}
