//! Callers without access, and their attempts on every part of the API.
use std::time::Duration;

use anyhow::ensure;
use parta_proto::duration;
use parta_proto_call_scheduling::v1 as call;
use parta_proto_chat::v1 as chat;
use parta_proto_invitation::v1 as inv;
use parta_proto_membership::v1 as mbr;
use parta_proto_org_registry::v1 as org;
use tonic::Status;

use super::{
    Narrator, Step,
    actors::{Actors, Person},
    participants::{self, School},
    refused, talk,
};
use crate::client::Session;

/// The ids that outsiders know.
pub(super) struct Known {
    pub(super) chat: String,
    pub(super) call: String,
}

pub(super) async fn play<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
    school: &School,
    known: &Known,
) -> anyhow::Result<()> {
    let org_id = &school.administrator.org_id;

    let outsider = actors.newcomer(&actors.phone(9), "Посторонний").await?;
    let issue = mbr::IssueOrganizationTokenRequest {
        org_id: org_id.clone(),
    };
    let issued = outsider
        .session
        .authentication()
        .issue_organization_token(issue)
        .await;
    refused("a token for an outsider", &issued)?;
    let mut tries = everything(&outsider.session, org_id, school, known).await;
    tries += everything(&actors.anonymous, org_id, school, known).await;
    let tried = tries.finish()?;
    narrator.step(
        "R28",
        format!("An outsider and a caller without credential are refused in all {tried} tries"),
    );

    let neighbor = actors.school("Школа № 2", 2, &actors.phone(10)).await?;
    let tried = everything(&neighbor.session, org_id, school, known)
        .await
        .finish()?;
    narrator.step(
        "R59",
        format!("Another school's administrator is refused in all {tried} tries"),
    );

    let classmate = participants::pupil(actors, &school.leader, 13, "Лев Волков", &school.class).await?;
    let parent = parent_of_another_class(actors, school).await?;
    let outcome = talk::write(&parent, &known.chat, "Можно к вам?").await;
    refused("a parent of another class writing", &outcome)?;
    let (mut api, org_id) = (parent.session.chats(), parent.org_id.clone());
    let get = chat::GetChatRequest {
        org_id: org_id.clone(),
        chat_id: known.chat.clone(),
    };
    refused(
        "a parent of another class reading a chat",
        &api.get_chat(get).await,
    )?;
    let get = call::GetCallRequest {
        org_id: org_id.clone(),
        call_id: known.call.clone(),
    };
    let outcome = parent.session.calls().get_call(get).await;
    refused("a parent of another class reading a lesson", &outcome)?;
    let get = mbr::GetMemberRequest {
        org_id,
        member_id: classmate.member_id,
    };
    let outcome = parent.session.members().get_member(get).await;
    refused("a parent of another class reading a pupil", &outcome)?;
    let invite = parent.invite(inv::CreateInvitationRequest {
        role: mbr::Role::Pupil.into(),
        unit_id: school.class.clone(),
        ..Default::default()
    });
    refused("a parent inviting", &invite.await)?;
    narrator.step(
        "R14 R35 R38",
        "A parent of another class cannot read, write or invite in this class",
    );
    Ok(())
}

async fn parent_of_another_class(actors: &Actors<'_>, school: &School) -> anyhow::Result<Person> {
    let class = &school.other_class;
    let child = participants::pupil(actors, &school.administrator, 11, "Анна Новикова", class).await?;
    let parents = participants::parents(
        actors,
        &school.administrator,
        [(12, "Юрий Новиков")],
        &child,
        class,
    )
    .await?;
    parents
        .into_iter()
        .next()
        .ok_or_else(|| anyhow::anyhow!("no parent came"))
}

/// Outcomes of attempts that must all be refused.
#[derive(Default)]
struct Tries(Vec<(&'static str, Option<Status>)>);

impl std::ops::AddAssign for Tries {
    fn add_assign(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl Tries {
    fn add<T>(&mut self, what: &'static str, outcome: Result<T, Status>) {
        self.0.push((what, outcome.err()));
    }

    fn finish(self) -> anyhow::Result<usize> {
        ensure!(self.0.len() >= 20, "only {} tries", self.0.len());
        let count = self.0.len();
        for (what, status) in self.0 {
            refused(what, &status.map_or(Ok(()), Err))?;
        }
        Ok(count)
    }
}

/// Calls the API of a school with valid ids as a caller who does not belong to the school.
#[expect(
    clippy::needless_update,
    reason = "some requests have no other fields than those that are named"
)]
async fn everything(who: &Session, org_id: &str, school: &School, known: &Known) -> Tries {
    let mut tries = Tries::default();
    let (org_id, act) = (org_id.to_owned(), || who.act());
    let (member_id, unit_id) = (school.pupil.member_id.clone(), school.class.clone());
    let (chat_id, call_id) = (known.chat.clone(), known.call.clone());
    macro_rules! attempt {
        ($what:literal, $api:ident.$method:ident, $request:expr) => {
            tries.add($what, who.$api().$method($request).await)
        };
    }
    macro_rules! attempt_in_school {
        ($what:literal, $api:ident.$method:ident, $request:ident of $package:ident { $($field:ident $(: $value:expr)?),* }) => {
            attempt!($what, $api.$method, $package::$request {
                org_id: org_id.clone(), $($field $(: $value)?,)* ..Default::default()
            })
        };
    }
    attempt_in_school!("reading the organization", organizations.get_organization, GetOrganizationRequest of org {});
    let renamed = org::Organization {
        display_name: "Чужая школа".into(),
        ..Default::default()
    };
    let mask = prost_types::FieldMask {
        paths: vec!["display_name".into()],
    };
    attempt_in_school!("changing the organization", organizations.update_organization, UpdateOrganizationRequest of org {
        request_id: act(), organization: Some(renamed), update_mask: Some(mask)
    });
    attempt_in_school!("listing classes", units.list_units, ListUnitsRequest of org {});
    attempt_in_school!("making a class", units.create_unit, CreateUnitRequest of org { request_id: act(), kind: org::UnitKind::Class.into(), label: "7В".into() });
    attempt_in_school!("listing members", members.list_members, ListMembersRequest of mbr {});
    attempt_in_school!("reading a pupil", members.get_member, GetMemberRequest of mbr { member_id: member_id.clone() });
    attempt_in_school!("making a member", members.create_member, CreateMemberRequest of mbr { request_id: act(), full_name: "Пётр Чужой".into(), role: mbr::Role::Pupil.into(), unit_id: unit_id.clone() });
    attempt_in_school!("removing a pupil", members.remove_member, RemoveMemberRequest of mbr { request_id: act(), member_id: member_id.clone() });
    attempt_in_school!("verifying a teacher", members.verify_teacher, VerifyTeacherRequest of mbr { request_id: act(), member_id: school.leader.member_id.clone(), evidence: "нет".into() });
    attempt_in_school!("assigning", assignments.create_assignment, CreateAssignmentRequest of mbr { request_id: act(), member_id: school.leader.member_id.clone(), unit_id: unit_id.clone(), kind: mbr::AssignmentKind::SubjectTeacher.into() });
    attempt_in_school!("listing tasks", assignments.list_assignments, ListAssignmentsRequest of mbr { unit_id: unit_id.clone() });
    attempt_in_school!("moving a pupil", enrollments.transfer_pupil, TransferPupilRequest of mbr { request_id: act(), member_id: member_id.clone(), from_unit_id: school.other_class.clone(), to_unit_id: unit_id.clone() });
    attempt_in_school!("listing families", guardianships.list_guardianships, ListGuardianshipsRequest of mbr { child_id: member_id.clone() });
    attempt_in_school!("inviting", invitations.create_invitation, CreateInvitationRequest of inv { request_id: act(), role: mbr::Role::Pupil.into(), unit_id: unit_id.clone() });
    attempt_in_school!("listing links", invitations.list_invitations, ListInvitationsRequest of inv {});
    attempt_in_school!("listing chats", chats.list_chats, ListChatsRequest of chat {});
    attempt_in_school!("reading a chat", chats.get_chat, GetChatRequest of chat { chat_id: chat_id.clone() });
    attempt_in_school!("listing participants", chats.list_participants, ListParticipantsRequest of chat { chat_id: chat_id.clone() });
    attempt_in_school!("making a chat", chats.create_chat, CreateChatRequest of chat { request_id: act(), title: "Чужой чат".into(), member_ids: vec![member_id.clone()] });
    attempt_in_school!("writing to a pupil", chats.create_direct_chat, CreateDirectChatRequest of chat { request_id: act(), member_id: member_id.clone() });
    attempt_in_school!("reading messages", messages.list_entries, ListEntriesRequest of chat { chat_id: chat_id.clone() });
    attempt_in_school!("writing", messages.send_message, SendMessageRequest of chat { request_id: act(), chat_id: chat_id.clone(), text: "Привет".into() });
    attempt_in_school!("subscribing", live.subscribe_chats, SubscribeChatsRequest of chat {});
    attempt_in_school!("planning a call", calls.plan_call, PlanCallRequest of call {
        request_id: act(), unit_id: unit_id.clone(), title: "Чужой урок".into(), kind: call::CallKind::Lesson.into(),
        format: call::CallFormat::Online.into(), duration: Some(duration(Duration::from_secs(2_700)))
    });
    attempt_in_school!("reading a call", calls.get_call, GetCallRequest of call { call_id: call_id.clone() });
    attempt_in_school!("canceling a call", calls.cancel_call, CancelCallRequest of call { request_id: act(), call_id: call_id.clone() });
    attempt_in_school!("joining a call", calls.issue_join_token, IssueJoinTokenRequest of call { call_id: call_id.clone(), start_time: Some(prost_types::Timestamp::default()) });
    tries
}
