//! A small school: one class with two pupils, a parent, its teachers and the administration.
use chrono::{DateTime, Utc};
use parta_ids::{AssignmentId, ChatId, EnrollmentId, GuardianshipId, MemberId, OrgId, UnitId};
use parta_proto::timestamp;
use parta_proto_chat::v1::{
    self as pb, chat_service_client::ChatServiceClient, message_service_client::MessageServiceClient,
};
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_proto_org_registry::v1::{self as orgs, org_registry_event::Payload as Org};
use parta_status::RpcError;
use parta_testkit::TestDatabase;
use uuid::Uuid;

use super::fixture::{Fixture, at_least};
use crate::Config;

pub(crate) use members::{AssignmentKind, MemberState, Role};

pub(crate) struct School {
    pub(crate) fixture: Fixture,
    pub(crate) org: OrgId,
    pub(crate) class: UnitId,
    pub(crate) other_class: UnitId,
    pub(crate) head: MemberId,
    pub(crate) class_teacher: MemberId,
    pub(crate) subject_teacher: MemberId,
    pub(crate) unverified: MemberId,
    pub(crate) pupil: MemberId,
    pub(crate) classmate: MemberId,
    pub(crate) parent: MemberId,
    pub(crate) other_pupil: MemberId,
    pub(crate) enrollment: EnrollmentId,
    pub(crate) guardianship: GuardianshipId,
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> (tonic::Code, String) {
    let status = result.expect_err("a refusal");
    let reason = RpcError::from_status(&status)
        .map(|r| r.reason().to_owned())
        .unwrap_or_default();
    (status.code(), reason)
}

pub(crate) fn new_uuid(fixture: &Fixture) -> Uuid {
    fixture.env.ids.uuid()
}

pub(crate) fn admitted(member: MemberId, role: Role, verified: bool) -> Member {
    admitted_in(member, &[role], verified)
}

pub(crate) fn admitted_in(member: MemberId, roles: &[Role], verified: bool) -> Member {
    Member::MemberAdmitted(members::MemberAdmitted {
        member_id: member.to_string(),
        state: MemberState::Active.into(),
        roles: roles.iter().map(|role| (*role).into()).collect(),
        teacher_verified: verified,
        invitation_id: String::new(),
        ..Default::default()
    })
}

pub(crate) fn enrolled(enrollment: EnrollmentId, member: MemberId, unit: UnitId) -> Member {
    Member::EnrollmentBegun(members::EnrollmentBegun {
        enrollment_id: enrollment.to_string(),
        member_id: member.to_string(),
        unit_id: unit.to_string(),
        begin_time: None,
    })
}

/// An enrollment whose beginning is known.
pub(crate) fn enrolled_since(
    enrollment: EnrollmentId,
    member: MemberId,
    unit: UnitId,
    begin: DateTime<Utc>,
) -> Member {
    Member::EnrollmentBegun(members::EnrollmentBegun {
        enrollment_id: enrollment.to_string(),
        member_id: member.to_string(),
        unit_id: unit.to_string(),
        begin_time: Some(timestamp(begin)),
    })
}

pub(crate) fn unenrolled(enrollment: EnrollmentId) -> Member {
    Member::EnrollmentEnded(members::EnrollmentEnded {
        enrollment_id: enrollment.to_string(),
    })
}

pub(crate) fn organization() -> Org {
    Org::OrganizationCreated(orgs::OrganizationCreated {
        display_name: "Школа".into(),
        kind: orgs::OrganizationKind::General.into(),
        time_zone: "Europe/Moscow".into(),
        policies: Some(orgs::Policies {
            teacher_verification: orgs::TeacherVerification::Required.into(),
            parent_inviters: orgs::ParentInviters::ClassTeacher.into(),
            school_channel_open_to_families: true,
            unused_after: Some(prost_types::Duration {
                seconds: 1_209_600,
                nanos: 0,
            }),
            version: 1,
            history_for_newcomers: orgs::HistoryForNewcomers::FromEnrollment.into(),
        }),
    })
}

pub(crate) fn unit(unit: UnitId, label: &str) -> Org {
    Org::UnitCreated(orgs::UnitCreated {
        unit_id: unit.to_string(),
        kind: orgs::UnitKind::Class.into(),
        label: label.into(),
        ..Default::default()
    })
}

impl School {
    pub(crate) async fn open(database: TestDatabase) -> Self {
        Self::open_with(database, Config::default()).await
    }

    pub(crate) async fn open_with(database: TestDatabase, config: Config) -> Self {
        let fixture = Fixture::start_with(database, config).await;
        let member = || fixture.env.id::<MemberId>();
        let org = fixture.env.id::<OrgId>();
        let school = Self {
            org,
            class: fixture.env.id(),
            other_class: fixture.env.id(),
            head: member(),
            class_teacher: member(),
            subject_teacher: member(),
            unverified: member(),
            pupil: member(),
            classmate: member(),
            parent: member(),
            other_pupil: member(),
            enrollment: fixture.env.id(),
            guardianship: fixture.env.id(),
            fixture,
        };
        school.populate().await;
        school
    }

    async fn populate(&self) {
        let s = &self.fixture;
        let events = vec![
            organization(),
            unit(self.class, "5А"),
            unit(self.other_class, "6Б"),
        ];
        let known = s.org_registry(self.org, events).await;
        self.wait_for(&known).await;
        let assigned = |member, kind| self.assigned(member, self.class, kind);
        let events = vec![
            admitted(self.head, Role::Head, false),
            admitted(self.class_teacher, Role::Teacher, true),
            admitted(self.subject_teacher, Role::Teacher, true),
            admitted(self.unverified, Role::Teacher, false),
            admitted(self.pupil, Role::Pupil, false),
            admitted(self.classmate, Role::Pupil, false),
            admitted(self.parent, Role::Parent, false),
            admitted(self.other_pupil, Role::Pupil, false),
            assigned(self.class_teacher, AssignmentKind::ClassTeacher),
            assigned(self.subject_teacher, AssignmentKind::SubjectTeacher),
            assigned(self.unverified, AssignmentKind::SubjectTeacher),
            enrolled(self.enrollment, self.pupil, self.class),
            enrolled(s.env.id(), self.classmate, self.class),
            enrolled(s.env.id(), self.other_pupil, self.other_class),
            Member::GuardianshipEstablished(members::GuardianshipEstablished {
                guardianship_id: self.guardianship.to_string(),
                guardian_id: self.parent.to_string(),
                child_id: self.pupil.to_string(),
                confirmed: true,
                kind: members::GuardianshipKind::Parent.into(),
                unit_rooms_only: false,
                begin_time: None,
            }),
        ];
        let known = s.membership(self.org, events).await;
        self.wait_for(&known).await;
    }

    /// An assignment of a member of the staff to a class.
    pub(crate) fn assigned(&self, member: MemberId, unit: UnitId, kind: AssignmentKind) -> Member {
        Member::AssignmentCreated(members::AssignmentCreated {
            assignment_id: self.fixture.env.id::<AssignmentId>().to_string(),
            member_id: member.to_string(),
            unit_id: unit.to_string(),
            kind: kind.into(),
            substitution: false,
            begin_time: Some(timestamp(self.fixture.env.now())),
        })
    }

    /// Waits until chat knows the state of the consistency token.
    pub(crate) async fn wait_for(&self, token: &str) {
        // The head of the school may be unknown yet: the call is made only to wait.
        let request = pb::ListChatsRequest {
            org_id: self.org.to_string(),
            ..Default::default()
        };
        let request = at_least(self.fixture.request(self.org, self.head, request), token);
        match self.chats().list_chats(request).await {
            Ok(_) => {}
            Err(status) => assert_eq!(status.code(), tonic::Code::NotFound, "{status:?}"),
        }
    }

    /// Publishes events of membership and waits until chat has applied them.
    pub(crate) async fn apply(&self, events: Vec<Member>) {
        let token = self.fixture.membership(self.org, events).await;
        self.wait_for(&token).await;
    }

    /// Makes the service compute every chat again.
    pub(crate) async fn recompute(&self) {
        let renamed = Org::OrganizationUpdated(orgs::OrganizationUpdated {
            display_name: "Школа".into(),
            time_zone: "Europe/Moscow".into(),
        });
        let token = self.fixture.org_registry(self.org, vec![renamed]).await;
        self.wait_for(&token).await;
    }

    pub(crate) fn chats(&self) -> ChatServiceClient<parta_grpc::ServiceChannel> {
        ChatServiceClient::new(self.fixture.channel.clone())
    }

    pub(crate) fn messages(&self) -> MessageServiceClient<parta_grpc::ServiceChannel> {
        MessageServiceClient::new(self.fixture.channel.clone())
    }

    pub(crate) async fn list(&self, member: MemberId) -> Vec<pb::Chat> {
        let request = pb::ListChatsRequest {
            org_id: self.org.to_string(),
            ..Default::default()
        };
        let request = self.fixture.request(self.org, member, request);
        self.chats().list_chats(request).await.unwrap().into_inner().chats
    }

    /// The kinds and units of the chats that a member sees, sorted.
    pub(crate) async fn kinds(&self, member: MemberId) -> Vec<(pb::ChatKind, String)> {
        let mut kinds: Vec<_> = self
            .list(member)
            .await
            .iter()
            .map(|chat| (chat.kind(), chat.unit_id.clone()))
            .collect();
        kinds.sort();
        kinds
    }

    /// The first chat of this kind that the member sees.
    pub(crate) async fn chat(&self, member: MemberId, kind: pb::ChatKind) -> ChatId {
        let chats = self.list(member).await;
        let found = chats
            .iter()
            .find(|chat| chat.kind() == kind)
            .unwrap_or_else(|| panic!("no {kind:?}"));
        found.id.parse().unwrap()
    }

    pub(crate) async fn send(
        &self,
        member: MemberId,
        chat: ChatId,
        text: &str,
    ) -> Result<pb::SendMessageResponse, tonic::Status> {
        self.send_as(member, chat, new_uuid(&self.fixture), text).await
    }

    pub(crate) async fn send_as(
        &self,
        member: MemberId,
        chat: ChatId,
        request_id: Uuid,
        text: &str,
    ) -> Result<pb::SendMessageResponse, tonic::Status> {
        let request = self.message(member, chat, request_id, text);
        Ok(self.messages().send_message(request).await?.into_inner())
    }

    /// Sends a message through this replica.
    pub(crate) async fn send_through(
        &self,
        replica: &parta_grpc::ServiceChannel,
        member: MemberId,
        chat: ChatId,
        text: &str,
    ) -> Result<pb::SendMessageResponse, tonic::Status> {
        let request = self.message(member, chat, new_uuid(&self.fixture), text);
        let mut client = MessageServiceClient::new(replica.clone());
        Ok(client.send_message(request).await?.into_inner())
    }

    fn message(
        &self,
        member: MemberId,
        chat: ChatId,
        request_id: Uuid,
        text: &str,
    ) -> tonic::Request<pb::SendMessageRequest> {
        let request = pb::SendMessageRequest {
            request_id: request_id.to_string(),
            org_id: self.org.to_string(),
            chat_id: chat.to_string(),
            text: text.into(),
        };
        self.fixture.request(self.org, member, request)
    }

    /// The whole log as a member reads it, oldest first.
    pub(crate) async fn read(&self, member: MemberId, chat: ChatId) -> Result<Vec<pb::Entry>, tonic::Status> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListEntriesRequest {
                org_id: self.org.to_string(),
                chat_id: chat.to_string(),
                after_seq: Some(0),
                page_size: 200,
                page_token,
            };
            let request = self.fixture.request(self.org, member, request);
            let page = self.messages().list_entries(request).await?.into_inner();
            all.extend(page.entries);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// The texts that the member reads in a chat that the member is in or has left.
    pub(crate) async fn texts(&self, member: MemberId, chat: ChatId) -> Vec<String> {
        let log = self.read(member, chat).await.unwrap();
        log.iter().filter_map(text).map(ToOwned::to_owned).collect()
    }
}

/// The text of an entry; `None` if the entry is not a message.
pub(crate) fn text(entry: &pb::Entry) -> Option<&str> {
    match &entry.content {
        Some(pb::entry::Content::Message(message)) => Some(&message.text),
        _ => None,
    }
}

/// The member of a coming or going, and whether the member came; `None` for any other entry.
pub(crate) fn mover(entry: &pb::Entry) -> Option<(String, bool)> {
    match &entry.content {
        Some(pb::entry::Content::Joining(joining)) => Some((joining.member_id.clone(), true)),
        Some(pb::entry::Content::Leaving(leaving)) => Some((leaving.member_id.clone(), false)),
        _ => None,
    }
}

/// The sender of an entry; `None` if the entry is not a message.
pub(crate) fn sender(entry: &pb::Entry) -> Option<&str> {
    match &entry.content {
        Some(pb::entry::Content::Message(message)) => Some(&message.sender_id),
        _ => None,
    }
}
