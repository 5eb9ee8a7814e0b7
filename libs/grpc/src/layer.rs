//! The parts that all layers have in common: the pair of a layer and its inner service, the future of a
//! layer, and the names of a list of layers.
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Map, Ready, ready as resolved},
};
use pin_project_lite::pin_project;
use tonic::Status;
use tower::{
    Service, ServiceBuilder,
    layer::util::{Identity, Stack},
};

use crate::rpc::{HttpResponse, RpcRequest, RpcResponse, RpcResult};

/// A service inside of layers. Every layer and every innermost service is always ready, so none has to be
/// polled before a call.
pub(crate) trait RpcService: Service<RpcRequest, Response = RpcResponse, Error = Status> {}

impl<S> RpcService for S where S: Service<RpcRequest, Response = RpcResponse, Error = Status> {}

/// A layer around its inner service. Servers clone it for each call, so layers share what they hold.
#[derive(Clone)]
pub(crate) struct Layered<L, S> {
    pub(crate) layer: L,
    pub(crate) inner: S,
}

/// A layer that appears in the list of names.
pub(crate) trait Named {
    /// The name of the layer in the documented order.
    const NAME: &'static str;
}

/// Implements [`tower::Layer`] and [`Named`]. The type implements [`Service`] as [`Layered`].
macro_rules! layer {
    ($layer:ty, $name:literal) => {
        impl<S> tower::Layer<S> for $layer {
            type Service = $crate::layer::Layered<Self, S>;

            fn layer(&self, inner: S) -> Self::Service {
                let layer = self.clone();
                $crate::layer::Layered { layer, inner }
            }
        }

        impl $crate::layer::Named for $layer {
            const NAME: &'static str = $name;
        }
    };
}
pub(crate) use layer;

/// The list of layers that a [`ServiceBuilder`] holds.
pub(crate) trait LayerList {
    /// Adds the names, the outermost layer first.
    fn push_names(names: &mut Vec<&'static str>);
}

impl LayerList for Identity {
    fn push_names(_: &mut Vec<&'static str>) {}
}

impl<Inner: Named, Outer: LayerList> LayerList for Stack<Inner, Outer> {
    fn push_names(names: &mut Vec<&'static str>) {
        Outer::push_names(names);
        names.push(Inner::NAME);
    }
}

/// Returns the names of the layers in request order.
pub(crate) fn names<L: LayerList>(_: &ServiceBuilder<L>) -> Arc<[&'static str]> {
    let mut names = Vec::new();
    L::push_names(&mut names);
    names.into()
}

/// The work of a layer on the way back.
pub(crate) trait OnResponse<T> {
    /// Turns the output of the inner future into the result of the layer.
    fn on_response(self, output: T) -> RpcResult;
}

pin_project! {
    /// The future of a layer: the future of its inner service, and then the work on the way back. A layer
    /// boxes neither, so that the whole list has one box.
    pub(crate) struct ResponseFuture<F, R> {
        #[pin]
        inner: F,
        on_response: Option<R>,
    }
}

impl<F, R> ResponseFuture<F, R> {
    pub(crate) const fn new(inner: F, on_response: R) -> Self {
        Self {
            inner,
            on_response: Some(on_response),
        }
    }
}

impl<F: Future, R: OnResponse<F::Output>> Future for ResponseFuture<F, R> {
    type Output = RpcResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RpcResult> {
        let this = self.project();
        let output = ready!(this.inner.poll(cx));
        match this.on_response.take() {
            Some(on_response) => Poll::Ready(on_response.on_response(output)),
            None => Poll::Pending,
        }
    }
}

/// The future of a call that a layer refuses.
pub(crate) type Refused = Map<Ready<Status>, fn(Status) -> RpcResult>;

pub(crate) fn refused(status: Status) -> Refused {
    resolved(status).map(Err)
}

/// The outermost service, without the type of its layers. Cheap to clone.
pub(crate) type Outermost<E> =
    Arc<dyn Fn(RpcRequest) -> BoxFuture<'static, Result<HttpResponse, E>> + Send + Sync>;

/// Erases the type of a service. Each call is to a clone, because a tower service is called mutably.
pub(crate) fn outermost<S, E>(service: S, convert: fn(RpcResult) -> Result<HttpResponse, E>) -> Outermost<E>
where
    S: RpcService<Future: Send + 'static> + Clone + Send + Sync + 'static,
    E: 'static,
{
    Arc::new(move |request| Box::pin(service.clone().call(request).map(convert)))
}
