//! What the service does: authorize, load, decide, save, emit.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parta_access::{
    Caller, Decision, OrgScope, Principal, Secrets, SignedToken, TokenIssuer, Verifier, authorize,
};
use parta_feed::{AtLeast, Freshness, is_quarantined};
use parta_ids::{AccountId, MemberId, OrgId, SessionId, UnitId};
use parta_proto::parta::{org_registry::v1::UnitKind, status::v1::ErrorReason as Common};
use parta_roster::{MemberContext, Roster};
use parta_status::{RpcError, not_found};
use parta_storage::Db;
use sea_orm::ConnectionTrait;

use crate::{
    config::DeliveryKind,
    error::Error,
    policy::{self, Visibility},
};

/// The service with what it works on. Cheap to clone.
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

/// A page as asked for.
pub(crate) struct Page<'a> {
    pub(crate) size: u64,
    pub(crate) token: &'a str,
    /// What else the list was asked by; a token of another list is refused.
    pub(crate) filter: String,
}

impl Context {
    /// Cuts what was read for a page, one more than asked, and says where the next one begins.
    pub(crate) fn cut<R, K: serde::Serialize>(
        &self,
        caller: &Caller,
        page: &Page<'_>,
        rows: &mut Vec<R>,
        key: impl Fn(&R) -> K,
    ) -> String {
        let more = rows.len() as u64 > page.size;
        rows.truncate(usize::try_from(page.size).unwrap_or(usize::MAX));
        let last = rows.last().filter(|_| more);
        last.map(|row| self.db.encode_page(caller, &page.filter, &key(row)))
            .unwrap_or_default()
    }

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

    /// Whom the caller sees: everybody (`None`), or these.
    pub(crate) async fn visible_members(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
    ) -> Result<(OrgScope, Option<BTreeSet<MemberId>>), RpcError> {
        // The permission was asked for by the RPC's rule.
        if let Principal::ServiceAccount { .. } = caller.acting() {
            return Ok((authorize(caller, org, Decision::Allow)?, None));
        }
        let facts = self.facts(conn, caller, org).await?;
        let sight = policy::sight(&facts);
        let scope = authorize(
            caller,
            org,
            if sight.is_some() {
                Decision::Allow
            } else {
                Decision::Outside
            },
        )?;
        let mut seen = BTreeSet::from([facts.member_id]);
        match sight {
            Some(Visibility::Everybody) => return Ok((scope, None)),
            Some(Visibility::Staff) => {
                let all = self.roster.all_members(conn, org).await?;
                seen.extend(all.iter().filter(|f| f.is_staff()).map(|f| f.member_id));
            }
            Some(Visibility::OwnUnits) => {
                for unit in facts.units() {
                    seen.extend(self.roster.members_of_unit(conn, org, unit).await?);
                }
                seen.extend(facts.children.iter().map(|child| child.member_id));
            }
            None => {}
        }
        Ok((scope, Some(seen)))
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

    /// The signed-in person, whose session has not ended since the token was made.
    pub(crate) async fn account(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
    ) -> Result<(AccountId, SessionId), Error> {
        let Principal::Account {
            account_id,
            session_id,
        } = caller.principal
        else {
            return Err(RpcError::internal("an RPC of accounts let somebody else in").into());
        };
        if crate::sessions::storage::find(conn, session_id, self.db.env().now())
            .await?
            .is_none()
        {
            return Err(RpcError::new(
                Common::CredentialRevoked,
                "the session behind the token was ended",
            )
            .into());
        }
        Ok((account_id, session_id))
    }

    pub(crate) fn signed(
        token: Result<SignedToken, parta_access::KeyError>,
    ) -> Result<SignedToken, RpcError> {
        token.map_err(RpcError::internal)
    }
}
