use parta_access::Caller;
use parta_status::{self as status, RpcError};
use uuid::Uuid;

/// What makes a state-changing call one act however often it is sent: who, which RPC, which `request_id`.
#[derive(Debug, Clone)]
pub struct Mutation {
    principal: String,
    rpc: String,
    request_id: Uuid,
    request: Vec<u8>,
}

impl Mutation {
    /// The mutation that a call asks for; refuses a `request_id` that is no UUID.
    pub fn new(caller: &Caller, request_id: &str, request: &impl prost::Message) -> Result<Self, RpcError> {
        let id = Uuid::try_parse(request_id).ok().filter(|id| !id.is_nil());
        let id = id.ok_or_else(|| status::invalid("request_id", "must be a UUID, new for each act"))?;
        let mut principal = caller.principal.key();
        if let Some(person) = &caller.on_behalf_of {
            principal = format!("{principal} for {}", person.key());
        }
        Ok(Self {
            principal,
            rpc: caller.rpc.to_string(),
            request_id: id,
            request: request.encode_to_vec(),
        })
    }

    /// An act of the service itself: `name` says of which job or consumer, `request_id` is derived from its cause.
    pub fn internal(name: &str, request_id: Uuid, request: &impl prost::Message) -> Self {
        Self {
            principal: "internal".into(),
            rpc: name.to_owned(),
            request_id,
            request: request.encode_to_vec(),
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
