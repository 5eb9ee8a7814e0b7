//! The dependencies of the features.
use std::sync::Arc;

use parta_access::{Caller, Decision, OrgScope, Secrets, SignedToken, TokenIssuer, Verifier, authorize};
use parta_database::Db;
use parta_feed::AtLeast;
use parta_ids::{MemberId, OrgId, UnitId, Uuid};
use parta_roster::{MemberContext, Roster, UnitKind};
use parta_status::RpcError;
use sea_orm::ConnectionTrait;

use crate::{delivery::Channels, endings, error::Error, sign_in::Budgets};

/// The dependencies of the features. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    pub(crate) at_least: AtLeast,
    pub(crate) secrets: Secrets,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) issuer: Arc<TokenIssuer>,
    pub(crate) channels: Channels,
    pub(crate) budgets: Budgets,
    /// Incremented when an import of any organization may have progressed.
    pub(crate) progress: tokio::sync::watch::Sender<u64>,
}

/// One run of a mutation or a query of this service.
pub(crate) type Run<'a> = parta_edge::Run<'a, Context>;

impl Context {
    /// Returns the facts about a member of the organization.
    pub(crate) async fn contexts_of(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        member: MemberId,
    ) -> Result<Option<MemberContext>, RpcError> {
        Ok(self.roster.contexts_of(conn, org, &[member]).await?.pop())
    }

    /// Returns the facts about the calling member. A caller outside the organization receives
    /// `NOT_FOUND`, a suspended one `MEMBER_SUSPENDED`.
    pub(crate) async fn facts(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
    ) -> Result<MemberContext, RpcError> {
        // Outsiders learn nothing of the organization, and so not that an ending is overdue.
        Roster::caller_member(caller, org)?;
        endings::require_punctual(conn, org, self.db.env().now()).await?;
        self.roster.caller_context(conn, caller, org).await
    }

    /// Authorizes the calling member by a rule about the facts.
    pub(crate) async fn authorize(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
        rule: fn(&MemberContext) -> Decision,
    ) -> Result<Decider, RpcError> {
        let facts = self.facts(conn, caller, org).await?;
        Ok(Decider {
            scope: authorize(caller, org, rule(&facts))?,
            member_id: facts.member_id,
        })
    }

    /// Refuses a unit that is unknown, archived, or neither a class nor a group.
    pub(crate) async fn require_unit(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        unit: UnitId,
    ) -> Result<(), Error> {
        if self.has_unit(conn, org, unit).await? {
            Ok(())
        } else {
            Err(Error::unit_unknown(unit))
        }
    }

    /// Returns whether the unit is a class or group that is not archived.
    pub(crate) async fn has_unit(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        unit: UnitId,
    ) -> Result<bool, Error> {
        let known = self.roster.unit(conn, org, unit).await?;
        Ok(known.is_some_and(|u| !u.archived && matches!(u.kind, UnitKind::Class | UnitKind::Group)))
    }

    /// Unwraps a signed token. A failure to sign is an internal error.
    pub(crate) fn signed(
        token: Result<SignedToken, parta_access::KeyError>,
    ) -> Result<SignedToken, RpcError> {
        token.map_err(RpcError::internal)
    }
}

/// The proof that a member may decide something in their own organization.
pub(crate) struct Decider {
    pub(crate) scope: OrgScope,
    pub(crate) member_id: MemberId,
}

impl Decider {
    /// Refuses a decision about their own person.
    pub(crate) fn require_second_person(&self, member: MemberId) -> Result<(), Error> {
        if self.member_id == member {
            return Err(Error::second_person_required());
        }
        Ok(())
    }
}

/// Returns an id derived from a secret, in the form of a custom UUID (version 8).
pub(crate) fn derived_uuid(digest: [u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
