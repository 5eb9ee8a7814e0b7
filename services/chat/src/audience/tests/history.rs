//! F22: what of the past of a derived chat a member reads.
use parta_ids::{AssignmentId, EnrollmentId, GuardianshipId, MemberId};
use parta_proto_chat::v1::ChatKind::*;
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_testkit::on_both;

use crate::tests::school::*;

impl School {
    async fn change(&self, member: MemberId, roles: &[Role], verified: bool) {
        self.apply(vec![Member::MemberChanged(members::MemberChanged {
            member_id: member.to_string(),
            state: MemberState::Active.into(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            teacher_verified: verified,
            ..Default::default()
        })])
        .await;
    }

    fn related(&self, guardian: MemberId, child: MemberId) -> Member {
        Member::GuardianshipEstablished(members::GuardianshipEstablished {
            guardianship_id: self.fixture.env.id::<GuardianshipId>().to_string(),
            guardian_id: guardian.to_string(),
            child_id: child.to_string(),
            confirmed: true,
            kind: members::GuardianshipKind::Parent.into(),
            unit_rooms_only: false,
        })
    }
}

// Covers: F22 allowed, F22 refused
on_both!(
    families_read_a_class_chat_from_the_joining,
    |database| async move {
        let school = School::open(database).await;
        let pupils = school.chat(school.pupil, ClassPupils).await;
        let parents = school.chat(school.parent, ClassParents).await;
        school.send(school.class_teacher, pupils, "до").await.unwrap();
        school.send(school.class_teacher, parents, "до").await.unwrap();

        let ids = &school.fixture.env;
        let (pupil, parent) = (ids.id::<MemberId>(), ids.id::<MemberId>());
        let enrollment = ids.id::<EnrollmentId>();
        let related = || {
            Member::GuardianshipEstablished(members::GuardianshipEstablished {
                guardianship_id: ids.id::<GuardianshipId>().to_string(),
                guardian_id: parent.to_string(),
                child_id: pupil.to_string(),
                confirmed: true,
                kind: members::GuardianshipKind::Parent.into(),
                unit_rooms_only: false,
            })
        };
        school
            .apply(vec![
                admitted(pupil, Role::Pupil, false),
                admitted(parent, Role::Parent, false),
                enrolled(enrollment, pupil, school.class),
                related(),
            ])
            .await;
        school.send(school.class_teacher, pupils, "вместе").await.unwrap();
        school
            .send(school.class_teacher, parents, "вместе")
            .await
            .unwrap();
        assert_eq!(school.texts(pupil, pupils).await, ["вместе"]);
        assert_eq!(school.texts(parent, parents).await, ["вместе"]);
        // Those who were there read on, and the teacher reads all of it.
        assert_eq!(school.texts(school.pupil, pupils).await, ["до", "вместе"]);

        // After a break they read from the return.
        school.apply(vec![unenrolled(enrollment)]).await;
        assert_eq!(code(school.read(pupil, pupils).await).0, tonic::Code::NotFound);
        school
            .send(school.class_teacher, pupils, "без них")
            .await
            .unwrap();
        school
            .send(school.class_teacher, parents, "без них")
            .await
            .unwrap();
        school.apply(vec![enrolled(ids.id(), pupil, school.class)]).await;
        school.send(school.class_teacher, pupils, "снова").await.unwrap();
        school.send(school.class_teacher, parents, "снова").await.unwrap();
        assert_eq!(school.texts(pupil, pupils).await, ["снова"]);
        assert_eq!(school.texts(parent, parents).await, ["снова"]);
    }
);

// Covers: F22 allowed, F22 refused
on_both!(verified_teachers_read_a_chat_whole, |database| async move {
    let school = School::open(database).await;
    let class = school.chat(school.pupil, ClassPupils).await;
    let room = school.chat(school.class_teacher, StaffRoom).await;
    school.send(school.pupil, class, "до").await.unwrap();
    school.send(school.class_teacher, room, "до").await.unwrap();

    let teacher = school.fixture.env.id::<MemberId>();
    school
        .apply(vec![
            admitted(teacher, Role::Teacher, false),
            school.assigned(teacher, school.class, AssignmentKind::SubjectTeacher),
        ])
        .await;
    school.send(school.class_teacher, room, "вместе").await.unwrap();
    assert_eq!(school.texts(teacher, room).await, ["вместе"]);
    school.change(teacher, &[Role::Teacher], true).await;
    assert_eq!(school.texts(teacher, room).await, ["до", "вместе"]);
    assert_eq!(school.texts(teacher, class).await, ["до"]);
    // The badge is withdrawn: nobody reads more than before it was given.
    school.change(teacher, &[Role::Teacher], false).await;
    assert_eq!(school.texts(teacher, room).await, ["вместе"]);
});

// Covers: F22 refused
on_both!(
    who_stays_as_a_parent_reads_from_the_joining,
    |database| async move {
        let school = School::open(database).await;
        let channel = school.chat(school.head, SchoolChannel).await;
        school.send(school.head, channel, "до").await.unwrap();
        let both = school.fixture.env.id::<MemberId>();
        let child = Member::GuardianshipEstablished(members::GuardianshipEstablished {
            guardianship_id: school.fixture.env.id::<GuardianshipId>().to_string(),
            guardian_id: both.to_string(),
            child_id: school.pupil.to_string(),
            confirmed: true,
            kind: members::GuardianshipKind::Parent.into(),
            unit_rooms_only: false,
        });
        let roles = [Role::Teacher, Role::Parent];
        school.apply(vec![admitted_in(both, &roles, true), child]).await;
        school.send(school.head, channel, "вместе").await.unwrap();
        assert_eq!(school.texts(both, channel).await, ["до", "вместе"]);
        school.change(both, &[Role::Parent], false).await;
        assert_eq!(school.texts(both, channel).await, ["вместе"]);
    }
);

// A parent who works in the organization, also as an unverified teacher, is in the parents' chat as a parent.
// Covers: F22 allowed, F22 refused
on_both!(staff_who_are_parents_read_as_parents, |database| async move {
    let school = School::open(database).await;
    let parents = school.chat(school.parent, ClassParents).await;
    school.send(school.class_teacher, parents, "до").await.unwrap();
    let unverified = [Role::Teacher, Role::Parent];
    for (roles, verified) in [
        (&[Role::Staff, Role::Parent][..], false),
        (&unverified[..], false),
        (&unverified[..], true),
        (&[Role::Head, Role::Parent][..], false),
    ] {
        let both = school.fixture.env.id::<MemberId>();
        let child = school.related(both, school.pupil);
        school
            .apply(vec![admitted_in(both, roles, verified), child])
            .await;
        let text = format!("вместе {roles:?} {verified}");
        school.send(school.class_teacher, parents, &text).await.unwrap();
        assert_eq!(school.texts(both, parents).await, [text], "{roles:?}");
    }
});

// The widest ground that lasts decides; when it ends, the beginning is that of the other one.
// Covers: F22 allowed, F22 refused
on_both!(
    beginning_narrows_to_the_ground_that_stays,
    |database| async move {
        let school = School::open(database).await;
        let parents = school.chat(school.parent, ClassParents).await;
        school.send(school.class_teacher, parents, "до").await.unwrap();
        let both = school.fixture.env.id::<MemberId>();
        let child = school.related(both, school.pupil);
        let roles = [Role::Teacher, Role::Parent];
        school.apply(vec![admitted_in(both, &roles, true), child]).await;
        school
            .send(school.class_teacher, parents, "вместе")
            .await
            .unwrap();
        let assignment = school.fixture.env.id::<AssignmentId>();
        let leads = Member::AssignmentCreated(members::AssignmentCreated {
            assignment_id: assignment.to_string(),
            member_id: both.to_string(),
            unit_id: school.class.to_string(),
            kind: AssignmentKind::ClassTeacher.into(),
            substitution: false,
        });
        school.apply(vec![leads]).await;
        assert_eq!(school.texts(both, parents).await, ["до", "вместе"]);
        let ended = members::AssignmentEnded {
            assignment_id: assignment.to_string(),
        };
        school.apply(vec![Member::AssignmentEnded(ended)]).await;
        assert_eq!(school.texts(both, parents).await, ["вместе"]);
    }
);
