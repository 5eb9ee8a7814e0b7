//! R33, R35, R38, R59: derived audiences follow the roster.
use chrono::TimeDelta;
use parta_ids::MemberId;
use parta_proto::timestamp;
use parta_proto_chat::v1::{self as pb, ChatKind::*};
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_proto_org_registry::v1::{self as orgs, org_registry_event::Payload as Org};
use parta_testkit::on_both;
use tonic::Code;

use crate::tests::{
    fixture::{Fixture, at_least},
    school::*,
};

// Covers: R33 allowed, R33 refused, R35 allowed, R35 refused, R38 allowed, R38 refused, R22 refused
on_both!(role_sees_exactly_the_chats_of_the_roster, |database| async move {
    let school = School::open(database).await;
    let class = school.class.to_string();
    let kinds = |kinds: &[pb::ChatKind]| {
        let of = |kind: &pb::ChatKind| {
            (
                *kind,
                if matches!(kind, ClassPupils | ClassParents | ClassTeachers) {
                    class.clone()
                } else {
                    String::new()
                },
            )
        };
        kinds.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        school.kinds(school.head).await,
        kinds(&[
            SchoolChannel,
            StaffChannel,
            StaffRoom,
            ParentsChannel,
            PupilsChannel
        ])
    );
    assert_eq!(
        school.kinds(school.class_teacher).await,
        kinds(&[
            SchoolChannel,
            StaffChannel,
            ClassPupils,
            ClassParents,
            ClassTeachers,
            StaffRoom
        ])
    );
    assert_eq!(
        school.kinds(school.subject_teacher).await,
        kinds(&[SchoolChannel, StaffChannel, ClassPupils, ClassTeachers, StaffRoom])
    );
    assert_eq!(
        school.kinds(school.unverified).await,
        kinds(&[StaffChannel, StaffRoom]),
        "no chat with minors (R22)"
    );
    assert_eq!(
        school.kinds(school.pupil).await,
        kinds(&[SchoolChannel, ClassPupils, PupilsChannel])
    );
    assert_eq!(
        school.kinds(school.parent).await,
        kinds(&[SchoolChannel, ClassParents, ParentsChannel])
    );
    let titles: Vec<_> = school
        .list(school.class_teacher)
        .await
        .into_iter()
        .map(|c| (c.title, c.title_english))
        .collect();
    for title in [
        "Общешкольный канал",
        "Сотрудники",
        "5А",
        "5А. Родители",
        "5А. Учителя",
        "Учительская",
    ] {
        assert!(
            titles.iter().any(|(russian, _)| russian == title),
            "{title} in {titles:?}"
        );
    }
    assert!(titles.iter().any(|(_, english)| english == "5А. Parents"));
});

// Covers: R33 allowed, R33 refused
on_both!(
    school_channel_is_writable_only_by_the_administration,
    |database| async move {
        let school = School::open(database).await;
        let channel = school.chat(school.head, SchoolChannel).await;
        school.send(school.head, channel, "С праздником!").await.unwrap();
        for reader in [school.class_teacher, school.pupil, school.parent] {
            let refused = code(school.send(reader, channel, "нет").await);
            assert_eq!(refused, (Code::PermissionDenied, "PERMISSION_DENIED".into()));
            assert!(
                school
                    .read(reader, channel)
                    .await
                    .unwrap()
                    .iter()
                    .any(|e| text(e) == Some("С праздником!"))
            );
        }
        assert_eq!(
            code(school.send(school.unverified, channel, "нет").await).0,
            Code::NotFound
        );
        let staff = school.chat(school.unverified, StaffRoom).await;
        school
            .send(school.unverified, staff, "Здравствуйте")
            .await
            .unwrap();
        assert_eq!(
            code(school.send(school.pupil, staff, "нет").await).0,
            Code::NotFound
        );
        assert_eq!(code(school.read(school.pupil, staff).await).0, Code::NotFound);
    }
);

// Covers: R26 allowed, R26 refused, R38 allowed, R38 refused
on_both!(
    transferred_pupil_moves_to_the_chat_of_the_new_class,
    |database| async move {
        let school = School::open(database).await;
        let old = school.chat(school.pupil, ClassPupils).await;
        let new = school.chat(school.other_pupil, ClassPupils).await;
        let parents = school.chat(school.parent, ClassParents).await;
        school.send(school.pupil, old, "до").await.unwrap();
        assert_eq!(code(school.read(school.pupil, new).await).0, Code::NotFound);

        let moved = vec![
            unenrolled(school.enrollment),
            enrolled(school.fixture.env.id(), school.pupil, school.other_class),
            school.assigned(
                school.subject_teacher,
                school.other_class,
                AssignmentKind::SubjectTeacher,
            ),
        ];
        school.apply(moved).await;

        assert_eq!(school.chat(school.pupil, ClassPupils).await, new);
        school.send(school.pupil, new, "после").await.unwrap();
        assert_eq!(code(school.read(school.pupil, old).await).0, Code::NotFound);
        assert_eq!(
            code(school.send(school.pupil, old, "нет").await).0,
            Code::NotFound
        );
        let request = pb::GetChatRequest {
            org_id: school.org.to_string(),
            chat_id: old.to_string(),
        };
        let request = school.fixture.request(school.org, school.pupil, request);
        assert_eq!(
            school.chats().get_chat(request).await.unwrap_err().code(),
            Code::NotFound
        );
        let log = school.read(school.class_teacher, old).await.unwrap();
        let left = pb::entry::Content::Leaving(pb::Leaving {
            member_id: school.pupil.to_string(),
        });
        assert_eq!(
            log.last().unwrap().content,
            Some(left),
            "the removal is an entry of the log"
        );
        // The parent follows the child.
        assert_ne!(school.chat(school.parent, ClassParents).await, parents);
        assert_eq!(code(school.read(school.parent, parents).await).0, Code::NotFound);
    }
);

// Covers: R22 allowed, R22 refused, R27 refused
on_both!(participation_ends_when_its_reason_ends, |database| async move {
    let school = School::open(database).await;
    let changed = |verified| {
        Member::MemberChanged(members::MemberChanged {
            member_id: school.unverified.to_string(),
            state: MemberState::Active.into(),
            roles: vec![Role::Teacher.into()],
            teacher_verified: verified,
            ..Default::default()
        })
    };
    school.apply(vec![changed(true)]).await;
    let class = school.chat(school.unverified, ClassPupils).await;
    school
        .send(school.unverified, class, "Добрый день")
        .await
        .unwrap();
    let ended = Member::GuardianshipEnded(members::GuardianshipEnded {
        guardianship_id: school.guardianship.to_string(),
    });
    school.apply(vec![changed(false), ended]).await;
    assert_eq!(
        code(school.send(school.unverified, class, "нет").await).0,
        Code::NotFound
    );
    assert_eq!(school.kinds(school.unverified).await.len(), 2);
    // The role of a parent gives nothing without a relation.
    assert_eq!(school.kinds(school.parent).await, vec![]);
});

// Covers: R33 allowed, R33 refused
on_both!(
    school_channel_excludes_families_when_the_policy_closes_it,
    |database| async move {
        let school = School::open(database).await;
        let channel = school.chat(school.pupil, SchoolChannel).await;
        let policies = orgs::Policies {
            teacher_verification: orgs::TeacherVerification::Required.into(),
            parent_inviters: orgs::ParentInviters::ClassTeacher.into(),
            school_channel_open_to_families: false,
            unused_after: Some(prost_types::Duration {
                seconds: 1_209_600,
                nanos: 0,
            }),
            version: 2,
            history_for_newcomers: orgs::HistoryForNewcomers::FromEnrollment.into(),
        };
        let event = Org::PoliciesChanged(orgs::PoliciesChanged {
            policies: Some(policies),
        });
        let token = school.fixture.org_registry(school.org, vec![event]).await;
        school.wait_for(&token).await;
        assert_eq!(code(school.read(school.pupil, channel).await).0, Code::NotFound);
        assert_eq!(code(school.read(school.parent, channel).await).0, Code::NotFound);
        school.read(school.subject_teacher, channel).await.unwrap();
    }
);

// Covers: R35 allowed, R35 refused
on_both!(
    class_chats_are_read_only_when_the_class_is_archived,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        school.send(school.pupil, class, "последнее").await.unwrap();
        let now = school.fixture.env.now();
        let event = Org::UnitArchived(orgs::UnitArchived {
            unit_id: school.class.to_string(),
            archive_time: Some(timestamp(now)),
        });
        let token = school.fixture.org_registry(school.org, vec![event]).await;
        school.wait_for(&token).await;
        let refused = code(school.send(school.pupil, class, "нет").await);
        assert_eq!(refused, (Code::FailedPrecondition, "CHAT_ARCHIVED".into()));
        assert!(
            school
                .read(school.pupil, class)
                .await
                .unwrap()
                .iter()
                .any(|e| text(e) == Some("последнее"))
        );
        // An archived unit admits nobody.
        let late = school.fixture.env.id::<MemberId>();
        school
            .apply(vec![
                admitted(late, Role::Pupil, false),
                enrolled_since(
                    school.fixture.env.id(),
                    late,
                    school.class,
                    now + TimeDelta::seconds(1),
                ),
            ])
            .await;
        assert_eq!(code(school.read(late, class).await).0, Code::NotFound);
    }
);

// Covers: R38 refused, R59 refused
on_both!(
    member_of_another_organization_gets_not_found,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let (org, outsider) = (school.fixture.env.id(), school.fixture.env.id());
        let token = school.fixture.org_registry(org, vec![organization()]).await;
        school.wait_for(&token).await;
        let token = school
            .fixture
            .membership(org, vec![admitted(outsider, Role::Head, false)])
            .await;
        school.wait_for(&token).await;
        // The chat of the other organization, once with the id of that organization and once with its own
        // one.
        for requested in [school.org, org] {
            let request = pb::GetChatRequest {
                org_id: requested.to_string(),
                chat_id: class.to_string(),
            };
            let refused = school
                .chats()
                .get_chat(school.fixture.request(org, outsider, request))
                .await;
            assert_eq!(code(refused).0, Code::NotFound);
            let request = pb::SendMessageRequest {
                request_id: new_uuid(&school.fixture).to_string(),
                org_id: requested.to_string(),
                chat_id: class.to_string(),
                text: "нет".into(),
            };
            let refused = school
                .messages()
                .send_message(school.fixture.request(org, outsider, request))
                .await;
            assert_eq!(code(refused).0, Code::NotFound);
            let request = pb::ListEntriesRequest {
                org_id: requested.to_string(),
                chat_id: class.to_string(),
                ..Default::default()
            };
            let refused = school
                .messages()
                .list_entries(school.fixture.request(org, outsider, request))
                .await;
            assert_eq!(code(refused).0, Code::NotFound);
        }
        let unsigned = school
            .chats()
            .list_chats(pb::ListChatsRequest {
                org_id: org.to_string(),
                ..Default::default()
            })
            .await;
        assert_eq!(unsigned.unwrap_err().code(), Code::Unauthenticated);
    }
);

// Invariant 8: the order in which the two feeds arrive does not matter.
// Covers: R38 allowed
on_both!(
    member_joins_class_chat_when_the_class_arrives_later,
    |database| async move {
        let fixture = Fixture::start(database).await;
        let (org, class, pupil) = (fixture.env.id(), fixture.env.id(), fixture.env.id());
        let events = vec![
            admitted(pupil, Role::Pupil, false),
            enrolled(fixture.env.id(), pupil, class),
        ];
        let first = fixture.membership(org, events).await;
        let list = |token: String| {
            let request = pb::ListChatsRequest {
                org_id: org.to_string(),
                ..Default::default()
            };
            let request = at_least(fixture.request(org, pupil, request), &token);
            let mut client = pb::chat_service_client::ChatServiceClient::new(fixture.channel.clone());
            async move { client.list_chats(request).await.unwrap().into_inner().chats }
        };
        assert_eq!(list(first).await.len(), 0);
        let second = fixture
            .org_registry(org, vec![organization(), unit(class, "1В")])
            .await;
        assert_eq!(list(second).await.len(), 3);
    }
);
