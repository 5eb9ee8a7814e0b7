//! Maps paths to the servers of a process.
use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Map},
};
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use crate::rpc::{HttpRequest, HttpResponse, RpcRequest, RpcResponse, RpcResult};

/// The future that generated servers return.
type Answering = BoxFuture<'static, Result<HttpResponse, Infallible>>;
type Server = Arc<dyn Fn(HttpRequest) -> Answering + Send + Sync>;

/// A generated server, or one with the same interface.
pub trait Generated:
    Service<HttpRequest, Response = HttpResponse, Error = Infallible, Future = Answering>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Generated for S where
    S: Service<HttpRequest, Response = HttpResponse, Error = Infallible, Future = Answering>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Generated servers by the names of their services. A gRPC path has two fixed parts, so one lookup finds the
/// server. The generic router of tonic copies its routes and boxes both bodies for every call. Cheap to
/// clone.
#[derive(Clone, Default)]
pub struct Routes(Arc<HashMap<&'static str, Server>>);

impl Routes {
    /// Returns routes to one server.
    pub fn new(server: impl Generated) -> Self {
        Self::default().add_service(server)
    }

    /// Adds a server and replaces one with the same name. Servers are called without `poll_ready`, because
    /// generated servers are always ready.
    #[must_use]
    pub fn add_service<S: Generated>(mut self, server: S) -> Self {
        let call: Server = Arc::new(move |request| server.clone().call(request));
        Arc::make_mut(&mut self.0).insert(S::NAME, call);
        self
    }

    /// Merges both. If both have a server with the same name, that of `more` is used.
    #[must_use]
    pub fn merge(mut self, more: &Self) -> Self {
        let all = Arc::make_mut(&mut self.0);
        all.extend(more.0.iter().map(|(name, server)| (*name, server.clone())));
        self
    }

    /// Calls the server of the path. Returns UNIMPLEMENTED if there is none.
    #[expect(
        clippy::disallowed_methods,
        reason = "the gRPC status for an unknown service has no reason"
    )]
    fn serve(&self, request: HttpRequest) -> Answering {
        let server = service(request.uri().path()).and_then(|name| self.0.get(name));
        match server {
            Some(server) => server(request),
            None => Box::pin(async { Ok(Status::unimplemented("").into_http::<Body>()) }),
        }
    }
}

impl Service<RpcRequest> for Routes {
    type Response = RpcResponse;
    type Error = Status;
    type Future = Map<Answering, fn(Result<HttpResponse, Infallible>) -> RpcResult>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        self.serve(request.http).map(|served| {
            let Ok(response) = served;
            Ok(response.into())
        })
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Returns `parta.chat.v1.MessageService` for `/parta.chat.v1.MessageService/SendMessage`.
fn service(path: &str) -> Option<&str> {
    let (service, _method) = path.strip_prefix('/')?.split_once('/')?;
    Some(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_contains_its_service() {
        assert_eq!(service("/a.b.C/Do"), Some("a.b.C"));
        assert_eq!(service("/a.b.C/"), Some("a.b.C"));
        for path in ["", "/", "a.b.C/Do", "/a.b.C"] {
            assert_eq!(service(path), None, "{path}");
        }
    }
}
