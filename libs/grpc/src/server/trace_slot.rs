use std::sync::{Arc, OnceLock};

use parta_status::RpcError;
use tonic::Status;

use crate::{TRACE_ID, trace_id::TraceId};

/// Set by the `trace` layer below, so that the response to a panic contains the trace id.
#[derive(Clone, Default)]
pub(crate) struct TraceSlot(pub(super) Arc<OnceLock<TraceId>>);

impl TraceSlot {
    /// The status of a call whose handler panicked. The message of the panic may quote a name, so the hook of
    /// the process logs the place only.
    pub(crate) fn refuse(&self) -> Status {
        let mut status = Status::from(RpcError::internal("panic while serving"));
        if let Some(trace) = self.0.get()
            && let Ok(value) = trace.to_string().parse()
        {
            status.metadata_mut().insert(TRACE_ID, value);
        }
        status
    }
}
