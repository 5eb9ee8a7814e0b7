use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use parta_ids::{ChatId, EntryId, MemberId, OrgId, TypedId, UnitId};
use parta_roster::{DutyFunction, MemberContext, Role};

/// The kind of a chat. The numbers are stored and are those of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub(crate) enum ChatKind {
    /// The channel of the organization, «Общешкольный канал».
    SchoolChannel = 1,
    /// The channel of the staff, «Сотрудники».
    StaffChannel = 2,
    /// The pupils of a class with its teachers.
    ClassPupils = 3,
    /// The parents of a class with its class teacher.
    ClassParents = 4,
    ClassTeachers = 5,
    /// A chat whose participants are named by staff.
    Custom = 6,
    /// A personal chat of two people.
    Direct = 7,
    /// The chat of the teachers and the administration, «Учительская».
    StaffRoom = 8,
    /// The channel of the parents, «Родителям».
    ParentsChannel = 9,
    /// The channel of the pupils, «Ученикам».
    PupilsChannel = 10,
}

impl ChatKind {
    /// The kind of a stored number; `None` if this build does not know it.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        [
            Self::SchoolChannel,
            Self::StaffChannel,
            Self::ClassPupils,
            Self::ClassParents,
            Self::ClassTeachers,
            Self::Custom,
            Self::Direct,
            Self::StaffRoom,
            Self::ParentsChannel,
            Self::PupilsChannel,
        ]
        .into_iter()
        .find(|kind| *kind as i16 == number)
    }

    /// Whether the roster decides who participates. A member who leaves a derived chat can no longer read it.
    pub(crate) fn is_derived(self) -> bool {
        !matches!(self, Self::Custom | Self::Direct)
    }
}

/// The rule by which a derived chat gets its participants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// The whole organization; families only if the policy of the organization says so.
    School,
    Staff,
    /// Teachers and the administration.
    StaffRoom,
    /// The confirmed parents of the organization and the administration.
    ParentsChannel,
    /// The pupils of the organization and the administration.
    PupilsChannel,
    /// The pupils of the class, its class teacher and its subject teachers.
    Pupils(UnitId),
    /// The confirmed parents of the pupils of the class and its class teacher.
    Parents(UnitId),
    /// The staff assigned to the class.
    Teachers(UnitId),
}

impl Rule {
    /// The rules of the organization, whose chats exist from its beginning.
    pub(crate) const OF_ORGANIZATION: [Self; 5] = [
        Self::School,
        Self::Staff,
        Self::StaffRoom,
        Self::ParentsChannel,
        Self::PupilsChannel,
    ];

    /// The three rules of a class.
    pub(crate) fn of_unit(unit: UnitId) -> [Self; 3] {
        [Self::Pupils(unit), Self::Parents(unit), Self::Teachers(unit)]
    }

    /// The kind of chat that the rule fills.
    pub(crate) fn kind(self) -> ChatKind {
        match self {
            Self::School => ChatKind::SchoolChannel,
            Self::Staff => ChatKind::StaffChannel,
            Self::StaffRoom => ChatKind::StaffRoom,
            Self::ParentsChannel => ChatKind::ParentsChannel,
            Self::PupilsChannel => ChatKind::PupilsChannel,
            Self::Pupils(_) => ChatKind::ClassPupils,
            Self::Parents(_) => ChatKind::ClassParents,
            Self::Teachers(_) => ChatKind::ClassTeachers,
        }
    }

    /// The class of the rule, if it has one.
    pub(crate) fn unit(self) -> Option<UnitId> {
        match self {
            Self::Pupils(unit) | Self::Parents(unit) | Self::Teachers(unit) => Some(unit),
            Self::School | Self::Staff | Self::StaffRoom | Self::ParentsChannel | Self::PupilsChannel => None,
        }
    }

    /// The unique key of the chat in its organization.
    pub(crate) fn key(self) -> String {
        match self {
            Self::School => "school".into(),
            Self::Staff => "staff".into(),
            Self::StaffRoom => "staff_room".into(),
            Self::ParentsChannel => "parents_channel".into(),
            Self::PupilsChannel => "pupils_channel".into(),
            Self::Pupils(unit) => format!("pupils:{}", unit.uuid()),
            Self::Parents(unit) => format!("parents:{}", unit.uuid()),
            Self::Teachers(unit) => format!("teachers:{}", unit.uuid()),
        }
    }

    /// The rule of a stored chat; `None` if the chat is not derived.
    pub(crate) fn of(kind: ChatKind, unit: Option<UnitId>) -> Option<Self> {
        match (kind, unit) {
            (ChatKind::SchoolChannel, _) => Some(Self::School),
            (ChatKind::StaffChannel, _) => Some(Self::Staff),
            (ChatKind::StaffRoom, _) => Some(Self::StaffRoom),
            (ChatKind::ParentsChannel, _) => Some(Self::ParentsChannel),
            (ChatKind::PupilsChannel, _) => Some(Self::PupilsChannel),
            (ChatKind::ClassPupils, Some(unit)) => Some(Self::Pupils(unit)),
            (ChatKind::ClassParents, Some(unit)) => Some(Self::Parents(unit)),
            (ChatKind::ClassTeachers, Some(unit)) => Some(Self::Teachers(unit)),
            _ => None,
        }
    }
}

/// The unique key of the personal chat of two members. It does not depend on their order.
pub(crate) fn direct_chat_key(one: MemberId, other: MemberId) -> String {
    let (low, high) = (one.min(other), one.max(other));
    format!("direct:{}:{}", low.uuid(), high.uuid())
}

/// The kind of a participant in the organization. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum ParticipantKind {
    Pupil = 1,
    /// An adult who does not work in the organization.
    Parent = 2,
    /// A member of the staff who may not be responsible for pupils.
    Staff = 3,
    /// A member of the staff who is cleared, or has a duty to be in rooms with pupils; in a named chat only
    /// with a ground toward every pupil in it.
    ClearedStaff = 4,
}

impl ParticipantKind {
    /// The kind of a member by the roles in force. A suspended member of the staff is none.
    pub(crate) fn of(facts: &MemberContext) -> Self {
        if facts.is_cleared() || facts.may_toward_many(DutyFunction::Rooms) {
            Self::ClearedStaff
        } else if facts.is_staff() {
            Self::Staff
        } else if facts.holds(Role::Pupil) {
            Self::Pupil
        } else {
            Self::Parent
        }
    }

    /// The kind of a stored number; `None` if this build does not know it.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        [Self::Pupil, Self::Parent, Self::Staff, Self::ClearedStaff]
            .into_iter()
            .find(|kind| *kind as i16 == number)
    }

    /// Whether a member of the staff participates as such or has another ground, for example as a parent.
    pub(crate) fn is_staff(self) -> bool {
        matches!(self, Self::Staff | Self::ClearedStaff)
    }

    /// Whether a participant of this kind sees what families do not. Staff without clearance are in a room
    /// with families by another ground, for example as parents, and see what it gives (F4).
    pub(crate) fn reads_as_staff(self, chat: ChatKind) -> bool {
        match self {
            Self::ClearedStaff => true,
            Self::Staff => matches!(
                chat,
                ChatKind::StaffChannel | ChatKind::StaffRoom | ChatKind::ClassTeachers
            ),
            Self::Pupil | Self::Parent => false,
        }
    }
}

/// Since when a participant reads (F22), by each kind of ground. The wider one holds; without any, the
/// participant reads from the joining.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// By assignments, substitutions, duties and the roles of the staff.
    pub(crate) staff: Option<DateTime<Utc>>,
    /// By enrollments and relations. After a break nobody reads by them what was written before the return.
    pub(crate) family: Option<DateTime<Utc>>,
}

impl Beginning {
    /// Before every entry.
    pub(crate) const OF_LOG: DateTime<Utc> = DateTime::UNIX_EPOCH;

    /// The beginning of a participant who reads the whole chat.
    pub(crate) const WHOLE: Self = Self {
        staff: Some(Self::OF_LOG),
        family: None,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParticipantRights {
    /// Whether the participant may write, or only read.
    pub(crate) may_post: bool,
    /// Decides which comings and goings of others the participant sees.
    pub(crate) kind: ParticipantKind,
    pub(crate) beginning: Beginning,
}

impl ParticipantRights {
    /// The rights of a member who reads from the joining.
    pub(crate) fn new(facts: &MemberContext, may_post: bool) -> Self {
        Self {
            may_post,
            kind: ParticipantKind::of(facts),
            beginning: Beginning::default(),
        }
    }

    /// The same rights with this beginning.
    #[must_use]
    pub(crate) fn since(self, beginning: Beginning) -> Self {
        Self { beginning, ..self }
    }
}

/// The responsible member of a chat with named participants, and the deputy (F14).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Responsibility {
    /// `None` if nobody is. A member of whom all roles are suspended stays, if nobody takes over.
    pub(crate) member: Option<MemberId>,
    /// The participant who becomes responsible when the member no longer may be.
    pub(crate) deputy: Option<MemberId>,
    /// The unit in which the member teaches everybody for whom the staff is in the chat. Its leader becomes
    /// responsible if the deputy may not be. It stays while nobody is responsible.
    pub(crate) unit: Option<UnitId>,
}

/// The difference between the present and the wanted participants of a chat.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ParticipantDiff {
    pub(crate) joins: BTreeMap<MemberId, ParticipantRights>,
    pub(crate) leaves: BTreeSet<MemberId>,
    /// Members who stay and whose rights change.
    pub(crate) changes: BTreeMap<MemberId, ParticipantRights>,
    /// The responsible member and the deputy from now on; `None` if nothing changes.
    pub(crate) responsibility: Option<Responsibility>,
}

impl ParticipantDiff {
    /// Whether nothing has to change.
    pub(crate) fn is_empty(&self) -> bool {
        self.joins.is_empty()
            && self.leaves.is_empty()
            && self.changes.is_empty()
            && self.responsibility.is_none()
    }
}

/// The difference that turns the present participants into the wanted ones.
pub(crate) fn difference(
    present: &BTreeMap<MemberId, ParticipantRights>,
    wanted: &BTreeMap<MemberId, ParticipantRights>,
) -> ParticipantDiff {
    let mut diff = ParticipantDiff::default();
    for (member, rights) in wanted {
        match present.get(member) {
            None => _ = diff.joins.insert(*member, *rights),
            Some(had) if had != rights => _ = diff.changes.insert(*member, *rights),
            Some(_) => {}
        }
    }
    diff.leaves = present
        .keys()
        .filter(|m| !wanted.contains_key(m))
        .copied()
        .collect();
    diff
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Message {
        sender: MemberId,
        text: String,
        /// The service that wrote for the sender.
        service: Option<String>,
    },
    Joining(MemberId, ShownTo),
    /// The member left.
    Leaving(MemberId, ShownTo),
}

/// The readers who see that a member joins or leaves, besides that member (F21). It is decided when the
/// entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShownTo {
    Everybody,
    Staff,
    Nobody,
}

impl ShownTo {
    /// Returns the readers of a joining. Pupils and parents see each adult who joins a chat in which pupils
    /// may be.
    pub(crate) fn of_joining(chat: ChatKind, who: ParticipantKind) -> Self {
        match chat {
            ChatKind::SchoolChannel | ChatKind::ParentsChannel | ChatKind::PupilsChannel => Self::Nobody,
            ChatKind::StaffChannel
            | ChatKind::StaffRoom
            | ChatKind::ClassTeachers
            | ChatKind::ClassParents => Self::Staff,
            ChatKind::ClassPupils | ChatKind::Custom | ChatKind::Direct => match who {
                ParticipantKind::Pupil => Self::Staff,
                _ => Self::Everybody,
            },
        }
    }

    /// Returns the readers of a leaving.
    pub(crate) fn of_leaving(chat: ChatKind) -> Self {
        match chat {
            ChatKind::SchoolChannel | ChatKind::ParentsChannel | ChatKind::PupilsChannel => Self::Nobody,
            _ => Self::Staff,
        }
    }
}

/// A participant who reads entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reader {
    pub(crate) member: MemberId,
    /// Whether the participant sees what families do not ([`ParticipantKind::reads_as_staff`]).
    pub(crate) is_staff: bool,
    /// The adults of protected families, whom no list shows to families (R83).
    pub(crate) hidden: BTreeSet<MemberId>,
}

impl Reader {
    /// Whether the reader sees who joined or left.
    pub(crate) fn sees(&self, who: MemberId, shown_to: ShownTo) -> bool {
        let is_shown = match shown_to {
            ShownTo::Everybody => self.is_staff || !self.hidden.contains(&who),
            ShownTo::Staff => self.is_staff,
            ShownTo::Nobody => false,
        };
        who == self.member || is_shown
    }
}

/// One entry of a chat's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) seq: i64,
    pub(crate) entry_id: EntryId,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) content: Content,
}
