//! A reader of event streams over real HTTP.

use parts::http::Client;
use reqwest::Method;
use serde_json::Value;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: Value,
}

impl Event {
    pub fn state(&self) -> Option<&str> {
        (self.name == "state").then(|| self.data["state"].as_str())?
    }

    pub fn html(&self) -> Option<&str> {
        (self.name == "block").then(|| self.data["html"].as_str())?
    }

    /// The number behind the generation's id.
    pub fn seq(&self) -> Option<u64> {
        self.id.as_deref()?.rsplit_once('.')?.1.parse().ok()
    }
}

/// An open stream. Dropping it closes the connection.
pub struct Events {
    response: reqwest::Response,
    buffer: String,
}

impl Events {
    /// Opens the stream of a chat; `last` is the id of the last event that the page has.
    pub async fn open(client: &Client, chat: &str, last: Option<&str>) -> Self {
        let mut request =
            client.request(Method::GET, &format!("{chat}/events")).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, buffer: String::new() }
    }

    /// The next event; `None` when the server has ended the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let event = parse(block);
                self.buffer = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let more = self.response.chunk().await.unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    /// Reads up to the first event that `wanted` picks, and gives all of them.
    pub async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended after {all:?}"));
            all.push(event);
            if wanted(&all[all.len() - 1]) {
                return all;
            }
        }
    }

    /// Reads to the end.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

/// `None` for a comment.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Event {
        id: field("id").map(str::to_owned),
        name: field("event")?.to_owned(),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}
