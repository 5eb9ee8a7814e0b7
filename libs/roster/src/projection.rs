use std::sync::Arc;

use parta_database::Db;
use parta_feed::{Consumer, FeedClient, Source};
use parta_proto_membership::{MembershipFeed, v1::MembershipEvent};
use parta_proto_org_registry::{OrgRegistryFeed, v1::OrgRegistryEvent};

use crate::{ConsumerNames, Members, Organizations, Roster, RosterObserver};

/// The projection of one service: two consumers that run as tasks, and the roster that reads the result.
pub struct Projection<O, M>
where
    O: Source<Event = OrgRegistryEvent>,
    M: Source<Event = MembershipEvent>,
{
    /// The consumer of org-registry.
    pub organizations: Consumer<O, Organizations>,
    /// The consumer of membership.
    pub members: Consumer<M, Members>,
    /// Reads the projection.
    pub roster: Roster,
}

impl<O, M> Projection<O, M>
where
    O: Source<Event = OrgRegistryEvent>,
    M: Source<Event = MembershipEvent>,
{
    /// Returns a projection in `db` of the feeds of these sources.
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
        let roster = Roster::new(organizations.freshness(), members.freshness());
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
    /// Returns a projection of the feeds behind channels to the two services.
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
