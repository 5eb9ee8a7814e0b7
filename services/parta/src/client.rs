//! A client of a running suite: one credential, one address for all services or one for each.
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use parta_grpc::{ClientBuilder, Idempotent, ServiceChannel, Target};
use parta_ids::Env;
use parta_proto::parta::{
    call_scheduling::v1::call_service_client::CallServiceClient,
    chat::v1::{
        chat_service_client::ChatServiceClient, live_service_client::LiveServiceClient,
        message_service_client::MessageServiceClient,
    },
    invitation::v1::invitation_service_client::InvitationServiceClient,
    membership::v1::{
        appointment_service_client::AppointmentServiceClient,
        assignment_service_client::AssignmentServiceClient,
        authentication_service_client::AuthenticationServiceClient,
        enrollment_service_client::EnrollmentServiceClient,
        guardianship_service_client::GuardianshipServiceClient, member_service_client::MemberServiceClient,
        operator_service_client::OperatorServiceClient,
        roster_import_service_client::RosterImportServiceClient,
    },
    org_registry::v1::{
        application_service_client::ApplicationServiceClient,
        organization_service_client::OrganizationServiceClient, unit_service_client::UnitServiceClient,
    },
};
use tonic::{Status, body::Body};

/// Longest that one attempt of a call may take.
const TIMEOUT: Duration = Duration::from_secs(30);
const AT_LEAST: &str = "parta-at-least";

/// Where the services are.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// `http://host:port` or `https://host:port` of every service that has none of its own.
    pub all: String,
    /// By service, for a suite of several processes: `chat` to `http://chat:7714`.
    pub own: BTreeMap<String, String>,
}

impl Endpoints {
    fn of(&self, service: &str) -> &str {
        self.own.get(service).unwrap_or(&self.all)
    }
}

/// Calls a suite as one principal. Cheap to clone; clones share what they have seen, so that whoever reads after a
/// change of another sees it.
#[derive(Clone)]
pub struct Session {
    channels: Arc<BTreeMap<&'static str, ServiceChannel>>,
    credential: Option<HeaderValue>,
    seen: Arc<Mutex<BTreeMap<&'static str, HeaderValue>>>,
    env: Env,
}

macro_rules! clients {
    ($($(#[$meta:meta])* $name:ident: $client:ident of $service:literal;)*) => {
        $($(#[$meta])* pub fn $name(&self) -> $client<Bound> { $client::new(self.bound($service)) })*
    };
}

impl Session {
    /// A session without a credential; connects at its first call.
    pub fn new(endpoints: &Endpoints) -> anyhow::Result<Self> {
        let builder = ClientBuilder::new(Env::system()).timeout(TIMEOUT);
        let channel = |service: &parta_runtime::Service| {
            let address = endpoints.of(service.name);
            let channel = builder.channel(service.name, Target::Uri(address.to_owned()));
            Ok((
                service.name,
                channel.map_err(|e| anyhow::anyhow!("{address}: {e}"))?,
            ))
        };
        let channels = crate::SERVICES.iter().map(channel);
        Ok(Self {
            channels: Arc::new(channels.collect::<anyhow::Result<_>>()?),
            credential: None,
            seen: Arc::default(),
            env: Env::system(),
        })
    }

    /// The same with a bearer credential: a token, or the operator's key.
    pub fn with(&self, token: &str) -> anyhow::Result<Self> {
        let mut credential = HeaderValue::from_str(&format!("Bearer {}", token.trim()))?;
        credential.set_sensitive(true);
        Ok(Self {
            credential: Some(credential),
            ..self.clone()
        })
    }

    /// The same as the operator, whose key lies in a file.
    pub fn operator(&self, file: &Path) -> anyhow::Result<Self> {
        let key = std::fs::read_to_string(file)
            .with_context(|| format!("the operator's key {}", file.display()))?;
        self.with(&key)
    }

    /// A fresh `request_id`.
    pub fn act(&self) -> String {
        self.env.ids.uuid().to_string()
    }

    /// Remembers a consistency token: later calls of everybody wait until it is known where they go.
    pub fn saw(&self, service: &'static str, token: &str) {
        if let Ok(token) = HeaderValue::from_str(token)
            && !token.is_empty()
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(service, token);
        }
    }

    fn bound(&self, service: &'static str) -> Bound {
        let mut headers = HeaderMap::new();
        for token in self.seen.lock().unwrap_or_else(PoisonError::into_inner).values() {
            headers.append(AT_LEAST, token.clone());
        }
        if let Some(credential) = &self.credential {
            headers.insert(AUTHORIZATION, credential.clone());
        }
        let channel = self.channels.get(service).cloned();
        Bound { channel, headers }
    }

    clients! {
        /// Applications of organizations.
        applications: ApplicationServiceClient of "org-registry";
        /// Organizations and their policies.
        organizations: OrganizationServiceClient of "org-registry";
        /// Classes.
        units: UnitServiceClient of "org-registry";
        /// Signing in.
        authentication: AuthenticationServiceClient of "membership";
        /// Rights of founding administrators.
        appointments: AppointmentServiceClient of "membership";
        /// Members.
        members: MemberServiceClient of "membership";
        /// Tasks of teachers.
        assignments: AssignmentServiceClient of "membership";
        /// Movement of pupils.
        enrollments: EnrollmentServiceClient of "membership";
        /// Parents and children.
        guardianships: GuardianshipServiceClient of "membership";
        /// Roster imports.
        roster_imports: RosterImportServiceClient of "membership";
        /// What only the operator may do there.
        operators: OperatorServiceClient of "membership";
        /// Links.
        invitations: InvitationServiceClient of "invitation";
        /// Chats.
        chats: ChatServiceClient of "chat";
        /// Messages.
        messages: MessageServiceClient of "chat";
        /// Live delivery.
        live: LiveServiceClient of "chat";
        /// Planned calls.
        calls: CallServiceClient of "call-scheduling";
    }
}

/// A channel that presents a session's credential and what it has seen.
#[derive(Clone)]
pub struct Bound {
    channel: Option<ServiceChannel>,
    headers: HeaderMap,
}

impl tower::Service<http::Request<Body>> for Bound {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        request.headers_mut().extend(self.headers.clone());
        // Every mutation carries a request_id, so that any call may be repeated.
        request.extensions_mut().insert(Idempotent);
        let channel = self.channel.clone();
        Box::pin(async move {
            let mut channel = channel.ok_or_else(|| Status::from(parta_status::unavailable("service")))?;
            tower::Service::call(&mut channel, request).await
        })
    }
}
