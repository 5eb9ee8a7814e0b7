//! Which server of a process answers a path.
use std::{collections::HashMap, convert::Infallible, fmt, sync::Arc};

use futures::future::BoxFuture;
use tonic::{Status, body::Body, server::NamedService};

use crate::step::{Request, Response};

/// What generated servers answer with.
type Answering = BoxFuture<'static, Result<Response, Infallible>>;
type Server = Arc<dyn Fn(Request) -> Answering + Send + Sync>;

/// What is generated for a service, or made like it.
pub trait Generated:
    tower::Service<Request, Response = Response, Error = Infallible, Future = Answering>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Generated for S where
    S: tower::Service<Request, Response = Response, Error = Infallible, Future = Answering>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Generated servers by the names of their services. A gRPC path has two fixed parts, so one look-up finds the server; the
/// router for arbitrary paths that tonic brings copies its routes and boxes both bodies for every call. Cheap to clone.
#[derive(Clone, Default)]
pub struct Routes(Arc<HashMap<&'static str, Server>>);

impl Routes {
    /// Routes to one server.
    pub fn new(server: impl Generated) -> Self {
        Self::default().add_service(server)
    }

    /// Adds a server; one of the same name is replaced. Servers are called without being asked whether they are ready, as
    /// generated ones always are.
    #[must_use]
    pub fn add_service<S: Generated>(mut self, server: S) -> Self {
        let call: Server = Arc::new(move |request| server.clone().call(request));
        Arc::make_mut(&mut self.0).insert(S::NAME, call);
        self
    }

    /// Both together; where both have a server of one name, that of `more`.
    #[must_use]
    pub fn merge(mut self, more: &Self) -> Self {
        let all = Arc::make_mut(&mut self.0);
        all.extend(more.0.iter().map(|(name, server)| (*name, server.clone())));
        self
    }

    /// The server's answer; UNIMPLEMENTED where there is none.
    #[expect(
        clippy::disallowed_methods,
        reason = "gRPC's own answer to an unknown service has no reason"
    )]
    pub(crate) fn serve(&self, request: Request) -> Answering {
        let server = service(request.uri().path()).and_then(|name| self.0.get(name));
        match server {
            Some(server) => server(request),
            None => Box::pin(async { Ok(Status::unimplemented("").into_http::<Body>()) }),
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `parta.chat.v1.MessageService` of `/parta.chat.v1.MessageService/SendMessage`.
fn service(path: &str) -> Option<&str> {
    let (service, _method) = path.strip_prefix('/')?.split_once('/')?;
    Some(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_service() {
        assert_eq!(service("/a.b.C/Do"), Some("a.b.C"));
        assert_eq!(service("/a.b.C/"), Some("a.b.C"));
        for path in ["", "/", "a.b.C/Do", "/a.b.C"] {
            assert_eq!(service(path), None, "{path}");
        }
    }
}
