//! The names of headers that every call has or may have. A look-up by a text parses the name each time.
use http::HeaderName;

pub(crate) static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) static TRACE_ID: HeaderName = HeaderName::from_static(crate::TRACE_ID);
