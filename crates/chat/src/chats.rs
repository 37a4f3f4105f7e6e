//! A member's chats: the list, each one's name, the first one. The owner stands in every WHERE
//! clause (SEC-91).

use base::db::{FromRow, Row};
use base::{Db, DbError, Micros, Random, Tx, args, sql};

use crate::error::ChatError;
use crate::html;
use crate::render;

/// Longest title that a person may give, in characters.
pub const TITLE_CHARS: usize = 200;
/// Where a title made from a prompt is cut, in characters.
const AUTO_TITLE_CHARS: usize = 60;
/// The title of a chat without a prompt.
const UNTITLED: &str = "New chat";

/// A chat in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatItem {
    pub id: String,
    pub title: String,
    pub updated_at: Micros,
    /// An answer is being written in it.
    pub live: bool,
}

impl FromRow for ChatItem {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { id: row.at(0)?, title: row.at(1)?, updated_at: row.at(2)?, live: row.at(3)? })
    }
}

/// The place in the list behind which the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub updated_at: Micros,
    pub id: String,
}

/// A page of the list.
#[derive(Clone, Debug)]
pub struct ChatList {
    /// Newest first.
    pub items: Vec<ChatItem>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// A page of a person's chats, newest first.
pub async fn list(db: &Db, user: &str, after: Option<&Cursor>, limit: usize) -> Result<ChatList, DbError> {
    let (at, id) = start_of(after);
    let items = db
        .all(
            sql!(
                "SELECT c.id, c.title, c.updated_at,
                   EXISTS (SELECT 1 FROM generations g WHERE g.chat_id = c.id AND g.finished_at IS NULL)
                 FROM chats c
                 WHERE c.user_id = $1 AND (c.updated_at, c.id) < ($2, $3)
                 ORDER BY c.updated_at DESC, c.id DESC LIMIT $4"
            ),
            args![user, at, id, one_more(limit)],
        )
        .await?;
    Ok(page(items, limit))
}

/// As [`list`], of the chats whose title holds `words`. Upper and lower case count alike for
/// ASCII, as both engines do it.
pub async fn search(
    db: &Db,
    user: &str,
    words: &str,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<ChatList, DbError> {
    let (at, id) = start_of(after);
    let pattern = format!("%{}%", escape_like(&words.trim().to_ascii_lowercase()));
    let items = db
        .report(
            sql!(
                r"SELECT c.id, c.title, c.updated_at,
                   EXISTS (SELECT 1 FROM generations g WHERE g.chat_id = c.id AND g.finished_at IS NULL)
                 FROM chats c
                 WHERE c.user_id = $1 AND (c.updated_at, c.id) < ($2, $3) AND lower(c.title) LIKE $5 ESCAPE '\'
                 ORDER BY c.updated_at DESC, c.id DESC LIMIT $4"
            ),
            args![user, at, id, one_more(limit), &pattern],
        )
        .await?;
    Ok(page(items, limit))
}

fn start_of(after: Option<&Cursor>) -> (Micros, &str) {
    after.map_or((Micros::MAX, ""), |cursor| (cursor.updated_at, cursor.id.as_str()))
}

fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1)
}

fn page(mut items: Vec<ChatItem>, limit: usize) -> ChatList {
    let more = items.len() > limit;
    items.truncate(limit);
    let next =
        items.last().filter(|_| more).map(|last| Cursor { updated_at: last.updated_at, id: last.id.clone() });
    ChatList { items, next }
}

fn escape_like(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// An empty chat; gives its id. A first prompt makes one by itself: see
/// [`Engine::start`](crate::Engine::start).
pub async fn create(
    db: &Db,
    random: &Random,
    now: Micros,
    user: &str,
    model: Option<&str>,
) -> Result<String, DbError> {
    let mut tx = db.begin().await?;
    let id = random.id(now);
    insert(&mut tx, &id, user, UNTITLED, false, model, now).await?;
    tx.commit().await?;
    Ok(id)
}

pub(crate) async fn insert(
    tx: &mut Tx,
    id: &str,
    user: &str,
    title: &str,
    named: bool,
    model: Option<&str>,
    now: Micros,
) -> Result<(), DbError> {
    tx.run(
        sql!(
            "INSERT INTO chats (id, user_id, title, named, model, leaf_id, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, NULL, $6, $6)"
        ),
        args![id, user, title, named, model, now],
    )
    .await?;
    Ok(())
}

/// Names a chat; a prompt does not change the name any more.
///
/// # Errors
/// [`ChatError::Invalid`] for an empty or too long title, [`ChatError::NotFound`].
pub async fn rename(db: &Db, user: &str, chat: &str, title: &str) -> Result<(), ChatError> {
    let title = one_line(title);
    match title.chars().count() {
        0 => return Err(ChatError::Invalid("Enter a title.".into())),
        1..=TITLE_CHARS => {}
        _ => {
            return Err(ChatError::Invalid(format!(
                "This title is too long: at most {TITLE_CHARS} characters."
            )));
        }
    }
    let rows = db
        .run(
            sql!("UPDATE chats SET title = $3, named = TRUE WHERE id = $1 AND user_id = $2"),
            args![chat, user, &title],
        )
        .await?;
    if rows == 0 { Err(ChatError::NotFound) } else { Ok(()) }
}

/// Deletes the row and all that hangs on it; gives whether it was there.
pub(crate) async fn delete(db: &Db, user: &str, chat: &str) -> Result<bool, DbError> {
    let rows = db.run(sql!("DELETE FROM chats WHERE id = $1 AND user_id = $2"), args![chat, user]).await?;
    Ok(rows > 0)
}

/// Whether the person has this chat.
pub async fn exists(db: &Db, user: &str, chat: &str) -> Result<bool, DbError> {
    let found: Option<String> =
        db.one(sql!("SELECT id FROM chats WHERE id = $1 AND user_id = $2"), args![chat, user]).await?;
    Ok(found.is_some())
}

/// How many chats there are, of all people. It scans: for reports only.
pub async fn count_chats(db: &Db) -> Result<i64, DbError> {
    let rows: Vec<i64> = db.report(sql!("SELECT COUNT(*) FROM chats"), &[]).await?;
    Ok(rows.first().copied().unwrap_or(0))
}

/// A title from a prompt: its first line with text, cut near 60 characters between two words.
pub(crate) fn title_of(prompt: &str) -> String {
    let line = prompt.lines().map(one_line).find(|line| !line.is_empty()).unwrap_or_default();
    if line.is_empty() {
        return UNTITLED.to_owned();
    }
    let Some((end, _)) = line.char_indices().nth(AUTO_TITLE_CHARS) else { return line };
    let cut = &line[..end];
    // A word that is as long as the title is cut inside.
    let cut = match cut.rfind(' ') {
        Some(space) if space > end / 2 && !line[end..].starts_with(' ') => &cut[..space],
        _ => cut,
    };
    format!("{}…", cut.trim_end())
}

/// The text on one line: control characters and runs of white space become one space.
fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whose Welcome Chat it is, and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Welcome<'a> {
    pub user_id: &'a str,
    pub first_name: &'a str,
    /// The site's name.
    pub site: &'a str,
    /// The model that the chat starts with, if one is the default.
    pub model: Option<&'a str>,
}

/// Writes a new person's first chat, "Welcome Chat", with a greeting; gives its id. Belongs in the
/// transaction that makes the account.
pub async fn welcome(
    tx: &mut Tx,
    random: &Random,
    now: Micros,
    welcome: &Welcome<'_>,
) -> Result<String, DbError> {
    let markdown = greeting(welcome.first_name, welcome.site);
    let html = html::join(&render::render(&markdown));
    let (chat, message) = (random.id(now), random.id(now));
    insert(tx, &chat, welcome.user_id, "Welcome Chat", true, welcome.model, now).await?;
    tx.run(
        sql!(
            "INSERT INTO messages (id, chat_id, parent_id, role, model, markdown, html, renderer, created_at)
             VALUES ($1, $2, NULL, 'assistant', NULL, $3, $4, $5, $6)"
        ),
        args![&message, &chat, &markdown, &html, render::VERSION, now],
    )
    .await?;
    tx.run(sql!("UPDATE chats SET leaf_id = $2 WHERE id = $1"), args![&chat, &message]).await?;
    Ok(chat)
}

fn greeting(first_name: &str, site: &str) -> String {
    let (name, site) = (plain(first_name), plain(site));
    format!(
        "Hello {name}, welcome to **{site}**.\n\
         \n\
         This is a private place to chat with language models. Write a prompt in the field below and the \
         answer appears here, word by word.\n\
         \n\
         - **Models:** choose one beside the field. You can choose another one for each prompt, also in the \
         middle of a chat.\n\
         - **Answers belong to the server:** close the tab and the answer is written on. Come back later, or \
         open the chat on another device, and it is there.\n\
         - **Stop** ends an answer and keeps what has come. **Answer again** asks for a new one; if something \
         failed, **Retry** does the same. Your prompt is never lost.\n\
         - **Tables, code and formulas** are set as such: $e^{{i\\pi}} + 1 = 0$.\n\
         - **Your chats are yours:** nobody else here can read them, Admins neither. You can rename and delete \
         them.\n\
         - **Your settings** are in the menu under your name.\n\
         \n\
         Models make mistakes: check what matters. Now try it, for example with *“Explain public-key \
         cryptography in five sentences.”*\n"
    )
}

/// Someone's text as plain Markdown.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in one_line(text).chars() {
        if character.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_come_from_the_first_line_with_text() {
        assert_eq!(title_of("\n  \nWhat\tis  this?\nMore"), "What is this?");
        assert_eq!(title_of(" \n"), UNTITLED);
        let title = title_of(&"word ".repeat(30));
        assert_eq!(title, format!("{}…", "word ".repeat(12).trim_end()));
        assert_eq!(title_of(&"x".repeat(80)), format!("{}…", "x".repeat(60)));
        assert_eq!(title_of(&"ä".repeat(60)), "ä".repeat(60));
    }

    /// SEC-89: a name is text, not mark-up.
    #[test]
    fn sec_89_names_are_plain_in_the_greeting() {
        let html = render::render(&greeting("<b>*Ann*</b>", "A_B_")).concat();
        assert!(html.contains("&lt;b&gt;*Ann*&lt;/b&gt;"), "{html}");
        assert!(html.contains("<strong>A_B_</strong>") && html.contains("<math"), "{html}");
    }

    #[test]
    fn patterns_are_literal() {
        assert_eq!(escape_like(r"50%_\"), r"50\%\_\\");
    }
}
