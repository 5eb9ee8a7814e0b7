use parta_ids::OrgId;
use parta_status::{RpcError, caller_not_accepted, not_found, permission_denied};

use crate::{Caller, Principal};

/// The decision of a policy. Only policies name [`Decision::Allow`]; a test of the architecture checks it.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The act is permitted.
    Allow,
    /// The caller belongs to the organization and is refused for this reason.
    Deny(RpcError),
    /// The caller does not belong to the organization and must not learn that an object exists.
    Outside,
}

impl Decision {
    /// Allows if `condition` is true; otherwise denies with `message`.
    pub fn allow_if(condition: bool, message: &str) -> Self {
        if condition {
            Self::Allow
        } else {
            Self::Deny(permission_denied(message))
        }
    }

    /// Allows if `condition` is true; otherwise the caller is outside the organization.
    pub fn inside_if(condition: bool) -> Self {
        if condition { Self::Allow } else { Self::Outside }
    }

    /// Returns whether the act is permitted.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// An organization, and the principal that acts in it. Storage functions that serve a call about an
/// organization require it and touch only rows of [`OrgScope::org_id`]. A test of the architecture lists
/// those that do not, each with the reason.
///
/// Holding one proves that the organization was compared with the caller: a caller whose credential was
/// issued for another organization holds none. The function that made it says what else it proves:
///
/// - [`authorize`]: a policy permitted the act, with the facts of the transaction.
/// - [`belongs`]: the credential was issued for the organization. It does not prove that the member is still
///   active, nor any right.
/// - [`service_scope`]: a service of Parta calls.
/// - [`lookup_scope`]: the caller is an account or a join flow, which has no organization. It proves no
///   relation to this one: the caller of the function looks that relation up.
/// - [`OrgScope::for_consumer`]: a feed consumer or a job acts on a committed fact.
#[derive(Debug, Clone, PartialEq)]
pub struct OrgScope {
    org_id: OrgId,
    actor: Principal,
}

impl OrgScope {
    /// Returns the organization of the scope.
    pub fn org_id(&self) -> OrgId {
        self.org_id
    }

    /// Returns the acting principal.
    pub fn actor(&self) -> &Principal {
        &self.actor
    }

    /// Returns the scope of a feed consumer or a durable job. It acts on a committed fact whose author was
    /// authorized.
    pub fn for_consumer(name: &'static str, org_id: OrgId) -> Self {
        Self {
            org_id,
            actor: Principal::Service {
                name: name.to_owned(),
            },
        }
    }

    /// Returns NOT_FOUND (organization) for a caller of another organization, and unless `accepts` holds for
    /// the acting principal.
    fn of(caller: &Caller, org_id: OrgId, accepts: bool) -> Result<Self, RpcError> {
        let actor = caller.acting();
        if !accepts || actor.org_id().is_some_and(|own| own != org_id) {
            return Err(not_found("organization", org_id));
        }
        Ok(Self {
            org_id,
            actor: actor.clone(),
        })
    }
}

/// Turns the decision of a policy into a scope. A caller of another organization gets NOT_FOUND, whatever the
/// policy decided.
pub fn authorize(caller: &Caller, org_id: OrgId, decision: Decision) -> Result<OrgScope, RpcError> {
    let inside = !matches!(decision, Decision::Outside);
    let scope = OrgScope::of(caller, org_id, inside)?;
    match decision {
        Decision::Deny(refusal) => Err(refusal),
        Decision::Allow | Decision::Outside => Ok(scope),
    }
}

/// Returns the scope of a caller who belongs to the organization: the credential of a person or a service
/// account was issued for it. Others get NOT_FOUND. It decides nothing about the act: the caller of this
/// function has decided, or decides with a row that it reads within the scope.
pub fn belongs(caller: &Caller, org_id: OrgId) -> Result<OrgScope, RpcError> {
    OrgScope::of(caller, org_id, caller.acting().org_id().is_some())
}

/// Returns the name of the operator. Other callers get CALLER_NOT_ACCEPTED. The access rule of the RPC
/// accepts no other caller either; this is the second check.
pub fn require_operator(caller: &Caller) -> Result<&str, RpcError> {
    match &caller.principal {
        Principal::Operator { name } => Ok(name),
        _ => Err(caller_not_accepted(
            caller.rpc,
            "Only the operator can call this.",
        )),
    }
}

/// Returns the scope of a service of Parta that acts in any organization, for an RPC whose access rule admits
/// only services. Other callers get NOT_FOUND, and so does a service on behalf of a person of another
/// organization.
pub fn service_scope(caller: &Caller, org_id: OrgId) -> Result<OrgScope, RpcError> {
    OrgScope::of(
        caller,
        org_id,
        matches!(caller.principal, Principal::Service { .. }),
    )
}

/// Returns the scope in which an account or a join flow finds the row that relates it to the organization,
/// for example the member of the account. Other callers get NOT_FOUND. The caller of this function refuses if
/// there is no such row.
pub fn lookup_scope(caller: &Caller, org_id: OrgId) -> Result<OrgScope, RpcError> {
    let has_no_organization = matches!(
        caller.acting(),
        Principal::Account { .. } | Principal::Joiner { .. }
    );
    OrgScope::of(caller, org_id, has_no_organization)
}
