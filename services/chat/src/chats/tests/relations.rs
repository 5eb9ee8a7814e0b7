//! Relations and their limits in chats (F4, F12, F13).
use parta_ids::MemberId;
use parta_proto_chat::v1::{self as pb, ChatKind::*};
use parta_proto_membership::v1::{self as members, RelationLimit, membership_event::Payload as Member};
use parta_testkit::on_both;
use tonic::Code;

use crate::tests::school::*;

impl School {
    /// Makes the head a verified teacher of the class, because only a cleared adult with a ground is in a
    /// chat with families.
    async fn clear_head(&self) {
        let roles = [Role::Head, Role::Teacher];
        let task = self.assigned(self.head, self.class, AssignmentKind::SubjectTeacher);
        self.apply(vec![admitted_in(self.head, &roles, true), task]).await;
    }

    /// Sets the limits of a guardian toward the pupil.
    pub(super) async fn limit(&self, guardian: MemberId, limits: &[RelationLimit]) {
        let limited = Member::RelationLimited(members::RelationLimited {
            guardian_id: guardian.to_string(),
            child_id: self.pupil.to_string(),
            limits: limits.iter().map(|limit| (*limit).into()).collect(),
        });
        self.apply(vec![limited]).await;
    }

    async fn kinds_only(&self, member: MemberId) -> Vec<pb::ChatKind> {
        let kinds = self.kinds(member).await;
        kinds.into_iter().map(|(kind, _)| kind).collect()
    }

    async fn participants(&self, caller: MemberId, kind: pb::ChatKind) -> Vec<String> {
        let request = pb::ListParticipantsRequest {
            org_id: self.org.to_string(),
            chat_id: self.chat(caller, kind).await.to_string(),
            ..Default::default()
        };
        let request = self.fixture.request(self.org, caller, request);
        let listed = self.chats().list_participants(request).await.unwrap();
        let all = listed.into_inner().participants.into_iter();
        all.map(|participant| participant.member_id).collect()
    }
}

// Covers: R27 refused, F13 allowed, F13 refused, F16 refused
on_both!(no_contact_silences_the_personal_chat, |database| async move {
    let school = School::open(database).await;
    school.clear_head().await;
    let (parent, pupil) = (school.parent, school.pupil);
    let chat: parta_ids::ChatId = school.direct(parent, pupil).await.unwrap().id.parse().unwrap();
    school.send(parent, chat, "Привет").await.unwrap();
    school.limit(parent, &[RelationLimit::NoContact]).await;
    for sender in [parent, pupil] {
        let refused = code(school.send(sender, chat, "нет").await);
        assert_eq!(refused.0, Code::PermissionDenied);
    }
    assert_eq!(code(school.direct(parent, pupil).await).1, "RELATION_LIMITED");
    // The room of the parents stays, because no child is in it.
    assert!(school.kinds_only(parent).await.contains(&ClassParents));
    let refused = school.custom(school.head, &[parent, pupil]).await;
    assert_eq!(code(refused).1, "RELATION_LIMITED");
    let named = school.custom(school.head, &[parent]).await.unwrap();
    let refused = school.add(school.head, named, &[pupil]).await;
    assert_eq!(code(refused).1, "RELATION_LIMITED");
    let refused = school.custom(school.class_teacher, &[parent, pupil]).await;
    assert_eq!(code(refused).1, "MEMBER_NOT_REACHABLE");
    school.limit(parent, &[]).await;
    school.send(parent, chat, "Привет").await.unwrap();
});

// Covers: F13 refused, F4 refused
on_both!(limit_wins_over_the_task_of_a_teacher, |database| async move {
    let school = School::open(database).await;
    school.clear_head().await;
    let (father, pupil) = (school.class_teacher, school.pupil);
    school.custom(school.head, &[father, pupil]).await.unwrap();
    let before = school.kinds_only(father).await;
    assert!(before.contains(&ClassPupils) && before.contains(&Custom));
    school.limit(father, &[RelationLimit::NoContact]).await;
    let after = school.kinds_only(father).await;
    assert!(
        !after.contains(&ClassPupils) && !after.contains(&Custom),
        "{after:?}"
    );
    assert!(school.kinds_only(pupil).await.contains(&Custom));
    // He still talks with the other pupils of the class.
    school.direct(father, school.classmate).await.unwrap();
    assert_eq!(code(school.direct(father, pupil).await).1, "RELATION_LIMITED");
});

// Covers: F13 refused
on_both!(
    no_whereabouts_closes_the_room_of_the_parents,
    |database| async move {
        let school = School::open(database).await;
        school.limit(school.parent, &[RelationLimit::NoWhereabouts]).await;
        let kinds = school.kinds_only(school.parent).await;
        assert_eq!(kinds, [SchoolChannel, ParentsChannel]);
        school.direct(school.parent, school.pupil).await.unwrap();
        // A relation that an order has ended gives nothing at all.
        school.limit(school.parent, &[RelationLimit::Ended]).await;
        assert_eq!(school.kinds_only(school.parent).await, [Direct]);
    }
);

// Covers: F4 allowed, F4 refused
on_both!(
    father_who_becomes_a_teacher_keeps_the_own_child,
    |database| async move {
        let school = School::open(database).await;
        let (father, pupil) = (school.parent, school.pupil);
        let chat: parta_ids::ChatId = school.direct(father, pupil).await.unwrap().id.parse().unwrap();
        let changed = Member::MemberChanged(members::MemberChanged {
            member_id: father.to_string(),
            state: MemberState::Active.into(),
            roles: vec![Role::Parent.into(), Role::Teacher.into()],
            teacher_verified: false,
            ..Default::default()
        });
        school.apply(vec![changed]).await;
        school.send(father, chat, "Привет").await.unwrap();
        school.send(pupil, chat, "Привет").await.unwrap();
        assert!(school.kinds_only(father).await.contains(&ClassParents));
        let refused = code(school.direct(father, school.classmate).await);
        assert_eq!(refused.1, "MEMBER_NOT_REACHABLE");
    }
);

// Covers: R83 allowed, R83 refused
on_both!(protected_adult_is_in_no_list_of_families, |database| async move {
    let school = School::open(database).await;
    let parent = school.parent.to_string();
    let changed = |protected| {
        Member::FamilyProtectionChanged(members::FamilyProtectionChanged {
            child_id: school.pupil.to_string(),
            protected,
        })
    };
    let neighbor: MemberId = school.fixture.env.id();
    let related = Member::GuardianshipEstablished(members::GuardianshipEstablished {
        guardianship_id: school.fixture.env.id::<parta_ids::GuardianshipId>().to_string(),
        guardian_id: neighbor.to_string(),
        child_id: school.classmate.to_string(),
        confirmed: true,
        kind: members::GuardianshipKind::Parent.into(),
        unit_rooms_only: false,
        begin_time: None,
    });
    let joined = admitted(neighbor, Role::Parent, false);
    school.apply(vec![joined, related, changed(true)]).await;
    let seen = school.participants(neighbor, ClassParents).await;
    assert!(!seen.contains(&parent) && seen.contains(&neighbor.to_string()));
    let seen = school.participants(school.class_teacher, ClassParents).await;
    assert!(seen.contains(&parent));
    let seen = school.participants(school.parent, ClassParents).await;
    assert!(seen.contains(&parent));
    school.apply(vec![changed(false)]).await;
    let seen = school.participants(neighbor, ClassParents).await;
    assert!(seen.contains(&parent));
});
