//! Events of roster imports in the feed of membership.
use parta_database::Tx;
use parta_feed as feed;
use parta_ids::{MemberId, OrgId, RosterImportId};
use parta_proto_membership::v1::{
    Role as PbRole, RosterImportStaged, StagedInvitation, StagedUnit, membership_event::Payload,
};
use parta_roster::Role;

/// The event by which one batch requests classes and invitations from other services.
#[derive(Default)]
pub(super) struct Staged(RosterImportStaged);

impl Staged {
    /// Requests a class from org-registry.
    pub(super) fn add_unit(&mut self, source_key: &str, label: &str) {
        self.0.units.push(StagedUnit {
            source_key: source_key.to_owned(),
            label: label.to_owned(),
        });
    }

    /// Requests an invitation for an expected member.
    pub(super) fn add_invitation(&mut self, member: MemberId, role: Role) {
        self.0.invitations.push(StagedInvitation {
            member_id: member.to_string(),
            role: PbRole::from(role).into(),
        });
    }

    /// Appends the event if it requests anything.
    pub(super) fn publish(mut self, tx: &Tx, org: OrgId, id: RosterImportId) {
        if !self.0.units.is_empty() || !self.0.invitations.is_empty() {
            self.0.roster_import_id = id.to_string();
            feed::append_event(tx, org, Payload::RosterImportStaged(self.0));
        }
    }
}
