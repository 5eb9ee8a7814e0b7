//! What the service does: authorize, load, decide, save, emit.
use parta_access::{Caller, OrgScope, Secrets, authorize};
use parta_feed::AtLeast;
use parta_grpc::ServiceClients;
use parta_ids::{InvitationId, OrgId};
use parta_roster::{MemberContext, Roster};
use parta_status::{RpcError, not_found};
use parta_storage::Db;
use sea_orm::ConnectionTrait;

use crate::{
    config::Config,
    error::Error,
    invitations::{model::Invitation, policy, secret::LinkSecret, storage as invitations},
};

/// The service with what it works on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    pub(crate) at_least: AtLeast,
    pub(crate) secrets: Secrets,
    pub(crate) peers: ServiceClients,
    pub(crate) config: Config,
}

impl App {
    /// What the roster knows of the calling person; from outside the organization there is no such organization.
    pub(crate) async fn facts(&self, caller: &Caller, org: OrgId) -> Result<MemberContext, RpcError> {
        let outside = || not_found("organization", org);
        let (own, member) = caller.person().ok_or_else(outside)?;
        if own != org {
            return Err(outside());
        }
        self.roster
            .facts(self.db.conn(), org, member)
            .await?
            .ok_or_else(outside)
    }

    /// Loads an invitation for whoever may hand it out, follow and annul it.
    pub(crate) async fn managed(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        facts: &MemberContext,
        id: InvitationId,
    ) -> Result<(OrgScope, Invitation), Error> {
        // Staff who may manage no link at all learns nothing of which ids exist.
        let scope = authorize(caller, facts.org_id, policy::list(facts))?;
        let found = invitations::find(conn, &scope, id)
            .await?
            .ok_or(Error::Unknown(id))?;
        let scope = authorize(caller, facts.org_id, policy::manage(facts, &found))?;
        Ok((scope, found))
    }

    pub(crate) fn secret(&self, id: InvitationId) -> LinkSecret {
        LinkSecret::of(&self.secrets, id)
    }
}
