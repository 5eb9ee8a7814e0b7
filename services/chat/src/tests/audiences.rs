//! R33, R35, R38, R59: derived audiences follow the roster.
use parta_proto::parta::{
    chat::v1::{self as pb, ChatKind::*},
    membership::v1::{self as members, membership_event::Payload as Member},
    org_registry::v1::{self as orgs, org_registry_event::Payload as Org},
};
use parta_testkit::on_both;
use tonic::Code;

use super::{
    school::*,
    suite::{Suite, at_least},
};

// Covers: R33 allowed, R33 refused, R35 allowed, R35 refused, R38 allowed, R38 refused, R22 refused
on_both!(
    each_role_sees_the_chats_that_the_roster_gives_it,
    |database| async move {
        let school = School::open(database).await;
        let class = school.class.to_string();
        let kinds = |kinds: &[pb::ChatKind]| {
            let of = |kind: &pb::ChatKind| {
                (
                    *kind,
                    if (*kind as i32) < 3 {
                        String::new()
                    } else {
                        class.clone()
                    },
                )
            };
            kinds.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(
            school.kinds(school.head).await,
            kinds(&[SchoolChannel, StaffChannel])
        );
        assert_eq!(
            school.kinds(school.class_teacher).await,
            kinds(&[
                SchoolChannel,
                StaffChannel,
                ClassPupils,
                ClassParents,
                ClassTeachers
            ])
        );
        assert_eq!(
            school.kinds(school.subject_teacher).await,
            kinds(&[SchoolChannel, StaffChannel, ClassPupils, ClassTeachers])
        );
        assert_eq!(
            school.kinds(school.unverified).await,
            kinds(&[StaffChannel]),
            "nothing with minors (R22)"
        );
        assert_eq!(
            school.kinds(school.pupil).await,
            kinds(&[SchoolChannel, ClassPupils])
        );
        assert_eq!(
            school.kinds(school.parent).await,
            kinds(&[SchoolChannel, ClassParents])
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
        ] {
            assert!(
                titles.iter().any(|(russian, _)| russian == title),
                "{title} in {titles:?}"
            );
        }
        assert!(titles.iter().any(|(_, english)| english == "5А. Parents"));
    }
);

// Covers: R33 allowed, R33 refused
on_both!(
    only_the_administration_writes_in_the_school_channel,
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
        let staff = school.chat(school.unverified, StaffChannel).await;
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
    a_transferred_pupil_reads_the_new_chat_at_once_and_the_old_one_no_more,
    |database| async move {
        let school = School::open(database).await;
        let old = school.chat(school.pupil, ClassPupils).await;
        let new = school.chat(school.stranger, ClassPupils).await;
        let parents = school.chat(school.parent, ClassParents).await;
        school.send(school.pupil, old, "до").await.unwrap();
        assert_eq!(code(school.read(school.pupil, new).await).0, Code::NotFound);

        let moved = vec![
            unenrolled(school.enrollment),
            enrolled(school.suite.env.id(), school.pupil, school.other_class),
        ];
        school.learn(moved).await;

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
        let request = school.suite.request(school.org, school.pupil, request);
        assert_eq!(
            school.chats().get_chat(request).await.unwrap_err().code(),
            Code::NotFound
        );
        let log = school.read(school.classmate, old).await.unwrap();
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
on_both!(
    what_a_seat_rested_on_takes_the_seat_with_it,
    |database| async move {
        let school = School::open(database).await;
        let changed = |verified| {
            Member::MemberChanged(members::MemberChanged {
                member_id: school.unverified.to_string(),
                state: MemberState::Active.into(),
                roles: vec![Role::Teacher.into()],
                teacher_verified: verified,
            })
        };
        school.learn(vec![changed(true)]).await;
        let class = school.chat(school.unverified, ClassPupils).await;
        school
            .send(school.unverified, class, "Добрый день")
            .await
            .unwrap();
        let ended = Member::GuardianshipEnded(members::GuardianshipEnded {
            guardianship_id: school.guardianship.to_string(),
        });
        school.learn(vec![changed(false), ended]).await;
        assert_eq!(
            code(school.send(school.unverified, class, "нет").await).0,
            Code::NotFound
        );
        assert_eq!(school.kinds(school.unverified).await.len(), 1);
        assert_eq!(
            school.kinds(school.parent).await,
            vec![(SchoolChannel, String::new())]
        );
    }
);

// Covers: R33 allowed, R33 refused
on_both!(
    the_policy_closes_the_school_channel_to_families,
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
        };
        let fact = Org::PoliciesChanged(orgs::PoliciesChanged {
            policies: Some(policies),
        });
        let token = school.suite.org_registry(school.org, vec![fact]).await;
        school.know(&token).await;
        assert_eq!(code(school.read(school.pupil, channel).await).0, Code::NotFound);
        assert_eq!(code(school.read(school.parent, channel).await).0, Code::NotFound);
        school.read(school.subject_teacher, channel).await.unwrap();
    }
);

// Covers: R35 allowed, R35 refused
on_both!(
    the_chats_of_an_archived_class_are_read_only,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        school.send(school.pupil, class, "последнее").await.unwrap();
        let fact = Org::UnitArchived(orgs::UnitArchived {
            unit_id: school.class.to_string(),
        });
        let token = school.suite.org_registry(school.org, vec![fact]).await;
        school.know(&token).await;
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
    }
);

// Covers: R38 refused, R59 refused
on_both!(
    from_another_organization_there_is_nothing,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let (org, outsider) = (school.suite.env.id(), school.suite.env.id());
        let token = school.suite.org_registry(org, vec![organization()]).await;
        school.know(&token).await;
        let token = school
            .suite
            .membership(org, vec![admitted(outsider, Role::Head, false)])
            .await;
        school.know(&token).await;
        // Its own organization's token with the other's ids, and with its own organization's id beside the other's chat.
        for asked in [school.org, org] {
            let request = pb::GetChatRequest {
                org_id: asked.to_string(),
                chat_id: class.to_string(),
            };
            let refused = school
                .chats()
                .get_chat(school.suite.request(org, outsider, request))
                .await;
            assert_eq!(code(refused).0, Code::NotFound);
            let request = pb::SendMessageRequest {
                request_id: new_uuid(&school.suite).to_string(),
                org_id: asked.to_string(),
                chat_id: class.to_string(),
                text: "нет".into(),
            };
            let refused = school
                .messages()
                .send_message(school.suite.request(org, outsider, request))
                .await;
            assert_eq!(code(refused).0, Code::NotFound);
            let request = pb::ListEntriesRequest {
                org_id: asked.to_string(),
                chat_id: class.to_string(),
                ..Default::default()
            };
            let refused = school
                .messages()
                .list_entries(school.suite.request(org, outsider, request))
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

// Invariant 8: what another consumer committed first is not overlooked, in whichever order the feeds arrive.
// Covers: R38 allowed
on_both!(
    members_that_arrive_before_their_class_are_seated_with_it,
    |database| async move {
        let suite = Suite::start(database).await;
        let (org, class, pupil) = (suite.env.id(), suite.env.id(), suite.env.id());
        let facts = vec![
            admitted(pupil, Role::Pupil, false),
            enrolled(suite.env.id(), pupil, class),
        ];
        let first = suite.membership(org, facts).await;
        let list = |token: String| {
            let request = pb::ListChatsRequest {
                org_id: org.to_string(),
                ..Default::default()
            };
            let request = at_least(suite.request(org, pupil, request), &token);
            let mut client = pb::chat_service_client::ChatServiceClient::new(suite.channel.clone());
            async move { client.list_chats(request).await.unwrap().into_inner().chats }
        };
        assert_eq!(list(first).await.len(), 0);
        let second = suite
            .org_registry(org, vec![organization(), unit(class, "1В")])
            .await;
        assert_eq!(list(second).await.len(), 2);
    }
);
