use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use upstream::{Circuit, DEMO, Endpoint, Failure, Pool, Route, Started};

use crate::stub::{Reply, Stub, endpoint, http, limits, read, request};

const SECOND: i64 = 1_000_000;

/// A pool with a clock that the test moves.
fn pool(endpoints: &[&Endpoint]) -> (Pool, Arc<AtomicI64>) {
    let time = Arc::new(AtomicI64::new(1_000 * SECOND));
    let now = Arc::clone(&time);
    let pool =
        Pool::new(http(), Arc::new(move || now.load(Ordering::Relaxed))).with_demo_pace(Duration::ZERO);
    pool.replace(routes(endpoints));
    (pool, time)
}

fn routes(endpoints: &[&Endpoint]) -> Vec<Route> {
    let route = |(order, endpoint): (i64, &&Endpoint)| Route {
        model: "m".to_owned(),
        endpoint: Arc::new(Endpoint::clone(endpoint)),
        order,
    };
    (0..).zip(endpoints).map(route).collect()
}

async fn start(pool: &Pool) -> Result<Started, Failure> {
    pool.start("m", &request(), &limits()).await.map_err(|failed| failed.kind)
}

fn ok() -> Reply {
    Reply::words(&["ok"])
}

fn server_error() -> Reply {
    Reply::of("503 Down", "", "")
}

#[tokio::test]
async fn the_next_one_is_tried_until_the_first_token() {
    let closed = endpoint("closed", "http://127.0.0.1:1");
    let down = Stub::start(vec![server_error()]).await;
    let busy = Stub::start(vec![Reply::of("429 Slow", "", "")]).await;
    let cut = Stub::start(vec![Reply::sse(": hello\n\n")]).await;
    let good = Stub::start(vec![ok()]).await;
    let (pool, _) = pool(&[
        &closed,
        &down.endpoint("down"),
        &busy.endpoint("busy"),
        &cut.endpoint("cut"),
        &good.endpoint("good"),
    ]);
    let started = start(&pool).await.unwrap();
    assert_eq!(started.endpoint_id, "good");
    assert_eq!(read(started.stream).await.text, "ok");
    let states = pool.snapshot();
    let seen: Vec<_> = states
        .iter()
        .map(|state| (state.endpoint_id.as_str(), state.last_failure.map(Failure::code)))
        .collect();
    assert_eq!(
        seen,
        [
            ("closed", Some("unreachable")),
            ("down", Some("server")),
            ("busy", Some("rate_limited")),
            ("cut", Some("cut")),
            ("good", None)
        ]
    );
}

#[tokio::test]
async fn a_request_that_no_one_can_take_is_not_passed_on() {
    let refuses = Stub::start(vec![Reply::of("400 Bad Request", "", "no")]).await;
    let good = Stub::start(vec![ok()]).await;
    let (pool, _) = pool(&[&refuses.endpoint("refuses"), &good.endpoint("good")]);
    assert_eq!(start(&pool).await.unwrap_err(), Failure::BadRequest);
    assert!(good.requests().is_empty());
}

#[tokio::test]
async fn after_the_first_token_there_is_no_second_try() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n";
    let cut = Stub::start(vec![Reply::sse(body)]).await;
    let good = Stub::start(vec![ok()]).await;
    let (pool, _) = pool(&[&cut.endpoint("cut"), &good.endpoint("good")]);
    let started = start(&pool).await.unwrap();
    let answer = read(started.stream).await;
    assert_eq!(answer.text, "half");
    assert_eq!(answer.failed.unwrap().kind, Failure::Cut);
    assert!(good.requests().is_empty());
    assert_eq!(pool.snapshot()[0].consecutive_failures, 1);
}

#[tokio::test]
async fn the_least_busy_goes_first_and_the_guard_counts() {
    let one = Stub::start(vec![ok()]).await;
    let two = Stub::start(vec![ok()]).await;
    let (pool, _) = pool(&[&one.endpoint("one"), &two.endpoint("two")]);
    let first = start(&pool).await.unwrap();
    let second = start(&pool).await.unwrap();
    let third = start(&pool).await.unwrap();
    let ids = [&first, &second, &third].map(|started| started.endpoint_id.as_str());
    assert_eq!(ids, ["one", "two", "one"]);
    let in_flight = || pool.snapshot().iter().map(|state| state.in_flight).collect::<Vec<_>>();
    assert_eq!(in_flight(), [2, 1]);
    drop((first, third));
    assert_eq!(in_flight(), [0, 1]);
    assert_eq!(start(&pool).await.unwrap().endpoint_id, "one");
}

#[tokio::test]
async fn the_circuit_opens_tries_and_closes() {
    let mut replies = vec![server_error(); 6];
    replies.push(ok());
    let stub = Stub::start(replies).await;
    let (pool, time) = pool(&[&stub.endpoint("e")]);
    let state = || pool.snapshot().remove(0);
    for _ in 0..5 {
        assert_eq!(state().circuit, Circuit::Closed);
        assert_eq!(start(&pool).await.unwrap_err(), Failure::Server { status: 503 });
    }
    assert_eq!((state().circuit, state().consecutive_failures), (Circuit::Open, 5));
    assert_eq!(start(&pool).await.unwrap_err(), Failure::Unreachable);
    assert_eq!(stub.requests().len(), 5);

    time.fetch_add(30 * SECOND, Ordering::Relaxed);
    assert_eq!(state().circuit, Circuit::HalfOpen);
    assert_eq!(start(&pool).await.unwrap_err(), Failure::Server { status: 503 });
    assert_eq!(state().circuit, Circuit::Open);
    assert_eq!(stub.requests().len(), 6);

    time.fetch_add(30 * SECOND, Ordering::Relaxed);
    let started = start(&pool).await.unwrap();
    assert_eq!(state().circuit, Circuit::Closed);
    assert_eq!(read(started.stream).await.text, "ok");
    assert_eq!(state().consecutive_failures, 0);
    assert_eq!(state().last_failure, Some(Failure::Server { status: 503 }));
}

#[tokio::test]
async fn half_open_lets_one_trial_through_and_a_stopped_trial_frees_its_place() {
    let mut replies = vec![server_error(); 5];
    replies.push(Reply::raw("").then_hangs());
    replies.push(ok());
    let stub = Stub::start(replies).await;
    let (pool, time) = pool(&[&stub.endpoint("e")]);
    for _ in 0..5 {
        start(&pool).await.unwrap_err();
    }
    // A clock set back by an hour does not keep it shut either.
    time.fetch_sub(3600 * SECOND, Ordering::Relaxed);
    let (_, other) =
        tokio::join!(tokio::time::timeout(Duration::from_millis(50), start(&pool)), start(&pool));
    assert_eq!(other.unwrap_err(), Failure::Unreachable);
    assert_eq!(start(&pool).await.unwrap().endpoint_id, "e");
}

#[tokio::test]
async fn refusals_do_not_open_the_circuit() {
    let stub = Stub::start(vec![Reply::of("429 Slow", "retry-after: 3\r\n", "")]).await;
    let (pool, _) = pool(&[&stub.endpoint("e")]);
    for _ in 0..8 {
        let retry_after = Some(3);
        assert_eq!(start(&pool).await.unwrap_err(), Failure::RateLimited { retry_after });
    }
    assert_eq!(pool.snapshot()[0].circuit, Circuit::Closed);
}

#[tokio::test]
async fn replacing_keeps_the_health_of_what_stays() {
    let stub = Stub::start(vec![server_error()]).await;
    let endpoint = stub.endpoint("e");
    let (pool, _) = pool(&[&endpoint]);
    start(&pool).await.unwrap_err();
    pool.replace(routes(&[&endpoint, &endpoint]));
    assert_eq!(pool.snapshot().len(), 1);
    assert_eq!(pool.snapshot()[0].consecutive_failures, 1);
    let mut changed = endpoint.clone();
    changed.api_key = None;
    pool.replace(routes(&[&changed]));
    assert_eq!(pool.snapshot()[0].consecutive_failures, 0);
    pool.replace(Vec::new());
    assert_eq!(start(&pool).await.unwrap_err(), Failure::NotFound);
    assert!(!pool.serves("m"));
}

#[tokio::test]
async fn the_demo_answers_without_any_upstream() {
    let (pool, _) = pool(&[]);
    assert!(pool.serves(DEMO));
    let started = pool.start(DEMO, &request(), &limits()).await.unwrap();
    assert_eq!(started.endpoint_id, "demo");
    let answer = read(started.stream).await;
    assert!(answer.text.contains("built-in demo"));
    assert!(answer.usage.is_some_and(|(input, output)| input > 0 && output > 100));
    assert_eq!(answer.finish_reason, Some(Some("stop".to_owned())));
}
