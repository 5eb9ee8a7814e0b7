//! The trait of a layer. It replaces nine tower services, because a list of values can be read and asserted.
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{Status, body::Body};

use crate::{
    body::ResponseGuard,
    methods::{self, Method},
    routes::Routes,
};

pub(crate) type Request = http::Request<Body>;
pub(crate) type Response = http::Response<Body>;
/// The result of a layer: a response, or a status that the `status` layer converts to one.
pub type RpcResult = Result<RpcResponse, Status>;

/// A request on its way through the layers.
pub struct RpcRequest {
    pub(crate) request: Request,
    /// The RPC of its path, looked up once for all layers.
    pub(crate) method: Option<&'static Method>,
}

impl RpcRequest {
    pub(crate) fn new(request: Request) -> Self {
        let method = methods::find(request.uri().path());
        Self { request, method }
    }

    /// Returns whether the call is a health check or reflection, which work while other calls are refused.
    pub(crate) fn is_open(&self) -> bool {
        self.method.is_none() && methods::is_open(self.request.uri().path())
    }

    /// Returns the name for logs and labels. An unknown path is text of the caller and is not used.
    pub(crate) fn rpc(&self) -> &'static str {
        self.method.map_or("unknown", |m| m.path.trim_start_matches('/'))
    }
}

/// A response, and the work to do while its body is sent.
#[derive(Debug)]
pub struct RpcResponse {
    pub(crate) response: Response,
    pub(crate) guard: ResponseGuard,
}

impl From<Response> for RpcResponse {
    fn from(response: Response) -> Self {
        Self {
            response,
            guard: ResponseGuard::default(),
        }
    }
}

/// One layer.
pub trait Step: Send + Sync + 'static {
    /// Returns the name of the layer in the documented order.
    fn name(&self) -> &'static str;
    /// Handles the call, usually by calling `next.run`.
    fn call<'a>(&'a self, call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult>;
}

/// The innermost callee of the layers.
#[derive(Clone)]
pub(crate) enum Callee {
    /// On the server.
    Routes(Routes),
    /// On the client.
    Transport(Transport),
}

pub(crate) type Transport =
    Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Response, Status>> + Send + Sync>;

/// The remaining layers and the callee.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    steps: &'a [Arc<dyn Step>],
    callee: &'a Callee,
}

impl<'a> Next<'a> {
    /// Runs the remaining layers.
    pub fn run(self, call: RpcRequest) -> Run<'a> {
        match self.steps.split_first() {
            Some((step, steps)) => Run::Step(step.call(
                call,
                Next {
                    steps,
                    callee: self.callee,
                },
            )),
            None => match self.callee {
                Callee::Routes(routes) => Run::Served(routes.serve(call.request)),
                Callee::Transport(transport) => Run::Sent(transport(call.request)),
            },
        }
    }
}

/// The future of the remaining layers.
pub enum Run<'a> {
    #[doc(hidden)]
    Step(BoxFuture<'a, RpcResult>),
    #[doc(hidden)]
    Served(BoxFuture<'static, Result<Response, Infallible>>),
    #[doc(hidden)]
    Sent(BoxFuture<'static, Result<Response, Status>>),
}

impl Future for Run<'_> {
    type Output = RpcResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RpcResult> {
        match &mut *self {
            Self::Step(outcome) => outcome.as_mut().poll(cx),
            Self::Served(answer) => answer.as_mut().poll(cx).map(|answer| match answer {
                Ok(response) => Ok(response.into()),
                Err(never) => match never {},
            }),
            Self::Sent(answer) => answer.as_mut().poll(cx).map_ok(RpcResponse::from),
        }
    }
}

/// A callee with its layers, in request order.
#[derive(Clone)]
pub(crate) struct Stack {
    pub(crate) steps: Arc<[Arc<dyn Step>]>,
    pub(crate) callee: Callee,
}

impl Stack {
    pub(crate) async fn run(self, request: Request) -> Result<Response, Status> {
        let next = Next {
            steps: &self.steps,
            callee: &self.callee,
        };
        let RpcResponse { response, guard } = next.run(RpcRequest::new(request)).await?;
        Ok(guard.wrap(response))
    }
}

/// A stack as the service that the server of tonic requires.
#[derive(Clone)]
pub struct StackService(pub(crate) Stack);

impl tower::Service<Request> for StackService {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = self.0.clone().run(request);
        Box::pin(async move { Ok(answer.await.unwrap_or_else(Status::into_http)) })
    }
}
