//! The server's layers, in request order, and the loop that serves them.
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

/// The stack of one server, whose streams end when `draining` is cancelled. Each server has an instance of its own: limits are counted apart for outer and inner calls.
#[must_use]
pub fn layers(
    env: &Env,
    authenticator: Arc<Authenticator>,
    limits: Limits,
    draining: CancellationToken,
) -> ServerLayers {
    ServerLayers(Arc::new([
        // Outermost: a panic anywhere below costs one call, answers INTERNAL and stays in the log.
        Arc::new(catch_panic::CatchPanic::default()) as Arc<dyn Step>,
        // A span per call, child of the caller's (W3C context); everything below logs inside it.
        Arc::new(trace::Trace::new(env)),
        // Counts every call, also those refused below.
        Arc::new(metrics::Metrics::server()),
        // Tells the caller the trace under which we logged; not the idempotency key, which is `request_id`.
        Arc::new(trace_id::ReturnTraceId),
        // Turns what the layers below refuse, and what tonic refuses by itself, into statuses with details.
        Arc::new(status::Details),
        // Refuses what exceeds the global concurrency, before any work is done for it.
        Arc::new(shed::Shed::new(limits)),
        // Answers slightly before the caller stops waiting; after shedding, so that nothing waits unbounded.
        Arc::new(deadline::ServerDeadline { draining }),
        // Says who calls and whether the RPC takes such callers; what they may do is decided in operations.
        Arc::new(authenticate::Authenticate::new(authenticator, env)),
        // Innermost, so that a call to another service made above is not mistaken for the request.
        Arc::new(capture::CaptureRequest),
    ]))
}

/// What [`layers`] made; wraps routes.
#[derive(Clone)]
pub struct ServerLayers(Arc<[Arc<dyn Step>]>);

impl ServerLayers {
    /// Names in request order.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|step| step.name()).collect()
    }

    /// Puts the layers around servers.
    #[must_use]
    pub fn around(&self, routes: Routes) -> StackService {
        StackService(Stack {
            steps: self.0.clone(),
            callee: Callee::Routes(routes),
        })
    }
}
