use std::sync::Arc;

use parta_feed::{Consumer, FeedClient, MembershipFeed, OrgRegistryFeed, Source};
use parta_proto::parta::{membership::v1::MembershipEvent, org_registry::v1::OrgRegistryEvent};
use parta_storage::Db;

use crate::{Members, Organizations, Roster, RosterObserver};

/// The names of the two consumers, which key their cursors: `<service>.<effect>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerNames {
    /// Of the consumer of org-registry, for example "chat.roster_organizations".
    pub organizations: &'static str,
    /// Of the consumer of membership, for example "chat.roster_members".
    pub members: &'static str,
}

/// The projection of one service: its two consumers, to be run as tasks, and the roster that answers from it.
pub struct Projection<O, M>
where
    O: Source<Event = OrgRegistryEvent>,
    M: Source<Event = MembershipEvent>,
{
    /// Follows org-registry.
    pub organizations: Consumer<O, Organizations>,
    /// Follows membership.
    pub members: Consumer<M, Members>,
    /// Answers questions.
    pub roster: Roster,
}

impl<O, M> Projection<O, M>
where
    O: Source<Event = OrgRegistryEvent>,
    M: Source<Event = MembershipEvent>,
{
    /// A projection in `db` of the feeds that these sources give.
    pub fn new(
        names: ConsumerNames,
        db: &Db,
        organizations: O,
        members: M,
        observer: Arc<dyn RosterObserver>,
    ) -> Self {
        let organizations = Consumer::new(
            names.organizations,
            db.clone(),
            organizations,
            Organizations::new(observer.clone()),
        );
        let members = Consumer::new(names.members, db.clone(), members, Members::new(observer));
        let roster = Roster::new(
            names,
            db.env().clone(),
            organizations.freshness(),
            members.freshness(),
        );
        Self {
            organizations,
            members,
            roster,
        }
    }
}

impl<T> Projection<FeedClient<OrgRegistryFeed, T>, FeedClient<MembershipFeed, T>>
where
    FeedClient<OrgRegistryFeed, T>: Source<Event = OrgRegistryEvent>,
    FeedClient<MembershipFeed, T>: Source<Event = MembershipEvent>,
{
    /// A projection over channels to the two services.
    pub fn from_channels(
        names: ConsumerNames,
        db: &Db,
        org_registry: T,
        membership: T,
        observer: Arc<dyn RosterObserver>,
    ) -> Self {
        Self::new(
            names,
            db,
            FeedClient::new(org_registry),
            FeedClient::new(membership),
            observer,
        )
    }
}
