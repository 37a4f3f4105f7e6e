//! The built-in `demo` model: it asks no model, says so, and shows how answers look.

use std::time::Duration;

use tokio::time::Instant;

use crate::stream::Delta;
use crate::tokens::estimate_tokens;
use crate::wire::{ChatRequest, Role};

/// Name of the model and id of its endpoint.
pub const DEMO: &str = "demo";
/// Time between two words: 40 words a second.
pub const DEMO_PACE: Duration = Duration::from_millis(25);

const QUOTED_WORDS: usize = 12;
const QUOTED_CHARS: usize = 120;

/// A demo answer under way.
#[derive(Debug)]
pub(crate) struct Demo {
    answer: String,
    position: usize,
    pace: Duration,
    /// When the next word is due; absolute, so that a dropped wait starts none anew.
    due: Option<Instant>,
    usage: Option<(u64, u64)>,
}

impl Demo {
    pub(crate) fn new(request: &ChatRequest, pace: Duration) -> Self {
        let prompt = request
            .messages
            .iter()
            .rev()
            .find(|message| message.role == Role::User)
            .map_or("", |message| message.content.as_str());
        let input = request.messages.iter().map(|message| estimate_tokens(&message.content)).sum();
        let answer = answer_about(prompt);
        let output = estimate_tokens(&answer);
        Self { answer, position: 0, pace, due: None, usage: Some((input, output)) }
    }

    pub(crate) async fn next(&mut self) -> Delta {
        let rest = &self.answer[self.position..];
        if rest.is_empty() {
            return match self.usage.take() {
                Some((input, output)) => Delta::Usage { input, output },
                None => Delta::Done { finish_reason: Some("stop".to_owned()) },
            };
        }
        let end = rest.find([' ', '\n']).map_or(rest.len(), |space| space + 1);
        let word = rest[..end].to_owned();
        if !self.pace.is_zero() {
            let pace = self.pace;
            let due = *self.due.get_or_insert_with(|| Instant::now() + pace);
            tokio::time::sleep_until(due).await;
            // A reader that fell behind gets no burst.
            self.due = Some((due + pace).max(Instant::now()));
        }
        self.position += end;
        Delta::Text(word)
    }
}

fn answer_about(prompt: &str) -> String {
    let words = prompt.split_whitespace().count();
    let opening = match quote(prompt) {
        Some(quote) => format!("You wrote:\n\n> {quote}\n\n"),
        None => String::new(),
    };
    let characters = prompt.chars().count();
    let tokens = estimate_tokens(prompt);
    format!(
        r#"{opening}This is the **built-in demo**: no model was asked, so this text does not answer your question. It shows how an answer arrives and how it looks.

## Your prompt in numbers

| What | How many |
|---|---:|
| Words | {words} |
| Characters | {characters} |
| Tokens, estimated | {tokens} |

The estimate takes about four bytes of English text for a token:

$$
\text{{tokens}} \approx \left\lceil \frac{{\text{{bytes}}}}{{4}} \right\rceil
$$

## Connect a real model

Any server that speaks the OpenAI protocol will do: OpenAI, Ollama, vLLM, llama.cpp, LM Studio and many more. Start Anteroom with its address, and its key if it needs one:

```sh
export OPENAI_BASE_URL=http://localhost:11434/v1
export OPENAI_API_KEY=your-key
anteroom serve
```

Or sign in as an Admin and add it under **Administration → Models**; the *Test* button there lists its models and times a first answer. As soon as a real model is connected, this demo steps aside.
"#
    )
}

/// The first words of the prompt as plain Markdown text.
fn quote(prompt: &str) -> Option<String> {
    let mut words = prompt.split_whitespace();
    let mut start = words.by_ref().take(QUOTED_WORDS).collect::<Vec<_>>().join(" ");
    let mut cut = words.next().is_some();
    if let Some((at, _)) = start.char_indices().nth(QUOTED_CHARS) {
        start.truncate(at);
        cut = true;
    }
    if start.is_empty() {
        return None;
    }
    let mut quoted = String::with_capacity(start.len() + 8);
    for character in start.chars() {
        if character.is_ascii_punctuation() {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    if cut {
        quoted.push_str(" …");
    }
    Some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::ChatStream;
    use crate::wire::Message;

    async fn answer(prompt: &str, pace: Duration) -> (String, usize, Vec<Delta>) {
        let request = ChatRequest::new(DEMO, vec![Message::new(Role::User, prompt)]);
        let mut stream = ChatStream::demo(Demo::new(&request, pace));
        let (mut text, mut pieces, mut rest) = (String::new(), 0, Vec::new());
        while let Some(Ok(delta)) = stream.next().await {
            match delta {
                Delta::Text(word) => {
                    text.push_str(&word);
                    pieces += 1;
                }
                other => rest.push(other),
            }
        }
        (text, pieces, rest)
    }

    #[tokio::test]
    async fn it_quotes_the_prompt_and_says_that_no_model_was_asked() {
        let (text, pieces, rest) = answer("What is <b>a *monad*\nplease?", Duration::ZERO).await;
        assert!(text.starts_with("You wrote:\n\n> What is \\<b\\>a \\*monad\\* please\\?\n"));
        assert!(text.contains("no model was asked"));
        assert!(text.contains("OPENAI_BASE_URL") && text.contains("Administration → Models"));
        assert!(text.contains("| Words | 5 |") && text.contains("```sh") && text.contains("$$"));
        assert!(pieces > 100);
        assert!(matches!(rest[..], [Delta::Usage { .. }, Delta::Done { .. }]));
    }

    #[tokio::test]
    async fn long_and_empty_prompts() {
        let (text, ..) = answer(&"word ".repeat(40), Duration::ZERO).await;
        assert!(text.starts_with(&format!("You wrote:\n\n> {}…", "word ".repeat(12))));
        let (text, ..) = answer("  ", Duration::ZERO).await;
        assert!(text.starts_with("This is the **built-in demo**"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_keeps_its_pace() {
        let start = Instant::now();
        let (_, pieces, _) = answer("hello", DEMO_PACE).await;
        let words = u32::try_from(pieces).unwrap_or(u32::MAX);
        let took = start.elapsed();
        assert!(took >= DEMO_PACE * words && took < DEMO_PACE * (words * 2));
    }
}
