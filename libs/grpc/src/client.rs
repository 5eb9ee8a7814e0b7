//! The layers of the client, in request order, and the builder of all channels of Parta.
mod credentials;
mod deadline;
mod replicas;
mod request;
mod retry;
mod trace;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use parta_access::ServiceIdentity;
use parta_ids::Env;
use parta_proto::Package;
use parta_status::{RpcError, error_chain};
use tonic::{
    Status,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tower::{Service, ServiceBuilder, ServiceExt as _};

use self::replicas::{EndpointSource, Failed, Replicas};
pub use self::{
    request::{Idempotent, OnBehalf, RequestExt},
    retry::Patience,
};

use crate::{
    in_memory::InMemoryTransport,
    layer::{self, Outermost},
    methods::Methods,
    rpc::{HttpRequest, HttpResponse, RpcRequest, RpcResponse, RpcResult},
    server::metrics::Metrics,
};

/// The location of a service.
#[derive(Clone)]
pub enum Target {
    /// In this process.
    Memory(InMemoryTransport),
    /// At `http://host:port` or `https://host:port`.
    Uri(String),
}

/// Returns the TLS configuration of a new connection.
pub type TlsSource = Arc<dyn Fn() -> ClientTlsConfig + Send + Sync>;

/// Builds channels with the client layers.
#[derive(Clone)]
pub struct ClientBuilder {
    env: Env,
    methods: Methods,
    identity: Option<Arc<ServiceIdentity>>,
    tls: Option<TlsSource>,
    timeout: Duration,
    patience: Option<Patience>,
}

impl ClientBuilder {
    /// Returns a builder of channels for the RPCs of `packages`, without an identity: calls carry the
    /// credential of a person or none. A call to an RPC of another package fails, because its limits are not
    /// known.
    #[must_use]
    pub fn new(env: Env, packages: &[&'static Package]) -> Self {
        Self {
            env,
            methods: Methods::of(packages),
            identity: None,
            tls: None,
            timeout: Duration::from_secs(10),
            patience: None,
        }
    }

    /// Authenticates the calls as those of a service.
    #[must_use]
    pub fn identity(mut self, identity: Arc<ServiceIdentity>) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets the TLS configuration of `https` targets; by default, the system roots are used. `tls` is called
    /// for each connection, so that a new authority needs no restart.
    #[must_use]
    pub fn tls(mut self, tls: TlsSource) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the time limit of one attempt of a unary call; 10 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Repeats refused calls until a time limit; by default, at most three attempts are made.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Builds a channel to the service `name` (kebab-case). It connects at the first call and reconnects
    /// after every loss. A host name that has several addresses stands for replicas, to which calls go in
    /// turn.
    pub fn channel(&self, name: &str, target: Target) -> Result<ServiceChannel, ClientError> {
        let wrong = |error: String| ClientError(format!("channel to `{name}`: {error}"));
        let transport = match target {
            Target::Uri(text) => {
                let tls = self.tls.clone();
                let uri: http::Uri = text.parse().map_err(|e| wrong(format!("{e}")))?;
                let source: EndpointSource = Arc::new(move || endpoint(&text, tls.as_ref()));
                source().map_err(|e| wrong(error_chain(&e)))?;
                Transport::Replicas(Replicas::new(name, &uri, source))
            }
            Target::Memory(pipe) => {
                let endpoint =
                    endpoint("http://in-process.invalid", None).map_err(|e| wrong(error_chain(&e)))?;
                let connector = tower::service_fn(move |_| pipe.clone().connect());
                Transport::Memory(Arc::new(endpoint.connect_with_connector_lazy(connector)))
            }
        };
        Ok(self.layered(name, transport))
    }

    fn layered(&self, name: &str, transport: Transport) -> ServiceChannel {
        let builder = ServiceBuilder::new()
            // Continues the trace of the call being served, or starts a new one.
            .layer(trace::Trace::new(&self.env))
            // Records one observation per call, including its retries.
            .layer(Metrics::client())
            // Retries UNAVAILABLE with RetryInfo and failed connections, only for requests marked as
            // idempotent, and within a budget or until the limit of `patience`.
            .layer(retry::Retry::new(name, &self.env, self.patience.clone()))
            // Per attempt: the smaller of the configured limit and the remaining time of the call being
            // served.
            .layer(deadline::ClientDeadline {
                timeout: self.timeout,
            })
            // Added per attempt, because service tokens are valid for one minute.
            .layer(credentials::Credentials::new(self.identity.clone(), name));
        let convert = |result: RpcResult| result.map(|response| response.into_http(None));
        ServiceChannel {
            names: layer::names(&builder),
            methods: self.methods.clone(),
            service: layer::outermost(builder.service(transport), convert),
        }
    }
}

/// The settings of a connection to a URI.
#[expect(clippy::disallowed_methods, reason = "this is the client builder")]
fn endpoint(uri: &str, tls: Option<&TlsSource>) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(uri.to_owned())?
        // Holds for reconnects too, which tonic makes without the task of the replicas.
        .connect_timeout(replicas::CONNECT_TIMEOUT)
        // Also sent without calls in flight, so that a dead peer is detected before the next call.
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    if !uri.starts_with("https:") {
        return Ok(endpoint);
    }
    let tls = tls.map_or_else(|| ClientTlsConfig::new().with_enabled_roots(), |tls| tls());
    endpoint.tls_config(tls)
}

/// The innermost service of a client.
#[derive(Clone)]
enum Transport {
    /// A channel is not cheap to clone, so that only a call clones it.
    Memory(Arc<Channel>),
    Replicas(Replicas),
}

impl Service<RpcRequest> for Transport {
    type Response = RpcResponse;
    type Error = Status;
    type Future = BoxFuture<'static, RpcResult>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        match self {
            Self::Memory(channel) => {
                let sent = Channel::clone(channel).oneshot(request.http);
                sent.map(|result| result.map(RpcResponse::from).map_err(unreachable))
                    .boxed()
            }
            Self::Replicas(replicas) => {
                let sent = replicas.clone().call(request.http);
                sent.map(|result| {
                    result.map(RpcResponse::from).map_err(|failed| match failed {
                        Failed::Unreachable(error) => unreachable(error),
                        Failed::Transport(error) => unreachable(error),
                    })
                })
                .boxed()
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tonic keeps the error of the transport as the source"
)]
fn unreachable(error: impl std::error::Error + Send + Sync + 'static) -> Status {
    tracing::debug!(error = %error_chain(&error), "transport failed");
    Status::from_error(Box::new(error))
}

/// The channel for generated clients. Cheap to clone.
#[derive(Clone)]
pub struct ServiceChannel {
    names: Arc<[&'static str]>,
    methods: Methods,
    service: Outermost<Status>,
}

impl ServiceChannel {
    /// Returns the names of the layers in request order.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }
}

impl Service<HttpRequest> for ServiceChannel {
    type Response = HttpResponse;
    type Error = Status;
    type Future = BoxFuture<'static, Result<HttpResponse, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let request = RpcRequest::new(request, &self.methods);
        let path = request.http.uri().path();
        if request.method.is_none() && self.methods.lack_package_of(path) {
            let fault = RpcError::internal(format!("the package of {path} is not among those of the client"));
            return ready(Err(fault.into())).boxed();
        }
        (self.service)(request)
    }
}

/// The error of a target for which no channel can be built.
#[derive(Debug, Clone)]
pub struct ClientError(String);

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ClientError {}
