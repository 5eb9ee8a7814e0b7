//! Typed, prefixed, time-ordered ids, and the only sources of time and randomness.
//!
//! Only this crate reads the clock and the random source of the machine. All other code receives both as
//! parameters, so that tests can control them.
#![warn(missing_docs)]

mod env;
mod typeid;

pub use env::{Clock, Env, IdSource, ManualClock, SeededIds, SystemClock, SystemIds};
pub use typeid::IdError;
pub use uuid::Uuid;

/// An id of one kind of object. Its text form is a TypeID such as `org_01jd...`; ids sort by creation time.
pub trait TypedId:
    Copy
    + Eq
    + Ord
    + std::hash::Hash
    + std::fmt::Debug
    + std::fmt::Display
    + std::str::FromStr<Err = IdError>
    + Send
    + Sync
    + 'static
{
    /// The prefix of the text form, without the underscore.
    const PREFIX: &'static str;
    /// Wraps the UUID that a database stores.
    fn from_uuid(uuid: Uuid) -> Self;
    /// Returns the UUID that a database stores.
    fn uuid(self) -> Uuid;
}

/// Returns the text form of an optional id, as protobuf messages have it: without an id it is empty.
pub fn optional_text<T: TypedId>(id: Option<T>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl TypedId for $name {
            const PREFIX: &'static str = $prefix;
            fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
            fn uuid(self) -> Uuid {
                self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                let suffix = typeid::encode(self.0);
                f.write_str(std::str::from_utf8(&suffix).map_err(|_| std::fmt::Error)?)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let suffix = text
                    .strip_prefix($prefix)
                    .and_then(|rest| rest.strip_prefix('_'))
                    .ok_or(IdError::Prefix($prefix))?;
                typeid::decode(suffix).map(Self).ok_or(IdError::Suffix)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

typed_ids! {
    /// An organization.
    OrgId = "org";
    /// An application for registration.
    ApplicationId = "app";
    /// A document, such as a signed order.
    DocumentId = "doc";
    /// A class, group, department or staff room.
    UnitId = "unt";
    /// A person in one organization.
    MemberId = "mbr";
    /// A person. This id is never sent outside membership (R28).
    AccountId = "acc";
    /// A sign-in, or its pairwise form toward one organization.
    SessionId = "ses";
    /// A link by which people join.
    InvitationId = "inv";
    /// A use of an invitation, in progress or completed.
    ReservationId = "rsv";
    /// A teacher's work in a unit.
    AssignmentId = "asg";
    /// A pupil in a unit.
    EnrollmentId = "enr";
    /// The relation of a guardian and a child.
    GuardianshipId = "grd";
    /// A request of a person to become a member.
    JoinRequestId = "jrq";
    /// A suspension of a member.
    SuspensionId = "sus";
    /// A duty of a member of the staff toward pupils.
    DutyId = "dty";
    /// A limit of a guardian toward a child.
    RelationLimitId = "rlm";
    /// The account of an external system.
    ServiceAccountId = "sva";
    /// A key of a service account.
    ServiceAccountKeyId = "svk";
    /// A roster import.
    RosterImportId = "imp";
    /// A change of the policies of an organization.
    PolicyChangeId = "pch";
    /// A change by which a member of an organization lost roles.
    RoleChangeId = "rch";
    /// The appointment of a deputy who acts as the head.
    ActingHeadId = "ach";
    /// The one-time appointment of a founding administrator.
    AppointmentId = "apt";
    /// A chat.
    ChatId = "cht";
    /// An entry in the log of a chat.
    EntryId = "ent";
    /// A call or a series of calls.
    CallId = "cal";
    /// An event in a feed.
    EventId = "evt";
    /// A sign-in or joining in progress.
    FlowId = "flw";
    /// A durable job: a pending effect outside the database.
    JobId = "job";
}

#[cfg(test)]
mod tests;
