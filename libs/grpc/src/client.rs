//! The client's layers, in request order, and the builder of every channel of the suite.
mod credentials;
mod deadline;
mod retry;
mod trace;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use parta_access::ServiceIdentity;
use parta_ids::Env;
use tonic::{
    Status,
    transport::{ClientTlsConfig, Endpoint},
};

use crate::{
    in_memory::InMemoryTransport,
    server::metrics::Metrics,
    step::{Callee, Request, Response, Stack, Step, Transport},
};

/// Put into the extensions of a request that travels with a person's token: the person's rights decide.
#[derive(Clone)]
pub struct OnBehalf(pub Arc<str>);

/// Put into the extensions of a request that may be sent again: a reading one, or one with a `request_id`.
#[derive(Debug, Clone, Copy)]
pub struct Idempotent;

/// Says how a request travels: `pb::GetUnitRequest{..}.into_request().idempotent()`.
pub trait RequestExt: Sized {
    /// Lets the person's token travel along.
    #[must_use]
    fn on_behalf(self, token: Arc<str>) -> Self;
    /// Allows retries.
    #[must_use]
    fn idempotent(self) -> Self;
}

impl<T> RequestExt for tonic::Request<T> {
    fn on_behalf(mut self, token: Arc<str>) -> Self {
        self.extensions_mut().insert(OnBehalf(token));
        self
    }

    fn idempotent(mut self) -> Self {
        self.extensions_mut().insert(Idempotent);
        self
    }
}

/// Where a service is.
#[derive(Clone)]
pub enum Target {
    /// In this process.
    Memory(InMemoryTransport),
    /// `http://host:port` or `https://host:port`.
    Uri(String),
}

/// Builds channels with the client layers.
#[derive(Clone)]
pub struct ClientBuilder {
    env: Env,
    identity: Option<Arc<ServiceIdentity>>,
    tls: Option<ClientTlsConfig>,
    timeout: Duration,
}

impl ClientBuilder {
    /// Without an identity: calls carry a person's credential or none.
    #[must_use]
    pub fn new(env: Env) -> Self {
        Self {
            env,
            identity: None,
            tls: None,
            timeout: Duration::from_secs(10),
        }
    }

    /// Presents the calls as those of a service.
    #[must_use]
    pub fn identity(mut self, identity: Arc<ServiceIdentity>) -> Self {
        self.identity = Some(identity);
        self
    }

    /// TLS of `https` targets; system roots otherwise.
    #[must_use]
    pub fn tls(mut self, tls: ClientTlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Longest time one attempt of a unary call may take; 10 s unless said.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A channel to the service `name` (kebab), connected at the first call and again after every loss.
    #[expect(clippy::disallowed_methods, reason = "this is the client builder")]
    pub fn channel(&self, name: &str, target: Target) -> Result<ServiceChannel, ClientError> {
        let wrong = |e: tonic::transport::Error| ClientError(format!("channel to `{name}`: {e}"));
        let uri = match &target {
            Target::Memory(_) => "http://in-process.invalid",
            Target::Uri(uri) => uri.as_str(),
        };
        let mut endpoint = Endpoint::from_shared(uri.to_owned())
            .map_err(wrong)?
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            // Also without calls in flight: a dead peer is noticed before the next call needs it.
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        if uri.starts_with("https:") {
            let tls = self
                .tls
                .clone()
                .unwrap_or_else(|| ClientTlsConfig::new().with_enabled_roots());
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        }
        let channel = match target {
            Target::Uri(_) => endpoint.connect_lazy(),
            Target::Memory(pipe) => {
                endpoint.connect_with_connector_lazy(tower::service_fn(move |_| pipe.clone().connect()))
            }
        };
        let transport: Transport = Arc::new(move |request| {
            let mut channel = channel.clone();
            Box::pin(async move {
                std::future::poll_fn(|cx| tower::Service::poll_ready(&mut channel, cx))
                    .await
                    .map_err(unreachable)?;
                tower::Service::call(&mut channel, request)
                    .await
                    .map_err(unreachable)
            })
        });
        Ok(ServiceChannel(Stack {
            steps: self.layers(name),
            callee: Callee::Transport(transport),
        }))
    }

    fn layers(&self, name: &str) -> Arc<[Arc<dyn Step>]> {
        Arc::new([
            // The trace of the call being served goes on, or a new one begins.
            Arc::new(trace::Trace::new(&self.env)) as Arc<dyn Step>,
            // One observation per call, its retries included.
            Arc::new(Metrics::client()),
            // UNAVAILABLE with RetryInfo or no connection at all; budgeted, and only what may be repeated.
            Arc::new(retry::Retry::new(name)),
            // Per attempt: the less of our own limit and what remains to the call being served.
            Arc::new(deadline::ClientDeadline {
                timeout: self.timeout,
            }),
            // Freshly minted per attempt, they live for a minute.
            Arc::new(credentials::Credentials::new(self.identity.clone(), name)),
        ])
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tonic derives the code from the transport error"
)]
fn unreachable(error: tonic::transport::Error) -> Status {
    tracing::debug!(error = %chain(&error), "transport failed");
    Status::from_error(Box::new(error))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// What generated clients are made with. Cheap to clone.
#[derive(Clone)]
pub struct ServiceChannel(Stack);

impl ServiceChannel {
    /// Names of the layers in request order.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.steps.iter().map(|step| step.name()).collect()
    }
}

impl tower::Service<Request> for ServiceChannel {
    type Response = Response;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.0.clone().run(request))
    }
}

/// A target that cannot be turned into a channel.
#[derive(Debug, Clone)]
pub struct ClientError(String);

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ClientError {}
