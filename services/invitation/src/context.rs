//! The dependencies of the features.
use parta_access::Secrets;
use parta_database::Db;
use parta_grpc::ServiceClients;
use parta_roster::Roster;

use crate::config::Config;

/// The dependencies of the features. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    pub(crate) secrets: Secrets,
    pub(crate) clients: ServiceClients,
    pub(crate) config: Config,
}

/// One run of a mutation or a query of this service.
pub(crate) type Run<'a> = parta_edge::Run<'a, Context>;
