//! Duties (F3): the ground on which staff who do not teach meet pupils and parents.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_ids::{MemberId, UnitId};
use parta_proto_membership::v1 as membership;

/// The kind of a duty.
///
/// Unknown in a feed event: the stricter reading. A duty of a kind that this build does not know grants
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DutyKind {
    /// A psychologist.
    Psychologist,
    /// A social pedagogue.
    SocialPedagogue,
    /// A nurse.
    Nurse,
    /// A librarian.
    Librarian,
    /// A tutor of named pupils.
    Tutor,
    /// An assistant of named pupils.
    Assistant,
    /// An interpreter of named pupils, for example of sign language.
    Interpreter,
    /// Suspends members.
    Safeguarding,
    /// The office.
    Office,
    /// Drives named pupils.
    Transport,
}

/// A function of a duty toward the people in its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DutyFunction {
    /// To see their names.
    Names,
    /// To be in rooms with them.
    Rooms,
    /// To open personal chats with them.
    PersonalChats,
}

impl DutyKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Psychologist,
        Self::SocialPedagogue,
        Self::Nurse,
        Self::Librarian,
        Self::Tutor,
        Self::Assistant,
        Self::Interpreter,
        Self::Safeguarding,
        Self::Office,
        Self::Transport,
    ];

    /// Returns whether a duty of this kind has the function.
    pub fn includes(self, function: DutyFunction) -> bool {
        use DutyFunction::{Names, Rooms};
        match self {
            Self::Psychologist | Self::SocialPedagogue => true,
            Self::Tutor | Self::Assistant | Self::Interpreter => matches!(function, Names | Rooms),
            Self::Nurse | Self::Librarian | Self::Safeguarding | Self::Office | Self::Transport => {
                function == Names
            }
        }
    }

    /// Returns whether a duty of this kind concerns named pupils only.
    pub fn needs_named_pupils(self) -> bool {
        matches!(
            self,
            Self::Tutor | Self::Assistant | Self::Interpreter | Self::Transport
        )
    }
}

impl From<DutyKind> for membership::DutyKind {
    fn from(kind: DutyKind) -> Self {
        match kind {
            DutyKind::Psychologist => Self::Psychologist,
            DutyKind::SocialPedagogue => Self::SocialPedagogue,
            DutyKind::Nurse => Self::Nurse,
            DutyKind::Librarian => Self::Librarian,
            DutyKind::Tutor => Self::Tutor,
            DutyKind::Assistant => Self::Assistant,
            DutyKind::Interpreter => Self::Interpreter,
            DutyKind::Safeguarding => Self::Safeguarding,
            DutyKind::Office => Self::Office,
            DutyKind::Transport => Self::Transport,
        }
    }
}

impl TryFrom<membership::DutyKind> for DutyKind {
    type Error = ();
    fn try_from(kind: membership::DutyKind) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|known| membership::DutyKind::from(*known) == kind)
            .ok_or(())
    }
}

/// The pupils whom a duty concerns, with their parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DutyScope {
    /// All pupils of the organization.
    Organization,
    /// The pupils of a unit.
    Unit(UnitId),
    /// Named pupils.
    Pupils(BTreeSet<MemberId>),
}

/// A duty of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// The kind.
    pub kind: DutyKind,
    /// The pupils whom it concerns.
    pub scope: DutyScope,
    /// When it began; `None` if an earlier build published it.
    pub begin_time: Option<DateTime<Utc>>,
}
