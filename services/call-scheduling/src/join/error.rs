//! The refusals of joining.
use chrono::{DateTime, SecondsFormat, Utc};
use parta_proto_call_scheduling::v1::ErrorReason;

use crate::error::{Error, precondition_failed};

impl Error {
    pub(in crate::join) fn occurrence_canceled() -> Self {
        let why = "This occurrence of the call was canceled. Choose another occurrence.";
        precondition_failed(ErrorReason::OccurrenceCanceled, "STATE", why).into()
    }

    /// The room is not open.
    pub(in crate::join) fn outside_join_window(open: DateTime<Utc>, close: DateTime<Utc>) -> Self {
        let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        precondition_failed(
            ErrorReason::OutsideJoinWindow,
            "TIME",
            "The room is not open now. Join between the times that the refusal names.",
        )
        .meta("open_time", text(open))
        .meta("close_time", text(close))
        .into()
    }

    /// The call is held in person, so there is no room of the media server.
    pub(in crate::join) fn not_online() -> Self {
        let why = "The call is held in person. Go to its place.";
        precondition_failed(ErrorReason::NotOnline, "FORMAT", why).into()
    }
}
