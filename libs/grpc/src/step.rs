//! What a layer is. Written by hand instead of nine tower services: a list of values can be read and asserted.
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{Status, body::Body};

pub(crate) type Request = http::Request<Body>;
pub(crate) type Response = http::Response<Body>;
/// What a layer answers: a response, or a status that the `status` layer turns into one.
pub type Outcome = Result<http::Response<Body>, Status>;
pub(crate) type Callee = Arc<dyn Fn(Request) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// One layer.
pub trait Step: Send + Sync + 'static {
    /// Its name in the documented order.
    fn name(&self) -> &'static str;
    /// Handles the call, usually by passing it on with `next.run`.
    fn call<'a>(&'a self, request: http::Request<Body>, next: Next<'a>) -> BoxFuture<'a, Outcome>;
}

/// The layers below and what they wrap.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    steps: &'a [Arc<dyn Step>],
    callee: &'a Callee,
}

impl<'a> Next<'a> {
    /// Passes the call on.
    pub fn run(self, request: http::Request<Body>) -> BoxFuture<'a, Outcome> {
        match self.steps.split_first() {
            Some((step, steps)) => step.call(
                request,
                Next {
                    steps,
                    callee: self.callee,
                },
            ),
            None => (self.callee)(request),
        }
    }
}

/// Layers in request order around a callee.
#[derive(Clone)]
pub(crate) struct Stack {
    pub(crate) steps: Arc<[Arc<dyn Step>]>,
    pub(crate) callee: Callee,
}

impl Stack {
    pub(crate) fn run(&self, request: Request) -> BoxFuture<'static, Outcome> {
        let stack = self.clone();
        Box::pin(async move {
            Next {
                steps: &stack.steps,
                callee: &stack.callee,
            }
            .run(request)
            .await
        })
    }
}

/// A stack as the service that tonic's server wants.
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
        let answer = self.0.run(request);
        Box::pin(async move { Ok(answer.await.unwrap_or_else(Status::into_http)) })
    }
}
