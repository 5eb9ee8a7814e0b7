//! The code of a sign-in flow, which is derived and never stored.
use parta_access::Secrets;
use parta_ids::{FlowId, TypedId as _};
use subtle::ConstantTimeEq as _;

/// The code of a flow: a pseudo-random function of the flow's id.
pub(super) fn code(secrets: &Secrets, flow: FlowId) -> String {
    let digest = secrets.hmac("membership.code", flow.uuid().as_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    format!("{:06}", u64::from_be_bytes(number) % 1_000_000)
}

/// Whether this is the code of the flow; compares in constant time.
pub(crate) fn is_code(secrets: &Secrets, flow: FlowId, given: &str) -> bool {
    code(secrets, flow).as_bytes().ct_eq(given.as_bytes()).into()
}
