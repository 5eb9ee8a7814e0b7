//! Serves the service behind its real layers.
use std::sync::Arc;

use parta_access::{AccessRules, OperatorCredential, ServiceKeys};
use parta_grpc::{
    Authenticator, InMemoryTransport, Limits, layers,
    server::{ServeOptions, serve},
};
use parta_membership::{GRPC_SERVICES, Ports};
use tokio_util::task::TaskTracker;

/// Serves until the ports drain.
pub fn serve_on_pipe(
    ports: &Ports,
    services: Arc<ServiceKeys>,
    operators: Vec<(String, OperatorCredential)>,
    tracker: &TaskTracker,
) -> InMemoryTransport {
    let authenticator = Authenticator {
        access: AccessRules::load(GRPC_SERVICES).unwrap(),
        verifier: ports.verifier.clone(),
        services,
        operators,
    };
    let (env, stop) = (ports.db.env().clone(), ports.draining.clone());
    let stack = layers(&env, Arc::new(authenticator), Limits::default(), stop.clone());
    let (pipe, incoming) = InMemoryTransport::pair();
    let (routes, end) = (ports.routes(), stop.cancelled_owned());
    tracker.spawn(async move { serve(incoming, routes, stack, ServeOptions::default(), end).await });
    pipe
}
