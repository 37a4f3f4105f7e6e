//! Models that fail: what the person sees, what the Admin sees, and that nothing is lost.

use parts::http::Client;
use parts::model::ModelStub;

use crate::harness::{TestApp, Wishes};
use crate::page::{Message, last, messages, text};

/// The stub's 401 names this key, as some servers do.
const KEY: &str = "sk-stub-secret";

async fn with_models() -> TestApp {
    Wishes::default().models().set("OPENAI_API_KEY", KEY).start().await
}

/// Sends a prompt and gives the chat with its failed answer. The prompt is checked to be there.
async fn fails(app: &TestApp, client: &Client, model: &str, prompt: &str) -> (String, Message) {
    let chat = app.prompt(client, model, prompt).await;
    app.settle().await;
    let page = client.get(&chat).await.body;
    let shown = messages(&page);
    assert_eq!(shown.len(), 2, "{page}");
    assert_eq!(shown[0].text(), prompt, "the prompt is there");
    let answer = last(&page);
    assert_eq!(answer.state, "failed", "{model}: {answer:?}");
    assert!(answer.must("/regenerate").starts_with("/messages/"));
    assert!(answer.text().contains("Retry"), "{}", answer.text());
    (chat, answer)
}

/// SEC-88: each failure is told in plain words with Retry; its cause stands on the Admin's page only,
/// and the key nowhere.
#[tokio::test]
async fn sec_88_failures_are_told_in_words_and_causes_to_admins_only() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let admin = app.admin().await;
    // Model, what the person is told, what the Admin reads, what had arrived.
    let cases = [
        ("fail-401", "refused this site's key", "HTTP 401: Incorrect API key provided: ***.", ""),
        ("fail-429", "is busy and asks to wait", "HTTP 429: Rate limit reached", ""),
        ("fail-500", "had an error of its own", "HTTP 500: The server had an error", ""),
        ("cut", "closed the connection before the answer was complete", "cut: ", "This answer breaks"),
        ("cut-clean", "closed the connection before the answer was complete", "cut: ", "This answer breaks"),
        ("garbage", "sent something that is not an answer", "garbage: ", ""),
        ("garbage-stream", "sent something that is not an answer", "garbage: ", ""),
        ("error-in-stream", "had an error of its own", "The server had an error", "This answer breaks"),
        ("empty", "ended without writing anything", "the answer ended without any text", ""),
    ];
    for (model, words, cause, arrived) in cases {
        let (chat, answer) = fails(&app, &ann, model, "my precious prompt").await;
        let told = answer.text();
        assert!(told.contains(words), "{model}: {told}");
        assert_eq!(answer.answer(), arrived, "{model}");
        let kept = if arrived.is_empty() { "No answer came" } else { "What had arrived is kept." };
        assert!(told.contains(kept), "{model}: {told}");
        let page = ann.get(&chat).await.body;
        for hidden in [cause.trim_end_matches(": "), "HTTP ", "nginx", "sk-", "oops"]
            .iter()
            .filter(|text| text.len() > 7)
        {
            assert!(!text(&page).contains(hidden), "{model}: {hidden} is shown to a member");
        }
        assert!(!page.contains(KEY) && !page.contains("openai"), "{model}");
        let errors = admin.get("/admin/errors").await.body;
        assert!(text(&errors).contains(cause), "{model}: {cause} in {}", text(&errors));
        assert!(text(&errors).contains(&format!("model {model}")), "{model}: {}", text(&errors));
        assert!(!errors.contains(KEY), "{model}");
        assert!(!errors.contains("precious"), "a prompt is nobody else's to read");
        // An answer between two failures keeps the circuit closed.
        let well = app.prompt(&ann, "echo", "fine").await;
        app.settle().await;
        assert_eq!(last(&ann.get(&well).await.body).answer(), "fine");
    }
    // The same cause again is the same group.
    fails(&app, &ann, "fail-500", "once more").await;
    let errors = text(&admin.get("/admin/errors").await.body);
    assert!(errors.contains("2 times") && errors.contains("Given Family (ann)"), "{errors}");
}

#[tokio::test]
async fn an_upstream_that_answers_at_once_is_fine() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "json", "not a stream").await;
    app.settle().await;
    let answer = last(&ann.get(&chat).await.body);
    assert_eq!((answer.state.as_str(), answer.answer().as_str()), ("done", "not a stream"));
    assert!(answer.text().contains("3 tokens"), "{}", answer.text());
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_and_back_again_answers() {
    let mut app = with_models().await;
    let ann = app.user("ann").await;
    let admin = app.admin().await;
    let address = app.stub().address();
    drop(app.models.take());
    gone(address).await;
    let (chat, answer) = fails(&app, &ann, "echo", "is it there?").await;
    assert!(answer.text().contains("The model server cannot be reached."), "{}", answer.text());
    assert!(answer.text().contains("Your prompt is kept."));
    let errors = text(&admin.get("/admin/errors").await.body);
    assert!(errors.contains("unreachable: "), "{errors}");
    assert!(!ann.get(&chat).await.body.contains(&address.to_string()));
    // Retry while it is down fails again, beside the first try.
    app.clock.advance(base::SECOND);
    app.post(&ann, &answer.must("/regenerate"), &[]).await;
    app.settle().await;
    let again = last(&ann.get(&chat).await.body);
    assert!(again.text().contains("2 of 2") && again.state == "failed", "{}", again.text());
    app.models = Some(ModelStub::start_on(address).await.unwrap());
    app.clock.advance(base::SECOND);
    app.post(&ann, &again.must("/regenerate"), &[]).await;
    app.settle().await;
    let page = ann.get(&chat).await.body;
    assert_eq!((messages(&page).len(), last(&page).answer().as_str()), (2, "is it there?"));
}

async fn gone(address: std::net::SocketAddr) {
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn retry_works_once_the_upstream_has_recovered() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let (chat, answer) = fails(&app, &ann, "fail-503-once", "patience").await;
    assert!(answer.text().contains("had an error of its own"), "{}", answer.text());
    let retried = app.post(&ann, &answer.must("/regenerate"), &[]).await;
    assert_eq!(retried.location(), Some(chat.as_str()));
    app.settle().await;
    let page = ann.get(&chat).await.body;
    assert_eq!((last(&page).state.as_str(), last(&page).answer().as_str()), ("done", "patience"));
    assert_eq!(messages(&page).len(), 2);
}

#[tokio::test]
async fn a_silent_upstream_is_given_up() {
    let quick = |wishes: Wishes| {
        wishes.set("ANTEROOM_MODELS__FIRST_TOKEN_SECONDS", "1").set("ANTEROOM_MODELS__IDLE_SECONDS", "1")
    };
    let app = quick(Wishes::default().models()).start().await;
    let ann = app.user("ann").await;
    let (_, answer) = fails(&app, &ann, "silent", "hello?").await;
    assert!(answer.text().contains("The model server sent nothing for too long."), "{}", answer.text());
    app.stub().wait_live(0).await;
    // Falling silent in the middle keeps what had come.
    let (_, answer) = fails(&app, &ann, "hold", "never comes").await;
    assert!(answer.text().contains("sent nothing for too long"), "{}", answer.text());
    assert_eq!(answer.answer(), "one two three");
    app.stub().wait_live(0).await;
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let app = Wishes::default().models().set("ANTEROOM_MODELS__MAX_ANSWER_BYTES", "1024").start().await;
    let ann = app.user("ann").await;
    let (_, answer) = fails(&app, &ann, "tokens-200", "!tokens-100000 x").await;
    assert!(answer.text().contains("The answer became too long and was stopped."), "{}", answer.text());
    assert!(answer.answer().len() > 1000 && answer.answer().len() < 2000);
    app.stub().wait_live(0).await;
}

/// Two upstreams of one model: when the first is down, the second answers.
#[tokio::test]
async fn another_upstream_of_the_model_steps_in() {
    let second = ModelStub::start().await.unwrap();
    let mut app = Wishes::default()
        .models()
        .set("ANTEROOM_UPSTREAMS__SPARE__BASE_URL", &second.base_url())
        .set("ANTEROOM_UPSTREAMS__SPARE__API_KEY", "sk-of-the-spare")
        .start()
        .await;
    let ann = app.user("ann").await;
    let address = app.stub().address();
    let first_chat = app.prompt(&ann, "hold", "stays on the first").await;
    app.page_until(&ann, &first_chat, |page| last(page).answer() == "one two three").await;
    // The busier one is left alone while another is free.
    let busy = if app.stub().live() == 1 { address } else { second.address() };
    let chat = app.prompt(&ann, "echo", "who is free?").await;
    app.page_until(&ann, &chat, |page| last(page).state == "done").await;
    let freer = if busy == address { second.requests() } else { app.stub().requests() };
    assert_eq!(freer.pop_prompt(), "who is free?");
    app.stub().release();
    second.release();
    app.settle().await;
    drop(app.models.take());
    gone(address).await;
    for n in 0..3 {
        let prompt = format!("prompt {n}");
        let chat = app.prompt(&ann, "echo", &prompt).await;
        app.settle().await;
        assert_eq!(last(&ann.get(&chat).await.body).answer(), prompt);
        let seen = second.requests().pop().unwrap();
        // SEC-98: each key goes to its own server.
        assert_eq!((seen.prompt(), seen.authorization.as_deref()), (prompt, Some("Bearer sk-of-the-spare")));
    }
    let states = app.app.models.pool.snapshot();
    let openai = states.iter().find(|state| state.name == "openai").unwrap();
    assert!(openai.consecutive_failures > 0, "it was tried: {openai:?}");
}

trait LastPrompt {
    fn pop_prompt(self) -> String;
}

impl LastPrompt for Vec<parts::model::Seen> {
    fn pop_prompt(mut self) -> String {
        self.pop().map(|seen| seen.prompt()).unwrap_or_default()
    }
}

/// After five failures in a row nobody waits for a dead server any more; half a minute later it is tried again.
#[tokio::test]
async fn a_broken_server_is_left_alone_for_a_while() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let admin = app.admin().await;
    for _ in 0..5 {
        fails(&app, &ann, "fail-500", "x").await;
    }
    let asked = app.stub().count();
    let (_, answer) = fails(&app, &ann, "echo", "x").await;
    assert!(answer.text().contains("cannot be reached"), "{}", answer.text());
    assert_eq!(app.stub().count(), asked, "it was not asked");
    let overview = text(&admin.get("/admin").await.body);
    assert!(overview.contains("openai does not answer"), "{overview}");
    app.clock.advance(31 * base::SECOND);
    let chat = app.prompt(&ann, "echo", "again").await;
    app.settle().await;
    assert_eq!(last(&ann.get(&chat).await.body).answer(), "again");
    assert!(!text(&admin.get("/admin").await.body).contains("does not answer"));
}
