use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use parta_ids::{AccountId, FlowId, MemberId, OrgId, ServiceAccountId, SessionId};
use parta_status::RpcError;

/// Who a credential proves somebody to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Principal {
    /// Nobody in particular.
    Anonymous,
    /// A signed-in person who has not chosen an organization; membership alone meets it.
    Account {
        /// The person.
        account_id: AccountId,
        /// The sign-in.
        session_id: SessionId,
    },
    /// A member of one organization.
    Person {
        /// The organization.
        org_id: OrgId,
        /// The member.
        member_id: MemberId,
        /// The sign-in in its form towards this organization.
        session_id: SessionId,
    },
    /// Somebody about to accept an invitation.
    Joiner {
        /// The joining, the same for one person and one link.
        flow_id: FlowId,
    },
    /// The operator of the platform.
    Operator {
        /// Under which the audit knows the operator.
        name: String,
    },
    /// An external system.
    ServiceAccount {
        /// The organization it belongs to.
        org_id: OrgId,
        /// The account.
        id: ServiceAccountId,
        /// What it may do.
        permissions: BTreeSet<String>,
    },
    /// Another service of the suite.
    Service {
        /// Its kebab name.
        name: String,
    },
}

impl Principal {
    /// A text that tells principals apart, for keys of records that belong to one.
    pub fn key(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Account { account_id, .. } => account_id.to_string(),
            Self::Person {
                org_id, member_id, ..
            } => format!("{org_id}/{member_id}"),
            Self::Joiner { flow_id } => flow_id.to_string(),
            Self::Operator { name } => format!("operator/{name}"),
            Self::ServiceAccount { org_id, id, .. } => format!("{org_id}/{id}"),
            Self::Service { name } => format!("service/{name}"),
        }
    }

    /// The organization it belongs to, if it belongs to one.
    pub fn org_id(&self) -> Option<OrgId> {
        match self {
            Self::Person { org_id, .. } | Self::ServiceAccount { org_id, .. } => Some(*org_id),
            _ => None,
        }
    }
}

/// Who makes a call, as the authenticate layer found out.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who presented the credential.
    pub principal: Principal,
    /// The person for whom a service calls with the person's own token.
    pub on_behalf_of: Option<Principal>,
    /// The bearer token as it came, to travel along to another service.
    pub token: Option<Arc<str>>,
    /// When the credential ends; streams end with it.
    pub expire_time: Option<DateTime<Utc>>,
    /// Full name of the RPC: `parta.chat.v1.MessageService/SendMessage`.
    pub rpc: Arc<str>,
}

impl Caller {
    /// A caller without credential.
    pub fn anonymous(rpc: impl Into<Arc<str>>) -> Self {
        Self::new(Principal::Anonymous, rpc)
    }

    /// A caller of one kind, without a token to pass on.
    pub fn new(principal: Principal, rpc: impl Into<Arc<str>>) -> Self {
        Self {
            principal,
            on_behalf_of: None,
            token: None,
            expire_time: None,
            rpc: rpc.into(),
        }
    }

    /// The caller of a request that came through the authenticate layer.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, RpcError> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| RpcError::internal("a request reached a handler without the authenticate layer"))
    }

    /// Whose rights decide: the person a service calls for, otherwise who presented the credential.
    pub fn acting(&self) -> &Principal {
        self.on_behalf_of.as_ref().unwrap_or(&self.principal)
    }

    /// The acting person's organization and member id.
    pub fn person(&self) -> Option<(OrgId, MemberId)> {
        match self.acting() {
            Principal::Person {
                org_id, member_id, ..
            } => Some((*org_id, *member_id)),
            _ => None,
        }
    }
}
