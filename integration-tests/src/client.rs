use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_grpc::ServiceChannel;
use parta_ids::Env;
use parta_status::RpcError;
use parta_testkit::dynamic::{self, DynamicClient};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use tonic::{Code, Request, Status, Streaming};

/// Metadata key of consistency tokens.
const AT_LEAST: &str = "parta-at-least";
/// Maximum number of retries of a call that the suite refuses with a delay for a retry.
const PATIENCE: u32 = 30;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub code: Code,
    /// The documented reason, for example "NOT_FOUND".
    pub reason: String,
}

/// Returns the reason of a refused call. Empty if it has none.
pub fn reason(status: &Status) -> String {
    RpcError::from_status(status)
        .map(|refusal| refusal.reason().to_owned())
        .unwrap_or_default()
}

/// Calls RPCs of a suite as one principal. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    channels: Arc<BTreeMap<String, ServiceChannel>>,
    env: Env,
    /// The value of the header `authorization`.
    credential: Option<String>,
    org_id: Option<String>,
    /// Last consistency token by service and organization. Shared, so that all clients of a test see earlier
    /// changes.
    seen: Arc<Mutex<BTreeMap<(String, String), String>>>,
}

impl Client {
    /// Creates an anonymous client from channels by service name.
    pub(crate) fn new(channels: BTreeMap<String, ServiceChannel>) -> Self {
        Self {
            channels: Arc::new(channels),
            env: Env::system(),
            credential: None,
            org_id: None,
            seen: Arc::default(),
        }
    }

    /// Returns the same client with a bearer credential.
    #[must_use]
    pub fn with(&self, token: &str) -> Self {
        Self {
            credential: Some(format!("Bearer {token}")),
            ..self.clone()
        }
    }

    /// Returns a client that shares consistency tokens only with its own clones. With concurrent calls, the
    /// last response may carry an older token.
    #[must_use]
    pub fn on_its_own(&self) -> Self {
        Self {
            seen: Arc::default(),
            ..self.clone()
        }
    }

    /// Returns a client that calls a service at another replica.
    #[must_use]
    pub fn at(&self, service: &str, replica: &str) -> Self {
        let mut channels = BTreeMap::clone(&self.channels);
        channels.insert(service.to_owned(), self.channel(replica));
        Self {
            channels: Arc::new(channels),
            ..self.clone()
        }
    }

    /// Returns the same client over the connections of another one.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        Self {
            channels: other.channels.clone(),
            ..self.clone()
        }
    }

    /// Returns the same client without a credential.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self {
            credential: None,
            org_id: None,
            ..self.clone()
        }
    }

    /// Returns a client that sets `org_id` in requests that omit it.
    #[must_use]
    pub fn of(&self, org_id: &str) -> Self {
        Self {
            org_id: Some(org_id.to_owned()),
            ..self.clone()
        }
    }

    /// Returns the organization of [`Client::of`].
    pub fn org_id(&self) -> Option<&str> {
        self.org_id.as_deref()
    }

    /// Returns the header `authorization`, if the client has a credential.
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// Returns the channel of a service, for a test's own generated clients.
    pub fn channel(&self, service: &str) -> ServiceChannel {
        self.channels
            .get(service)
            .expect("a service of the suite")
            .clone()
    }

    /// Returns a new UUID, for a `request_id`.
    pub fn request_id(&self) -> String {
        self.env.ids.uuid().to_string()
    }

    /// Calls `Service/Method` or its full name. Sets a missing `request_id`. Retries UNAVAILABLE with a
    /// delay, with the same `request_id`.
    pub async fn call(&self, rpc: &str, body: Value) -> Result<Value, Status> {
        let (method, body) = self.complete(rpc, body);
        for _ in 0..PATIENCE {
            let outcome = self.once(&method, body.clone()).await;
            match outcome.as_ref().err().and_then(wait) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return outcome,
            }
        }
        self.once(&method, body).await
    }

    /// [`Client::call`] that must succeed.
    pub async fn must(&self, rpc: &str, body: Value) -> Value {
        match self.call(rpc, body).await {
            Ok(response) => response,
            Err(status) => panic!(
                "{rpc}: {:?} {} {}",
                status.code(),
                reason(&status),
                status.message()
            ),
        }
    }

    /// Sets the roles of a member as a preview showed it, and returns the response of ChangeMemberRoles.
    pub async fn change_roles(&self, member_id: &str, roles: &[&str]) -> Value {
        let mut change = json!({"member_id": member_id, "roles": roles});
        let preview = self.must("RoleService/PreviewRoleChange", change.clone()).await;
        change["preview_etag"] = preview["preview_etag"].clone();
        self.must("MemberService/ChangeMemberRoles", change).await
    }

    /// [`Client::call`] that must be refused with a documented reason.
    pub async fn refused(&self, rpc: &str, body: Value) -> Refused {
        match self.call(rpc, body).await {
            Ok(response) => panic!("{rpc} was not refused and returned {response}"),
            Err(status) => Refused {
                code: status.code(),
                reason: reason(&status),
            },
        }
    }

    /// Opens a stream of responses.
    pub async fn open(&self, rpc: &str, body: Value) -> Result<Streaming<DynamicMessage>, Status> {
        let (method, body) = self.complete(rpc, body);
        for _ in 0..PATIENCE {
            let request = self.request(body.clone());
            let outcome = self.dynamic(&method).open(&dynamic::name(&method), request).await;
            match outcome.as_ref().err().and_then(wait) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return outcome,
            }
        }
        panic!("{rpc} requires repetitions for ever");
    }

    /// Makes one attempt with the request unchanged.
    pub async fn once(&self, method: &MethodDescriptor, body: Value) -> Result<Value, Status> {
        let request = self.request(body);
        let response = self.dynamic(method).call(&dynamic::name(method), request).await?;
        if let Some(token) = response["consistency_token"].as_str().filter(|t| !t.is_empty()) {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert((service_of(method), organization_of(token)), token.to_owned());
        }
        Ok(response)
    }

    /// Builds a request with the credential and the consistency tokens.
    pub fn request<T>(&self, body: T) -> Request<T> {
        let mut request = Request::new(body);
        let metadata = request.metadata_mut();
        if let Some(credential) = &self.credential {
            metadata.insert("authorization", credential.parse().expect("a header"));
        }
        for token in self.seen.lock().unwrap_or_else(PoisonError::into_inner).values() {
            metadata.append(AT_LEAST, token.parse().expect("a header"));
        }
        request
    }

    fn dynamic(&self, method: &MethodDescriptor) -> DynamicClient<ServiceChannel> {
        DynamicClient::new(self.channel(&service_of(method)))
    }

    fn complete(&self, rpc: &str, mut body: Value) -> (MethodDescriptor, Value) {
        let method = find(rpc);
        let input = method.input();
        let missing =
            |body: &Value, field: &str| input.get_field_by_name(field).is_some() && body.get(field).is_none();
        if missing(&body, "request_id") {
            body["request_id"] = json!(self.request_id());
        }
        if let Some(org_id) = &self.org_id
            && missing(&body, "org_id")
        {
            body["org_id"] = json!(org_id);
        }
        (method, body)
    }
}

/// Returns the service of an RPC by its package: "parta.org_registry.v1" belongs to org-registry.
pub(crate) fn service_of(method: &MethodDescriptor) -> String {
    let package = method.parent_service().package_name().to_owned();
    let name = package.split('.').nth(1).expect("parta.<service>");
    name.replace('_', "-")
}

fn find(rpc: &str) -> MethodDescriptor {
    if rpc.starts_with("parta.") {
        return dynamic::method(rpc);
    }
    let end = format!(".{rpc}");
    let mut known = dynamic::all_methods().into_iter();
    known
        .find(|method| dynamic::name(method).ends_with(&end))
        .unwrap_or_else(|| panic!("there is no RPC {rpc}"))
}

fn wait(status: &Status) -> Option<Duration> {
    let refusal = RpcError::from_status(status).filter(|_| status.code() == Code::Unavailable)?;
    // The suggested delay spreads many clients. A test has only one.
    refusal
        .retry_delay()
        .map(|delay| delay.min(Duration::from_millis(100)))
}

/// Returns the organization of a consistency token, which is opaque to other clients.
fn organization_of(token: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.split('"').nth(3).unwrap_or_default().to_owned()
}
