//! Members: reading, expecting, roles, verification, leaving (R22, R23, R24, R26, R28).
use std::collections::{BTreeMap, BTreeSet};

use parta_access::{Caller, Decision, OrgScope, Principal, authorize};
use parta_ids::{MemberId, OrgId, TypedId as _, UnitId};
use parta_proto::parta::membership::v1::{self as pb, ErrorReason, MemberState};
use parta_roster::{MemberContext, Role};
use parta_storage::{Mutation, Tx, check_etag};
use sea_orm::ConnectionTrait;

use super::{App, Page};
use crate::{
    assignments, enrollments,
    error::Error,
    events,
    grpc::convert,
    guardianships, policy,
    storage::members::{self, Filter, Member},
};

/// Somebody expected.
#[derive(Debug, Clone)]
pub(crate) struct NewMember {
    pub(crate) org_id: OrgId,
    pub(crate) full_name: String,
    pub(crate) role: Role,
    pub(crate) unit_id: Option<UnitId>,
}

fn unknown(id: MemberId) -> Error {
    Error::unknown("member", id)
}

impl App {
    /// Members as they are answered, with their classes.
    pub(crate) async fn shown(
        &self,
        conn: &impl ConnectionTrait,
        scope: &OrgScope,
        rows: &[Member],
    ) -> Result<Vec<pb::Member>, Error> {
        let ids: Vec<_> = rows
            .iter()
            .map(|row| MemberId::from_uuid(row.member_id))
            .collect();
        let units = enrollments::units_of(conn, scope, &ids).await?;
        let shown = rows.iter().map(|row| {
            let units = units.get(&MemberId::from_uuid(row.member_id));
            convert::member(row, units.map_or(&[], Vec::as_slice))
        });
        Ok(shown.collect())
    }

    /// A staff read of children's profiles leaves a row in the audit log (R60).
    async fn audit_read(&self, caller: &Caller, org: OrgId, object: &str) -> Result<(), Error> {
        let object = &format!("organizations/{org}/members{object}");
        let outside = matches!(caller.acting(), Principal::ServiceAccount { .. });
        let staff = match caller.person() {
            Some((_, member)) => self
                .contexts_of(self.db.conn(), org, member)
                .await?
                .is_some_and(|f: MemberContext| f.is_staff()),
            None => outside,
        };
        if staff {
            let write = |tx| async move {
                parta_audit::record(&tx, caller, Some(org), object.as_str()).await?;
                Ok::<_, Error>(())
            };
            self.db.write(write).await?;
        }
        Ok(())
    }

    pub(crate) async fn get_members(
        &self,
        caller: &Caller,
        org: OrgId,
        ids: &[MemberId],
    ) -> Result<Vec<pb::Member>, Error> {
        let (scope, seen) = self.visible_members(self.db.conn(), caller, org).await?;
        let mut among: BTreeSet<MemberId> = ids.iter().copied().collect();
        if let Some(seen) = seen {
            among.retain(|id| seen.contains(id));
        }
        let filter = Filter {
            among: Some(among),
            include_left: true,
            ..Filter::default()
        };
        let rows = members::list(self.db.conn(), &scope, &filter, None, ids.len() as u64).await?;
        let mut shown: BTreeMap<String, pb::Member> = BTreeMap::new();
        for member in self.shown(self.db.conn(), &scope, &rows).await? {
            shown.insert(member.id.clone(), member);
        }
        self.audit_read(caller, org, "").await?;
        Ok(ids
            .iter()
            .filter_map(|id| shown.remove(&id.to_string()))
            .collect())
    }

    pub(crate) async fn list_members(
        &self,
        caller: &Caller,
        org: OrgId,
        unit: Option<UnitId>,
        mut filter: Filter,
        page: Page<'_>,
    ) -> Result<pb::ListMembersResponse, Error> {
        let (scope, seen) = self.visible_members(self.db.conn(), caller, org).await?;
        filter.among = seen;
        if let Some(unit) = unit {
            let people: BTreeSet<_> = self
                .roster
                .members_of_unit(self.db.conn(), org, unit)
                .await?
                .into_iter()
                .collect();
            filter.among = Some(match filter.among {
                Some(seen) => seen.intersection(&people).copied().collect(),
                None => people,
            });
        }
        let after = self.db.decode_page(caller, &page.filter, page.token)?;
        let mut rows = members::list(self.db.conn(), &scope, &filter, after, page.size + 1).await?;
        let next_page_token = self.cut(caller, &page, &mut rows, |row| MemberId::from_uuid(row.member_id));
        let members = self.shown(self.db.conn(), &scope, &rows).await?;
        self.audit_read(caller, org, "").await?;
        Ok(pb::ListMembersResponse {
            members,
            next_page_token,
        })
    }

    pub(crate) async fn create_member(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        new: &NewMember,
    ) -> Result<pb::CreateMemberResponse, Error> {
        let org = new.org_id;
        self.db
            .mutate(mutation, |tx| async move {
                let facts = self.facts(&tx, caller, org).await?;
                let scope = authorize(caller, org, policy::create_member(&facts, new.role, new.unit_id))?;
                let id: MemberId = tx.env().id();
                let expected = MemberState::Expected;
                let row = members::new(org, id, &new.full_name, expected, new.role.bit(), tx.now());
                members::insert(&tx, &scope, &row).await?;
                events::state(&tx, org, events::admitted(&row)).await?;
                if let Some(unit) = new.unit_id {
                    self.require_unit(&tx, org, unit).await?;
                    enrollments::begin(&tx, &scope, id, unit).await?;
                }
                let member = self.audit_and_load(&tx, caller, &scope, &row).await?;
                Ok::<_, Error>(pb::CreateMemberResponse {
                    member,
                    ..Default::default()
                })
            })
            .await
    }

    /// The audit row of a change of a member, and the member as it then is.
    async fn audit_and_load(
        &self,
        tx: &Tx,
        caller: &Caller,
        scope: &OrgScope,
        row: &Member,
    ) -> Result<Option<pb::Member>, Error> {
        let (org, id) = (scope.org_id(), MemberId::from_uuid(row.member_id));
        parta_audit::record(tx, caller, Some(org), format!("organizations/{org}/members/{id}")).await?;
        Ok(self.shown(tx, scope, std::slice::from_ref(row)).await?.pop())
    }

    async fn present(&self, tx: &Tx, scope: &OrgScope, id: MemberId) -> Result<Member, Error> {
        let row = members::lock(tx, scope, id).await?.ok_or_else(|| unknown(id))?;
        if row.state == i32::from(MemberState::Left) {
            return Err(Error::State(ErrorReason::MemberLeft));
        }
        Ok(row)
    }

    pub(crate) async fn change_roles(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: MemberId,
        roles: &BTreeSet<Role>,
        etag: &str,
    ) -> Result<pb::ChangeMemberRolesResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let facts = self.facts(&tx, caller, org).await?;
                let scope = authorize(caller, org, policy::administer(&facts))?;
                let administrators = members::lock_administrators(&tx, &scope).await?;
                let mut row = self.present(&tx, &scope, id).await?;
                check_etag(etag, row.revision)?;
                let (held, wanted) = (Role::set_of(row.roles), Role::mask_of(roles.iter().copied()));
                let administrator = Role::Administrator;
                if roles.contains(&administrator) && !held.contains(&administrator) {
                    let staff = |r: &Role| !matches!(r, Role::Pupil | Role::Parent);
                    if row.state != i32::from(MemberState::Active) || !held.iter().any(staff) {
                        return Err(Error::State(ErrorReason::AdministratorNotJoined));
                    }
                }
                if held.contains(&administrator) && !roles.contains(&administrator) {
                    keep_one(&administrators, &row)?;
                }
                row.roles = wanted;
                // The badge is of the teacher, not of the person.
                row.teacher_verified &= roles.contains(&Role::Teacher);
                members::update(&tx, &scope, &mut row).await?;
                events::state(&tx, org, events::changed(&row)).await?;
                let member = self.audit_and_load(&tx, caller, &scope, &row).await?;
                Ok::<_, Error>(pb::ChangeMemberRolesResponse {
                    member,
                    ..Default::default()
                })
            })
            .await
    }

    /// Gives or takes the badge; the ground is kept with who decided.
    pub(crate) async fn set_verified(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: MemberId,
        verified: bool,
        ground: &str,
    ) -> Result<pb::VerifyTeacherResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let facts = self.facts(&tx, caller, org).await?;
                let scope = authorize(caller, org, policy::manage(&facts))?;
                let mut row = self.present(&tx, &scope, id).await?;
                if row.roles & Role::Teacher.bit() == 0 {
                    return Err(Error::State(ErrorReason::NotATeacher));
                }
                row.teacher_verified = verified;
                row.evidence = Some(ground.to_owned());
                row.verifier_id = Some(facts.member_id.uuid());
                members::update(&tx, &scope, &mut row).await?;
                events::state(&tx, org, events::changed(&row)).await?;
                let member = self.audit_and_load(&tx, caller, &scope, &row).await?;
                Ok::<_, Error>(pb::VerifyTeacherResponse {
                    member,
                    ..Default::default()
                })
            })
            .await
    }

    pub(crate) async fn remove_member(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: MemberId,
        etag: &str,
    ) -> Result<pb::RemoveMemberResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let facts = self.facts(&tx, caller, org).await?;
                authorize(caller, org, policy::manage(&facts))?;
                let target = self.contexts_of(&tx, org, id).await?.ok_or_else(|| unknown(id))?;
                let scope = authorize(caller, org, policy::remove(&facts, &target))?;
                let administrators = members::lock_administrators(&tx, &scope).await?;
                let mut row = self.present(&tx, &scope, id).await?;
                check_etag(etag, row.revision)?;
                // Between the look and the lock the member may have become administrator.
                let target = self.contexts_of(&tx, org, id).await?.ok_or_else(|| unknown(id))?;
                authorize(caller, org, policy::remove(&facts, &target))?;
                if row.roles & Role::Administrator.bit() != 0 {
                    keep_one(&administrators, &row)?;
                }
                self.end_membership(&tx, &scope, &mut row).await?;
                let member = self.audit_and_load(&tx, caller, &scope, &row).await?;
                Ok::<_, Error>(pb::RemoveMemberResponse {
                    member,
                    ..Default::default()
                })
            })
            .await
    }

    /// Ends everything that a locked member is in the organization.
    pub(crate) async fn end_membership(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        row: &mut Member,
    ) -> Result<(), Error> {
        let (org, id) = (scope.org_id(), MemberId::from_uuid(row.member_id));
        assignments::end_all_of(tx, scope, id).await?;
        enrollments::end_all_of(tx, scope, id).await?;
        guardianships::end_all_of(tx, scope, id).await?;
        row.state = MemberState::Left.into();
        row.teacher_verified = false;
        row.leave_time = Some(tx.now());
        members::update(tx, scope, row).await?;
        events::state(tx, org, events::changed(row)).await
    }

    /// The scope of the administration, in the transaction.
    pub(crate) async fn managing(&self, tx: &Tx, caller: &Caller, org: OrgId) -> Result<OrgScope, Error> {
        let facts = self.facts(tx, caller, org).await?;
        let decision: Decision = policy::manage(&facts);
        Ok(authorize(caller, org, decision)?)
    }
}

/// An organization keeps at least one administrator; `administrators` are all, locked.
fn keep_one(administrators: &[Member], leaving: &Member) -> Result<(), Error> {
    let another = administrators
        .iter()
        .any(|row| row.member_id != leaving.member_id);
    let matters = leaving.state == i32::from(MemberState::Active);
    if another || !matters {
        Ok(())
    } else {
        Err(Error::State(ErrorReason::LastAdministrator))
    }
}
