use parta_proto_org_registry::v1 as org_registry;

/// The kind of a unit.
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
    /// Returns the kind of an event, by its number.
    pub(crate) fn from_number(number: i32) -> Self {
        match org_registry::UnitKind::try_from(number) {
            Ok(org_registry::UnitKind::StaffRoom) => Self::StaffRoom,
            Ok(org_registry::UnitKind::Class) => Self::Class,
            Ok(org_registry::UnitKind::Group) => Self::Group,
            Ok(org_registry::UnitKind::Department) => Self::Department,
            Ok(org_registry::UnitKind::Unspecified) | Err(_) => Self::Unknown,
        }
    }
}
