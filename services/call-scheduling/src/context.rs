//! The dependencies of every feature.
use parta_access::{Caller, Secrets};
use parta_grpc::ServiceClients;
use parta_ids::OrgId;
use parta_roster::{MemberContext, Roster};
use parta_status::{RpcError, not_found};
use parta_storage::Db;
use sea_orm::ConnectionTrait;

use crate::config::Config;

/// The dependencies of every feature. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    pub(crate) secrets: Secrets,
    pub(crate) clients: ServiceClients,
    pub(crate) config: Config,
    /// Whether only this machine reaches the process; then a media server of development is enough.
    pub(crate) loopback_only: bool,
}

impl Context {
    /// Loads the member context of the calling person. A caller who is not an active member of the
    /// organization gets NOT_FOUND.
    pub(crate) async fn facts(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
    ) -> Result<MemberContext, RpcError> {
        let outside = || not_found("organization", org);
        let (own, member) = caller.person().ok_or_else(outside)?;
        if own != org {
            return Err(outside());
        }
        self.roster
            .facts(conn, org, member)
            .await?
            .filter(MemberContext::is_active)
            .ok_or_else(outside)
    }
}
