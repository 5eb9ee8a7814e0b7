use parta_ids::{TypedId, UnitId};

/// Most characters of a message.
pub const TEXT_MAX: usize = 4_000;
/// Most characters of a chat's title.
pub const TITLE_MAX: usize = 200;

/// What a chat is; the numbers are stored and those of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum ChatKind {
    /// «Общешкольный канал».
    SchoolChannel = 1,
    /// «Сотрудники».
    StaffChannel = 2,
    /// The pupils of a class with its teachers.
    ClassPupils = 3,
    /// The parents of a class with its class teacher.
    ClassParents = 4,
    /// The teachers of a class.
    ClassTeachers = 5,
    /// ConsumerNames its people.
    Custom = 6,
    /// Two people.
    Direct = 7,
}

impl ChatKind {
    /// The kind of a stored number.
    pub fn from_number(number: i16) -> Option<Self> {
        [
            Self::SchoolChannel,
            Self::StaffChannel,
            Self::ClassPupils,
            Self::ClassParents,
            Self::ClassTeachers,
            Self::Custom,
            Self::Direct,
        ]
        .into_iter()
        .find(|kind| *kind as i16 == number)
    }

    /// Whether the roster decides who is in it. Who leaves such a chat reads nothing of it any more.
    pub fn is_derived(self) -> bool {
        !matches!(self, Self::Custom | Self::Direct)
    }
}

/// From what a derived chat takes its people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// The whole organization, families by policy.
    School,
    /// All staff.
    Staff,
    /// Pupils of the class, its class teacher and subject teachers.
    Pupils(UnitId),
    /// Confirmed parents of the class's pupils, its class teacher.
    Parents(UnitId),
    /// Staff assigned to the class.
    Teachers(UnitId),
}

impl Rule {
    /// The three chats of a class.
    pub fn of_unit(unit: UnitId) -> [Self; 3] {
        [Self::Pupils(unit), Self::Parents(unit), Self::Teachers(unit)]
    }

    /// The kind of chat that the rule fills.
    pub fn kind(self) -> ChatKind {
        match self {
            Self::School => ChatKind::SchoolChannel,
            Self::Staff => ChatKind::StaffChannel,
            Self::Pupils(_) => ChatKind::ClassPupils,
            Self::Parents(_) => ChatKind::ClassParents,
            Self::Teachers(_) => ChatKind::ClassTeachers,
        }
    }

    /// The class, if any.
    pub fn unit(self) -> Option<UnitId> {
        match self {
            Self::School | Self::Staff => None,
            Self::Pupils(unit) | Self::Parents(unit) | Self::Teachers(unit) => Some(unit),
        }
    }

    /// By what the chat is unique in its organization.
    pub fn key(self) -> String {
        match self {
            Self::School => "school".into(),
            Self::Staff => "staff".into(),
            Self::Pupils(unit) => format!("pupils:{}", unit.uuid()),
            Self::Parents(unit) => format!("parents:{}", unit.uuid()),
            Self::Teachers(unit) => format!("teachers:{}", unit.uuid()),
        }
    }

    /// The rule of a stored chat; none for chats that are not derived.
    pub fn of(kind: ChatKind, unit: Option<UnitId>) -> Option<Self> {
        match (kind, unit) {
            (ChatKind::SchoolChannel, _) => Some(Self::School),
            (ChatKind::StaffChannel, _) => Some(Self::Staff),
            (ChatKind::ClassPupils, Some(unit)) => Some(Self::Pupils(unit)),
            (ChatKind::ClassParents, Some(unit)) => Some(Self::Parents(unit)),
            (ChatKind::ClassTeachers, Some(unit)) => Some(Self::Teachers(unit)),
            _ => None,
        }
    }
}

/// What people see, in Russian and in English (R62). `stored` is the class's label of a class chat, else the title given.
pub fn titles(kind: ChatKind, stored: &str) -> (String, String) {
    match kind {
        ChatKind::SchoolChannel => ("Общешкольный канал".into(), "School channel".into()),
        ChatKind::StaffChannel => ("Сотрудники".into(), "Staff".into()),
        ChatKind::ClassPupils => (stored.to_owned(), stored.to_owned()),
        ChatKind::ClassParents => (format!("{stored}. Родители"), format!("{stored}. Parents")),
        ChatKind::ClassTeachers => (format!("{stored}. Учителя"), format!("{stored}. Teachers")),
        ChatKind::Custom | ChatKind::Direct => (stored.to_owned(), stored.to_owned()),
    }
}
