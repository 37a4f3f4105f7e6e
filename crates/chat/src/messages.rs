//! The messages of a chat: a tree, of which a chat shows the path from the root to its leaf. The
//! owner stands in every WHERE clause (SEC-91).

use base::db::{FromRow, Row};
use base::{Db, DbError, Micros, args, sql};

use crate::error::ChatError;
use crate::html;
use crate::render;
use crate::state::GenView;

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
}

/// A chat, as its page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatHead {
    pub id: String,
    pub title: String,
    /// The model of the last prompt, for the composer.
    pub model: Option<String>,
    pub updated_at: Micros,
}

/// A message, as the thread shows it.
#[derive(Clone, Debug)]
pub struct MessageView {
    pub id: String,
    pub role: Role,
    pub model: Option<String>,
    /// What a person wrote, as plain text; empty for answers.
    pub text: String,
    /// An answer: sanitized HTML of its blocks, see [`html::join`]; empty for prompts.
    pub html: String,
    pub created_at: Micros,
    pub generation: Option<GenView>,
    /// The ids of all messages under the same parent, oldest first; empty where it is the only
    /// one. [`select_version`] shows another.
    pub versions: Vec<String>,
    /// For a live answer: the id of the last event that `html` holds, to follow from.
    pub event_id: Option<String>,
}

impl MessageView {
    /// Which of its versions this is, from 1, and how many there are.
    pub fn siblings(&self) -> (usize, usize) {
        let index = self.versions.iter().position(|id| *id == self.id).unwrap_or(0);
        (index + 1, self.versions.len().max(1))
    }

    /// Whether an answer is still being written.
    pub fn live(&self) -> bool {
        self.generation.as_ref().is_some_and(|generation| generation.state.live())
    }
}

/// The end of a chat's thread, or the part before a message.
#[derive(Clone, Debug)]
pub struct Thread {
    pub chat: ChatHead,
    /// Oldest first.
    pub messages: Vec<MessageView>,
    /// Whether there are messages before the first one here.
    pub has_earlier: bool,
}

/// A thread as the database has it: the answers whose HTML is missing or of an older renderer
/// have none yet, but their Markdown.
pub(crate) struct Loaded {
    pub(crate) thread: Thread,
    /// Index in the thread, and Markdown.
    pub(crate) unrendered: Vec<(usize, String)>,
    /// Replicas of the answers that are live, by index in the thread.
    pub(crate) live: Vec<(usize, String)>,
}

struct ThreadRow {
    head: Option<ChatHead>,
    /// With its distance from the end of the thread.
    message: Option<(i64, MessageRow)>,
}

struct MessageRow {
    view: MessageView,
    has_parent: bool,
    /// Where the HTML is missing or old.
    markdown: Option<String>,
    replica: Option<String>,
}

impl FromRow for ThreadRow {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let depth: Option<i64> = row.at(0)?;
        // The chat stands in every row; once is enough.
        let head = if depth.is_none_or(|depth| depth == 1) {
            Some(ChatHead { id: row.at(1)?, title: row.at(2)?, model: row.at(3)?, updated_at: row.at(4)? })
        } else {
            None
        };
        let message = match depth {
            Some(depth) => Some((depth, MessageRow::read(row)?)),
            None => None,
        };
        Ok(Self { head, message })
    }
}

impl MessageRow {
    fn read(row: &Row<'_>) -> Result<Self, DbError> {
        let role = match row.at::<String>(7)?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            other => {
                return Err(DbError::Corrupt {
                    column: "messages.role".into(),
                    problem: format!("unknown role {other}"),
                });
            }
        };
        let markdown: Option<String> = row.at(9)?;
        let (text, markdown) = match role {
            Role::User => (markdown.unwrap_or_default(), None),
            Role::Assistant => (String::new(), markdown),
        };
        let mut versions: Vec<String> = match row.at::<Option<String>>(12)? {
            Some(list) if list.contains(',') => list.split(',').map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        versions.sort_unstable();
        Ok(Self {
            view: MessageView {
                id: row.at(5)?,
                role,
                model: row.at(8)?,
                text,
                html: row.at::<Option<String>>(10)?.unwrap_or_default(),
                created_at: row.at(11)?,
                generation: GenView::read(row, 14)?,
                versions,
                event_id: None,
            },
            has_parent: row.at::<Option<String>>(6)?.is_some(),
            markdown,
            replica: row.at(13)?,
        })
    }
}

/// The last `limit` messages of the thread, or of its part before the message `before`, in one
/// statement; `None` if the person has no such chat.
pub(crate) async fn load(
    db: &Db,
    user: &str,
    chat: &str,
    limit: usize,
    before: Option<&str>,
) -> Result<Option<Loaded>, DbError> {
    let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
    let rows: Vec<ThreadRow> = db
        .all(
            sql!(
                "WITH RECURSIVE c AS (
                   SELECT id, title, model, leaf_id, updated_at FROM chats WHERE id = $1 AND user_id = $2
                 ), path (depth, id, parent_id) AS (
                   SELECT CAST(1 AS BIGINT), m.id, m.parent_id
                   FROM c JOIN messages m ON m.chat_id = c.id AND m.id = CASE WHEN CAST($3 AS TEXT) IS NULL
                     THEN c.leaf_id ELSE (SELECT b.parent_id FROM messages b WHERE b.id = $3) END
                   UNION ALL
                   SELECT path.depth + 1, m.id, m.parent_id
                   FROM path JOIN messages m ON m.id = path.parent_id WHERE path.depth < $4
                 )
                 SELECT path.depth, c.id, c.title, c.model, c.updated_at,
                   m.id, m.parent_id, m.role, m.model,
                   CASE WHEN m.role = 'user' OR m.html IS NULL OR m.renderer <> $5 THEN m.markdown END,
                   CASE WHEN m.renderer = $5 THEN m.html END,
                   m.created_at,
                   CASE WHEN m.role = 'assistant'
                     THEN (SELECT string_agg(s.id, ',') FROM messages s WHERE s.parent_id = m.parent_id) END,
                   g.replica,
                   g.id, g.state, g.error_code, COALESCE(g.started_at, g.created_at), g.first_token_at, g.finished_at,
                   g.tokens_out, g.duration_micros, g.ttft_micros
                 FROM c LEFT JOIN path ON TRUE
                   LEFT JOIN messages m ON m.id = path.id
                   LEFT JOIN generations g ON g.message_id = m.id"
            ),
            args![chat, user, before, limit, render::VERSION],
        )
        .await?;
    let mut chat = None;
    let mut loaded = Vec::with_capacity(rows.len());
    for row in rows {
        chat = chat.or(row.head);
        loaded.extend(row.message);
    }
    let Some(chat) = chat else { return Ok(None) };
    // Sorted here: the database would copy the texts for it.
    loaded.sort_unstable_by_key(|(depth, _)| std::cmp::Reverse(*depth));
    let has_earlier = loaded.first().is_some_and(|(_, oldest)| oldest.has_parent);
    let (mut messages, mut unrendered, mut live) = (Vec::with_capacity(loaded.len()), Vec::new(), Vec::new());
    for (index, (_, row)) in loaded.into_iter().enumerate() {
        if row.view.live() {
            live.push((index, row.replica.unwrap_or_default()));
        }
        if let Some(markdown) = row.markdown {
            unrendered.push((index, markdown));
        }
        messages.push(row.view);
    }
    Ok(Some(Loaded { thread: Thread { chat, messages, has_earlier }, unrendered, live }))
}

/// Renders what the database has no HTML for, and keeps that of finished answers there: a mended
/// renderer mends the past. Keeping it is no condition for showing it.
pub(crate) async fn render_missing(db: &Db, thread: &mut Thread, unrendered: Vec<(usize, String)>) {
    if unrendered.is_empty() {
        return;
    }
    let rendered = tokio::task::spawn_blocking(move || {
        unrendered
            .into_iter()
            .map(|(index, markdown)| (index, html::join(&render::render(&markdown))))
            .collect::<Vec<_>>()
    })
    .await;
    let rendered = match rendered {
        Ok(rendered) => rendered,
        Err(error) => {
            tracing::error!(error = %error, "rendering failed");
            return;
        }
    };
    let mut keep: Vec<(String, String)> = Vec::new();
    for (index, html) in rendered {
        let Some(message) = thread.messages.get_mut(index) else { continue };
        if !message.live() {
            keep.push((message.id.clone(), html.clone()));
        }
        message.html = html;
    }
    if let Err(error) = keep_html(db, keep).await {
        tracing::warn!(error = %error, "rendered messages could not be kept");
    }
}

async fn keep_html(db: &Db, mut keep: Vec<(String, String)>) -> Result<(), DbError> {
    if keep.is_empty() {
        return Ok(());
    }
    keep.sort_unstable();
    let mut tx = db.begin().await?;
    for (id, html) in &keep {
        // An answer that a later version of this program rendered, or that changed since, stays.
        tx.run(
            sql!(
                "UPDATE messages SET html = $2, renderer = $3 WHERE id = $1 AND (renderer < $3 OR html IS NULL)
                   AND NOT EXISTS (SELECT 1 FROM generations g
                     WHERE g.message_id = messages.id AND g.finished_at IS NULL)"
            ),
            args![id, html, render::VERSION],
        )
        .await?;
    }
    tx.commit().await
}

/// The chat of a message of this person's.
pub async fn chat_of(db: &Db, user: &str, message: &str) -> Result<Option<String>, DbError> {
    db.one(
        sql!(
            "SELECT c.id FROM messages m JOIN chats c ON c.id = m.chat_id WHERE m.id = $1 AND c.user_id = $2"
        ),
        args![message, user],
    )
    .await
}

/// Shows another version: the chat's leaf becomes the newest message under `message`, or the
/// message itself. Gives the chat's id.
///
/// # Errors
/// [`ChatError::NotFound`] if the person has no such message.
pub async fn select_version(db: &Db, user: &str, message: &str) -> Result<String, ChatError> {
    let mut tx = db.begin().await?;
    // Ids sort by time, so the greatest of a subtree is a leaf of it.
    let chat: Option<String> = tx
        .one(
            sql!(
                "UPDATE chats SET leaf_id = (
                   WITH RECURSIVE under (id) AS (
                     SELECT m.id FROM messages m WHERE m.id = $1
                     UNION ALL
                     SELECT m.id FROM under JOIN messages m ON m.parent_id = under.id
                   ) SELECT MAX(under.id) FROM under)
                 WHERE user_id = $2 AND id = (SELECT m.chat_id FROM messages m WHERE m.id = $1)
                 RETURNING id"
            ),
            args![message, user],
        )
        .await?;
    tx.commit().await?;
    chat.ok_or(ChatError::NotFound)
}
