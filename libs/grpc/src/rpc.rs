//! The request and the response that the layers pass on.
use std::{net::IpAddr, sync::Arc};

use parta_proto::Method;
use tonic::{Status, body::Body};

use crate::{
    body::ResponseGuard,
    methods::{self, Methods},
    server::{connections::RequestBytes, exchange::Exchange},
};

pub(crate) type HttpRequest = http::Request<Body>;
pub(crate) type HttpResponse = http::Response<Body>;
/// The result of a layer: a response, or a status that the `status` layer converts to one.
pub(crate) type RpcResult = Result<RpcResponse, Status>;

/// A request on its way through the layers.
pub(crate) struct RpcRequest {
    pub(crate) http: HttpRequest,
    /// The RPC of its path, looked up once for all layers.
    pub(crate) method: Option<&'static Method>,
    /// The request bytes of the client, on a server; `None` for a caller in this process.
    pub(crate) client: Option<Arc<RequestBytes>>,
    /// The address of the connection, on a server; `None` for a caller in this process.
    pub(crate) address: Option<IpAddr>,
}

impl RpcRequest {
    pub(crate) fn new(http: HttpRequest, methods: &Methods) -> Self {
        let method = methods.find(http.uri().path());
        Self {
            http,
            method,
            client: None,
            address: None,
        }
    }

    /// Returns whether the call is a health check or reflection, which work while other calls are refused.
    pub(crate) fn is_open(&self) -> bool {
        self.method.is_none() && methods::is_open(self.http.uri().path())
    }

    /// Returns whether the call is a single health check.
    pub(crate) fn is_health_check(&self) -> bool {
        methods::is_health_check(self.http.uri().path())
    }

    /// Returns the name for logs and labels. An unknown path is text of the caller and is not used.
    pub(crate) fn rpc(&self) -> &'static str {
        self.method.map_or("unknown", Method::rpc)
    }
}

/// A response, and the work to do while its body is sent.
#[derive(Debug)]
pub(crate) struct RpcResponse {
    pub(crate) http: HttpResponse,
    pub(crate) guard: ResponseGuard,
}

impl From<HttpResponse> for RpcResponse {
    fn from(http: HttpResponse) -> Self {
        Self {
            http,
            guard: ResponseGuard::default(),
        }
    }
}

impl RpcResponse {
    /// Returns the response with the body that does the work of the guard. `exchange` is that of the stream
    /// on which a server sends it.
    pub(crate) fn into_http(self, exchange: Option<Arc<Exchange>>) -> HttpResponse {
        self.guard.wrap(self.http, exchange)
    }
}
