//! The proxy that loses answers does what tests believe of it.

#[allow(dead_code)]
mod support {
    pub mod lossy;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use support::lossy::Lossy;

#[tokio::test]
async fn it_drops_the_answer_that_was_named_and_can_be_gone() {
    let carried_out = Arc::new(AtomicUsize::new(0));
    let counting = carried_out.clone();
    let router = Router::new().fallback(move |body: String| async move {
        counting.fetch_add(1, Ordering::Relaxed);
        format!("got {body}")
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lossy = Lossy::before(&format!("http://{}", listener.local_addr().unwrap())).await;
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |path: &str| {
        let response = http.post(format!("{}{path}", lossy.url)).body("hello").send().await?;
        response.error_for_status()?.text().await
    };

    lossy.drop_answer("write", 2);
    assert_eq!(ask("/write").await.unwrap(), "got hello");
    assert_eq!(ask("/read").await.unwrap(), "got hello");
    assert_eq!(carried_out.load(Ordering::Relaxed), 2);
    assert!(!ask("/write").await.unwrap_err().is_connect());
    assert_eq!(carried_out.load(Ordering::Relaxed), 3, "it was not carried out");
    assert_eq!(lossy.dropped(), ["/write"]);
    assert_eq!(ask("/write").await.unwrap(), "got hello");
    assert_eq!((lossy.count("write"), lossy.count("read")), (3, 1));

    lossy.down(true);
    let refused = async || loop {
        // One more may be taken before the listener is closed.
        match ask("/write").await {
            Err(error) if error.is_connect() => return,
            _ => tokio::task::yield_now().await,
        }
    };
    refused().await;
    lossy.down(false);
    let answered = async || loop {
        match ask("/write").await {
            Ok(text) => return text,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(answered().await, "got hello");
}
