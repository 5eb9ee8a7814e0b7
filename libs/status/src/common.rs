use std::{fmt::Display, time::Duration};

use parta_proto::parta::status::v1::ErrorReason;

use crate::RpcError;

/// One field is missing or malformed.
pub fn invalid(field: &str, why: impl Into<String>) -> RpcError {
    RpcError::new(
        ErrorReason::FieldInvalid,
        "the request has a field that is missing or malformed",
    )
    .field(field, why)
}

/// There is no such thing, or the caller may not know whether there is.
pub fn not_found(kind: &str, name: impl Display) -> RpcError {
    RpcError::new(ErrorReason::NotFound, format!("there is no such {kind}")).resource(kind, name)
}

/// The caller belongs to the organization but lacks the right.
pub fn permission_denied(why: impl Into<String>) -> RpcError {
    RpcError::new(ErrorReason::PermissionDenied, why)
}

/// The call carries no credential where one is required.
pub fn unauthenticated_missing() -> RpcError {
    RpcError::new(
        ErrorReason::CredentialMissing,
        "this call needs a credential in the metadata `authorization`",
    )
}

/// Something the server depends on does not answer.
pub fn unavailable(dependency: &str) -> RpcError {
    RpcError::new(
        ErrorReason::DependencyUnavailable,
        format!("{dependency} does not answer"),
    )
    .meta("dependency", dependency)
    .retry_after(Duration::from_secs(1))
}

/// What is known of another service's data is too old to decide by.
pub fn stale(service: &str) -> RpcError {
    RpcError::new(
        ErrorReason::ProjectionStale,
        format!("what is known of {service} is too old to decide by"),
    )
    .meta("service", service)
    .retry_after(Duration::from_secs(1))
}

/// The operation lost a race with another one.
pub fn conflict() -> RpcError {
    RpcError::new(
        ErrorReason::Conflict,
        "lost a race with another operation; repeat the whole of it",
    )
}

/// The thing has changed since its etag was read.
pub fn etag_mismatch() -> RpcError {
    RpcError::new(
        ErrorReason::EtagMismatch,
        "it has changed since the etag was read; read it again",
    )
}
