//! What the service does: authorize, load, decide, save, emit.
use parta_access::{Caller, OrgScope, Secrets, authorize};
use parta_feed::AtLeast;
use parta_grpc::ServiceClients;
use parta_ids::{CallId, OrgId};
use parta_roster::{MemberContext, Roster};
use parta_status::{RpcError, not_found};
use parta_storage::Db;
use sea_orm::ConnectionTrait;

use crate::{
    calls::{model::Call, policy, storage::calls},
    error::Error,
    join::media::LiveKit,
};

/// The service with what it works on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    pub(crate) at_least: AtLeast,
    pub(crate) secrets: Secrets,
    pub(crate) peers: ServiceClients,
    pub(crate) media: Option<LiveKit>,
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

    /// Loads a call for a member whom it concerns.
    pub(crate) async fn seen(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        facts: &MemberContext,
        id: CallId,
    ) -> Result<(OrgScope, Call), Error> {
        let scope = authorize(caller, facts.org_id, policy::list(facts))?;
        let call = calls::find(conn, &scope, id).await?.ok_or(Error::Unknown(id))?;
        let scope = authorize(caller, facts.org_id, policy::see(facts, &call))?;
        Ok((scope, call))
    }

    /// Loads a call for its organizer or the administration.
    pub(crate) async fn managed(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        facts: &MemberContext,
        id: CallId,
    ) -> Result<(OrgScope, Call), Error> {
        let (_, call) = self.seen(conn, caller, facts, id).await?;
        let scope = authorize(caller, facts.org_id, policy::manage(facts, &call))?;
        Ok((scope, call))
    }
}
