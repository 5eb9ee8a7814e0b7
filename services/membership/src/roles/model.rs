use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use parta_ids::{
    ActingHeadId, AssignmentId, DutyId, EnrollmentId, GuardianshipId, MemberId, OrgId, RoleChangeId,
};
use parta_roster::Role;
use serde::{Deserialize, Serialize};

/// For how long a change of roles can be undone (F2).
pub(crate) const UNDO_TIME: TimeDelta = TimeDelta::days(7);

/// The request of a teacher for their own verification.
#[derive(Debug, Clone)]
pub(crate) struct VerificationRequest {
    pub(crate) member_id: MemberId,
    /// On what the verification shall rest, as the teacher wrote it.
    pub(crate) evidence: String,
    pub(crate) create_time: DateTime<Utc>,
}

/// The announced end of the verification of a teacher.
#[derive(Debug, Clone)]
pub(crate) struct VerificationEnd {
    pub(crate) member_id: MemberId,
    /// The last day of the verification, in the time zone of the organization.
    pub(crate) last_date: NaiveDate,
    /// When the last day is over.
    pub(crate) due_time: DateTime<Utc>,
    /// The reason why it ends, as the announcing member wrote it for the teacher.
    pub(crate) cause: String,
    pub(crate) announcer_id: MemberId,
    pub(crate) create_time: DateTime<Utc>,
}

/// The grounds of a member that end with roles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndedGrounds {
    /// Whether the verification of the teacher is among them.
    pub(crate) badge: bool,
    pub(crate) assignments: Vec<AssignmentId>,
    pub(crate) duties: Vec<DutyId>,
    pub(crate) enrollments: Vec<EnrollmentId>,
    pub(crate) guardianships: Vec<GuardianshipId>,
    /// The appointment of a deputy who acts as the head.
    #[serde(default)]
    pub(crate) acting_heads: Vec<ActingHeadId>,
}

/// A change by which a member lost roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleChange {
    pub(crate) org_id: OrgId,
    pub(crate) id: RoleChangeId,
    pub(crate) member_id: MemberId,
    pub(crate) lost: BTreeSet<Role>,
    /// The facts that ended with the roles. The ids are deleted when the change can no longer be undone.
    pub(crate) ended: EndedGrounds,
    /// Whether the verification was decided about since.
    pub(crate) badge_decided: bool,
    /// The revision of the member after the change.
    pub(crate) revision: i64,
    pub(crate) author_id: MemberId,
    pub(crate) create_time: DateTime<Utc>,
    /// When the change was undone, or the membership ended in which it was made.
    pub(crate) close_time: Option<DateTime<Utc>>,
    /// The member who undid the change.
    pub(crate) undoer_id: Option<MemberId>,
}

impl RoleChange {
    /// When the change can no longer be undone; `None` if it cannot be undone any more.
    pub(crate) fn undo_expire_time(&self) -> Option<DateTime<Utc>> {
        self.close_time.is_none().then(|| self.create_time + UNDO_TIME)
    }

    pub(crate) fn is_undoable(&self, now: DateTime<Utc>) -> bool {
        self.undo_expire_time().is_some_and(|time| now < time)
    }
}

/// Something that an undo did not give back, under the id that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Subject {
    /// The bit of a role.
    Role(i32),
    Badge,
    Assignment(AssignmentId),
    Duty(DutyId),
    Enrollment(EnrollmentId),
    Guardianship(GuardianshipId),
    ActingHead(ActingHeadId),
}
