//! The context that a call passes to the calls made while it is served: its trace id and its deadline.
use std::time::Instant;

use tokio::task::futures::TaskLocalFuture;

use crate::{layer::RpcService, rpc::RpcRequest, trace_id::TraceId};

/// A future inside of a context.
pub(crate) type InContext<F> = TaskLocalFuture<CallContext, F>;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallContext {
    pub(crate) trace: Option<TraceId>,
    pub(crate) deadline: Option<Instant>,
}

tokio::task_local! {
    static CURRENT: CallContext;
}

impl CallContext {
    pub(crate) fn current() -> Self {
        CURRENT.try_with(|c| *c).unwrap_or_default()
    }

    /// Calls a service so that the call and its future have this context.
    pub(crate) fn call<S: RpcService>(self, service: &mut S, request: RpcRequest) -> InContext<S::Future> {
        let response = CURRENT.sync_scope(self, || service.call(request));
        CURRENT.scope(self, response)
    }
}
