use std::{fmt::Display, time::Duration};

use parta_proto::status::v1::ErrorReason;

use crate::RpcError;

/// Returns FIELD_INVALID: one field is missing or malformed.
pub fn invalid(field: &str, why: impl Into<String>) -> RpcError {
    RpcError::new(
        ErrorReason::FieldInvalid,
        "The request has a field that is missing or malformed.",
    )
    .field(field, why)
}

/// Returns NOT_FOUND: the object does not exist, or the caller may not know whether it exists.
pub fn not_found(kind: &str, name: impl Display) -> RpcError {
    let message = format!("There is no such {kind}, or you have no access to it.");
    RpcError::new(ErrorReason::NotFound, message).resource(kind, name)
}

/// Returns PERMISSION_DENIED: the caller belongs to the organization but lacks the permission.
pub fn permission_denied(why: impl Into<String>) -> RpcError {
    RpcError::new(ErrorReason::PermissionDenied, why)
}

/// Returns CREDENTIAL_MISSING: the call carries no credential but requires one.
pub fn unauthenticated_missing() -> RpcError {
    RpcError::new(
        ErrorReason::CredentialMissing,
        "This call requires a credential in the metadata `authorization`.",
    )
}

/// Returns DEPENDENCY_UNAVAILABLE: a dependency of the server is unavailable.
pub fn unavailable(dependency: &str) -> RpcError {
    RpcError::new(
        ErrorReason::DependencyUnavailable,
        format!("The dependency {dependency} is unavailable. Try again later."),
    )
    .meta("dependency", dependency)
    .retry_after(Duration::from_secs(1))
}

/// Returns PROJECTION_STALE: the projection of the data of another service is too old for decisions.
pub fn stale(service: &str) -> RpcError {
    RpcError::new(
        ErrorReason::ProjectionStale,
        format!("The data of {service} is too old. Try again later."),
    )
    .meta("service", service)
    .retry_after(Duration::from_secs(1))
}

/// Returns CONFLICT: the operation conflicted with a concurrent one.
pub fn conflict() -> RpcError {
    RpcError::new(
        ErrorReason::Conflict,
        "The operation conflicted with another one. Try again.",
    )
}

/// Returns ETAG_MISMATCH: the object has changed since its etag was read.
pub fn etag_mismatch() -> RpcError {
    RpcError::new(
        ErrorReason::EtagMismatch,
        "It has changed since it was read. Reload it and try again.",
    )
}

/// Returns CALLER_NOT_ACCEPTED: the RPC does not accept callers of this kind.
pub fn caller_not_accepted(rpc: &str, why: &str) -> RpcError {
    RpcError::new(ErrorReason::CallerNotAccepted, why).meta("rpc", rpc)
}

/// Returns ORGANIZATION_QUARANTINED: an event of the organization could not be applied, and its data waits
/// for the operator. `service` names the service whose feed or projection is affected.
pub fn quarantined(service: &str) -> RpcError {
    RpcError::new(
        ErrorReason::OrganizationQuarantined,
        "The organization is paused until the operator repairs its data. Try again later.",
    )
    .meta("service", service)
    .retry_after(Duration::from_secs(60))
}

/// Returns OVERLOADED: the server accepts no further work for a moment.
pub fn overloaded(why: &str, retry_after: Duration) -> RpcError {
    RpcError::new(ErrorReason::Overloaded, why).retry_after(retry_after)
}

/// Returns NOT_SERVING: the server is stopping.
pub fn not_serving() -> RpcError {
    RpcError::new(
        ErrorReason::NotServing,
        "The server is stopping. Try again in a moment.",
    )
    .retry_after(Duration::from_secs(1))
}
