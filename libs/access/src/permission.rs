/// The kinds of principal whose permissions `docs/permissions.md` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// A caller without a credential.
    Anonymous,
    /// A signed-in account without a selected organization.
    Account,
    /// The holder of a join ticket.
    Joiner,
    /// A pupil.
    Pupil,
    /// A parent of a pupil.
    Parent,
    /// A teacher whom the organization has not verified.
    UnverifiedTeacher,
    /// A verified subject teacher of the class.
    Teacher,
    /// The verified class teacher of the class.
    ClassTeacher,
    /// An administrator.
    Administrator,
    /// The head.
    Head,
    /// The operator of the platform.
    Operator,
    /// A service account with every permission.
    ServiceAccount,
    /// A service of Parta that the rule names.
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

    /// Returns whether the kind is a member of an organization.
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

/// One row of the permission matrix, computed by evaluating the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// The full name of the RPC: `parta.chat.v1.MessageService/SendMessage`.
    pub rpc: &'static str,
    /// The kind of the caller.
    pub kind: PrincipalKind,
    /// Whether the call is permitted in its own organization, for objects that concern the caller.
    pub own: bool,
    /// Whether the call is permitted in another organization.
    pub foreign: bool,
}

/// A permission that a kind of principal has only for objects that it created, for example to cancel a call
/// that it organizes. [`Permission::own`] of the same RPC and kind, for an object that another member
/// created, is `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatorPermission {
    /// The full name of the RPC.
    pub rpc: &'static str,
    /// The kind of the caller.
    pub kind: PrincipalKind,
}

/// The kinds of principals that may call one RPC, as its policy decides.
#[derive(Debug, Clone, Copy)]
pub struct PermissionRule {
    rpc: &'static str,
    allows: fn(PrincipalKind) -> bool,
    /// Toward an object that the principal created.
    allows_creator: Option<fn(PrincipalKind) -> bool>,
    everywhere: bool,
}

impl PermissionRule {
    /// An RPC that reaches the caller's own organization. Services and the operator reach every organization.
    pub fn own(rpc: &'static str, allows: fn(PrincipalKind) -> bool) -> Self {
        Self {
            rpc,
            allows,
            allows_creator: None,
            everywhere: false,
        }
    }

    /// An RPC that belongs to no organization, or reaches every one.
    pub fn everywhere(rpc: &'static str, allows: fn(PrincipalKind) -> bool) -> Self {
        Self {
            everywhere: true,
            ..Self::own(rpc, allows)
        }
    }

    /// Adds the kinds of principals that may call the RPC for what they created.
    #[must_use]
    pub fn or_creator(mut self, allows: fn(PrincipalKind) -> bool) -> Self {
        self.allows_creator = Some(allows);
        self
    }
}

/// The rows of the permission matrix: one for each rule and kind of principal.
pub fn permission_rows(rules: impl IntoIterator<Item = PermissionRule>) -> Vec<Permission> {
    let mut rows = Vec::new();
    for rule in rules {
        for kind in PrincipalKind::ALL {
            let own = (rule.allows)(kind);
            let reaches_all = matches!(kind, PrincipalKind::Operator | PrincipalKind::Service);
            rows.push(Permission {
                rpc: rule.rpc,
                kind,
                own,
                foreign: own && (rule.everywhere || reaches_all),
            });
        }
    }
    rows
}

/// The permissions that principals have only for what they created.
pub fn creator_rows(rules: impl IntoIterator<Item = PermissionRule>) -> Vec<CreatorPermission> {
    let mut rows = Vec::new();
    for rule in rules {
        let Some(allows_creator) = rule.allows_creator else {
            continue;
        };
        let kinds = PrincipalKind::ALL.into_iter();
        rows.extend(
            kinds
                .filter(|kind| allows_creator(*kind) && !(rule.allows)(*kind))
                .map(|kind| CreatorPermission { rpc: rule.rpc, kind }),
        );
    }
    rows
}
