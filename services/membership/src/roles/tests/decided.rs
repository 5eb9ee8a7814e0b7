//! Undoing a change of roles after another decision: the decision wins (F2).
use chrono::TimeDelta;
use parta_ids::InvitationId;
use parta_proto_membership::{
    internal::v1::AdmitMemberRequest,
    v1::{
        self as pb, AssignmentKind, RelationLimit, Role, UndoObstacle, duty_scope::Scope,
        undo_refusal::Subject,
    },
};
use parta_testkit::on_both;
use tonic::Status;

use super::changes::School;
use crate::{
    close_role_changes,
    tests::test_env::{MemberSession, by, org, reason, unit},
};

impl School {
    /// Removes a member, admits the person again, and gives these roles.
    async fn leave_and_return(&self, member: &MemberSession, roles: &[Role]) {
        let id = &member.member_id;
        self.env.remove(&self.administrator, id, "").await.unwrap();
        let admit = AdmitMemberRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            invitation_id: self.env.env.id::<InvitationId>().to_string(),
            flow_id: self.env.flow(&member.person, "second").await,
            role: Role::Staff.into(),
            ..Default::default()
        };
        self.env.admission().admit_member(admit).await.unwrap();
        let changed = self.env.change_roles(&self.administrator, id, roles);
        changed.await.unwrap();
    }

    /// Takes the role of a pupil, lets time pass, and gives it back. Returns the first change.
    async fn lose_pupil_for_a_minute(&self) -> String {
        let id = &self.pupil.member_id;
        let change = self.revoke(id, &[Role::Staff]).await;
        self.env.minute();
        self.revoke(id, &[Role::Pupil]).await;
        change
    }

    async fn limit(
        &self,
        relation: &str,
        limits: &[RelationLimit],
        order: Option<pb::Order>,
    ) -> Result<(), Status> {
        let request = pb::LimitGuardianshipRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            guardianship_id: relation.to_owned(),
            limits: limits.iter().map(|limit| (*limit).into()).collect(),
            order,
            until_date: String::new(),
            cause: "определение суда".to_owned(),
        };
        let mut api = self.env.guardianships();
        api.limit_guardianship(by(&self.administrator.token, request))
            .await
            .map(drop)
    }
}

// The guardian, or the child, left and came back: the undo gives neither the relation back nor a duty that
// names the pupil, because the later membership gets nothing of the earlier one.
// Covers: F2 refused
on_both!(
    undo_gives_nothing_to_a_later_membership_of_others,
    |database| async move {
        let school = School::open(database).await;
        let pupil = school.pupil.member_id.as_str();
        let change = school.revoke(pupil, &[Role::Staff]).await;
        let roles = [Role::Staff, Role::Parent];
        school.leave_and_return(&school.mother, &roles).await;
        school.revoke(pupil, &[Role::Pupil]).await;
        let (restored, refused) = school.undo(&change).await;
        assert_eq!((restored.enrollment_ids.len(), refused.len()), (1, 0));
        assert!(restored.guardianship_ids.is_empty() && school.relations().await.is_empty());
        school.env.close().await;
    }
);

// Covers: F2 refused
on_both!(
    undo_gives_nothing_to_a_later_membership_of_a_child,
    |database| async move {
        let school = School::open(database).await;
        let pupils = pb::DutyPupils {
            member_ids: vec![school.pupil.member_id.clone()],
        };
        let teacher = school.teacher.member_id.as_str();
        school.assign_in(teacher, Scope::Pupils(pupils)).await;
        assert_eq!(school.duties().await.len(), 2);
        let of_teacher = school.revoke(teacher, &[Role::Parent]).await;
        let of_mother = school.revoke(&school.mother.member_id, &[Role::Staff]).await;
        school.leave_and_return(&school.pupil, &[Role::Pupil]).await;
        let (restored, refused) = school.undo(&of_mother).await;
        assert_eq!(restored.roles, [i32::from(Role::Parent)]);
        assert!(restored.guardianship_ids.is_empty() && refused.is_empty());
        let (restored, refused) = school.undo(&of_teacher).await;
        assert_eq!((restored.duty_ids.len(), refused.len()), (1, 0));
        let [duty] = &school.duties().await[..] else {
            panic!("one duty");
        };
        let whole = Some(Scope::Organization(true));
        assert_eq!(duty.scope.as_ref().unwrap().scope, whole);
        school.env.close().await;
    }
);

// Staff confirmed the relation of the wrong person, whose record was released since. The undo of the change
// of the child gives the relation to nobody.
// Covers: F2 refused, F10 refused
on_both!(
    undo_gives_no_relation_to_a_released_record,
    |database| async move {
        let school = School::open(database).await;
        let administrator = &school.administrator;
        let name = "Пётр Орлов";
        let record = school.env.create_member(administrator, name, Role::Parent, None);
        let record = record.await.unwrap().id;
        let claim = |request: &mut AdmitMemberRequest| request.claim_member_id.clone_from(&record);
        school.env.join("+79164444444", name, Role::Parent, claim).await;
        let propose = pb::ProposeGuardianshipRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            guardian_id: record.clone(),
            child_id: school.pupil.member_id.clone(),
            kind: pb::GuardianshipKind::Parent.into(),
        };
        let mut api = school.env.guardianships();
        let proposed = api.propose_guardianship(by(&administrator.token, propose));
        let proposed = proposed.await.unwrap().into_inner().guardianship.unwrap();
        school.confirm(&proposed.id).await;
        let pupil = school.pupil.member_id.as_str();
        let change = school.revoke(pupil, &[Role::Staff]).await;
        let release = pb::ReleaseProfileRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            member_id: record.clone(),
            etag: String::new(),
        };
        let mut api = school.env.members();
        api.release_profile(by(&administrator.token, release))
            .await
            .unwrap();
        school.env.join("+79165555555", name, Role::Parent, claim).await;
        school.revoke(pupil, &[Role::Pupil]).await;
        let (restored, refused) = school.undo(&change).await;
        assert_eq!((restored.guardianship_ids.len(), refused.len()), (1, 0));
        let [relation] = &school.relations().await[..] else {
            panic!("one relation");
        };
        assert_eq!(relation.guardian_id, school.mother.member_id);
        school.env.close().await;
    }
);

// A duty of the same kind that was assigned since and ended by a decision, or has another scope, is the later
// decision.
// Covers: F2 refused
on_both!(undo_gives_no_duty_that_was_decided_since, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    let other = school
        .env
        .join("+79164444444", "Иван Белов", Role::Staff, |_| ())
        .await;
    school.assign_duty(&other.member_id).await;
    let before = school.duties().await;
    let of_both = [(&school.teacher, Role::Teacher), (&other, Role::Staff)];
    let mut changes = Vec::new();
    for (member, _) in of_both {
        changes.push(school.revoke(&member.member_id, &[Role::Parent]).await);
    }
    school.env.minute();
    for (member, role) in of_both {
        let roles = [Role::Parent, role];
        let changed = school.env.change_roles(administrator, &member.member_id, &roles);
        changed.await.unwrap();
    }
    school.assign_duty(&school.teacher.member_id).await;
    let end = pb::EndDutyRequest {
        request_id: school.env.act(),
        org_id: org(1).to_string(),
        duty_id: school.duties().await.remove(0).id,
        cause: "ошибка".to_owned(),
    };
    let mut api = school.env.duties();
    api.end_duty(by(&administrator.token, end)).await.unwrap();
    let in_unit = Scope::UnitId(unit(1).to_string());
    school.assign_in(&other.member_id, in_unit).await;
    for ((member, _), change) in of_both.into_iter().zip(&changes) {
        let of_member = before.iter().find(|duty| duty.member_id == member.member_id);
        let duty = Subject::DutyId(of_member.unwrap().id.clone());
        let (restored, refused) = school.undo(change).await;
        assert!(restored.duty_ids.is_empty());
        assert!(refused.contains(&(duty, UndoObstacle::DecidedSince)));
    }
    assert_eq!(school.duties().await.len(), 1);
    school.env.close().await;
});

// Facts of one kind that ended together begin again together: none is a later decision about another.
// Covers: F2 allowed
on_both!(undo_gives_back_several_facts_of_one_kind, |database| async move {
    let school = School::open(database).await;
    let in_unit = Scope::UnitId(unit(1).to_string());
    let teacher = school.teacher.member_id.as_str();
    school.assign_in(teacher, in_unit).await;
    let pupil = school.pupil.member_id.as_str();
    school
        .env
        .enroll(&school.administrator, pupil, unit(2))
        .await
        .unwrap();
    let of_teacher = school.revoke(teacher, &[Role::Parent]).await;
    let of_pupil = school.lose_pupil_for_a_minute().await;
    let (restored, refused) = school.undo(&of_teacher).await;
    assert_eq!((restored.duty_ids.len(), refused.len()), (2, 0));
    let (restored, refused) = school.undo(&of_pupil).await;
    assert_eq!((restored.enrollment_ids.len(), refused.len()), (2, 0));
    school.env.close().await;
});

// An order about a relation that has ended is stored, and holds after the undo. Without an order there is no
// such relation to limit.
// Covers: F2 refused, F13 allowed, F13 refused
on_both!(undo_respects_an_order_that_came_since, |database| async move {
    let school = School::open(database).await;
    let pupil = school.pupil.member_id.as_str();
    let order = school.duties().await.remove(0).order;
    let relation = school.relations().await.remove(0).id;
    let limits = [RelationLimit::NoContact];
    let change = school.revoke(pupil, &[Role::Staff]).await;
    let refused = school.limit(&relation, &limits, None).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    school.limit(&relation, &limits, order.clone()).await.unwrap();
    // The latest relation is found by its time.
    school.env.minute();
    school.revoke(pupil, &[Role::Pupil]).await;
    let (restored, _) = school.undo(&change).await;
    let [again] = &school.relations().await[..] else {
        panic!("one relation");
    };
    assert_eq!(restored.guardianship_ids, std::slice::from_ref(&again.id));
    assert!(again.limits().eq(limits));
    // A relation that another one of the two has followed is history.
    let refused = school.limit(&relation, &limits, order.clone()).await;
    assert_eq!(reason(&refused), "NOT_FOUND");

    let change = school.revoke(pupil, &[Role::Staff]).await;
    let limits = [RelationLimit::NoContact, RelationLimit::Ended];
    school.limit(&again.id, &limits, order).await.unwrap();
    school.env.minute();
    school.revoke(pupil, &[Role::Pupil]).await;
    let (restored, refused) = school.undo(&change).await;
    assert!(restored.guardianship_ids.is_empty());
    let relation = Subject::GuardianshipId(again.id.clone());
    assert_eq!(refused, [(relation, UndoObstacle::DecidedSince)]);
    school.env.close().await;
});

// Covers: F2 refused, R22 refused
on_both!(
    undo_gives_no_badge_that_was_refused_since,
    |database| async move {
        let school = School::open(database).await;
        let administrator = &school.administrator;
        let id = school.teacher.member_id.as_str();
        let change = school.revoke(id, &[Role::Parent]).await;
        let roles = [Role::Parent, Role::Teacher];
        school.env.change_roles(administrator, id, &roles).await.unwrap();
        let request = pb::RequestVerificationRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            evidence: "диплом".to_owned(),
        };
        let mut api = school.env.members();
        api.request_verification(by(&school.teacher.token, request))
            .await
            .unwrap();
        let refuse = pb::RefuseVerificationRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            member_id: id.to_owned(),
        };
        api.refuse_verification(by(&administrator.token, refuse))
            .await
            .unwrap();
        let (restored, refused) = school.undo(&change).await;
        assert!(!restored.badge);
        assert_eq!(refused, [(Subject::Badge(true), UndoObstacle::DecidedSince)]);
        school.env.close().await;
    }
);

// Another class of the pupil is the later decision, a further group is none.
// Covers: F2 allowed, F2 refused
on_both!(
    undo_gives_no_class_back_to_an_enrolled_pupil,
    |database| async move {
        let school = School::open(database).await;
        let pupil = school.pupil.member_id.as_str();
        let enroll = async || {
            let enrolled = school.env.enroll(&school.administrator, pupil, unit(2));
            enrolled.await.unwrap();
        };
        let change = school.lose_pupil_for_a_minute().await;
        enroll().await;
        let changes = school.changes(&school.administrator).await.unwrap();
        let ended = changes.iter().find(|listed| listed.id == change).unwrap();
        let ended = ended.ended.clone().unwrap().enrollment_ids.remove(0);
        let (restored, refused) = school.undo(&change).await;
        assert!(restored.enrollment_ids.is_empty());
        let enrollment = Subject::EnrollmentId(ended);
        assert_eq!(refused, [(enrollment, UndoObstacle::DecidedSince)]);

        let transfer = pb::TransferPupilRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            member_id: pupil.to_owned(),
            from_unit_id: unit(2).to_string(),
            to_unit_id: unit(1).to_string(),
        };
        let mut api = school.env.enrollments();
        let transferred = api.transfer_pupil(by(&school.administrator.token, transfer));
        transferred.await.unwrap();
        school.env.make_second_unit_a_group().await;
        let change = school.lose_pupil_for_a_minute().await;
        enroll().await;
        let (restored, refused) = school.undo(&change).await;
        assert_eq!((restored.enrollment_ids.len(), refused.len()), (1, 0));
        school.env.close().await;
    }
);

// A substitution in the same unit that was given since and has run out is the later decision.
// Covers: F2 refused
on_both!(
    undo_gives_no_assignment_given_again_since,
    |database| async move {
        let school = School::open(database).await;
        let administrator = &school.administrator;
        let id = school.teacher.member_id.as_str();
        let before = Subject::AssignmentId(school.assignments().await.remove(0).id);
        let change = school.revoke(id, &[Role::Parent]).await;
        school.env.minute();
        let roles = [Role::Parent, Role::Teacher];
        school.env.change_roles(administrator, id, &roles).await.unwrap();
        let end = school.env.env.now() + TimeDelta::seconds(60);
        let request = pb::CreateAssignmentRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            member_id: id.to_owned(),
            unit_id: unit(1).to_string(),
            kind: AssignmentKind::ClassTeacher.into(),
            expire_time: Some(parta_proto::timestamp(end)),
            until_date: String::new(),
        };
        let mut api = school.env.assignments();
        api.create_assignment(by(&administrator.token, request))
            .await
            .unwrap();
        school.env.minute();
        school.env.run_due_jobs().await;
        let (restored, refused) = school.undo(&change).await;
        assert!(restored.badge && restored.assignment_ids.is_empty());
        assert_eq!(refused, [(before, UndoObstacle::DecidedSince)]);
        school.env.close().await;
    }
);

// A restored database does not know the decisions of after the backup.
// Covers: F2 refused
on_both!(
    undo_is_refused_after_a_restore_of_the_database,
    |database| async move {
        let school = School::open(database).await;
        let change = school.revoke(&school.teacher.member_id, &[Role::Parent]).await;
        for closed in [1, 0] {
            assert_eq!(close_role_changes(&school.env.db).await.unwrap(), closed);
        }
        let refused = school.undo_by(&school.administrator, &change).await;
        assert_eq!(reason(&refused), "UNDO_EXPIRED");
        school.env.close().await;
    }
);
