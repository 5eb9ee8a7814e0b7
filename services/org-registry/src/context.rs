//! The dependencies of the features, and the kinds of callers that policies distinguish.
use parta_access::{Caller, Principal, PrincipalKind, require_operator};
use parta_grpc::ServiceClients;
use parta_ids::OrgId;
use parta_roster::{MemberContext, Roster};
use parta_status::{RpcError, not_found};
use sea_orm::ConnectionTrait;

use crate::applications::ApplicationLimits;

/// The dependencies of the features.
pub(crate) struct Context {
    pub(crate) roster: Roster,
    pub(crate) clients: ServiceClients,
    pub(crate) limits: ApplicationLimits,
}

/// One run of a mutation or a query of this service.
pub(crate) type Run<'a> = parta_edge::Run<'a, Context>;

/// A caller who reads an organization.
#[derive(Debug)]
pub(crate) enum Reader {
    /// An active member.
    Member(Box<MemberContext>),
    /// An external system. The access rule of the RPC requires its permission.
    ServiceAccount,
    /// The operator of the platform.
    Operator,
}

impl Reader {
    /// Returns a sample reader for a kind of principal in the permission matrix.
    pub(crate) fn sample(kind: PrincipalKind) -> Option<Self> {
        match kind {
            PrincipalKind::ServiceAccount => Some(Self::ServiceAccount),
            PrincipalKind::Operator => Some(Self::Operator),
            _ => MemberContext::sample(kind).map(|facts| Self::Member(Box::new(facts))),
        }
    }
}

impl Context {
    /// Identifies a caller who reads an organization: a member, a service account or the operator.
    pub(crate) async fn reader(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
    ) -> Result<Reader, RpcError> {
        match caller.acting() {
            Principal::Person { .. } => {
                let facts = self.roster.caller_context(conn, caller, org).await?;
                Ok(Reader::Member(Box::new(facts)))
            }
            Principal::ServiceAccount { .. } => Ok(Reader::ServiceAccount),
            Principal::Operator { .. } => Ok(Reader::Operator),
            _ => Err(not_found("organization", org)),
        }
    }
}

/// Proof that the caller is the operator of the platform.
#[derive(Debug)]
pub(crate) struct Operator {
    /// The name in the audit log and in the history of applications.
    pub(crate) name: String,
}

impl Operator {
    /// Returns an error for every other caller.
    pub(crate) fn of(caller: &Caller) -> Result<Self, RpcError> {
        let name = require_operator(caller)?.to_owned();
        Ok(Self { name })
    }
}
