//! `GET /chat` (a new one) and `GET /chat/{id}`: three statements, whatever the history.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use chat::chats::Cursor;
use chat::messages::{MessageView, Role, Thread};
use chat::{drafts, failure_words};

use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::answer::with_wait;
use crate::view::Choice;
use crate::view::chat::{
    Answer, ChatLink, ChatPage, Composer, Message, Problem, Prompt, Rail, State, Versions,
};
use crate::view::format;

/// Chats in the rail.
const CHATS: usize = 20;
/// Messages on a page; earlier ones by a link.
const MESSAGES: usize = 20;

/// What the address asks for.
#[derive(Default)]
struct Query {
    /// The part of the thread before this message.
    before: Option<String>,
    /// The part of the rail behind this chat.
    older: Option<Cursor>,
    /// A prompt that came through the sign-in waits.
    draft: bool,
}

impl Query {
    fn parse(ctx: &Ctx) -> Self {
        let mut query = Self::default();
        for (name, value) in url::form_urlencoded::parse(ctx.query.as_deref().unwrap_or("").as_bytes()) {
            match &*name {
                "before" => query.before = Some(value.into_owned()),
                "older" => {
                    query.older = value.split_once('.').and_then(|(at, id)| {
                        Some(Cursor { updated_at: at.parse().ok()?, id: id.to_owned() })
                    });
                }
                "draft" => query.draft = true,
                _ => {}
            }
        }
        query
    }
}

/// What a refused prompt leaves in the composer.
#[derive(Default)]
pub struct Typed {
    pub prompt: String,
    pub model: Option<String>,
    pub error: Option<String>,
}

/// `GET /chat`
pub async fn new_page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    let query = Query::parse(&ctx);
    let typed = waiting(&ctx, &member, &query).await?;
    show_new(&ctx, &member, query.older.as_ref(), typed, StatusCode::OK).await
}

/// `GET /chat/{id}`
pub async fn page(ctx: Ctx, member: Member, Path(id): Path<String>) -> Result<Response, AppError> {
    let query = Query::parse(&ctx);
    let typed = waiting(&ctx, &member, &query).await?;
    let thread = ctx.app.engine.thread(&member.user_id, &id, MESSAGES, query.before.as_deref()).await?;
    let thread = thread.ok_or(AppError::NotFound)?;
    show_thread(&ctx, &member, thread, query.older.as_ref(), typed, StatusCode::OK).await
}

/// The page again with a refused prompt and the reason, by the status of `error`.
pub async fn again(
    ctx: &Ctx,
    member: &Member,
    chat: Option<&str>,
    typed: Typed,
    error: &AppError,
) -> Result<Response, AppError> {
    let status = error.problem().status;
    let page = match chat {
        None => show_new(ctx, member, None, typed, status).await,
        Some(id) => {
            let thread = ctx.app.engine.thread(&member.user_id, id, MESSAGES, None).await?;
            show_thread(ctx, member, thread.ok_or(AppError::NotFound)?, None, typed, status).await
        }
    };
    page.map(|page| with_wait(page, error))
}

async fn waiting(ctx: &Ctx, member: &Member, query: &Query) -> Result<Typed, AppError> {
    if !query.draft {
        return Ok(Typed::default());
    }
    let draft = drafts::load(&ctx.app.db, &member.user_id).await?;
    Ok(draft.map_or_else(Typed::default, |draft| Typed {
        prompt: draft.prompt,
        model: draft.model,
        error: None,
    }))
}

async fn show_new(
    ctx: &Ctx,
    member: &Member,
    older: Option<&Cursor>,
    typed: Typed,
    status: StatusCode,
) -> Result<Response, AppError> {
    let rail = rail(ctx, member, older, None).await?;
    let composer = composer(ctx, "/chat".to_owned(), None, typed);
    let page = ctx.page("New chat");
    Ok(ctx.html_as(
        status,
        &ChatPage { page, rail, id: None, earlier: None, thread: Vec::new(), live: false, composer },
    ))
}

async fn show_thread(
    ctx: &Ctx,
    member: &Member,
    thread: Thread,
    older: Option<&Cursor>,
    typed: Typed,
    status: StatusCode,
) -> Result<Response, AppError> {
    let Thread { chat, messages, has_earlier } = thread;
    let rail = rail(ctx, member, older, Some(&chat.id)).await?;
    let composer = composer(ctx, format!("/chat/{}/messages", chat.id), chat.model.as_deref(), typed);
    let live = messages.iter().any(MessageView::live);
    let earlier = messages
        .first()
        .filter(|_| has_earlier)
        .map(|first| format!("/chat/{}?before={}", chat.id, first.id));
    let page = ctx.page(chat.title);
    Ok(ctx.html_as(
        status,
        &ChatPage {
            page,
            rail,
            id: Some(chat.id),
            earlier,
            thread: messages.into_iter().map(message).collect(),
            live,
            composer,
        },
    ))
}

async fn rail(
    ctx: &Ctx,
    member: &Member,
    older: Option<&Cursor>,
    current: Option<&str>,
) -> Result<Rail, AppError> {
    let list = chat::chats::list(&ctx.app.db, &member.user_id, older, CHATS).await?;
    let links = list.items.into_iter().map(|item| ChatLink {
        current: current == Some(item.id.as_str()),
        id: item.id,
        title: item.title,
        updated_at: item.updated_at,
        live: item.live,
    });
    let mut rail = Rail::new(links, ctx.app.clock.now());
    rail.more = list.next.map(|next| format!("{}?older={}.{}", ctx.path, next.updated_at, next.id));
    Ok(rail)
}

fn composer(ctx: &Ctx, action: String, chat_model: Option<&str>, typed: Typed) -> Composer {
    let names = ctx.app.models.names();
    let wanted = typed.model.as_deref().or(chat_model).filter(|name| names.iter().any(|known| known == name));
    let chosen =
        wanted.map(str::to_owned).or_else(|| ctx.app.models.default_name(&ctx.app)).unwrap_or_default();
    let labels = names.iter().map(|name| {
        let label =
            if name == upstream::DEMO { "demo (built in, no model)".to_owned() } else { name.clone() };
        (name.clone(), label)
    });
    let error = typed.error.or_else(|| {
        names.is_empty().then(|| {
            "No model is available yet. An Admin can add one under Administration, Models.".to_owned()
        })
    });
    Composer { action, models: Choice::list(labels, &chosen), draft: typed.prompt, error, left: None }
}

fn message(message: MessageView) -> Message {
    if message.role == Role::User {
        return Message::Prompt(Prompt { id: message.id, text: message.text });
    }
    let versions = versions(&message);
    let Some(generation) = message.generation else {
        // A greeting: nobody asked a model.
        return Message::Answer(Box::new(Answer {
            id: message.id,
            generation: String::new(),
            state: State::Done,
            model: message.model.unwrap_or_else(|| "Anteroom".to_owned()),
            started_at: message.created_at,
            finished_at: Some(message.created_at),
            html: message.html.into(),
            problem: None,
            figures: Vec::new(),
            versions: None,
            again: false,
        }));
    };
    let state = State::from_word(generation.state.word());
    Message::Answer(Box::new(Answer {
        problem: problem(state, generation.error_code.as_deref(), !message.html.is_empty()),
        figures: figures(&generation),
        id: message.id,
        generation: generation.id,
        state,
        model: message.model.unwrap_or_default(),
        started_at: generation.started_at,
        finished_at: generation.finished_at,
        html: message.html.into(),
        versions,
        again: true,
    }))
}

/// The way to the versions before and after this one.
fn versions(message: &MessageView) -> Option<Versions> {
    let (number, count) = message.siblings();
    (count > 1).then(|| Versions {
        number,
        count,
        before: number.checked_sub(2).and_then(|at| message.versions.get(at).cloned()),
        after: message.versions.get(number).cloned(),
    })
}

fn problem(state: State, code: Option<&str>, some_text: bool) -> Option<Problem> {
    let kept = if some_text { " What had arrived is kept." } else { " Your prompt is kept." };
    match state {
        State::Failed => Some(Problem {
            title: if some_text { "The answer broke off" } else { "No answer came" }.to_owned(),
            text: format!("{}{kept}", failure_words(code.unwrap_or_default())),
        }),
        State::Interrupted => Some(Problem {
            title: "Interrupted".to_owned(),
            text: format!("The server was stopped while the answer was being written.{kept}"),
        }),
        _ => None,
    }
}

/// "first token 0.412 s", "412 tokens", "58 tok/s"
fn figures(generation: &chat::GenView) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(ttft) = generation.ttft_micros {
        out.push(format!("first token {}", format::seconds(ttft)));
    }
    if let Some(tokens) = generation.tokens_out {
        out.push(format::counted(tokens, "token", "tokens"));
        let writing = generation.duration_micros.unwrap_or(0) - generation.ttft_micros.unwrap_or(0);
        if tokens > 1 && writing > 0 {
            out.push(format::rate(tokens as f64 * 1e6 / writing as f64));
        }
    }
    out
}
