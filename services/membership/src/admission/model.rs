//! The admission of a person by an invitation.
use parta_ids::FlowId;

use crate::{accounts::Address, join_requests::Terms};

/// The acceptance of an invitation by the person of a join flow.
#[derive(Debug, Clone)]
pub(crate) struct Acceptance {
    pub(crate) terms: Terms,
    /// The person and the link, without the account of the person.
    pub(crate) flow_id: FlowId,
    /// Whether the invitation names nobody, so that staff decides.
    pub(crate) open: bool,
    /// For whom the invitation was made. Nobody else is admitted.
    pub(crate) recipient: Option<Address>,
}
