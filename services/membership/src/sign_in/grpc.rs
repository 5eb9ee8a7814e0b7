//! The parts that the servers of `AuthenticationService` and `OperatorService` share: the address of a
//! request, and the metric of sign-in.
use opentelemetry::{KeyValue, global, metrics::Counter};
use parta_contacts::{EmailAddress, InvalidPhoneNumber, PhoneNumber};
use parta_proto::status::v1::ErrorReason as Common;
use parta_proto_membership::v1::ErrorReason;
use parta_status::{FieldViolations, RpcError};

use crate::accounts::Address;

/// Reads an address, of which a request has exactly one. `costly` says whether premium-rate and satellite
/// numbers are accepted.
pub(crate) fn address(
    violations: &mut FieldViolations,
    phone: &str,
    email: &str,
    costly: bool,
) -> Option<Address> {
    match (phone, email) {
        (phone, "") if !phone.is_empty() => {
            let number = phone.parse::<PhoneNumber>();
            let refused = |error: InvalidPhoneNumber| violations.add("phone", error.to_string());
            let number = number.map_err(refused).ok()?;
            if !costly && number.is_costly() {
                violations.add("phone", "must not be a premium-rate or satellite number");
                return None;
            }
            Some(Address::Phone(number))
        }
        ("", email) if !email.is_empty() => {
            let address = email.parse::<EmailAddress>();
            let address = address.map_err(|error| violations.add("email", error.to_string()));
            address.ok().map(Address::Email)
        }
        _ => {
            violations.add("phone", "exactly one of phone and email is required");
            None
        }
    }
}

/// Counts the acts of sign-in by their outcome. The labels hold no address and no network.
#[derive(Clone)]
pub(crate) struct SignInMetrics(Counter<u64>);

impl SignInMetrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("parta");
        let counter = meter.u64_counter("membership.sign_in");
        let what = "Codes that were requested and entered, by outcome and limit";
        Self(counter.with_description(what).build())
    }

    /// Counts an act, and returns its result.
    pub(crate) fn count<T>(&self, act: &'static str, result: Result<T, RpcError>) -> Result<T, RpcError> {
        let (outcome, limit) = match &result {
            Ok(_) => ("accepted", ""),
            Err(refusal) => outcome(refusal),
        };
        let labels = [
            KeyValue::new("act", act),
            KeyValue::new("outcome", outcome),
            KeyValue::new("limit", limit.to_owned()),
        ];
        self.0.add(1, &labels);
        result
    }
}

/// The outcome of a refused act, and the limit that was reached.
fn outcome(refusal: &RpcError) -> (&'static str, &str) {
    if refusal.is(Common::RateLimited) {
        ("limited", refusal.metadata("limit").unwrap_or_default())
    } else if refusal.is(ErrorReason::SignInLocked) {
        ("locked", "consecutive_failures")
    } else if refusal.is(ErrorReason::CodeWrong) {
        ("wrong_code", "")
    } else {
        ("refused", "")
    }
}
