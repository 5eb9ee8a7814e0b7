use std::time::Duration;

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(30);

/// Waits until `look` returns a value. Fails the test after 30 seconds.
///
/// Only for states of another process that offers no event, such as a server that starts or a lock of
/// PostgreSQL. For everything else await the event, move the clock and run the due jobs, or present a
/// consistency token.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(LIMIT, found)
        .await
        .unwrap_or_else(|_| panic!("not seen within {} seconds: {what}", LIMIT.as_secs()))
}
