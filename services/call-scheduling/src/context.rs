//! The dependencies of every feature.
use parta_access::Secrets;
use parta_database::Db;
use parta_grpc::ServiceClients;
use parta_roster::Roster;

use crate::config::Config;

/// The dependencies of every feature. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    pub(crate) secrets: Secrets,
    pub(crate) clients: ServiceClients,
    pub(crate) config: Config,
    /// Whether only this machine can reach the process, so that a development media server is sufficient.
    pub(crate) loopback_only: bool,
}
