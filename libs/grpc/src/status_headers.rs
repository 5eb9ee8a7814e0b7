use tonic::Status;

/// Reads the status of a response without a body, or of trailers. Layers read a status; only `parta_status`
/// makes one.
#[expect(
    clippy::disallowed_methods,
    reason = "the status was sent by a server and is not a new refusal"
)]
pub(crate) fn received_status(headers: &http::HeaderMap) -> Option<Status> {
    Status::from_header_map(headers)
}
