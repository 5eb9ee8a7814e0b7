//! The layers of the server, in request order, and the serving loop.
mod authenticate;
mod capture;
pub(crate) mod catch_panic;
pub(crate) mod deadline;
pub(crate) mod metrics;
pub(crate) mod refusal;
mod serve;
mod shed;
mod status;
mod trace;
mod trace_id;

use std::sync::Arc;

use parta_ids::Env;
use tokio_util::sync::CancellationToken;

pub use authenticate::Authenticator;
pub use serve::{ServeOptions, serve};
pub use shed::Limits;

use crate::{
    routes::Routes,
    step::{Callee, Stack, StackService, Step},
};

/// Returns the layers of one server. Its streams end when `draining` is cancelled. Each server has its own
/// instance, so that external and internal calls have separate limits.
#[must_use]
pub fn layers(
    env: &Env,
    authenticator: Arc<Authenticator>,
    limits: Limits,
    draining: CancellationToken,
) -> ServerLayers {
    ServerLayers(Arc::new([
        // Outermost: a panic in a layer or handler costs one call, returns INTERNAL and is logged.
        Arc::new(catch_panic::CatchPanic::default()) as Arc<dyn Step>,
        // Opens a span per call, a child of the span of the caller (W3C context). All layers below log inside
        // it.
        Arc::new(trace::Trace::new(env)),
        // Counts every call, including those that the layers below refuse.
        Arc::new(metrics::Metrics::server()),
        // Returns the trace id under which the call was logged. It is not the idempotency key, which is
        // `request_id`.
        Arc::new(trace_id::ReturnTraceId),
        // Converts refusals of the layers below and of tonic to statuses with details.
        Arc::new(status::Details),
        // Refuses calls that exceed the concurrency limit, before any work is done for them.
        Arc::new(shed::Shed::new(limits)),
        // Replies shortly before the timeout of the caller. After shedding, so that no call waits without a
        // limit.
        Arc::new(deadline::ServerDeadline { draining }),
        // Determines the caller and whether the RPC accepts such callers. The operations decide about
        // permissions.
        Arc::new(authenticate::Authenticate::new(authenticator, env)),
        // Innermost, so that a call to another service made by the layers above is not captured as the
        // request.
        Arc::new(capture::CaptureRequest),
    ]))
}

/// The layers that [`layers`] built, which wrap routes.
#[derive(Clone)]
pub struct ServerLayers(Arc<[Arc<dyn Step>]>);

impl ServerLayers {
    /// Returns the names of the layers in request order.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|step| step.name()).collect()
    }

    /// Wraps servers in the layers.
    #[must_use]
    pub fn around(&self, routes: Routes) -> StackService {
        StackService(Stack {
            steps: self.0.clone(),
            callee: Callee::Routes(routes),
        })
    }
}
