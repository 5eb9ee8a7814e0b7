use std::{fmt, str::FromStr};

/// A permission of service accounts, as access rules and tokens name it.
///
/// The catalog has what RPCs require and nothing else. A name that is not in it is refused when an account is
/// created, gives nothing in a stored account or a token, and prevents the start in an access rule. All
/// permissions are reads: no RPC that changes state accepts service accounts (R80), which a test holds. A
/// write gets a permission of its own together with its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceAccountPermission {
    /// Reads organizations, units, members and assignments.
    RosterRead,
    /// Reads the feed of org-registry.
    OrgRegistryFeedRead,
    /// Reads the feed of membership.
    MembershipFeedRead,
    /// Reads the feed of invitation.
    InvitationFeedRead,
    /// Reads the feed of chat.
    ChatFeedRead,
    /// Reads the feed of call-scheduling.
    CallSchedulingFeedRead,
}

/// The name of a permission is not in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a permission of the catalog")]
pub struct UnknownPermission;

impl ServiceAccountPermission {
    /// All permissions, in the order of the documents.
    pub const ALL: [Self; 6] = [
        Self::RosterRead,
        Self::OrgRegistryFeedRead,
        Self::MembershipFeedRead,
        Self::InvitationFeedRead,
        Self::ChatFeedRead,
        Self::CallSchedulingFeedRead,
    ];

    /// Returns the name in access rules, requests and tokens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RosterRead => "roster.read",
            Self::OrgRegistryFeedRead => "org_registry_feed.read",
            Self::MembershipFeedRead => "membership_feed.read",
            Self::InvitationFeedRead => "invitation_feed.read",
            Self::ChatFeedRead => "chat_feed.read",
            Self::CallSchedulingFeedRead => "call_scheduling_feed.read",
        }
    }

    /// Returns the permission to read the feed of a service of Parta.
    pub fn of_feed(service: &str) -> Option<Self> {
        match service {
            "org-registry" => Some(Self::OrgRegistryFeedRead),
            "membership" => Some(Self::MembershipFeedRead),
            "invitation" => Some(Self::InvitationFeedRead),
            "chat" => Some(Self::ChatFeedRead),
            "call-scheduling" => Some(Self::CallSchedulingFeedRead),
            _ => None,
        }
    }

    /// Returns one sentence for administrators, in English and in Russian.
    pub const fn description(self) -> (&'static str, &'static str) {
        match self {
            Self::RosterRead => (
                "Reads the organization, its units, its members and their assignments.",
                "Чтение организации, её подразделений, участников и их назначений.",
            ),
            Self::OrgRegistryFeedRead => (
                "Follows changes of the organization, its policies and its units.",
                "Получение изменений организации, её правил и подразделений.",
            ),
            Self::MembershipFeedRead => (
                "Follows changes of members, assignments, enrollments, relations, duties and suspensions.",
                "Получение изменений участников, назначений, зачислений, связей, обязанностей и отстранений.",
            ),
            Self::InvitationFeedRead => (
                "Follows changes of invitations and who joined by them.",
                "Получение изменений приглашений и вступлений по ним.",
            ),
            Self::ChatFeedRead => (
                "Follows who takes part in which chat, without messages and without personal chats.",
                "Получение изменений состава чатов: без сообщений и без личных чатов.",
            ),
            Self::CallSchedulingFeedRead => (
                "Follows planned and canceled calls of units, without their participants.",
                "Получение изменений звонков подразделений, без их участников.",
            ),
        }
    }
}

impl FromStr for ServiceAccountPermission {
    type Err = UnknownPermission;

    fn from_str(name: &str) -> Result<Self, UnknownPermission> {
        let mut all = Self::ALL.into_iter();
        all.find(|permission| permission.name() == name)
            .ok_or(UnknownPermission)
    }
}

impl fmt::Display for ServiceAccountPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
