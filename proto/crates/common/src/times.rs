//! Converts times from and to their message.
use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// Returns the message of a time.
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        // Less than 2e9 even in a leap second.
        nanos: time.timestamp_subsec_nanos().cast_signed(),
    }
}

/// Returns the time of a message, truncated to the microseconds that both databases store; `None` if the
/// message has no valid time.
pub fn time(timestamp: &Timestamp) -> Option<DateTime<Utc>> {
    let nanos = u32::try_from(timestamp.nanos).ok()?;
    DateTime::from_timestamp(timestamp.seconds, nanos / 1_000 * 1_000)
}
