/// The kinds of principal for which `docs/permissions.md` tells what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// No credential.
    Anonymous,
    /// Signed in, no organization chosen.
    Account,
    /// Holder of a join ticket.
    Joiner,
    /// A pupil.
    Pupil,
    /// A parent of a pupil.
    Parent,
    /// A teacher whom the organization has not verified.
    UnverifiedTeacher,
    /// A verified subject teacher of the class.
    Teacher,
    /// The verified class teacher.
    ClassTeacher,
    /// An administrator.
    Administrator,
    /// The head.
    Head,
    /// The operator of the platform.
    Operator,
    /// An external system with every permission.
    ServiceAccount,
    /// A service of the suite that the rule names.
    Service,
}

impl PrincipalKind {
    /// All kinds, in the order of the table.
    pub const ALL: [Self; 13] = [
        Self::Anonymous,
        Self::Account,
        Self::Joiner,
        Self::Pupil,
        Self::Parent,
        Self::UnverifiedTeacher,
        Self::Teacher,
        Self::ClassTeacher,
        Self::Administrator,
        Self::Head,
        Self::Operator,
        Self::ServiceAccount,
        Self::Service,
    ];

    /// Whether it is a member of an organization.
    pub fn is_person(self) -> bool {
        matches!(
            self,
            Self::Pupil
                | Self::Parent
                | Self::UnverifiedTeacher
                | Self::Teacher
                | Self::ClassTeacher
                | Self::Administrator
                | Self::Head
        )
    }
}

/// One row of the authorization table, computed by calling the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// Full name of the RPC: `parta.chat.v1.MessageService/SendMessage`.
    pub rpc: &'static str,
    /// Who calls.
    pub kind: PrincipalKind,
    /// Whether it may in its own organization, towards what concerns it.
    pub own: bool,
    /// Whether it may in another organization.
    pub foreign: bool,
}

/// A permission that a kind of principal has only towards objects that it created, for example to cancel a call that it
/// organizes. [`Permission::own`] of the same RPC and kind, about an object that another member created, is `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatorPermission {
    /// Full name of the RPC.
    pub rpc: &'static str,
    /// Who calls.
    pub kind: PrincipalKind,
}
