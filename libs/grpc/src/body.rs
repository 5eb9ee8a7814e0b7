//! Bodies that watch the body they carry: its end, its span, its panics.
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Code, Status, body::Body};

type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// The code a response carries already in its head, as refusals do.
pub(crate) fn code_in_head<B>(response: &http::Response<B>) -> Option<Code> {
    response
        .headers()
        .get("grpc-status")
        .map(|v| Code::from_bytes(v.as_bytes()))
}

/// Runs `end` once with the code of the call: when its trailers pass, or as CANCELLED when it is dropped before.
pub(crate) struct OnEnd<F: FnOnce(Code) + Send + Unpin + 'static> {
    inner: Body,
    end: Option<F>,
}

impl<F: FnOnce(Code) + Send + Unpin + 'static> OnEnd<F> {
    pub(crate) fn wrap(response: http::Response<Body>, end: F) -> http::Response<Body> {
        if let Some(code) = code_in_head(&response) {
            end(code);
            return response;
        }
        response.map(|inner| {
            Body::new(Self {
                inner,
                end: Some(end),
            })
        })
    }

    fn finish(&mut self, code: Code) {
        if let Some(end) = self.end.take() {
            end(code);
        }
    }
}

impl<F: FnOnce(Code) + Send + Unpin + 'static> http_body::Body for OnEnd<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let polled = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &polled {
            None => self.finish(Code::Ok),
            Some(Err(status)) => self.finish(status.code()),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = trailers
                        .get("grpc-status")
                        .map_or(Code::Ok, |v| Code::from_bytes(v.as_bytes()));
                    self.finish(code);
                }
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        // Also when the inner body has ended: the hook then still waits for a last poll or the drop.
        self.end.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<F: FnOnce(Code) + Send + Unpin + 'static> Drop for OnEnd<F> {
    fn drop(&mut self) {
        self.finish(if std::thread::panicking() {
            Code::Internal
        } else {
            Code::Cancelled
        });
    }
}

/// Ends a stream with the status that `end` resolves to. Only between frames, which are whole messages here.
pub(crate) struct EndWith {
    inner: Option<Body>,
    end: Pin<Box<dyn Future<Output = Status> + Send>>,
}

impl EndWith {
    pub(crate) fn wrap(
        response: http::Response<Body>,
        end: impl Future<Output = Status> + Send + 'static,
    ) -> http::Response<Body> {
        if code_in_head(&response).is_some() {
            return response;
        }
        response.map(|inner| {
            Body::new(Self {
                inner: Some(inner),
                end: Box::pin(end),
            })
        })
    }
}

impl http_body::Body for EndWith {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        let Some(inner) = this.inner.as_mut() else {
            return Poll::Ready(None);
        };
        match this.end.as_mut().poll(cx) {
            Poll::Pending => Pin::new(inner).poll_frame(cx),
            Poll::Ready(status) => {
                this.inner = None;
                Poll::Ready(Some(trailers(&status)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = http::HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

/// Polls the body inside a span.
pub(crate) struct InSpan {
    pub(crate) inner: Body,
    pub(crate) span: tracing::Span,
}

impl http_body::Body for InSpan {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        let _entered = this.span.enter();
        Pin::new(&mut this.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Turns a panic of a stream into trailers made by `answer`.
pub(crate) struct CatchPanic<F: FnMut(Box<dyn Any + Send>) -> Status + Send + Unpin + 'static> {
    pub(crate) inner: Option<Body>,
    pub(crate) answer: F,
}

impl<F: FnMut(Box<dyn Any + Send>) -> Status + Send + Unpin + 'static> http_body::Body for CatchPanic<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        let Some(inner) = this.inner.as_mut() else {
            return Poll::Ready(None);
        };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                this.inner = None;
                Poll::Ready(Some(trailers(&(this.answer)(panic))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map(http_body::Body::size_hint)
            .unwrap_or_default()
    }
}

/// Reads a whole body, for a request that may have to be sent again.
pub(crate) async fn collect(mut body: Body) -> Result<(Bytes, Option<http::HeaderMap>), Status> {
    let (mut data, mut trailers) = (bytes::BytesMut::new(), None);
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(chunk) => data.extend_from_slice(&chunk),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((data.freeze(), trailers))
}

/// A body of one known chunk.
pub(crate) struct Whole(pub(crate) Option<Bytes>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |data| data.len() as u64))
    }
}
