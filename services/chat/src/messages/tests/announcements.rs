//! R57, F25: announcements stand in the chats of their audience, with the rights of the person.
use parta_grpc::{RequestExt as _, ServiceChannel};
use parta_ids::{ChatId, MemberId, UnitId};
use parta_proto_chat::{
    internal::v1::{self as internal, announcement_service_client::AnnouncementServiceClient},
    v1::{self as pb, ChatKind::*},
};
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_proto_org_registry::v1::{self as orgs, org_registry_event::Payload as Org};
use parta_testkit::on_both;
use tonic::Code;

use crate::tests::school::*;

impl School {
    /// An announcement for the pupils and the parents of a unit; for its staff if it addresses neither.
    fn announcement(&self, unit: UnitId, pupils: bool, parents: bool) -> internal::PostAnnouncementRequest {
        internal::PostAnnouncementRequest {
            request_id: new_uuid(&self.fixture).to_string(),
            org_id: self.org.to_string(),
            unit_id: unit.to_string(),
            text: "Начало в 9:00".into(),
            pupils,
            parents,
        }
    }

    fn announcements(&self) -> AnnouncementServiceClient<ServiceChannel> {
        AnnouncementServiceClient::new(self.fixture.call_scheduling.clone())
    }

    /// The kinds of the chats in which the announcement stands, sorted.
    async fn announce(
        &self,
        member: MemberId,
        announcement: &internal::PostAnnouncementRequest,
    ) -> Result<Vec<pb::ChatKind>, tonic::Status> {
        let token = self.fixture.token(self.org, member);
        let request = tonic::Request::new(announcement.clone()).on_behalf(token);
        let posted = self
            .announcements()
            .post_announcement(request)
            .await?
            .into_inner();
        let listed = self.list(member).await;
        let kind = |entry: &internal::AnnouncementEntry| {
            let chat = listed.iter().find(|chat| chat.id == entry.chat_id).unwrap();
            chat.kind()
        };
        let mut kinds: Vec<_> = posted.entries.iter().map(kind).collect();
        kinds.sort();
        Ok(kinds)
    }

    /// The staff room of the school, as a unit.
    async fn staff_room(&self) -> UnitId {
        let unit_id = self.fixture.env.id::<UnitId>();
        let created = Org::UnitCreated(orgs::UnitCreated {
            unit_id: unit_id.to_string(),
            kind: orgs::UnitKind::StaffRoom.into(),
            label: "Учительская".into(),
            ..Default::default()
        });
        let token = self.fixture.org_registry(self.org, vec![created]).await;
        self.wait_for(&token).await;
        unit_id
    }

    async fn announced_to(&self, reader: MemberId, chat: ChatId) -> usize {
        let log = self.read(reader, chat).await.unwrap();
        log.iter()
            .filter(|entry| text(entry) == Some("Начало в 9:00"))
            .count()
    }
}

// Covers: R57 allowed, R57 refused
on_both!(
    announcement_is_posted_with_the_rights_of_the_person,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let announcement = school.announcement(school.class, true, false);
        for _ in 0..2 {
            let kinds = school
                .announce(school.class_teacher, &announcement)
                .await
                .unwrap();
            assert_eq!(kinds, [ClassPupils]);
        }
        assert_eq!(school.announced_to(school.pupil, class).await, 1);
        let log = school.read(school.pupil, class).await.unwrap();
        let Some(pb::entry::Content::Message(message)) = log.last().unwrap().content.clone() else {
            panic!("a message")
        };
        assert_eq!(
            (message.service.as_str(), message.sender_id),
            ("call-scheduling", school.class_teacher.to_string())
        );
        let refused = code(school.announce(school.head, &announcement).await);
        assert_eq!(refused.0, Code::PermissionDenied);
        // A person cannot call the RPC without a service.
        let mut person = AnnouncementServiceClient::new(school.fixture.channel.clone());
        let request = school
            .fixture
            .request(school.org, school.class_teacher, announcement.clone());
        assert_eq!(
            code(person.post_announcement(request).await),
            (Code::PermissionDenied, "CALLER_NOT_ACCEPTED".into())
        );
    }
);

// Case 27: a parent meeting stood in the chat of the pupils, and a school event reached no pupil or parent.
// Covers: F25 allowed, F25 refused
on_both!(
    announcement_stands_in_each_chat_of_its_audience,
    |database| async move {
        let s = School::open(database).await;
        let room = s.staff_room().await;
        for (author, unit, (pupils, parents), expected) in [
            (s.class_teacher, s.class, (false, true), &[ClassParents][..]),
            (
                s.class_teacher,
                s.class,
                (true, true),
                &[ClassPupils, ClassParents],
            ),
            // A subject teacher does not write to the parents of the class.
            (s.subject_teacher, s.class, (true, true), &[ClassPupils]),
            (s.subject_teacher, s.class, (false, false), &[ClassTeachers]),
            (s.unverified, room, (false, false), &[StaffRoom]),
            (s.head, room, (true, true), &[SchoolChannel]),
        ] {
            let announcement = s.announcement(unit, pupils, parents);
            let kinds = s.announce(author, &announcement).await.unwrap();
            assert_eq!(kinds, expected, "{pupils} {parents}");
        }
        let refused = s.announcement(s.class, false, true);
        let refused = code(s.announce(s.subject_teacher, &refused).await);
        assert_eq!(refused.0, Code::PermissionDenied);
        let deputy = s.fixture.env.id::<MemberId>();
        s.apply(vec![admitted(deputy, Role::Deputy, false)]).await;
        let event = s.announcement(room, true, true);
        assert_eq!(
            code(s.announce(deputy, &event).await).0,
            Code::PermissionDenied,
            "a deputy does not publish"
        );
        let unknown = s.announcement(s.fixture.env.id(), true, false);
        assert_eq!(code(s.announce(s.head, &unknown).await).0, Code::NotFound);
    }
);

// Covers: F25 allowed
on_both!(
    families_get_what_the_closed_school_channel_does_not_show,
    |database| async move {
        let s = School::open(database).await;
        let room = s.staff_room().await;
        let (of_parents, of_pupils) = (
            s.chat(s.parent, ParentsChannel).await,
            s.chat(s.pupil, PupilsChannel).await,
        );
        let mut policies = match organization() {
            Org::OrganizationCreated(created) => created.policies.unwrap(),
            _ => unreachable!("the organization"),
        };
        policies.school_channel_open_to_families = false;
        policies.version = 2;
        let closed = Org::PoliciesChanged(orgs::PoliciesChanged {
            policies: Some(policies),
        });
        let token = s.fixture.org_registry(s.org, vec![closed]).await;
        s.wait_for(&token).await;
        let event = s.announcement(room, true, true);
        let kinds = s.announce(s.head, &event).await.unwrap();
        assert_eq!(kinds, [SchoolChannel, ParentsChannel, PupilsChannel]);
        assert_eq!(s.announced_to(s.parent, of_parents).await, 1);
        assert_eq!(s.announced_to(s.pupil, of_pupils).await, 1);
    }
);

// Covers: F25 refused, F17 refused
on_both!(announcement_without_a_reader_is_refused, |database| async move {
    let s = School::open(database).await;
    let ended = Member::GuardianshipEnded(members::GuardianshipEnded {
        guardianship_id: s.guardianship.to_string(),
    });
    s.apply(vec![ended]).await;
    let meeting = s.announcement(s.class, false, true);
    let refused = code(s.announce(s.class_teacher, &meeting).await);
    assert_eq!(
        refused,
        (Code::FailedPrecondition, "ANNOUNCEMENT_REACHES_NOBODY".into())
    );
    // The other class has no teacher.
    let classmate = s.fixture.env.id::<MemberId>();
    s.apply(vec![
        admitted(classmate, Role::Pupil, false),
        enrolled(s.fixture.env.id(), classmate, s.other_class),
    ])
    .await;
    let lesson = s.announcement(s.other_class, true, false);
    let refused = code(s.announce(s.other_pupil, &lesson).await);
    assert_eq!(refused, (Code::FailedPrecondition, "CHAT_READ_ONLY".into()));
    let archived = Org::UnitArchived(orgs::UnitArchived {
        unit_id: s.class.to_string(),
        ..Default::default()
    });
    let token = s.fixture.org_registry(s.org, vec![archived]).await;
    s.wait_for(&token).await;
    let lesson = s.announcement(s.class, true, false);
    let refused = code(s.announce(s.class_teacher, &lesson).await);
    assert_eq!(refused, (Code::FailedPrecondition, "CHAT_ARCHIVED".into()));
});
