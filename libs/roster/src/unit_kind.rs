use parta_proto_org_registry::v1 as org_registry;

/// Whether an event of this or a later release has this number of an enum. 0 is the value that is not set.
pub(crate) fn is_sent(number: i32) -> bool {
    number > 0
}

/// The kind of a unit.
///
/// Unknown in a feed event: the stricter reading. A unit of a kind that this build does not know belongs to
/// no rule and counts as archived, so that nothing new begins in it. Its number is stored as received, so
/// that the next build that knows it needs no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// The staff room, for all staff.
    StaffRoom,
    /// A class of pupils.
    Class,
    /// A group that crosses classes, or a student group.
    Group,
    /// A department of the staff.
    Department,
    /// A kind that a newer release of org-registry has added. No rule includes it.
    Unknown,
}

impl UnitKind {
    /// Returns the kind of an event, by its number; `None` for a number that no release sends.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        match org_registry::UnitKind::try_from(number) {
            Ok(org_registry::UnitKind::StaffRoom) => Some(Self::StaffRoom),
            Ok(org_registry::UnitKind::Class) => Some(Self::Class),
            Ok(org_registry::UnitKind::Group) => Some(Self::Group),
            Ok(org_registry::UnitKind::Department) => Some(Self::Department),
            Ok(org_registry::UnitKind::Unspecified) | Err(_) => is_sent(number).then_some(Self::Unknown),
        }
    }
}
