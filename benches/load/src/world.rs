//! People with sessions, their chats and messages, written straight into the database.

use base::random::token_hash;
use base::{DAY, Db, MINUTE, Micros, Random, SECOND, Tx, args, sql};

use crate::Result;

/// Everybody's password.
pub const PASSWORD: &str = "tern-oxbow-quarry-17";

/// Someone with a session.
#[derive(Clone)]
pub struct Person {
    pub id: String,
    pub username: String,
    /// The header of the session, with its line's end.
    pub cookie: String,
}

/// Makes `count` people with the role User, each with a session; the first is an Admin.
pub async fn people(db: &Db, random: &Random, now: Micros, count: usize) -> Result<Vec<Person>> {
    let hasher = accounts::Hasher::new(random.clone(), accounts::HashParams::default(), None, 1, 1);
    let hash = hasher.hash(PASSWORD).await?;
    let mut tx = db.begin().await?;
    let mut people = Vec::with_capacity(count);
    for number in 0..count {
        let (id, username) = (random.id(now), format!("person{number}"));
        let (email, token) = (format!("{username}@example.org"), random.token());
        tx.run(
            sql!(
                "INSERT INTO users (id, username, username_canonical, email, email_canonical, email_verified_at,
                   first_name, last_name, password, created_at, last_seen_at, search)
                 VALUES ($1, $2, $2, $3, $3, $4, 'Given', $2, $5, $4, $4, $2)"
            ),
            args![&id, &username, &email, now, &hash],
        )
        .await?;
        let role = if number == 0 { "1" } else { "2" };
        tx.run(
            sql!("INSERT INTO user_roles (user_id, role_id, granted_at) VALUES ($1, $2, $3)"),
            args![&id, role, now],
        )
        .await?;
        tx.run(
            sql!(
                "INSERT INTO sessions (id, token_hash, user_id, csrf_secret, method, ip, user_agent, created_at,
                   last_seen_at, expires_at, step_up_at)
                 VALUES ($1, $2, $3, $4, 'password', '127.0.0.1', 'load', $5, $5, $6, $5)"
            ),
            args![&random.id(now), &token_hash(&token), &id, &random.token(), now, now + 14 * DAY],
        )
        .await?;
        people.push(Person { id, username, cookie: format!("cookie: anteroom={token}\r\n") });
    }
    tx.commit().await?;
    Ok(people)
}

/// Gives a person 20 chats; the newest has a thread of 20 messages of about 500 bytes of HTML. Gives its id.
pub async fn chats(db: &Db, random: &Random, now: Micros, person: &Person) -> Result<String> {
    let mut tx = db.begin().await?;
    let mut newest = String::new();
    for age in (0..20).rev() {
        let at = now - age * MINUTE;
        newest = random.id(at);
        tx.run(
            sql!(
                "INSERT INTO chats (id, user_id, title, named, model, created_at, updated_at)
                 VALUES ($1, $2, $3, TRUE, 'demo', $4, $4)"
            ),
            args![&newest, &person.id, &format!("What was asked {age} minutes ago"), at],
        )
        .await?;
    }
    thread(&mut tx, random, now, person, &newest).await?;
    tx.commit().await?;
    Ok(newest)
}

/// Ten prompts with their answers. The answers have no HTML yet: the application renders them when the page is first
/// asked for, and keeps that.
async fn thread(tx: &mut Tx, random: &Random, now: Micros, person: &Person, chat: &str) -> Result<()> {
    let prompt = "How would a careful person put this, and what would they leave out? ".repeat(8);
    let answer = "A **careful** person says `less`, and says it *once*. What is left out is what the reader knows, what \
        the next line shows, and what nobody asked.\n\n- first the answer\n- then the reason\n- then what follows \
        from it\n\nThe rest is in the [manual](https://example.org/manual), which is short, and has an index that was \
        made by hand by somebody who had read it.";
    let mut parent: Option<String> = None;
    for number in 0..10 {
        let at = now - DAY + number * MINUTE;
        let (question, reply) = (random.id(at), random.id(at + SECOND));
        tx.run(
            sql!(
                "INSERT INTO messages (id, chat_id, parent_id, role, markdown, created_at)
                 VALUES ($1, $2, $3, 'user', $4, $5)"
            ),
            args![&question, chat, &parent, prompt.as_str(), at],
        )
        .await?;
        tx.run(
            sql!(
                "INSERT INTO messages (id, chat_id, parent_id, role, model, markdown, created_at)
                 VALUES ($1, $2, $3, 'assistant', 'demo', $4, $5)"
            ),
            args![&reply, chat, &question, answer, at],
        )
        .await?;
        tx.run(
            sql!(
                "INSERT INTO generations (id, chat_id, message_id, user_id, model, state, replica, created_at, started_at,
                   first_token_at, finished_at, heartbeat_at, tokens_out, duration_micros, ttft_micros)
                 VALUES ($1, $2, $3, $4, 'demo', 'done', 'load', $5, $5, $6, $6, $6, 120, 2000000, 400000)"
            ),
            args![&random.id(at), chat, &reply, &person.id, at, at + 2 * SECOND],
        )
        .await?;
        parent = Some(reply);
    }
    tx.run(sql!("UPDATE chats SET leaf_id = $2 WHERE id = $1"), args![chat, &parent]).await?;
    Ok(())
}
