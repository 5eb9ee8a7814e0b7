//! Applies changes of an import in one transaction, for the person who decides about them.
use std::collections::{BTreeMap, BTreeSet};

use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{MemberId, RosterImportId, UnitId};
use parta_roster::{Role, State, label_key};
use parta_status::invalid;

use super::{
    decisions,
    events::Staged,
    limits::NO_LIMIT,
    model::{ChangeKind as Kind, NoEffect, Outcome},
    operations::{self, Classes},
    own_matter::Decider,
    plan::{self, Change},
    storage::{
        rows::{self, ChangeFilter},
        source,
    },
};
use crate::{
    assignments,
    context::Context,
    departures, enrollments,
    error::Error,
    guardianships,
    member_records::{LeaveReason, Member, events, storage as members},
    names,
};

/// Applies changes. The records of their people are locked.
pub(super) struct Applier<'a> {
    pub(super) tx: &'a Tx,
    pub(super) scope: &'a OrgScope,
    pub(super) classes: Classes,
    /// The records of the people of the changes, by their ids in the source.
    pub(super) people: BTreeMap<String, Member>,
    decider: Decider,
    /// The ids in the source of people whose record waits for a second person.
    pub(super) waiting: BTreeSet<String>,
    /// The requests of the changes to other services.
    pub(super) staged: Staged,
}

impl<'a> Applier<'a> {
    /// Loads what these changes need, and locks the records of their people and of the decider, so that the
    /// decider's right can be looked at afterwards.
    pub(super) async fn new(
        context: &Context,
        tx: &'a Tx,
        scope: &'a OrgScope,
        import: RosterImportId,
        changes: &[(i64, Change)],
        decider: MemberId,
    ) -> Result<Self, Error> {
        let keys = changes
            .iter()
            .flat_map(|(_, c)| [c.source_key.clone(), c.details.other_key.clone()]);
        let keys: Vec<_> = keys.filter(|key| !key.is_empty()).collect();
        let mut ids = source::people_of(tx, scope, &keys).await?;
        let joined = members::joined_with(tx, scope, ids.values().copied()).await?;
        for id in ids.values_mut() {
            *id = joined.get(id).copied().unwrap_or(*id);
        }
        let locked = ids.values().copied().chain([decider]);
        let records = members::lock_all(tx, scope, locked).await?;
        let record = |(key, id): (String, MemberId)| Some((key, records.get(&id)?.clone()));
        let people = ids.into_iter().filter_map(record).collect();
        let own = records.get(&decider);
        let own = own.ok_or_else(|| Error::unknown("member", decider))?;
        let decider = Decider {
            member_id: decider,
            full_name: own.full_name.clone(),
            family: guardianships::family(tx, scope, decider).await?,
        };
        let filter = ChangeFilter {
            kind: None,
            outcome: Some(Outcome::Waiting.number()),
        };
        let mut waiting = rows::list_changes(tx, scope, import, filter, 0, NO_LIMIT).await?;
        waiting.retain(|(_, change)| matches!(change.kind, Kind::CreateMember | Kind::ReadmitMember));
        let waiting: BTreeSet<String> = waiting.into_iter().map(|(_, change)| change.source_key).collect();
        Ok(Self {
            tx,
            scope,
            classes: operations::classes(context, tx, scope.org_id()).await?,
            people,
            decider,
            waiting,
            staged: Staged::default(),
        })
    }

    /// Returns the active class that a change is about.
    pub(super) fn unit(&self, change: &Change) -> Option<UnitId> {
        let key = label_key(&change.details.unit_label);
        self.classes.active.get(&key).copied()
    }

    /// Whether the change is about a person whose record waits for a second person.
    pub(super) fn awaits_person(&self, change: &Change) -> bool {
        self.waiting.contains(&change.source_key) || self.waiting.contains(&change.details.other_key)
    }

    /// Whether the change is the decider's own matter.
    pub(super) fn is_own(&self, change: &Change) -> Result<bool, Error> {
        let admits = matches!(change.kind, Kind::CreateMember | Kind::ReadmitMember);
        let role = admits.then(|| plan::role(change.details.value)).transpose()?;
        let id = |key: &str| self.people.get(key).map(|record| record.id);
        let (member, child) = (id(&change.source_key), id(&change.details.other_key));
        Ok(self.decider.is_own(change, role, member, child))
    }

    /// Applies a change, unless it has no effect, or a second person has to decide about it.
    pub(super) async fn apply(&mut self, change: &Change) -> Result<Outcome, Error> {
        if self.awaits_person(change) {
            return Ok(Outcome::Waiting);
        }
        if let Some(reason) = self.obstacle(change).await? {
            return Ok(Outcome::NoEffect(reason));
        }
        if self.is_own(change)? {
            if matches!(change.kind, Kind::CreateMember | Kind::ReadmitMember) {
                self.waiting.insert(change.source_key.clone());
            }
            return Ok(Outcome::Waiting);
        }
        self.perform(change).await
    }

    /// Applies a waiting change, about which the decider is the second person.
    pub(super) async fn confirm(&mut self, change: &Change) -> Result<Outcome, Error> {
        if matches!(change.kind, Kind::CreateMember | Kind::ReadmitMember) {
            self.waiting.remove(&change.source_key);
        } else if self.awaits_person(change) {
            let why = "a person of one of these changes waits too: decide about that change first";
            return Err(invalid("numbers", why).into());
        }
        match self.obstacle(change).await? {
            Some(reason) => Ok(Outcome::NoEffect(reason)),
            None => self.perform(change).await,
        }
    }

    /// Returns why the change has no effect.
    async fn obstacle(&self, change: &Change) -> Result<Option<NoEffect>, Error> {
        if let Some(reason) = self.known_obstacle(change)? {
            return Ok(Some(reason));
        }
        let id = |key: &str| self.people.get(key).map(|record| record.id);
        let Some(member) = id(&change.source_key) else {
            return Ok(None);
        };
        let (child, unit) = (id(&change.details.other_key), self.unit(change));
        decisions::obstacle(self.tx, self.scope, change, member, child, unit).await
    }

    /// Returns why the change has no effect, apart from the decisions about its people.
    pub(super) fn known_obstacle(&self, change: &Change) -> Result<Option<NoEffect>, Error> {
        let record = self.people.get(&change.source_key);
        let unit = self.unit(change);
        if change.kind.needs_unit() && unit.is_none() {
            return Ok(Some(NoEffect::ClassGone));
        }
        let reason = match change.kind {
            Kind::CreateUnit => None,
            Kind::ChangeRole => Some(NoEffect::RoleNotHeld),
            Kind::CreateMember => record.map(|record| absence(record).unwrap_or(NoEffect::AlreadySo)),
            Kind::ReadmitMember => match record {
                None => Some(NoEffect::NotAMember),
                Some(record) if record.state != State::Left => Some(NoEffect::AlreadySo),
                Some(record) if record.leave_reason != Some(LeaveReason::Source) => {
                    Some(NoEffect::RemovedByDecision)
                }
                Some(record) => {
                    let role = plan::role(change.details.value)?;
                    record
                        .revoked_roles
                        .contains(&role)
                        .then_some(NoEffect::RoleRevoked)
                }
            },
            Kind::RenameMember | Kind::EndEnrollment => lacks(record, None),
            Kind::BeginEnrollment => lacks(record, Some(Role::Pupil)),
            Kind::BeginAssignment => lacks(record, Some(Role::Teacher)),
            Kind::EstablishGuardianship => {
                let child = self.people.get(&change.details.other_key);
                let is_one_person = record.map(|record| record.id) == child.map(|child| child.id);
                lacks(record, Some(Role::Parent))
                    .or_else(|| lacks(child, Some(Role::Pupil)))
                    .or_else(|| is_one_person.then_some(NoEffect::RoleNotHeld))
            }
            Kind::RemoveMember => match record {
                Some(record) if record.state == State::Left => Some(NoEffect::AlreadySo),
                Some(record) if record.has(Role::Administrator) => Some(NoEffect::AdministratorStays),
                record => lacks(record, None),
            },
        };
        Ok(reason)
    }

    async fn perform(&mut self, change: &Change) -> Result<Outcome, Error> {
        let (tx, scope, details) = (self.tx, self.scope, &change.details);
        let member = self.people.get(&change.source_key).map(|record| record.id);
        let is_done = match (change.kind, member, self.unit(change)) {
            // Done when the creator of classes says so.
            (Kind::CreateUnit, ..) => {
                self.staged.add_unit(&change.source_key, &details.unit_label);
                return Ok(Outcome::Planned);
            }
            (Kind::CreateMember, ..) => {
                self.create_expected_members(&[change]).await?;
                true
            }
            (Kind::ReadmitMember, ..) => self.readmit(change).await?,
            (Kind::RenameMember, ..) => self.rename(change).await?,
            (Kind::RemoveMember, ..) => self.remove(change).await?,
            (Kind::BeginEnrollment, Some(member), Some(unit)) => {
                enrollments::begin(tx, scope, member, unit).await?.is_some()
            }
            (Kind::EndEnrollment, Some(member), Some(unit)) => {
                enrollments::end(tx, scope, member, unit).await?.is_some()
            }
            (Kind::BeginAssignment, Some(member), Some(unit)) => {
                let kind = plan::assignment_kind(details.value)?;
                let begun = assignments::begin(tx, scope, member, unit, kind, None).await?;
                begun.is_some()
            }
            (Kind::EstablishGuardianship, Some(guardian), _) => {
                let child = self.people.get(&details.other_key).map(|child| child.id);
                match child {
                    Some(child) => guardianships::establish(tx, scope, guardian, child).await?,
                    None => false,
                }
            }
            _ => false,
        };
        Ok(if is_done {
            Outcome::Done
        } else {
            Outcome::NoEffect(NoEffect::AlreadySo)
        })
    }

    /// Creates an expected member for each change and requests invitations.
    pub(super) async fn create_expected_members(&mut self, changes: &[&Change]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let (tx, scope) = (self.tx, self.scope);
        let (org, now) = (scope.org_id(), tx.now());
        let mut rows = Vec::with_capacity(changes.len());
        for change in changes {
            let role = plan::role(change.details.value)?;
            let id = tx.env().id();
            rows.push(Member::new(
                org,
                id,
                &change.details.person,
                State::Expected,
                role,
                now,
            ));
            self.staged.add_invitation(id, role);
        }
        members::insert_all(tx, scope, &rows).await?;
        events::all_admitted(tx, org, &rows).await?;
        let people: Vec<(&str, MemberId)> = changes
            .iter()
            .zip(&rows)
            .map(|(change, row)| (change.source_key.as_str(), row.id))
            .collect();
        source::put_people(tx, scope, &people).await?;
        let keys = changes.iter().map(|change| change.source_key.clone());
        self.people.extend(keys.zip(rows));
        Ok(())
    }

    /// Begins another membership of a person whom the source had dropped. A person without an account is
    /// expected again and gets another link. Nothing else of the earlier membership comes back.
    async fn readmit(&mut self, change: &Change) -> Result<bool, Error> {
        let Some(row) = self.people.get_mut(&change.source_key) else {
            return Ok(false);
        };
        let role = plan::role(change.details.value)?;
        row.begin_again(None);
        row.roles.insert(role);
        if row.full_name != change.details.person {
            names::keep(self.tx, self.scope, row, &change.details.person, None).await?;
        }
        if row.account_id.is_none() {
            row.state = State::Expected;
            self.staged.add_invitation(row.id, role);
        }
        members::update(self.tx, self.scope, row).await?;
        events::changed(self.tx, row).await?;
        Ok(true)
    }

    async fn rename(&mut self, change: &Change) -> Result<bool, Error> {
        let name = &change.details.after;
        let record = self.people.get_mut(&change.source_key);
        let Some(row) = record.filter(|row| row.full_name != *name) else {
            return Ok(false);
        };
        names::keep(self.tx, self.scope, row, name, None).await?;
        members::update(self.tx, self.scope, row).await?;
        Ok(true)
    }

    /// Removes a member who is no longer in the source. The source may list the person again.
    async fn remove(&mut self, change: &Change) -> Result<bool, Error> {
        let Some(row) = self.people.get_mut(&change.source_key) else {
            return Ok(false);
        };
        departures::end_membership(self.tx, self.scope, row, LeaveReason::Source).await?;
        Ok(true)
    }
}

/// Returns why a person is no member; `None` for a member.
fn absence(record: &Member) -> Option<NoEffect> {
    (record.state == State::Left).then_some(match record.leave_reason {
        Some(LeaveReason::Source) => NoEffect::NotAMember,
        Some(LeaveReason::Decision | LeaveReason::Graduated | LeaveReason::Deceased) | None => {
            NoEffect::RemovedByDecision
        }
    })
}

/// Returns why a person is no member, or does not hold a role.
fn lacks(record: Option<&Member>, role: Option<Role>) -> Option<NoEffect> {
    let Some(record) = record else {
        return Some(NoEffect::NotAMember);
    };
    absence(record).or_else(|| match role {
        Some(role) if record.has(role) => None,
        Some(role) if record.revoked_roles.contains(&role) => Some(NoEffect::RoleRevoked),
        Some(_) => Some(NoEffect::RoleNotHeld),
        None => None,
    })
}
