//! The refusal with which a stream ends when its credential expires.
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use tonic::Status;

pub(crate) fn credential_expired() -> Status {
    RpcError::new(
        ErrorReason::CredentialExpired,
        "The credential of this stream has expired. Refresh it and open the stream again.",
    )
    .into()
}
