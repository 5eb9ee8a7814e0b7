use parta_ids::OrgId;
use parta_status::{RpcError, not_found, permission_denied};

use crate::{Caller, Principal};

/// What a policy decided.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The act is permitted.
    Allow,
    /// The caller belongs here and is refused for this reason.
    Deny(RpcError),
    /// The caller has no business here and learns nothing, not even that there is something.
    Outside,
}

impl Decision {
    /// Allows when `holds`; otherwise denies, saying why.
    pub fn allow_if(holds: bool, why: &str) -> Self {
        if holds {
            Self::Allow
        } else {
            Self::Deny(permission_denied(why))
        }
    }

    /// Whether the act is permitted.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// Proof that a policy permitted an act in one organization. Storage asks for it; only [`authorize`] gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct OrgScope {
    org_id: OrgId,
    actor: Principal,
}

impl OrgScope {
    /// The organization in which the act was permitted.
    pub fn org_id(&self) -> OrgId {
        self.org_id
    }

    /// Who acts.
    pub fn actor(&self) -> &Principal {
        &self.actor
    }

    /// The scope of a consumer of a feed or of a durable job: it acts on a committed fact, whose maker was permitted.
    pub fn for_consumer(name: &'static str, org_id: OrgId) -> Self {
        Self {
            org_id,
            actor: Principal::Service {
                name: name.to_owned(),
            },
        }
    }
}

/// Turns a policy's decision into a scope. Who belongs to another organization gets NOT_FOUND whatever the policy said.
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
