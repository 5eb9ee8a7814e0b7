//! The layers of the server, in request order, and the serving loop.
pub(crate) mod account_streams;
mod authenticate;
mod capture;
pub(crate) mod catch_panic;
pub(crate) mod connections;
pub(crate) mod deadline;
pub(crate) mod exchange;
pub(crate) mod in_flight;
mod media_type;
pub(crate) mod metrics;
pub(crate) mod proxies;
mod receive;
pub(crate) mod refusal;
mod sent;
mod serve;
mod shed;
mod status;
mod trace;
mod trace_id;
pub(crate) mod trace_slot;

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use parta_ids::Env;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::{Service, ServiceBuilder};

pub use authenticate::Authenticator;
pub use connections::{Admitted, ConnectionLimits, Connections};
pub use proxies::TrustedProxies;
pub use serve::{Accepted, ServeOptions, serve};
pub use shed::Limits;

use self::connections::RequestBytes;
use crate::{
    layer::{self, Outermost},
    methods::Methods,
    routes::Routes,
    rpc::{HttpRequest, HttpResponse, RpcRequest, RpcResult},
};

/// Returns the layers of one server of the RPCs `methods`. Its streams end when `draining` is canceled. Each
/// server has its own instance, so that external and internal calls have separate limits.
#[must_use]
pub fn layers(
    env: &Env,
    methods: Methods,
    authenticator: Arc<Authenticator>,
    limits: Limits,
    draining: CancellationToken,
) -> ServerLayers {
    let builder = ServiceBuilder::new()
        // Outermost: a panic in a layer or handler costs one call, returns INTERNAL and is logged.
        .layer(catch_panic::CatchPanic)
        // Opens a span per call, a child of the span of the caller (W3C context). All layers below log inside
        // it.
        .layer(trace::Trace::new(env))
        // Counts every call, including those that the layers below refuse.
        .layer(metrics::Metrics::server())
        // Returns the trace id under which the call was logged. It is not the idempotency key, which is
        // `request_id`.
        .layer(trace_id::ReturnTraceId)
        // Converts refusals of the layers below and of tonic to statuses with details.
        .layer(status::Details)
        // Refuses calls that exceed the concurrency limit, before any work is done for them.
        .layer(shed::Shed::new(limits))
        // Replies shortly before the timeout of the caller. After shedding, so that no call waits without a
        // limit.
        .layer(deadline::ServerDeadline::new(draining))
        // Determines the caller and whether the RPC accepts such callers. The operations decide about
        // permissions.
        .layer(authenticate::Authenticate::new(authenticator, env))
        // Limits the time and the bytes of the request. After authentication, so that only a caller whom the
        // RPC accepts takes of the bytes.
        .layer(receive::Receive::new(limits.receive))
        // Innermost, so that a call to another service made by the layers above is not captured as the
        // request.
        .layer(capture::CaptureRequest);
    ServerLayers {
        names: layer::names(&builder),
        around: Arc::new(move |routes| {
            // Called in the task of the stream.
            let convert = |result: RpcResult| {
                Ok(result.map_or_else(Status::into_http, |response| {
                    response.into_http(exchange::Exchange::current())
                }))
            };
            StackService {
                methods: methods.clone(),
                client: None,
                address: None,
                service: layer::outermost(builder.service(routes), convert),
            }
        }),
    }
}

/// The layers that [`layers`] built, which wrap routes. Cheap to clone.
#[derive(Clone)]
pub struct ServerLayers {
    names: Arc<[&'static str]>,
    around: Arc<dyn Fn(Routes) -> StackService + Send + Sync>,
}

impl ServerLayers {
    /// Returns the names of the layers in request order.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Wraps servers in the layers.
    #[must_use]
    pub fn around(&self, routes: Routes) -> StackService {
        (self.around)(routes)
    }
}

/// Routes inside of the layers, as a tower service. Cheap to clone.
#[derive(Clone)]
pub struct StackService {
    methods: Methods,
    /// The request bytes of the client of the connection.
    client: Option<Arc<RequestBytes>>,
    /// The address of the connection; `None` for a caller in this process.
    address: Option<IpAddr>,
    service: Outermost<Infallible>,
}

impl StackService {
    fn serve(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpResponse, Infallible>> {
        if !media_type::is_grpc(&request) {
            return Box::pin(std::future::ready(Ok(media_type::unsupported())));
        }
        let mut request = RpcRequest::new(request, &self.methods);
        request.client.clone_from(&self.client);
        request.address = self.address;
        (self.service)(request)
    }
}

impl Service<HttpRequest> for StackService {
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<HttpResponse, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        self.serve(request)
    }
}
