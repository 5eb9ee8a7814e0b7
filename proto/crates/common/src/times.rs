//! Converts times and lengths of time from and to their messages.
use std::time::Duration;

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

/// Returns the message of a length of time. One that the message cannot hold becomes the longest.
pub fn duration(of: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(of).unwrap_or(prost_types::Duration {
        seconds: i64::MAX,
        nanos: 0,
    })
}

/// Returns the length of time of a message; `None` if it is below zero or has no valid number of nanoseconds.
pub fn elapsed(duration: &prost_types::Duration) -> Option<Duration> {
    // Not by the conversion of prost, which overflows for the least number of seconds.
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok()?;
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}
