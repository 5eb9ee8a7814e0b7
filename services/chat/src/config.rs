//! The section `[chat]` of the configuration.
use parta_runtime::config::ServiceConfig;
use serde::Deserialize;

/// The settings of the service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// At most this many messages wait for the database, and as many for chats that other transactions have
    /// locked. Others are refused with OVERLOADED.
    pub send_queue: usize,
    /// At most this many messages are stored in one commit.
    pub send_batch: usize,
    /// At most this many entries wait for one live stream, besides the same number that it is sending. A
    /// stream whose queue is full ends with SLOW_READER.
    pub live_queue: usize,
    /// Interval of the heartbeats of a live stream, and of the comparisons of all streams with the database,
    /// in seconds.
    pub heartbeat_seconds: u64,
    /// Entries older than this many days are moved to the archive. 0 disables the archive.
    pub archive_after_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            send_queue: 8_192,
            send_batch: 1_024,
            live_queue: 512,
            heartbeat_seconds: 15,
            archive_after_days: 400,
        }
    }
}

impl ServiceConfig for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        let mut check = |ok: bool, problem: &str| {
            if !ok {
                problems.push(problem.to_owned());
            }
        };
        check(
            (1..=1_000_000).contains(&self.send_queue),
            "send_queue must be 1 to 1000000",
        );
        // SQLite binds at most 32,766 values in one statement.
        check(
            (1..=2_000).contains(&self.send_batch),
            "send_batch must be 1 to 2000",
        );
        check(
            (1..=100_000).contains(&self.live_queue),
            "live_queue must be 1 to 100000",
        );
        check(
            (1..=60).contains(&self.heartbeat_seconds),
            "heartbeat_seconds must be 1 to 60",
        );
        // Repetitions of messages are recognized for 30 days, and only while the message is not archived.
        check(
            matches!(self.archive_after_days, 0 | 31..=36_500),
            "archive_after_days must be 0 or 31 to 36500",
        );
    }
}
