//! Events of roster imports in the feed of membership.
use std::collections::{BTreeMap, BTreeSet};

use parta_access::OrgScope;
use parta_database::Tx;
use parta_feed as feed;
use parta_ids::{MemberId, OrgId, RosterImportId};
use parta_proto_membership::v1::{
    Role as PbRole, RosterImportStaged, StagedInvitation, StagedUnit, membership_event::Payload,
};
use parta_roster::{Role, State};
use parta_status::RpcError;

use super::{
    limits::{BATCH_CHANGES, JOB, NO_LIMIT},
    model::{ChangeKind, Import, ImportState},
    plan, storage as imports,
    storage::{
        rows::{self, ChangeFilter},
        source,
    },
};
use crate::{error::Error, member_records::storage as members};

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

    /// Returns the event of a batch, which begins and ends with these changes, if it requests anything.
    fn payload(mut self, id: RosterImportId, first: i64, last: i64) -> Option<Payload> {
        if self.0.units.is_empty() && self.0.invitations.is_empty() {
            return None;
        }
        self.0.roster_import_id = id.to_string();
        self.0.first_change = first;
        self.0.last_change = last;
        Some(Payload::RosterImportStaged(self.0))
    }

    /// Appends the event of a batch if it requests anything.
    pub(super) fn publish(self, tx: &Tx, org: OrgId, id: RosterImportId, first: i64, last: i64) {
        if let Some(payload) = self.payload(id, first, last) {
            feed::append_event(tx, org, payload);
        }
    }
}

/// Events that request again what imports have requested and what may not be done yet: the classes of an
/// import that runs, and the links of members who are still expected. Without them an import would wait for
/// ever if its consumers replace their projection by a snapshot before they have read its events.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, RpcError> {
    let staged = list_staged(tx, &OrgScope::for_consumer(JOB, org)).await;
    staged.map_err(RpcError::from)
}

async fn list_staged(tx: &Tx, scope: &OrgScope) -> Result<Vec<Payload>, Error> {
    let mut imports = imports::list(tx, scope, None, NO_LIMIT).await?;
    imports.retain(|import| import.position > 0);
    if imports.is_empty() {
        return Ok(Vec::new());
    }
    let all = members::list_for_snapshot(tx, scope.org_id()).await?;
    let expected = all.into_iter().filter(|member| member.state == State::Expected);
    let expected: BTreeSet<MemberId> = expected.map(|member| member.id).collect();
    let people = source::people(tx, scope).await?;
    let mut events = Vec::new();
    // In the order in which they were started.
    for import in imports.iter().rev() {
        for (batch, staged) in request_again(tx, scope, import, &people, &expected).await? {
            // The last batch is not full yet. A later snapshot repeats more of it, and has another key.
            let last = import.position.min((batch + 1) * BATCH_CHANGES);
            events.extend(staged.payload(import.id, batch * BATCH_CHANGES + 1, last));
        }
    }
    Ok(events)
}

/// Returns the requests of one import by the number of the batch, counted in full batches.
async fn request_again(
    tx: &Tx,
    scope: &OrgScope,
    import: &Import,
    people: &BTreeMap<String, MemberId>,
    expected: &BTreeSet<MemberId>,
) -> Result<BTreeMap<i64, Staged>, Error> {
    let mut batches: BTreeMap<i64, Staged> = BTreeMap::new();
    let applied = |kind| async move {
        let filter = ChangeFilter::of_kind(kind);
        let mut changes = rows::list_changes(tx, scope, import.id, filter, 0, NO_LIMIT).await?;
        changes.retain(|(seq, _)| *seq <= import.position);
        Ok::<_, Error>(changes)
    };
    if import.state == ImportState::Running {
        for (seq, change) in applied(ChangeKind::CreateUnit).await? {
            let staged = batches.entry((seq - 1) / BATCH_CHANGES).or_default();
            staged.add_unit(&change.source_key, &change.details.unit_label);
        }
    }
    let mut admissions = applied(ChangeKind::CreateMember).await?;
    admissions.extend(applied(ChangeKind::ReadmitMember).await?);
    for (seq, change) in admissions {
        let member = people.get(&change.source_key).filter(|id| expected.contains(id));
        if let Some(member) = member {
            let staged = batches.entry((seq - 1) / BATCH_CHANGES).or_default();
            staged.add_invitation(*member, plan::role(change.details.value)?);
        }
    }
    Ok(batches)
}
