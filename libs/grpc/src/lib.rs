//! The layers around every call of the suite, on both sides of the wire, and the only builder of channels.
//!
//! A layer is a [`Step`]; the server's list stands in [`server`], the client's in [`client`]. In one process the
//! services call each other through a pipe in memory with exactly these layers ([`in_memory`]).

mod body;
pub mod client;
mod clients;
mod context;
pub mod in_memory;
mod methods;
mod routes;
pub mod server;
mod step;
mod stream;

pub use client::{ClientBuilder, ClientError, Idempotent, OnBehalf, RequestExt, ServiceChannel, Target};
pub use clients::{PeerMissing, ServiceClients, current_trace_id};
pub use in_memory::InMemoryTransport;
pub use routes::Routes;
pub use server::{Authenticator, Limits, ServerLayers, layers};
pub use step::{Answer, Call, Next, Outcome, Run, StackService, Step};
pub use stream::{until_credential_ends, until_shutdown};

/// Metadata key under which a service presents itself.
pub const SERVICE_TOKEN: &str = "parta-service-token";
/// Metadata key of every answer: the trace under which faults of the call were logged.
pub const TRACE_ID: &str = "parta-trace-id";
