//! What a model is told: the path from the root of a chat to the prompt.

use base::{Db, DbError, args, sql};
use upstream::{Message, Role, estimate_tokens};

/// The conversation up to the message `last`, oldest first.
///
/// Older messages are left out, whole, where the text would be longer than `max_chars`; the
/// newest always goes. So do answers without text, and answers before the first prompt (the
/// greeting); prompts that then follow each other become one. Some servers refuse conversations
/// in which the roles do not take turns, beginning with the user.
pub(crate) async fn load(db: &Db, last: &str, max_chars: usize) -> Result<Vec<Message>, DbError> {
    let max = i64::try_from(max_chars).unwrap_or(i64::MAX);
    let rows: Vec<(String, String)> = db
        .all(
            sql!(
                "WITH RECURSIVE path (depth, total, id, parent_id, role, markdown) AS (
                   SELECT CAST(1 AS BIGINT), CAST(0 AS BIGINT), id, parent_id, role, markdown
                   FROM messages WHERE id = $1
                   UNION ALL
                   SELECT path.depth + 1, path.total + CAST(length(path.markdown) AS BIGINT), m.id, m.parent_id,
                     m.role, m.markdown
                   FROM path JOIN messages m ON m.id = path.parent_id
                   WHERE path.total + length(path.markdown) + length(m.markdown) <= $2
                 )
                 SELECT role, markdown FROM path ORDER BY depth DESC"
            ),
            args![last, max],
        )
        .await?;
    Ok(conversation(rows))
}

fn conversation(rows: Vec<(String, String)>) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::with_capacity(rows.len());
    for (role, text) in rows {
        let role = if role == "user" { Role::User } else { Role::Assistant };
        if role == Role::Assistant && (text.trim().is_empty() || out.is_empty()) {
            continue;
        }
        match out.last_mut() {
            Some(before) if before.role == role => {
                before.content.push_str("\n\n");
                before.content.push_str(&text);
            }
            _ => out.push(Message::new(role, text)),
        }
    }
    out
}

/// An estimate of its tokens, for upstreams that do not report them.
pub(crate) fn tokens(messages: &[Message]) -> i64 {
    let tokens: u64 = messages.iter().map(|message| estimate_tokens(&message.content)).sum();
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_take_turns_and_the_user_begins() {
        let rows = [
            ("assistant", "Welcome"),
            ("user", "one"),
            ("assistant", " "),
            ("user", "two"),
            ("assistant", "2"),
            ("user", "three"),
        ];
        let rows = rows.map(|(role, text)| (role.to_owned(), text.to_owned())).to_vec();
        let told = conversation(rows);
        let expected = [(Role::User, "one\n\ntwo"), (Role::Assistant, "2"), (Role::User, "three")];
        assert_eq!(told, expected.map(|(role, text)| Message::new(role, text)));
        assert_eq!(tokens(&told), 2 + 1 + 2);
    }
}
