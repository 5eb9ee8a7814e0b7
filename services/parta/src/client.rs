//! A client of a running suite: one credential, one address for all services or one for each.
mod operator;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use chrono::TimeDelta;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use parta_grpc::{ClientBuilder, Idempotent, Patience, ServiceChannel, Target};
use parta_ids::Env;
use parta_proto::timestamp;
use parta_proto_all::PACKAGES;
use parta_proto_call_scheduling::v1::call_service_client::CallServiceClient;
use parta_proto_chat::v1::{
    chat_service_client::ChatServiceClient, live_service_client::LiveServiceClient,
    message_service_client::MessageServiceClient,
};
use parta_proto_invitation::v1::invitation_service_client::InvitationServiceClient;
use parta_proto_membership::v1::{
    appointment_service_client::AppointmentServiceClient, assignment_service_client::AssignmentServiceClient,
    authentication_service_client::AuthenticationServiceClient,
    enrollment_service_client::EnrollmentServiceClient,
    guardianship_service_client::GuardianshipServiceClient,
    join_request_service_client::JoinRequestServiceClient, member_service_client::MemberServiceClient,
    operator_service_client::OperatorServiceClient, role_service_client::RoleServiceClient,
    roster_import_service_client::RosterImportServiceClient,
    suspension_service_client::SuspensionServiceClient,
};
use parta_proto_org_registry::v1::{
    application_service_client::ApplicationServiceClient,
    organization_service_client::OrganizationServiceClient, unit_service_client::UnitServiceClient,
};
use tonic::{
    Status,
    body::Body,
    transport::{Certificate, ClientTlsConfig},
};

use crate::output;
pub(crate) use operator::OperatorClient;

/// Timeout of one attempt of a call.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The time for which a call that the server refuses with UNAVAILABLE and `RetryInfo` is repeated with
/// the same `request_id`. README names it.
const RETRY_LIMIT: Duration = Duration::from_secs(30);
/// The time for which a call is repeated without a note for the person.
const SILENT_RETRIES: Duration = Duration::from_secs(3);
const AT_LEAST: &str = "parta-at-least";

/// The addresses of the services.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// `http://host:port` or `https://host:port` of every service without its own address.
    pub all: String,
    /// Addresses by service, for services in several processes: `chat` to `http://chat:7714`.
    pub own: BTreeMap<String, String>,
    /// PEM file of the authority that issued the certificates of `https` addresses; without it, the system
    /// roots are used.
    pub authority: Option<PathBuf>,
}

impl Endpoints {
    fn of(&self, service: &str) -> &str {
        self.own.get(service).unwrap_or(&self.all)
    }
}

pub(crate) fn read_operator_key(file: &Path) -> anyhow::Result<String> {
    let key = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the operator's key {}", file.display()))?;
    ensure!(
        !key.trim().is_empty(),
        "the operator's key {} is empty",
        file.display()
    );
    Ok(key)
}

/// Calls a server as one principal. Cheap to clone. Clones share their consistency tokens, so that a read
/// sees the earlier changes of every clone.
#[derive(Clone)]
pub struct Session {
    channels: Arc<BTreeMap<&'static str, ServiceChannel>>,
    credential: Option<HeaderValue>,
    seen: Arc<Mutex<BTreeMap<&'static str, HeaderValue>>>,
    repeats: bool,
    env: Env,
}

macro_rules! clients {
    ($($(#[$meta:meta])* $name:ident: $client:ident of $service:literal;)*) => {
        $($(#[$meta])* pub fn $name(&self) -> $client<Bound> { $client::new(self.bound($service)) })*
    };
}

impl Session {
    /// Creates a session without a credential. It connects on its first call.
    pub fn new(endpoints: &Endpoints) -> anyhow::Result<Self> {
        let patience = Patience {
            limit: RETRY_LIMIT,
            notice_after: SILENT_RETRIES,
            notice: Arc::new(output::waiting),
        };
        let mut builder = ClientBuilder::new(Env::system(), PACKAGES)
            .timeout(TIMEOUT)
            .patience(patience);
        if let Some(file) = &endpoints.authority {
            let authority = parta_runtime::read_authority(file).context("the certificate authority")?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
            builder = builder.tls(Arc::new(move || tls.clone()));
        }
        let channel = |service: &parta_runtime::Service| {
            let address = endpoints.of(service.name);
            let channel = builder.channel(service.name, Target::Uri(address.to_owned()));
            Ok((
                service.name,
                channel.map_err(|e| anyhow::anyhow!("invalid address {address}: {e}"))?,
            ))
        };
        let channels = crate::SERVICES.iter().map(channel);
        Ok(Self {
            channels: Arc::new(channels.collect::<anyhow::Result<_>>()?),
            credential: None,
            seen: Arc::default(),
            repeats: true,
            env: Env::system(),
        })
    }

    /// Returns the same session that makes one attempt of each call, for a refusal that is expected.
    #[must_use]
    pub fn without_retries(&self) -> Self {
        Self {
            repeats: false,
            ..self.clone()
        }
    }

    /// Returns the same session with a bearer credential: a token, or the operator's key.
    pub fn with(&self, token: &str) -> anyhow::Result<Self> {
        let mut credential = HeaderValue::from_str(&format!("Bearer {}", token.trim()))?;
        credential.set_sensitive(true);
        Ok(Self {
            credential: Some(credential),
            ..self.clone()
        })
    }

    /// Returns the same session as the operator, with the key read from a file.
    pub fn operator(&self, file: &Path) -> anyhow::Result<Self> {
        self.with(&read_operator_key(file)?)
    }

    /// Returns a new `request_id`.
    pub fn act(&self) -> String {
        self.env.ids.uuid().to_string()
    }

    /// Returns a moment this many seconds from now.
    pub fn seconds_from_now(&self, seconds: i64) -> prost_types::Timestamp {
        timestamp(self.env.now() + TimeDelta::seconds(seconds))
    }

    /// Stores a consistency token. Later calls of all clones present it.
    pub fn record_token(&self, service: &'static str, token: &str) {
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
        Bound {
            channel,
            headers,
            repeats: self.repeats,
        }
    }

    /// Returns a client of the services for the operator of the service with this name.
    pub(crate) fn operator_of(&self, service: &str) -> Result<OperatorClient, output::Failure> {
        OperatorClient::new(self, service)
    }

    clients! {
        applications: ApplicationServiceClient of "org-registry";
        /// Organizations and their policies.
        organizations: OrganizationServiceClient of "org-registry";
        /// Classes.
        units: UnitServiceClient of "org-registry";
        authentication: AuthenticationServiceClient of "membership";
        /// Appointments of founding administrators.
        appointments: AppointmentServiceClient of "membership";
        members: MemberServiceClient of "membership";
        /// Assignments of teachers.
        assignments: AssignmentServiceClient of "membership";
        /// Enrollments of pupils.
        enrollments: EnrollmentServiceClient of "membership";
        guardianships: GuardianshipServiceClient of "membership";
        /// Requests of people to join.
        join_requests: JoinRequestServiceClient of "membership";
        roster_imports: RosterImportServiceClient of "membership";
        /// Previews and undoing of changes of roles.
        roles: RoleServiceClient of "membership";
        /// Suspensions of members.
        suspensions: SuspensionServiceClient of "membership";
        /// Methods of membership for the operator.
        operators: OperatorServiceClient of "membership";
        invitations: InvitationServiceClient of "invitation";
        chats: ChatServiceClient of "chat";
        messages: MessageServiceClient of "chat";
        /// Live delivery.
        live: LiveServiceClient of "chat";
        /// Planned calls.
        calls: CallServiceClient of "call-scheduling";
    }
}

/// A channel that presents the credential of a session and its consistency tokens.
#[derive(Clone)]
pub struct Bound {
    channel: Option<ServiceChannel>,
    headers: HeaderMap,
    repeats: bool,
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
        // Every mutation carries a `request_id`, so any call may be retried.
        if self.repeats {
            request.extensions_mut().insert(Idempotent);
        }
        let channel = self.channel.clone();
        Box::pin(async move {
            let mut channel = channel.ok_or_else(|| Status::from(parta_status::unavailable("service")))?;
            tower::Service::call(&mut channel, request).await
        })
    }
}
