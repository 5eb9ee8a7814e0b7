//! The dependencies that every feature works with.
use std::sync::Arc;

use parta_access::{Caller, Decision, OrgScope, authorize};
use parta_database::Db;
use parta_grpc::ServiceChannel;
use parta_ids::{MemberId, OrgId};
use parta_roster::{MemberContext, Roster, State};
use parta_status::RpcError;
use sea_orm::ConnectionTrait;

use crate::entries::EntrySink;

/// The dependencies of the features. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    pub(crate) sink: Arc<dyn EntrySink>,
    /// The service that has the names of members.
    pub(crate) membership: ServiceChannel,
}

/// One run of a mutation or a query of this service.
pub(crate) type Run<'a> = parta_edge::Run<'a, Context>;

/// The scope of a member who may use chat. A member who is not active is outside the organization: NOT_FOUND
/// (organization), as in every service (R26). A suspended one gets MEMBER_SUSPENDED.
pub(crate) fn active_scope(caller: &Caller, org: OrgId, state: Option<State>) -> Result<OrgScope, RpcError> {
    if state == Some(State::Suspended) {
        return authorize(caller, org, Decision::Deny(MemberContext::suspended_refusal()));
    }
    authorize(caller, org, Decision::inside_if(state == Some(State::Active)))
}

impl Context {
    /// The scope and the id of the calling member. Reads one row of the roster;
    /// [`Roster::caller_context`] reads all of a member's relations.
    pub(crate) async fn reader(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
    ) -> Result<(OrgScope, MemberId), RpcError> {
        let member = Roster::caller_member(caller, org)?;
        self.roster.require(org)?;
        let state = self.roster.state(conn, org, member).await?;
        Ok((active_scope(caller, org, state)?, member))
    }
}
