use bytes::Bytes;
use parta_access::{Caller, Principal};
use parta_ids::OrgId;
use parta_status::{self as status, RpcError};
use uuid::Uuid;

/// The identity of a state-changing call, however often it is sent: the principal, the RPC and the
/// `request_id`.
#[derive(Debug, Clone)]
pub struct Mutation {
    principal: String,
    rpc: String,
    request_id: Uuid,
    request: Bytes,
    org_id: Option<OrgId>,
}

impl Mutation {
    /// Returns the mutation that a call requests. Refuses a `request_id` that is not a UUID.
    pub fn new(caller: &Caller, request_id: &str, request: &impl prost::Message) -> Result<Self, RpcError> {
        Self::of_bytes(caller, request_id, request.encode_to_vec().into())
    }

    /// Returns the mutation for a request whose encoded bytes are available. A retry that reaches another
    /// build has the same bytes, whether or not that build knows all fields.
    pub fn of_bytes(caller: &Caller, request_id: &str, request: Bytes) -> Result<Self, RpcError> {
        let id = request_uuid(request_id).ok_or_else(|| status::invalid(REQUEST_ID, REQUEST_ID_RULE))?;
        let mut principal = caller.principal.key();
        if let Some(person) = &caller.on_behalf_of {
            principal = format!("{principal} for {}", person.key());
        }
        Ok(Self {
            principal,
            rpc: caller.rpc.to_owned(),
            request_id: id,
            request,
            org_id: principal_org(caller),
        })
    }

    /// Returns the key of the principal, which outlives sessions.
    pub fn principal(&self) -> &str {
        &self.principal
    }
    /// Returns the name of the RPC.
    pub fn rpc(&self) -> &str {
        &self.rpc
    }
    /// Returns the id that the caller chose for the mutation.
    pub fn request_id(&self) -> Uuid {
        self.request_id
    }
    /// Returns the organization of the credential, if it has one.
    pub(crate) fn org_id(&self) -> Option<OrgId> {
        self.org_id
    }
    pub(crate) fn request(&self) -> &[u8] {
        &self.request
    }
}

fn principal_org(caller: &Caller) -> Option<OrgId> {
    let person = caller.on_behalf_of.as_ref().and_then(Principal::org_id);
    person.or_else(|| caller.principal.org_id())
}

/// The name of the field that identifies a mutation.
pub const REQUEST_ID: &str = "request_id";
/// The rule of the field, as stated in a field violation.
pub const REQUEST_ID_RULE: &str = "must be a UUID, new for each act";

/// Parses a `request_id`; `None` for text that is not a UUID, and for the nil UUID.
pub fn request_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| !id.is_nil())
}
