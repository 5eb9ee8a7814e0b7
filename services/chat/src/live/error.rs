//! The refusals of live streams.
use std::time::Duration;

use parta_proto_chat::v1::ErrorReason;
use parta_status::RpcError;

use crate::error::Error;

impl Error {
    /// The queue of a stream is full, because its client reads more slowly than entries arrive. The
    /// client subscribes again after half a second.
    pub(in crate::live) fn slow_reader() -> Self {
        let message =
            "The stream was read too slowly. Subscribe again with the cursors of the last entries read.";
        RpcError::new(ErrorReason::SlowReader, message)
            .retry_after(Duration::from_millis(500))
            .into()
    }
}
