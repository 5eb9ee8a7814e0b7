//! An instrumented response body: it observes the end, the span and the panics of the body that it wraps.
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body as _, Frame, SizeHint};
use parta_proto::Method;
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Status, body::Body};
use tracing::Span;

use crate::headers::GRPC_STATUS;
use crate::server::{
    account_streams::AccountStream,
    exchange::{Exchange, poll_ends},
    in_flight::InFlight,
    refusal,
    trace_slot::TraceSlot,
};

type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// Returns the code in the headers of a response, where a refusal without a body carries it.
pub(crate) fn code_in_head<B>(response: &http::Response<B>) -> Option<Code> {
    response
        .headers()
        .get(&GRPC_STATUS)
        .map(|v| Code::from_bytes(v.as_bytes()))
}

/// The work to do while a response is sent. The layers fill it in on the way back, and one body does all of
/// it, so that each of 10,000 streams has a single wrapper.
#[derive(Default)]
pub(crate) struct ResponseGuard {
    /// Counted until the end. The recorded code is that of the trailers, or `CANCELLED` if the body is
    /// dropped before.
    pub(crate) in_flight: Option<InFlight>,
    /// Held until the end.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    /// Counted until the end, if the caller is a service account.
    pub(crate) account_stream: Option<Box<AccountStream>>,
    /// The span that is entered for each poll.
    pub(crate) span: Option<Span>,
    /// The RPC whose refusals are reported; `None` on the client and for unknown paths.
    pub(crate) method: Option<&'static Method>,
    /// Futures, the first of which to resolve ends the stream with its status. The stream ends only between
    /// frames, which are complete messages here, unless the client does not read it ([`Exchange`]).
    pub(crate) ends: Vec<BoxFuture<'static, Status>>,
    /// If set, a panic becomes trailers that contain this trace id.
    pub(crate) catches: Option<TraceSlot>,
}

impl fmt::Debug for ResponseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseGuard").finish_non_exhaustive()
    }
}

impl ResponseGuard {
    /// Wraps the body of a response.
    pub(crate) fn wrap(
        mut self,
        response: http::Response<Body>,
        exchange: Option<Arc<Exchange>>,
    ) -> http::Response<Body> {
        if let Some(code) = code_in_head(&response) {
            self.report(code, response.headers());
            self.finish(code);
            return response;
        }
        if let Some(exchange) = &exchange {
            exchange.end_with(std::mem::take(&mut self.ends));
        }
        response.map(|inner| {
            Body::new(InstrumentedBody {
                inner: Some(inner),
                guard: self,
                exchange,
            })
        })
    }

    fn report(&self, code: Code, headers: &http::HeaderMap) {
        if code != Code::Ok
            && let Some(method) = self.method
        {
            let _entered = self.span.as_ref().map(Span::enter);
            refusal::report(method, headers);
        }
    }

    fn is_finished(&self) -> bool {
        self.in_flight.is_none() && self.permit.is_none()
    }

    fn finish(&mut self, code: Code) {
        if let Some(call) = self.in_flight.take() {
            call.end(code);
        }
        self.permit = None;
        self.account_stream = None;
    }
}

/// An instrumented body. `inner` is `None` after the stream was ended from outside.
struct InstrumentedBody {
    inner: Option<Body>,
    guard: ResponseGuard,
    /// The stream of a server, which then has the futures that end the response.
    exchange: Option<Arc<Exchange>>,
}

impl InstrumentedBody {
    fn can_be_ended(&self) -> bool {
        match &self.exchange {
            Some(exchange) => exchange.can_be_ended(),
            None => !self.guard.ends.is_empty(),
        }
    }
}

/// Polls the next frame, or the status with which the stream ends.
fn poll(
    inner: &mut Option<Body>,
    ended: impl FnOnce(&mut Context<'_>) -> Poll<Status>,
    cx: &mut Context<'_>,
) -> Polled {
    let Some(body) = inner else {
        return Poll::Ready(None);
    };
    if let Poll::Ready(status) = ended(cx) {
        *inner = None;
        return Poll::Ready(Some(trailers(&status)));
    }
    Pin::new(body).poll_frame(cx)
}

impl http_body::Body for InstrumentedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Self {
            inner,
            guard,
            exchange,
        } = self.get_mut();
        let polled = {
            let _entered = guard.span.as_ref().map(Span::enter);
            let ends = &mut guard.ends;
            let ended = |cx: &mut Context<'_>| match exchange.as_ref() {
                Some(exchange) => exchange.poll_ended(cx),
                None => poll_ends(ends, cx),
            };
            match &guard.catches {
                None => poll(inner, ended, cx),
                Some(slot) => {
                    catch_unwind(AssertUnwindSafe(|| poll(inner, ended, cx))).unwrap_or_else(|_panic| {
                        *inner = None;
                        Poll::Ready(Some(trailers(&slot.refuse())))
                    })
                }
            }
        };
        if let Some(exchange) = exchange {
            exchange.polled(polled.is_ready());
        }
        let polled = ready!(polled);
        match &polled {
            None => guard.finish(Code::Ok),
            Some(Err(status)) => guard.finish(status.code()),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = trailers
                        .get(&GRPC_STATUS)
                        .map_or(Code::Ok, |v| Code::from_bytes(v.as_bytes()));
                    guard.report(code, trailers);
                    guard.finish(code);
                }
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        // Not before the end was recorded, which requires a last poll or the drop.
        self.inner
            .as_ref()
            .is_none_or(|inner| self.guard.is_finished() && inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) if !self.can_be_ended() => inner.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for InstrumentedBody {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        self.guard.finish(if panicking {
            Code::Internal
        } else {
            Code::Cancelled
        });
    }
}

fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = http::HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

/// Reads a whole body, for a request that may be retried.
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

pub(crate) struct SingleChunk(pub(crate) Option<Bytes>);

impl http_body::Body for SingleChunk {
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
