use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use chrono::{DateTime, Utc};
use parta_ids::{AccountId, FlowId, MemberId, OrgId, ServiceAccountId, ServiceAccountKeyId, SessionId};
use parta_status::RpcError;

use crate::{LinkDigest, ServiceAccountPermission};

/// The identity that a credential proves.
#[derive(Debug, Clone, PartialEq)]
pub enum Principal {
    /// A caller without a credential.
    Anonymous,
    /// A signed-in person who has not selected an organization. Only membership accepts it.
    Account {
        /// The person.
        account_id: AccountId,
        /// The session.
        session_id: SessionId,
    },
    /// A member of one organization.
    Person {
        /// The organization.
        org_id: OrgId,
        /// The member.
        member_id: MemberId,
        /// The session id in its pairwise form for this organization.
        session_id: SessionId,
    },
    /// A person who is accepting an invitation.
    Joiner {
        /// The flow, which is the same for one person and one link.
        flow_id: FlowId,
        /// The link for which the ticket was made.
        link: LinkDigest,
        /// The session in which the ticket was made, by an id that only join tickets have.
        session_id: SessionId,
    },
    /// The operator of the platform.
    Operator {
        /// The name of the operator in the audit log.
        name: String,
    },
    /// An external system.
    ServiceAccount {
        /// The organization of the service account.
        org_id: OrgId,
        /// The account.
        id: ServiceAccountId,
        /// The key for which the token was issued. Revoking it ends its tokens, but not those of the other
        /// key.
        key_id: ServiceAccountKeyId,
        /// The permissions of the service account.
        permissions: BTreeSet<ServiceAccountPermission>,
    },
    /// Another service of Parta.
    Service {
        /// The kebab-case name of the service.
        name: String,
    },
}

impl Principal {
    /// Returns a text that identifies the principal, for keys of records that belong to one principal.
    pub fn key(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Account { account_id, .. } => account_id.to_string(),
            Self::Person {
                org_id, member_id, ..
            } => format!("{org_id}/{member_id}"),
            Self::Joiner { flow_id, .. } => flow_id.to_string(),
            Self::Operator { name } => format!("operator/{name}"),
            Self::ServiceAccount { org_id, id, .. } => format!("{org_id}/{id}"),
            Self::Service { name } => format!("service/{name}"),
        }
    }

    /// Returns the organization of the principal, if it has one.
    pub fn org_id(&self) -> Option<OrgId> {
        match self {
            Self::Person { org_id, .. } | Self::ServiceAccount { org_id, .. } => Some(*org_id),
            _ => None,
        }
    }
}

/// The caller of an RPC, as determined by the authenticate layer.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The principal that presented the credential.
    pub principal: Principal,
    /// The person for whom a service calls with that person's token.
    pub on_behalf_of: Option<Principal>,
    /// The bearer token as received, to be forwarded to another service.
    pub token: Option<Arc<str>>,
    /// When the credential expires. Streams end at that time.
    pub expire_time: Option<DateTime<Utc>>,
    /// The time since which the person may read personal and named chats, if the session was started with a
    /// one-time code that nobody has confirmed (F11).
    pub reads_since: Option<DateTime<Utc>>,
    /// The network from which the client calls: an IPv4 address, or an IPv6 /64 network. `None` for a caller
    /// in this process. It is personal data, and no proof of anything.
    pub network: Option<IpAddr>,
    /// The full name of the RPC: `parta.chat.v1.MessageService/SendMessage`.
    pub rpc: &'static str,
}

impl Caller {
    /// Returns a caller without a credential.
    pub fn anonymous(rpc: &'static str) -> Self {
        Self::new(Principal::Anonymous, rpc)
    }

    /// Returns a caller with this principal and without a token to forward.
    pub fn new(principal: Principal, rpc: &'static str) -> Self {
        Self {
            principal,
            on_behalf_of: None,
            token: None,
            expire_time: None,
            reads_since: None,
            network: None,
            rpc,
        }
    }

    /// Returns the caller of a request that passed the authenticate layer.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, RpcError> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| RpcError::internal("a request reached a handler without the authenticate layer"))
    }

    /// Returns the principal whose rights decide: the person on whose behalf a service calls, otherwise the
    /// principal that presented the credential.
    pub fn acting(&self) -> &Principal {
        self.on_behalf_of.as_ref().unwrap_or(&self.principal)
    }

    /// Returns the organization and the member id of the acting person.
    pub fn person(&self) -> Option<(OrgId, MemberId)> {
        match self.acting() {
            Principal::Person {
                org_id, member_id, ..
            } => Some((*org_id, *member_id)),
            _ => None,
        }
    }
}
