use chrono::{DateTime, Utc};
use parta_ids::MemberId;

/// A teacher who asks for the own verification.
#[derive(Debug, Clone)]
pub(crate) struct VerificationRequest {
    pub(crate) member_id: MemberId,
    /// On what the verification shall rest, as the teacher wrote it.
    pub(crate) evidence: String,
    pub(crate) create_time: DateTime<Utc>,
}
