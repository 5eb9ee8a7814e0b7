use parta_ids::OrgId;
use parta_status::{RpcError, not_found, permission_denied};

use crate::{Caller, Principal};

/// The decision of a policy.
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

    /// Returns whether the act is permitted.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// Proof that a policy permitted an act in one organization. Storage functions require it; only [`authorize`]
/// creates it.
#[derive(Debug, Clone, PartialEq)]
pub struct OrgScope {
    org_id: OrgId,
    actor: Principal,
}

impl OrgScope {
    /// Returns the organization in which the act was permitted.
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
}

/// Turns the decision of a policy into a scope. A caller of another organization gets NOT_FOUND, whatever the
/// policy decided.
pub fn authorize(caller: &Caller, org_id: OrgId, decision: Decision) -> Result<OrgScope, RpcError> {
    let outside = || not_found("organization", org_id);
    if caller.acting().org_id().is_some_and(|own| own != org_id) {
        return Err(outside());
    }
    match decision {
        Decision::Allow => Ok(OrgScope {
            org_id,
            actor: caller.acting().clone(),
        }),
        Decision::Deny(refusal) => Err(refusal),
        Decision::Outside => Err(outside()),
    }
}
