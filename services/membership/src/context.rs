//! What every feature works with.
use std::{sync::Arc, time::Duration};

use parta_access::{Caller, Secrets, SignedToken, TokenIssuer, Verifier};
use parta_feed::{AtLeast, Freshness, is_quarantined};
use parta_ids::{MemberId, OrgId, UnitId, Uuid};
use parta_proto::parta::{org_registry::v1::UnitKind, status::v1::ErrorReason as Common};
use parta_roster::{MemberContext, Roster};
use parta_status::{RpcError, not_found};
use parta_storage::Db;
use sea_orm::ConnectionTrait;

use crate::{config::DeliveryKind, error::Error};

/// The dependencies of the features. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    pub(crate) organizations: Freshness,
    pub(crate) consumer: &'static str,
    pub(crate) at_least: AtLeast,
    pub(crate) secrets: Secrets,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) issuer: Arc<TokenIssuer>,
    pub(crate) delivery: DeliveryKind,
    /// Raised whenever an import of any organization may have come further.
    pub(crate) progress: tokio::sync::watch::Sender<u64>,
}

impl Context {
    /// Refuses while what is known of the organization's policies and units is too old to decide by.
    async fn require_fresh(&self, conn: &impl ConnectionTrait, org: OrgId) -> Result<(), RpcError> {
        self.organizations.require()?;
        if is_quarantined(conn, self.consumer, org).await? {
            return Err(RpcError::new(
                Common::OrganizationParked,
                "the organization waits for the operator",
            )
            .meta("service", "org-registry")
            .retry_after(Duration::from_secs(60)));
        }
        Ok(())
    }

    /// What is known of a member of the organization.
    pub(crate) async fn contexts_of(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        member: MemberId,
    ) -> Result<Option<MemberContext>, RpcError> {
        Ok(self.roster.contexts_of(conn, org, &[member]).await?.pop())
    }

    /// What is known of the calling person; from outside the organization there is no such organization.
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
        self.require_fresh(conn, org).await?;
        self.contexts_of(conn, org, member)
            .await?
            .filter(MemberContext::is_active)
            .ok_or_else(outside)
    }

    /// Refuses a unit that is not known, archived, or not of a kind that takes such people.
    pub(crate) async fn require_unit(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        unit: UnitId,
    ) -> Result<(), Error> {
        let known = self.roster.unit(conn, org, unit).await?;
        let fits = known.is_some_and(|u| !u.archived && matches!(u.kind, UnitKind::Class | UnitKind::Group));
        if fits {
            Ok(())
        } else {
            Err(Error::UnitUnknown(unit))
        }
    }

    /// Unwraps a signed token; that signing fails is a fault of the server.
    pub(crate) fn signed(
        token: Result<SignedToken, parta_access::KeyError>,
    ) -> Result<SignedToken, RpcError> {
        token.map_err(RpcError::internal)
    }
}

/// An id that is derived from a secret, in the form of a random UUID.
pub(crate) fn derived_uuid(digest: [u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
