/// The reason why a fact that ended with a role does not begin again when the change of the role is
/// undone (F2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The role does not fit the roles of today, or the organization has another head.
    RoleCombination,
    /// Only active staff become administrators.
    AdministratorNotJoined,
    /// The role on which the fact rests was not given back.
    RoleAbsent,
    /// Another decision about it was made since.
    DecidedSince,
    /// The unit is unknown or archived.
    UnitUnknown,
    /// The fact has reached its own end.
    Expired,
    /// Another member of the fact has left or lost the role for it.
    PersonAbsent,
    /// A limit is in force between the guardian and the child.
    RelationLimited,
    /// The guardian has so many children that another relation needs an order.
    OrderRequired,
    /// Another person decides about the fact.
    SecondPersonRequired,
}

impl Obstacle {
    /// The number of the API, which is stored in outcomes and never changes.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::RoleCombination => 1,
            Self::AdministratorNotJoined => 2,
            Self::RoleAbsent => 3,
            Self::DecidedSince => 4,
            Self::UnitUnknown => 5,
            Self::Expired => 6,
            Self::PersonAbsent => 7,
            Self::RelationLimited => 8,
            Self::OrderRequired => 9,
            Self::SecondPersonRequired => 10,
        }
    }
}

/// The result of beginning a fact again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored<Id> {
    /// It began again, under this id.
    Begun(Id),
    /// The same fact lasts already.
    Lasts,
    /// It did not begin.
    Hindered(Obstacle),
}
