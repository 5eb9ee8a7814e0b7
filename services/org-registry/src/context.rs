//! What the service does: authorize, load, decide, save, emit.

use std::sync::Arc;

use parta_access::{Caller, Decision, OrgScope, Principal, authorize};
use parta_feed::{AtLeast, EventPayload as _, FeedEvent as _, Handler as _};
use parta_grpc::ServiceClients;
use parta_ids::OrgId;
use parta_proto::parta::{org_registry::v1::org_registry_event::Payload, status::v1::ErrorReason};
use parta_roster::{MemberContext, NoObserver, Organizations, Roster};
use parta_status::{RpcError, not_found};
use parta_storage::{Db, Tx};

use crate::error::Error;

/// The service with what it works on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    pub(crate) at_least: AtLeast,
    pub(crate) peers: ServiceClients,
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

    /// The scope of a read that members make by `decide`, service accounts by their permission and operators always.
    pub(crate) async fn read_scope(
        &self,
        caller: &Caller,
        org: OrgId,
        decide: fn(&MemberContext) -> Decision,
    ) -> Result<(OrgScope, Option<MemberContext>), RpcError> {
        match caller.acting() {
            Principal::Person { .. } => {
                let facts = self.facts(caller, org).await?;
                Ok((authorize(caller, org, decide(&facts))?, Some(facts)))
            }
            Principal::ServiceAccount { .. } | Principal::Operator { .. } => {
                Ok((authorize(caller, org, Decision::Allow)?, None))
            }
            _ => Err(not_found("organization", org)),
        }
    }
}

/// The operator's name; the access rules let nobody else get here.
pub(crate) fn operator(caller: &Caller) -> Result<String, RpcError> {
    match &caller.principal {
        Principal::Operator { name } => Ok(name.clone()),
        _ => Err(
            RpcError::new(ErrorReason::CallerNotAccepted, "Only the operator may do this.")
                .meta("rpc", &caller.rpc),
        ),
    }
}

/// States a fact in the feed, and in the projection by which this service itself decides: both in this transaction, so
/// that the registry never waits for its own feed.
pub(crate) async fn announce(tx: &Tx, org: OrgId, payload: Payload) -> Result<(), Error> {
    let mut event = payload.clone().into_event();
    event.org_id = org.to_string();
    debug_assert!(event.payload().is_some());
    let handler = Organizations::new(Arc::new(NoObserver));
    handler.apply(tx, &event).await.map_err(RpcError::internal)?;
    parta_feed::append_event(tx, org, payload);
    Ok(())
}
