use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use parta_ids::{MemberId, OrgId, PolicyChangeId};
use parta_roster::{HistoryForNewcomers, Policies};

/// One policy of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PolicyPath {
    HistoryForNewcomers,
    ParentInviters,
    SchoolChannelOpenToFamilies,
    TeacherVerification,
    UnusedAfter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyValue {
    /// Since when pupils and parents read what was written before they came.
    HistoryForNewcomers(HistoryForNewcomers),
    /// Whether every verified teacher of the class may invite parents.
    ParentInviters { class_staff: bool },
    /// Whether pupils and parents may read «Общешкольный канал».
    SchoolChannelOpenToFamilies(bool),
    /// Whether teachers must be verified.
    TeacherVerification { required: bool },
    /// After which time without a use a link counts as idle.
    UnusedAfter(Duration),
}

/// The effect of a change of one policy on who may reach whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Narrows,
    Widens,
    /// The policy decides about no reach.
    Neutral,
}

impl PolicyPath {
    pub(crate) const ALL: [Self; 5] = [
        Self::HistoryForNewcomers,
        Self::ParentInviters,
        Self::SchoolChannelOpenToFamilies,
        Self::TeacherVerification,
        Self::UnusedAfter,
    ];

    /// The name of the field in the document. It is stored and never changes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HistoryForNewcomers => "history_for_newcomers",
            Self::ParentInviters => "parent_inviters",
            Self::SchoolChannelOpenToFamilies => "school_channel_open_to_families",
            Self::TeacherVerification => "teacher_verification",
            Self::UnusedAfter => "unused_after",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }

    pub(crate) fn value(self, policies: &Policies) -> PolicyValue {
        match self {
            Self::HistoryForNewcomers => PolicyValue::HistoryForNewcomers(policies.history_for_newcomers),
            Self::ParentInviters => PolicyValue::ParentInviters {
                class_staff: policies.parent_inviters_class_staff,
            },
            Self::SchoolChannelOpenToFamilies => {
                PolicyValue::SchoolChannelOpenToFamilies(policies.school_channel_open_to_families)
            }
            Self::TeacherVerification => PolicyValue::TeacherVerification {
                required: policies.verification_required,
            },
            Self::UnusedAfter => PolicyValue::UnusedAfter(policies.unused_after),
        }
    }

    /// Decodes the text of a value of this policy; `None` for one that this build does not know.
    pub(crate) fn decode(self, text: &str) -> Option<PolicyValue> {
        match (self, text) {
            (Self::HistoryForNewcomers, _) => HistoryForNewcomers::ALL
                .map(PolicyValue::HistoryForNewcomers)
                .into_iter()
                .find(|value| value.text() == text),
            (Self::ParentInviters, "PARENT_INVITERS_CLASS_STAFF") => {
                Some(PolicyValue::ParentInviters { class_staff: true })
            }
            (Self::ParentInviters, "PARENT_INVITERS_CLASS_TEACHER") => {
                Some(PolicyValue::ParentInviters { class_staff: false })
            }
            (Self::SchoolChannelOpenToFamilies, _) => {
                text.parse().ok().map(PolicyValue::SchoolChannelOpenToFamilies)
            }
            (Self::TeacherVerification, "TEACHER_VERIFICATION_REQUIRED") => {
                Some(PolicyValue::TeacherVerification { required: true })
            }
            (Self::TeacherVerification, "TEACHER_VERIFICATION_OPTIONAL") => {
                Some(PolicyValue::TeacherVerification { required: false })
            }
            (Self::UnusedAfter, _) => {
                let seconds = text.strip_suffix('s')?.parse().ok()?;
                Some(PolicyValue::UnusedAfter(Duration::from_secs(seconds)))
            }
            (Self::ParentInviters | Self::TeacherVerification, _) => None,
        }
    }
}

impl PolicyValue {
    pub(crate) fn path(self) -> PolicyPath {
        match self {
            Self::HistoryForNewcomers(_) => PolicyPath::HistoryForNewcomers,
            Self::ParentInviters { .. } => PolicyPath::ParentInviters,
            Self::SchoolChannelOpenToFamilies(_) => PolicyPath::SchoolChannelOpenToFamilies,
            Self::TeacherVerification { .. } => PolicyPath::TeacherVerification,
            Self::UnusedAfter(_) => PolicyPath::UnusedAfter,
        }
    }

    /// The text of the value, as in JSON. It is stored and never changes.
    pub(crate) fn text(self) -> String {
        let text = match self {
            Self::HistoryForNewcomers(HistoryForNewcomers::FromEnrollment) => {
                "HISTORY_FOR_NEWCOMERS_FROM_ENROLLMENT"
            }
            Self::HistoryForNewcomers(HistoryForNewcomers::FromJoining) => {
                "HISTORY_FOR_NEWCOMERS_FROM_JOINING"
            }
            Self::HistoryForNewcomers(HistoryForNewcomers::Whole) => "HISTORY_FOR_NEWCOMERS_WHOLE",
            Self::ParentInviters { class_staff: true } => "PARENT_INVITERS_CLASS_STAFF",
            Self::ParentInviters { class_staff: false } => "PARENT_INVITERS_CLASS_TEACHER",
            Self::TeacherVerification { required: true } => "TEACHER_VERIFICATION_REQUIRED",
            Self::TeacherVerification { required: false } => "TEACHER_VERIFICATION_OPTIONAL",
            Self::SchoolChannelOpenToFamilies(open) => return open.to_string(),
            Self::UnusedAfter(duration) => return format!("{}s", duration.as_secs()),
        };
        text.to_owned()
    }

    fn set(self, policies: &mut Policies) {
        match self {
            Self::HistoryForNewcomers(value) => policies.history_for_newcomers = value,
            Self::ParentInviters { class_staff } => policies.parent_inviters_class_staff = class_staff,
            Self::SchoolChannelOpenToFamilies(open) => policies.school_channel_open_to_families = open,
            Self::TeacherVerification { required } => policies.verification_required = required,
            Self::UnusedAfter(duration) => policies.unused_after = duration,
        }
    }
}

/// The table by which changes are judged (docs/adr/0030): how much a value gives, and whether more of it lets
/// more adults reach pupils. Equal numbers give the same.
fn breadth(value: PolicyValue) -> (u8, bool) {
    match value {
        // It opens entries, and lets nobody meet or write to anybody.
        PolicyValue::HistoryForNewcomers(value) => match value {
            HistoryForNewcomers::FromJoining => (0, false),
            HistoryForNewcomers::FromEnrollment => (1, false),
            HistoryForNewcomers::Whole => (2, false),
        },
        // Parents join by the links of any verified teacher of the class, not only of the class teacher.
        PolicyValue::ParentInviters { class_staff } => (u8::from(class_staff), true),
        // In a channel only publishers write and families do not see the readers, so that nobody meets.
        PolicyValue::SchoolChannelOpenToFamilies(open) => (u8::from(open), false),
        // Without verification every teacher is cleared to meet pupils.
        PolicyValue::TeacherVerification { required } => (u8::from(!required), true),
        // It only selects the links that a bulk revocation finds.
        PolicyValue::UnusedAfter(_) => (0, false),
    }
}

/// Whether the second value of a policy gives more than the first.
pub(crate) fn widens(before: PolicyValue, after: PolicyValue) -> bool {
    breadth(after).0 > breadth(before).0
}

/// The change of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValueChange {
    pub(crate) before: PolicyValue,
    pub(crate) after: PolicyValue,
}

impl ValueChange {
    pub(crate) fn path(&self) -> PolicyPath {
        self.after.path()
    }

    pub(crate) fn effect(&self) -> Effect {
        if widens(self.before, self.after) {
            Effect::Widens
        } else if widens(self.after, self.before) {
            Effect::Narrows
        } else {
            Effect::Neutral
        }
    }

    /// Whether the change lets more adults reach pupils, so that a second person confirms it.
    pub(crate) fn needs_second_person(&self) -> bool {
        let (_, of_adults_toward_pupils) = breadth(self.after);
        of_adults_toward_pupils && widens(self.before, self.after)
    }
}

/// Lists the policies in which two documents differ, in the order of their names.
pub(crate) fn differences(before: &Policies, after: &Policies) -> Vec<ValueChange> {
    let change = |path: PolicyPath| ValueChange {
        before: path.value(before),
        after: path.value(after),
    };
    let all = PolicyPath::ALL.into_iter().map(change);
    all.filter(|change| change.before != change.after).collect()
}

/// The document with these values in the place of its own.
pub(crate) fn with_values(current: &Policies, values: impl IntoIterator<Item = PolicyValue>) -> Policies {
    let mut changed = current.clone();
    for value in values {
        value.set(&mut changed);
    }
    changed
}

/// An order on which the operator confirms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) number: String,
    pub(crate) date: NaiveDate,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeState {
    Pending,
    Applied,
    Dropped,
}

impl ChangeState {
    /// The text in the metadata of a refusal.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Applied => "APPLIED",
            Self::Dropped => "DROPPED",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyChange {
    pub(crate) org_id: OrgId,
    pub(crate) id: PolicyChangeId,
    /// At least one, in the order of their paths.
    pub(crate) values: Vec<ValueChange>,
    pub(crate) author_id: MemberId,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) confirm_time: Option<DateTime<Utc>>,
    /// `None` also if the operator confirmed.
    pub(crate) confirmer_id: Option<MemberId>,
    /// The order on which the operator confirmed.
    pub(crate) order: Option<Order>,
    pub(crate) drop_time: Option<DateTime<Utc>>,
    pub(crate) dropper_id: Option<MemberId>,
    /// The version of the policies that the change produced; `None` if it was not applied.
    pub(crate) policies_version: Option<i64>,
}

impl PolicyChange {
    pub(crate) fn state(&self) -> ChangeState {
        if self.drop_time.is_some() {
            ChangeState::Dropped
        } else if self.policies_version.is_some() {
            ChangeState::Applied
        } else {
            ChangeState::Pending
        }
    }

    /// The document with the values of this change.
    pub(crate) fn applied_to(&self, current: &Policies) -> Policies {
        with_values(current, self.values.iter().map(|value| value.after))
    }
}
