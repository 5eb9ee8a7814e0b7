use bytes::Bytes;
use parta_access::Caller;
use parta_status::{self as status, RpcError};
use uuid::Uuid;

/// What makes a state-changing call one act however often it is sent: who, which RPC, which `request_id`.
#[derive(Debug, Clone)]
pub struct Mutation {
    principal: String,
    rpc: String,
    request_id: Uuid,
    request: Bytes,
}

impl Mutation {
    /// The mutation that a call asks for; refuses a `request_id` that is no UUID.
    pub fn new(caller: &Caller, request_id: &str, request: &impl prost::Message) -> Result<Self, RpcError> {
        Self::of_bytes(caller, request_id, request.encode_to_vec().into())
    }

    /// The same for a request whose bytes are known as they were received. A retry that another build receives has the
    /// same bytes, whether or not it knows all fields.
    pub fn of_bytes(caller: &Caller, request_id: &str, request: Bytes) -> Result<Self, RpcError> {
        let id = request_uuid(request_id).ok_or_else(|| status::invalid(REQUEST_ID, REQUEST_ID_RULE))?;
        let mut principal = caller.principal.key();
        if let Some(person) = &caller.on_behalf_of {
            principal = format!("{principal} for {}", person.key());
        }
        Ok(Self {
            principal,
            rpc: caller.rpc.to_string(),
            request_id: id,
            request,
        })
    }

    /// An act of the service itself: `name` says of which job or consumer, `request_id` is derived from its cause.
    pub fn internal(name: &str, request_id: Uuid, request: &impl prost::Message) -> Self {
        Self {
            principal: "internal".into(),
            rpc: name.to_owned(),
            request_id,
            request: request.encode_to_vec().into(),
        }
    }

    /// Who acts, by a key that outlives sessions.
    pub fn principal(&self) -> &str {
        &self.principal
    }
    /// Which RPC, or which job.
    pub fn rpc(&self) -> &str {
        &self.rpc
    }
    /// The caller's name for this act.
    pub fn request_id(&self) -> Uuid {
        self.request_id
    }
    pub(crate) fn request(&self) -> &[u8] {
        &self.request
    }
}

/// The field that names a mutation.
pub const REQUEST_ID: &str = "request_id";
/// What the field must hold, as a refusal says it.
pub const REQUEST_ID_RULE: &str = "must be a UUID, new for each act";

/// Reads a `request_id`; `None` for what is not a UUID, and for the nil UUID.
pub fn request_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| !id.is_nil())
}
