//! The context that every feature gets.
use std::sync::Arc;

use parta_access::{Secrets, Verifier};
use parta_database::Db;
use parta_grpc::ServiceClients;
use parta_roster::Roster;

use crate::config::Config;

/// The dependencies of every feature. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    /// Derives the keys of this service from the master secret.
    pub(crate) secrets: Secrets,
    /// Knows the sessions that membership has ended.
    pub(crate) verifier: Arc<Verifier>,
    /// The clients of the other services.
    pub(crate) clients: ServiceClients,
    pub(crate) config: Config,
    /// Whether only this machine can reach the process. If so, and no LiveKit server is configured,
    /// calls use one of this machine with a development key (`rooms/media.rs`).
    pub(crate) loopback_only: bool,
}

/// One run of a mutation or a query of this service.
pub(crate) type Run<'a> = parta_edge::Run<'a, Context>;
