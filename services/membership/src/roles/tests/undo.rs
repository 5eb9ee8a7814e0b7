//! Undoing a change of roles: what is given back, and what the rules of today hinder (F2, F6).
use std::slice;

use chrono::TimeDelta;
use parta_ids::{InvitationId, RoleChangeId, TypedId as _, Uuid};
use parta_proto_membership::{
    internal::v1::AdmitMemberRequest,
    v1::{self as pb, AssignmentKind, Role, UndoObstacle, undo_refusal::Subject},
};
use parta_proto_org_registry::v1::{UnitArchived, org_registry_event::Payload};
use parta_service_testkit::fields;
use parta_testkit::on_both;
use tonic::Status;

use super::changes::School;
use crate::tests::test_env::{MemberSession, by, org, reason, unit};

impl School {
    fn undo_request(&self, change: &str) -> pb::UndoRoleChangeRequest {
        pb::UndoRoleChangeRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            role_change_id: change.to_owned(),
        }
    }

    pub(super) async fn undo_by(
        &self,
        caller: &MemberSession,
        change: &str,
    ) -> Result<pb::UndoRoleChangeResponse, Status> {
        let request = by(&caller.token, self.undo_request(change));
        Ok(self.env.roles().undo_role_change(request).await?.into_inner())
    }

    /// Undoes a change, and returns what was given back and what was not.
    pub(super) async fn undo(&self, change: &str) -> (pb::RoleFacts, Vec<(Subject, UndoObstacle)>) {
        let undone = self.undo_by(&self.administrator, change).await.unwrap();
        let refusals = undone.refusals.into_iter();
        let refusals = refusals.map(|refusal| (refusal.subject.clone().unwrap(), refusal.obstacle()));
        (undone.restored.unwrap(), refusals.collect())
    }

    async fn archive(&self, n: u128) {
        let archived = UnitArchived {
            unit_id: unit(n).to_string(),
            ..Default::default()
        };
        let env = &self.env.test_env;
        env.apply_org_registry(org(1), Payload::UnitArchived(archived))
            .await;
    }

    async fn second_administrator(&self) -> MemberSession {
        let phone = "+79165555555";
        let second = self.env.join(phone, "Павел Соколов", Role::Staff, |_| ()).await;
        let roles = [Role::Staff, Role::Administrator, Role::Deputy];
        let id = &second.member_id;
        let changed = self.env.change_roles(&self.administrator, id, &roles);
        changed.await.unwrap();
        second
    }
}

// The undo gives the role, the badge, the assignment and the duty back, once, also to a repetition of the
// call. The facts begin again under new ids.
// Covers: F2 allowed, F2 refused
on_both!(undo_gives_back_what_a_change_ended, |database| async move {
    let school = School::open(database).await;
    let id = school.teacher.member_id.as_str();
    let before = (
        school.assignments().await.remove(0),
        school.duties().await.remove(0),
    );
    let change = school.revoke(id, &[Role::Parent]).await;
    assert_eq!(school.env.list(&school.teacher).await.unwrap(), ["Олег Волков"]);

    let request = school.undo_request(&change);
    let mut api = school.env.roles();
    let undone = api.undo_role_change(by(&school.administrator.token, request.clone()));
    let undone = undone.await.unwrap().into_inner();
    let again = api.undo_role_change(by(&school.administrator.token, request));
    assert_eq!(again.await.unwrap().into_inner(), undone);
    let member = undone.member.unwrap();
    assert_eq!(member.roles, [i32::from(Role::Parent), i32::from(Role::Teacher)]);
    assert!(member.teacher_verified && undone.refusals.is_empty());
    let restored = undone.restored.unwrap();
    assert_eq!(restored.roles, [i32::from(Role::Teacher)]);
    assert!(restored.badge);
    let after = (
        school.assignments().await.remove(0),
        school.duties().await.remove(0),
    );
    assert_eq!(restored.assignment_ids, slice::from_ref(&after.0.id));
    assert_eq!(restored.duty_ids, slice::from_ref(&after.1.id));
    assert_ne!((&before.0.id, &before.1.id), (&after.0.id, &after.1.id));
    assert_eq!((before.0.unit_id, before.0.kind), (after.0.unit_id, after.0.kind));
    assert_eq!(
        (before.1.order, before.1.until_date),
        (after.1.order, after.1.until_date)
    );
    // The pupil and the mother are visible to the class teacher again.
    assert_eq!(school.env.list(&school.teacher).await.unwrap().len(), 4);

    let [listed] = &school.changes(&school.administrator).await.unwrap()[..] else {
        panic!("one change");
    };
    assert_eq!(listed.undoer_id, school.administrator.member_id);
    assert!(listed.undo_expire_time.is_none());
    let twice = school.undo_by(&school.administrator, &change).await;
    assert_eq!(reason(&twice), "UNDO_EXPIRED");
    school.env.close().await;
});

// A pupil who was made a teacher by mistake: the undo waits until the role of a teacher is gone, and gives
// the enrollment and the confirmed relation back.
// Covers: F2 allowed, F2 refused, F7 refused
on_both!(undo_waits_until_the_roles_fit, |database| async move {
    let school = School::open(database).await;
    let id = school.pupil.member_id.as_str();
    let change = school.revoke(id, &[Role::Teacher]).await;
    assert!(school.relations().await.is_empty());
    let refused = school.undo_by(&school.administrator, &change).await;
    assert_eq!(reason(&refused), "ROLE_COMBINATION");
    school.revoke(id, &[Role::Pupil]).await;
    assert!(school.relations().await.is_empty());
    let (restored, refused) = school.undo(&change).await;
    assert_eq!((restored.roles.len(), refused.len()), (0, 0));
    let [relation] = &school.relations().await[..] else {
        panic!("one relation");
    };
    assert_eq!(restored.guardianship_ids, slice::from_ref(&relation.id));
    assert_eq!(restored.enrollment_ids.len(), 1);
    assert!(relation.confirmed);
    assert!(
        school
            .env
            .list(&school.mother)
            .await
            .unwrap()
            .contains(&"Ева Орлова".to_owned())
    );
    school.env.close().await;
});

// Nobody undoes the loss of their own roles, who may not change roles undoes nothing, and after seven
// days, or after the member has left, nobody does.
// Covers: F2 refused, F6 refused
on_both!(undo_is_refused, |database| async move {
    let mut school = School::open(database).await;
    let second = school.second_administrator().await;
    let own = [Role::Staff, Role::Administrator];
    let of_second = school.revoke(&second.member_id, &own).await;
    let refused = school.undo_by(&second, &of_second).await;
    assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
    let of_teacher = school.revoke(&school.teacher.member_id, &[Role::Staff]).await;
    for caller in [&school.teacher, &school.mother] {
        let refused = school.undo_by(caller, &of_teacher).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
    }
    let unknown = RoleChangeId::from_uuid(Uuid::from_u128(7)).to_string();
    let refused = school.undo_by(&school.administrator, &unknown).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    let wrong = pb::UndoRoleChangeRequest {
        request_id: school.env.act(),
        org_id: String::new(),
        role_change_id: "rch_1".to_owned(),
    };
    let mut api = school.env.roles();
    let wrong = api.undo_role_change(by(&school.administrator.token, wrong)).await;
    assert_eq!(fields(&wrong.unwrap_err()), ["org_id", "role_change_id"]);
    // Another membership of the person gets nothing of the earlier one.
    let of_mother = school.revoke(&school.mother.member_id, &[Role::Staff]).await;
    let removed = school
        .env
        .remove(&school.administrator, &school.mother.member_id, "");
    removed.await.unwrap();
    let refused = school.undo_by(&school.administrator, &of_mother).await;
    assert_eq!(reason(&refused), "MEMBER_LEFT");
    let admit = AdmitMemberRequest {
        request_id: school.env.act(),
        org_id: org(1).to_string(),
        invitation_id: school.env.env.id::<InvitationId>().to_string(),
        flow_id: school.env.flow(&school.mother.person, "second").await,
        role: Role::Teacher.into(),
        ..Default::default()
    };
    school.env.admission().admit_member(admit).await.unwrap();
    let refused = school.undo_by(&school.administrator, &of_mother).await;
    assert_eq!(reason(&refused), "UNDO_EXPIRED");

    school.env.time.advance(TimeDelta::days(7));
    school.env.run_due_jobs().await;
    let administrator = school
        .env
        .sign_in_again("+79160000001", &school.administrator)
        .await;
    school.administrator = administrator;
    for purged in [false, true] {
        if purged {
            school.env.purge().await;
        }
        let refused = school.undo_by(&school.administrator, &of_teacher).await;
        assert_eq!(reason(&refused), "UNDO_EXPIRED", "{purged}");
    }
    school.env.close().await;
});

// Each fact is judged by the rules of today: an archived unit, another decision, its own end, and another
// person who has left hinder it. The response lists the fact.
// Covers: F2 refused
on_both!(undo_lists_what_is_hindered_today, |database| async move {
    let mut school = School::open(database).await;
    let id = school.teacher.member_id.clone();
    let administrator = school.administrator.clone();
    let kind = AssignmentKind::SubjectTeacher;
    school
        .env
        .assign(&administrator, &id, unit(2), kind)
        .await
        .unwrap();
    let before = school.assignments().await;
    let of = |n: u128| {
        let of_unit = before.iter().find(|row| row.unit_id == unit(n).to_string());
        Subject::AssignmentId(of_unit.unwrap().id.clone())
    };
    let duty = Subject::DutyId(school.duties().await.remove(0).id);
    let change = school.revoke(&id, &[Role::Parent]).await;
    // The latest assignment is found by its time.
    school.env.minute();
    let of_mother = school.revoke(&school.mother.member_id, &[Role::Staff]).await;

    // Meanwhile the role is given back, another decision ends the badge and one assignment, the other unit is
    // archived, the duty reaches its end, and the pupil leaves.
    let roles = [Role::Parent, Role::Teacher];
    school
        .env
        .change_roles(&administrator, &id, &roles)
        .await
        .unwrap();
    school.env.verify_teacher(&administrator, &id).await.unwrap();
    let withdraw = pb::WithdrawTeacherVerificationRequest {
        request_id: school.env.act(),
        org_id: org(1).to_string(),
        member_id: id.clone(),
        cause: "проверка".to_owned(),
    };
    let mut api = school.env.members();
    let withdrawn = api.withdraw_teacher_verification(by(&administrator.token, withdraw));
    withdrawn.await.unwrap();
    let again = school
        .env
        .assign(&administrator, &id, unit(1), AssignmentKind::ClassTeacher);
    let end = pb::EndAssignmentRequest {
        request_id: school.env.act(),
        org_id: org(1).to_string(),
        assignment_id: again.await.unwrap(),
    };
    let mut api = school.env.assignments();
    api.end_assignment(by(&administrator.token, end)).await.unwrap();
    school.archive(2).await;
    let removed = school.env.remove(&administrator, &school.pupil.member_id, "");
    removed.await.unwrap();
    school.env.time.advance(TimeDelta::days(3));
    school.administrator = school.env.sign_in_again("+79160000001", &administrator).await;

    let (restored, mut refused) = school.undo(&change).await;
    assert_eq!(restored, pb::RoleFacts::default());
    refused.sort_by_key(|(_, obstacle)| i32::from(*obstacle));
    assert_eq!(
        refused,
        [
            (Subject::Badge(true), UndoObstacle::DecidedSince),
            (of(1), UndoObstacle::DecidedSince),
            (of(2), UndoObstacle::UnitUnknown),
            (duty, UndoObstacle::Expired),
        ]
    );
    let (restored, refused) = school.undo(&of_mother).await;
    assert_eq!(restored.roles, [i32::from(Role::Parent)]);
    // The child has left, and with the child the relation left the change.
    assert!(refused.is_empty());
    school.env.close().await;
});

// A role that another change took away since, a second head and an administrator who does not work any longer
// are not given back by an earlier undo, and neither is what rests on the role.
// Covers: F2 refused, F7 refused
on_both!(undo_gives_no_role_that_does_not_fit, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    let id = school.teacher.member_id.as_str();
    let roles = [Role::Teacher, Role::Head];
    school.env.change_roles(administrator, id, &roles).await.unwrap();
    let first = school.revoke(id, &[Role::Parent]).await;
    let roles = [Role::Parent, Role::Teacher];
    school.env.change_roles(administrator, id, &roles).await.unwrap();
    school.revoke(id, &[Role::Parent]).await;
    let other = school.second_administrator().await;
    let roles = [Role::Staff, Role::Administrator, Role::Head];
    let changed = school.env.change_roles(administrator, &other.member_id, &roles);
    changed.await.unwrap();

    // The head is another person by now. No role fits, so that the undo stays possible.
    let refused = school.undo_by(administrator, &first).await;
    assert_eq!(reason(&refused), "ROLE_COMBINATION");
    let of_other = school.revoke(&other.member_id, &[Role::Parent]).await;
    let (restored, refused) = school.undo(&first).await;
    assert_eq!(restored.roles, [i32::from(Role::Head)]);
    let refused: Vec<_> = refused.into_iter().map(|(_, obstacle)| obstacle).collect();
    let absent = UndoObstacle::RoleAbsent;
    assert_eq!(refused, [UndoObstacle::DecidedSince, absent, absent]);
    // The former staff is an administrator again, because the role STAFF comes back before it.
    let (restored, refused) = school.undo(&of_other).await;
    let expected = [i32::from(Role::Staff), i32::from(Role::Administrator)];
    assert_eq!(restored.roles, expected);
    let head = Subject::Role(Role::Head.into());
    assert_eq!(refused, [(head, UndoObstacle::RoleCombination)]);
    // The first administrator has no other role of the staff.
    let id = &administrator.member_id;
    let changed = school.env.change_roles(&other, id, &[Role::Parent]);
    changed.await.unwrap();
    let changes = school.changes(&other).await.unwrap();
    let latest = changes.iter().find(|change| change.member_id == *id).unwrap();
    let undone = school.undo_by(&other, &latest.id).await.unwrap();
    let obstacles: Vec<_> = undone.refusals.iter().map(pb::UndoRefusal::obstacle).collect();
    assert_eq!(obstacles, [UndoObstacle::AdministratorNotJoined]);
    school.env.close().await;
});

// One person gives no relation of a protected family back.
// Covers: F2 refused, F13 refused
on_both!(
    undo_gives_no_relation_of_a_protected_family,
    |database| async move {
        let school = School::open(database).await;
        let id = school.pupil.member_id.as_str();
        let protect = pb::ProtectFamilyRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            child_id: id.to_owned(),
            order: school.duties().await.remove(0).order,
        };
        let mut api = school.env.guardianships();
        let protected = api.protect_family(by(&school.administrator.token, protect));
        protected.await.unwrap();
        let change = school.revoke(id, &[Role::Staff]).await;
        school.revoke(id, &[Role::Pupil]).await;
        let (restored, refused) = school.undo(&change).await;
        assert_eq!(restored.enrollment_ids.len(), 1);
        let refused: Vec<_> = refused.into_iter().map(|(_, obstacle)| obstacle).collect();
        assert_eq!(refused, [UndoObstacle::SecondPersonRequired]);
        school.env.close().await;
    }
);

// Nobody gives a relation of their own child back, also if their own relation ended with the same role.
// Covers: F2 refused, F6 refused
on_both!(undo_decides_no_relation_of_the_own_child, |database| async move {
    let school = School::open(database).await;
    let parent = school.second_administrator().await;
    let roles = [Role::Staff, Role::Administrator, Role::Parent];
    let changed = school
        .env
        .change_roles(&school.administrator, &parent.member_id, &roles);
    changed.await.unwrap();
    let propose = pb::ProposeGuardianshipRequest {
        request_id: school.env.act(),
        org_id: org(1).to_string(),
        guardian_id: parent.member_id.clone(),
        child_id: school.pupil.member_id.clone(),
        kind: pb::GuardianshipKind::Parent.into(),
    };
    let mut api = school.env.guardianships();
    let proposed = api.propose_guardianship(by(&school.administrator.token, propose));
    let own = proposed.await.unwrap().into_inner().guardianship.unwrap();
    school.confirm(&own.id).await;
    let id = school.pupil.member_id.as_str();
    let change = school.revoke(id, &[Role::Staff]).await;
    school.revoke(id, &[Role::Pupil]).await;
    let undone = school.undo_by(&parent, &change).await.unwrap();
    let obstacles: Vec<_> = undone.refusals.iter().map(pb::UndoRefusal::obstacle).collect();
    assert_eq!(obstacles, [UndoObstacle::SecondPersonRequired; 2]);
    assert_eq!(undone.restored.unwrap().enrollment_ids.len(), 1);
    assert!(school.relations().await.is_empty());
    school.env.close().await;
});
