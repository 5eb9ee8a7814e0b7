//! The layers around every call of Parta, in servers and clients, and the only builder of channels.
//!
//! The layers are tower layers. The list of the server is in [`server`], that of the client in [`client`].
//! Services in one process call each other through an in-memory pipe with exactly these layers
//! ([`in_memory`]).
#![warn(missing_docs)]

mod body;
pub mod client;
mod clients;
mod context;
mod headers;
pub mod in_memory;
mod layer;
mod methods;
mod routes;
mod rpc;
pub mod server;
mod status_headers;
mod stream;
#[cfg(test)]
mod tests;
mod trace_id;

pub use client::{
    ClientBuilder, ClientError, Idempotent, OnBehalf, Patience, RequestExt, ServiceChannel, Target, TlsSource,
};
pub use clients::{PeerMissing, ServiceClients, current_trace_id};
pub use in_memory::InMemoryTransport;
pub use methods::Methods;
pub use routes::Routes;
pub use server::{Authenticator, Limits, ServerLayers, StackService, layers};

/// The metadata key of the service token.
pub const SERVICE_TOKEN: &str = "parta-service-token";
/// The metadata key, in every response, of the trace id under which faults of the call were logged.
pub const TRACE_ID: &str = "parta-trace-id";
