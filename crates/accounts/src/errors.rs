//! The Admin's error list: failures grouped by what caused them.

use base::db::{DbError, FromRow, Row};
use base::random::hex;
use base::{Db, Micros, args, sql};
use sha2::{Digest, Sha256};

use crate::words::cut;

/// How many groups a page of the list holds.
pub const PAGE: i64 = 50;

/// One failure as it is noticed. The cause is for the Admin alone and never reaches the person
/// who met it (SEC-88).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorReport {
    /// Which part of the product failed, for example `model` or `mail`.
    pub kind: String,
    /// What happened, in plain words.
    pub title: String,
    /// The technical cause; cut at 2,000 characters.
    pub cause: String,
    /// What it was about, for example the model's name.
    pub subject: Option<String>,
    pub request_id: Option<String>,
    pub user_id: Option<String>,
}

/// Failures with one cause, latest details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorGroup {
    pub fingerprint: String,
    pub kind: String,
    pub title: String,
    pub cause: String,
    pub subject: Option<String>,
    pub request_id: Option<String>,
    pub user_id: Option<String>,
    pub count: i64,
    pub first_seen_at: Micros,
    pub last_seen_at: Micros,
}

impl FromRow for ErrorGroup {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            fingerprint: row.get("fingerprint")?,
            kind: row.get("kind")?,
            title: row.get("title")?,
            cause: row.get("cause")?,
            subject: row.get("subject")?,
            request_id: row.get("request_id")?,
            user_id: row.get("user_id")?,
            count: row.get("count")?,
            first_seen_at: row.get("first_seen_at")?,
            last_seen_at: row.get("last_seen_at")?,
        })
    }
}

/// Counts the failure in its group.
pub async fn record(db: &Db, now: Micros, report: &ErrorReport) -> Result<(), DbError> {
    let cause = cut(&report.cause, 2_000);
    let subject = report.subject.as_deref().map(|text| cut(text, 200));
    let request_id = report.request_id.as_deref().map(|text| cut(text, 100));
    db.run(
        sql!(
            "INSERT INTO error_groups (fingerprint, kind, title, cause, subject, request_id, user_id, count,
               first_seen_at, last_seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8)
             ON CONFLICT (fingerprint) DO UPDATE SET title = excluded.title, cause = excluded.cause,
               subject = excluded.subject, request_id = excluded.request_id, user_id = excluded.user_id,
               count = error_groups.count + 1, last_seen_at = excluded.last_seen_at"
        ),
        args![
            &fingerprint(&report.kind, cause),
            cut(&report.kind, 50),
            cut(&report.title, 200),
            cause,
            subject,
            request_id,
            &report.user_id,
            now
        ],
    )
    .await?;
    Ok(())
}

/// A page of the list, latest first. `after` is the last group's `(last_seen_at, fingerprint)`.
pub async fn list(db: &Db, after: Option<(Micros, &str)>) -> Result<Vec<ErrorGroup>, DbError> {
    let (at, fingerprint) = after.unwrap_or((Micros::MAX, ""));
    db.all(
        sql!(
            "SELECT fingerprint, kind, title, cause, subject, request_id, user_id, count, first_seen_at, last_seen_at
             FROM error_groups
             WHERE last_seen_at < $1 OR (last_seen_at = $1 AND fingerprint < $2)
             ORDER BY last_seen_at DESC, fingerprint DESC LIMIT $3"
        ),
        args![at, fingerprint, PAGE],
    )
    .await
}

/// How many groups were seen at or after `since`.
pub async fn count_since(db: &Db, since: Micros) -> Result<i64, DbError> {
    let count =
        db.one(sql!("SELECT COUNT(*) FROM error_groups WHERE last_seen_at >= $1"), args![since]).await?;
    Ok(count.unwrap_or(0))
}

/// SHA-256 of the kind and the cause with its changing parts taken out.
fn fingerprint(kind: &str, cause: &str) -> String {
    let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(normal(cause)).finalize();
    hex(&digest)
}

/// The cause with numbers, ids and long hex words replaced by `#`.
fn normal(cause: &str) -> String {
    let mut out = String::with_capacity(cause.len());
    for word in cause.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let body = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_hex = body.len() >= 8 && body.bytes().all(|b| b.is_ascii_hexdigit());
        // Long words of letters and digits are tokens and request ids.
        let mixed = body.len() >= 16 && body.bytes().any(|b| b.is_ascii_digit());
        if is_hex || mixed {
            out.push('#');
        } else {
            let mut in_digits = false;
            for c in body.chars() {
                if c.is_ascii_digit() {
                    if !in_digits {
                        out.push('#');
                    }
                    in_digits = true;
                } else {
                    in_digits = false;
                    out.push(c);
                }
            }
        }
        out.push_str(&word[body.len()..]);
    }
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    #[test]
    fn changing_parts_do_not_split_a_group() {
        let a = "connect to 10.0.0.7:8000 failed after 1200 ms (request 01a2b3c4d5e6)";
        let b = "connect to 10.0.0.9:8001 failed after 7 ms (request ffe2b3c4d5e6)";
        assert_eq!(normal(a), normal(b));
        assert_ne!(normal("connection refused"), normal("connection reset"));
        assert_ne!(fingerprint("model", "x"), fingerprint("mail", "x"));
        assert_eq!(normal("größe 3"), "größe #");
    }

    #[tokio::test]
    async fn failures_of_one_cause_are_one_group_with_the_latest_details() {
        let (db, _folder) = crate::testing::database("errors").await;
        let report = |n: u32| ErrorReport {
            kind: "model".into(),
            title: "The model did not answer".into(),
            cause: format!("timeout after {n} ms"),
            subject: Some("demo".into()),
            request_id: Some(format!("r{n}")),
            user_id: None,
        };
        for n in 0..3 {
            record(&db, 100 + i64::from(n), &report(n)).await.unwrap();
        }
        record(
            &db,
            200,
            &ErrorReport { kind: "mail".into(), cause: "refused".into(), ..ErrorReport::default() },
        )
        .await
        .unwrap();
        let groups = list(&db, None).await.unwrap();
        assert_eq!(
            groups.iter().map(|g| (g.kind.as_str(), g.count)).collect::<Vec<_>>(),
            [("mail", 1), ("model", 3)]
        );
        assert_eq!(groups[1].request_id.as_deref(), Some("r2"));
        assert_eq!((groups[1].first_seen_at, groups[1].last_seen_at), (100, 102));
        let next = list(&db, Some((groups[0].last_seen_at, &groups[0].fingerprint))).await.unwrap();
        assert_eq!(next.len(), 1);
        assert_eq!(count_since(&db, 150).await.unwrap(), 1);
    }
}
