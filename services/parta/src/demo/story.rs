//! The story itself, in the order of the regulation.
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use parta_proto::parta::{
    call_scheduling::v1 as call,
    chat::v1::{self as chat, ChatKind},
    invitation::v1 as inv,
    membership::v1::{self as mbr, Role},
    org_registry::v1 as org,
};
use parta_status::Refusal;
use tonic::Streaming;

use super::{
    Narrator, Step,
    cast::{Person, Town},
    refused, roster, said,
    strangers::{self, Known},
};

/// Longest that something live may take to arrive.
const LIVE: Duration = Duration::from_secs(20);

/// The class and its people.
pub(super) struct School {
    pub(super) administrator: Person,
    pub(super) class: String,
    pub(super) other_class: String,
    pub(super) leader: Person,
    pub(super) pupil: Person,
    pub(super) parents: [Person; 2],
}

pub(super) async fn play<F: FnMut(&Step)>(town: &Town, tell: &mut Narrator<F>) -> anyhow::Result<()> {
    let administrator = registration(town, tell).await?;
    let school = people(town, tell, administrator).await?;
    roster::play(town, tell, &school.administrator).await?;
    let pupils = chats(tell, &school).await?;
    let planned = lesson(tell, &school, &pupils).await?;
    movement(tell, &school, &pupils).await?;
    annulment(town, tell, &school).await?;
    let known = Known {
        chat: pupils,
        call: planned,
    };
    strangers::play(town, tell, &school, &known).await
}

async fn registration<F: FnMut(&Step)>(town: &Town, tell: &mut Narrator<F>) -> anyhow::Result<Person> {
    let (phone, another) = (town.phone(1), town.phone(2));
    let application = town.apply("Школа № 1", 1, &phone).await?;
    tell.step("R1", "A school hands in its application with the signed order");
    let again = town.apply("Школа № 1", 1, &phone).await;
    ensure!(again.is_err(), "the same school applied twice at once");
    let org_id = town.approve(&application).await?;
    tell.step(
        "R2 R3",
        format!("The operator approves: {org_id} exists, with «Учительская»"),
    );
    let stranger = town.newcomer(&another, "Пётр Чужой").await?;
    let mut api = stranger.session.appointments();
    let list = api
        .list_appointments(mbr::ListAppointmentsRequest::default())
        .await;
    let offered = list.map_err(said)?.into_inner().appointments;
    ensure!(offered.is_empty(), "another phone was offered the appointment");
    let claim = mbr::ClaimAppointmentRequest {
        request_id: stranger.session.act(),
        org_id: org_id.clone(),
    };
    let claimed = api.claim_appointment(claim).await;
    refused("claiming by another phone", &claimed)?;
    tell.step("R19", "Another phone gets nothing");
    let administrator = town
        .found(&town.newcomer(&phone, "Иван Орлов").await?, &org_id)
        .await?;
    tell.step(
        "R19",
        "The administrator registers by exactly the application's phone, and administers",
    );
    Ok(administrator)
}

async fn class(administrator: &Person, label: &str) -> anyhow::Result<String> {
    let request = org::CreateUnitRequest {
        request_id: administrator.session.act(),
        org_id: administrator.org_id.clone(),
        kind: org::UnitKind::Class.into(),
        label: label.to_owned(),
    };
    let made = administrator
        .session
        .units()
        .create_unit(request)
        .await
        .map_err(said)?
        .into_inner();
    administrator.session.saw("org-registry", &made.consistency_token);
    Ok(made.unit.context("no class was answered")?.id)
}

/// A teacher comes by a link of the administrator's and is verified.
async fn teacher(town: &Town, by: &Person, phone: u8, full_name: &str) -> anyhow::Result<Person> {
    let invitation = inv::CreateInvitationRequest {
        role: Role::Teacher.into(),
        recipient_label: full_name.to_owned(),
        ..Default::default()
    };
    let link = by.link(invitation).await?;
    let teacher = town
        .newcomer(&town.phone(phone), full_name)
        .await?
        .join(&link)
        .await?;
    let request = mbr::VerifyTeacherRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        member_id: teacher.member_id.clone(),
        evidence: "приказ № 7".into(),
    };
    let verified = by
        .session
        .members()
        .verify_teacher(request)
        .await
        .map_err(said)?
        .into_inner();
    by.session.saw("membership", &verified.consistency_token);
    Ok(teacher)
}

async fn lead(by: &Person, teacher: &Person, unit_id: &str) -> anyhow::Result<()> {
    let request = mbr::CreateAssignmentRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        member_id: teacher.member_id.clone(),
        unit_id: unit_id.to_owned(),
        kind: mbr::AssignmentKind::ClassTeacher.into(),
        ..Default::default()
    };
    let assigned = by
        .session
        .assignments()
        .create_assignment(request)
        .await
        .map_err(said)?
        .into_inner();
    by.session.saw("membership", &assigned.consistency_token);
    Ok(())
}

/// A pupil of a class by a link of its teacher.
pub(super) async fn pupil(
    town: &Town,
    by: &Person,
    phone: u8,
    name: &str,
    unit_id: &str,
) -> anyhow::Result<Person> {
    let invitation = inv::CreateInvitationRequest {
        role: Role::Pupil.into(),
        unit_id: unit_id.to_owned(),
        ..Default::default()
    };
    let link = by.link(invitation).await?;
    town.newcomer(&town.phone(phone), name).await?.join(&link).await
}

/// Parents of a child by one link of the class teacher, who confirms each.
pub(super) async fn parents<const N: usize>(
    town: &Town,
    by: &Person,
    people: [(u8, &str); N],
    child: &Person,
    unit_id: &str,
) -> anyhow::Result<Vec<Person>> {
    let invitation = inv::CreateInvitationRequest {
        role: Role::Parent.into(),
        unit_id: unit_id.to_owned(),
        child_id: child.member_id.clone(),
        max_uses: i32::try_from(N)?,
        ..Default::default()
    };
    let link = by.link(invitation).await?;
    let mut came = Vec::new();
    for (phone, name) in people {
        came.push(town.newcomer(&town.phone(phone), name).await?.join(&link).await?);
    }
    let mut api = by.session.guardianships();
    let request = mbr::ListGuardianshipsRequest {
        org_id: by.org_id.clone(),
        child_id: child.member_id.clone(),
        pending_only: true,
        ..Default::default()
    };
    let pending = api
        .list_guardianships(request)
        .await
        .map_err(said)?
        .into_inner()
        .guardianships;
    ensure!(
        pending.len() == N,
        "{} relations wait for confirmation",
        pending.len()
    );
    for relation in pending {
        let request = mbr::ConfirmGuardianshipRequest {
            request_id: by.session.act(),
            org_id: by.org_id.clone(),
            guardianship_id: relation.id,
        };
        let confirmed = api
            .confirm_guardianship(request)
            .await
            .map_err(said)?
            .into_inner();
        by.session.saw("membership", &confirmed.consistency_token);
    }
    Ok(came)
}

async fn people<F: FnMut(&Step)>(
    town: &Town,
    tell: &mut Narrator<F>,
    administrator: Person,
) -> anyhow::Result<School> {
    let five = class(&administrator, "5А").await?;
    let six = class(&administrator, "6Б").await?;
    ensure!(
        class(&administrator, "5А").await.is_err(),
        "a label was given twice"
    );
    tell.step("R5", "Classes 5А and 6Б are made; a second 5А is refused");
    let leader = teacher(town, &administrator, 3, "Мария Кузнецова").await?;
    let other = teacher(town, &administrator, 4, "Олег Попов").await?;
    tell.step("R13 R22", "Two teachers come by links and are verified");
    lead(&administrator, &leader, &five).await?;
    lead(&administrator, &other, &six).await?;
    tell.step("R25", "Each becomes class teacher of a class");
    let foreign = inv::CreateInvitationRequest {
        role: Role::Pupil.into(),
        unit_id: six.clone(),
        ..Default::default()
    };
    refused(
        "inviting to another teacher's class",
        &leader.invite(foreign).await,
    )?;
    let child = pupil(town, &leader, 5, "Пётр Сидоров", &five).await?;
    tell.step(
        "R14 R16",
        "A pupil comes by the class teacher's link; to the other class she may not invite",
    );
    let both = [(6, "Ольга Сидорова"), (7, "Андрей Сидоров")];
    let both = parents(town, &leader, both, &child, &five).await?;
    let [mother, father] = <[Person; 2]>::try_from(both).map_err(|_| anyhow::anyhow!("not two parents"))?;
    tell.step(
        "R16 R27",
        "Both parents come by one link that names the child; the teacher confirms the relation",
    );
    Ok(School {
        administrator,
        class: five,
        other_class: six,
        leader,
        pupil: child,
        parents: [mother, father],
    })
}

pub(super) async fn list(of: &Person) -> anyhow::Result<Vec<chat::Chat>> {
    let request = chat::ListChatsRequest {
        org_id: of.org_id.clone(),
        page_size: 200,
        ..Default::default()
    };
    Ok(of
        .session
        .chats()
        .list_chats(request)
        .await
        .map_err(said)?
        .into_inner()
        .chats)
}

fn find(chats: &[chat::Chat], kind: ChatKind) -> anyhow::Result<String> {
    let found = chats.iter().find(|c| c.kind() == kind);
    Ok(found
        .with_context(|| format!("no chat of kind {}", kind.as_str_name()))?
        .id
        .clone())
}

fn has(chats: &[chat::Chat], kind: ChatKind) -> bool {
    find(chats, kind).is_ok()
}

pub(super) async fn write(
    by: &Person,
    chat_id: &str,
    text: &str,
) -> Result<chat::SendMessageResponse, tonic::Status> {
    let request = chat::SendMessageRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        chat_id: chat_id.to_owned(),
        text: text.to_owned(),
    };
    Ok(by.session.messages().send_message(request).await?.into_inner())
}

type Live = Streaming<chat::SubscribeChatsResponse>;

async fn subscribe(who: &Person) -> anyhow::Result<Live> {
    let request = chat::SubscribeChatsRequest {
        org_id: who.org_id.clone(),
        ..Default::default()
    };
    let mut stream = who
        .session
        .live()
        .subscribe_chats(request)
        .await
        .map_err(said)?
        .into_inner();
    match stream.message().await.map_err(said)?.and_then(|m| m.item) {
        Some(chat::subscribe_chats_response::Item::Started(_)) => Ok(stream),
        other => bail!("a subscription began with {other:?}"),
    }
}

/// Waits for an entry.
async fn heard(stream: &mut Live, what: &str, wanted: impl Fn(&chat::Entry) -> bool) -> anyhow::Result<()> {
    let found = async {
        while let Some(next) = stream.message().await.map_err(said)? {
            if let Some(chat::subscribe_chats_response::Item::Entry(entry)) = next.item
                && wanted(&entry)
            {
                return Ok(());
            }
        }
        bail!("the stream ended before {what} arrived")
    };
    tokio::time::timeout(LIVE, found)
        .await
        .with_context(|| format!("{what} did not arrive"))?
}

fn says(entry: &chat::Entry, id: &str) -> bool {
    entry.id == id
}

/// Derived chats fill by themselves; messages flow live. Answers the class chat of the pupils.
async fn chats<F: FnMut(&Step)>(tell: &mut Narrator<F>, school: &School) -> anyhow::Result<String> {
    let [mother, father] = &school.parents;
    let (of_pupil, of_mother, of_leader) = (
        list(&school.pupil).await?,
        list(mother).await?,
        list(&school.leader).await?,
    );
    ensure!(
        has(&of_pupil, ChatKind::ClassPupils),
        "the pupil is not in the class chat"
    );
    ensure!(
        !has(&of_pupil, ChatKind::ClassParents),
        "the pupil is in the parents' chat"
    );
    ensure!(
        !has(&of_pupil, ChatKind::StaffChannel),
        "the pupil is in the staff channel"
    );
    ensure!(
        has(&of_mother, ChatKind::ClassParents),
        "the mother is not in the parents' chat"
    );
    ensure!(
        !has(&of_mother, ChatKind::ClassPupils),
        "the mother is in the pupils' chat"
    );
    for kind in [
        ChatKind::ClassPupils,
        ChatKind::ClassParents,
        ChatKind::ClassTeachers,
        ChatKind::StaffChannel,
    ] {
        ensure!(
            has(&of_leader, kind),
            "the teacher is not in {}",
            kind.as_str_name()
        );
    }
    tell.step(
        "R33 R35 R38",
        "The chats of the class fill by themselves: pupils, parents, teachers, each with theirs",
    );

    let pupils = find(&of_pupil, ChatKind::ClassPupils)?;
    let (mut to_pupil, mut to_father) = (subscribe(&school.pupil).await?, subscribe(father).await?);
    let sent = write(&school.leader, &pupils, "Здравствуйте, 5А!")
        .await
        .map_err(said)?;
    heard(&mut to_pupil, "the teacher's greeting", |e| {
        says(e, &sent.entry_id)
    })
    .await?;
    let of_parents = find(&of_mother, ChatKind::ClassParents)?;
    let sent = write(mother, &of_parents, "Когда собрание?")
        .await
        .map_err(said)?;
    heard(&mut to_father, "the mother's question", |e| {
        says(e, &sent.entry_id)
    })
    .await?;
    tell.step("R39 R43", "Messages reach subscribers live, in their own chats");

    let everybody = find(&of_pupil, ChatKind::SchoolChannel)?;
    refused(
        "a pupil publishing to the whole school",
        &write(&school.pupil, &everybody, "Привет всем!").await,
    )?;
    let news = write(&school.administrator, &everybody, "Завтра первый звонок в 9:00")
        .await
        .map_err(said)?;
    heard(&mut to_pupil, "the announcement", |e| says(e, &news.entry_id)).await?;
    heard(&mut to_father, "the announcement", |e| says(e, &news.entry_id)).await?;
    tell.step("R33", "«Общешкольный канал» carries the administration's announcement to all; a pupil may not publish there");
    Ok(pupils)
}

/// A weekly lesson is planned, announced and joined. Answers its id.
async fn lesson<F: FnMut(&Step)>(
    tell: &mut Narrator<F>,
    school: &School,
    pupils: &str,
) -> anyhow::Result<String> {
    let leader = &school.leader;
    let mut to_pupil = subscribe(&school.pupil).await?;
    let mut api = leader.session.calls();
    let request = call::PlanCallRequest {
        request_id: leader.session.act(),
        org_id: leader.org_id.clone(),
        unit_id: school.class.clone(),
        title: "Математика".into(),
        kind: call::CallKind::Lesson.into(),
        duration: Some(prost_types::Duration {
            seconds: 45 * 60,
            nanos: 0,
        }),
        weekly: Some(call::WeeklyRecurrence {
            interval: 1,
            end: Some(call::weekly_recurrence::End::Count(4)),
        }),
        format: call::CallFormat::Online.into(),
        announce: true,
        ..Default::default()
    };
    let planned = api.plan_call(request).await.map_err(said)?.into_inner();
    leader.session.saw("call-scheduling", &planned.consistency_token);
    let planned = planned.call.context("no call was answered")?;
    let announced = |entry: &chat::Entry| {
        use chat::entry::Content;
        entry.chat_id == pupils
            && matches!(&entry.content, Some(Content::Message(m)) if m.service == "call-scheduling")
    };
    heard(&mut to_pupil, "the announcement of the lesson", announced).await?;
    let start = planned.start_time.context("the call has no start")?;
    let window = |days: i64| prost_types::Timestamp {
        seconds: start.seconds + days * 24 * 60 * 60,
        nanos: 0,
    };
    let request = call::ListOccurrencesRequest {
        org_id: school.pupil.org_id.clone(),
        window_start_time: Some(window(-1)),
        window_end_time: Some(window(28)),
        ..Default::default()
    };
    let seen = school
        .pupil
        .session
        .calls()
        .list_occurrences(request)
        .await
        .map_err(said)?
        .into_inner();
    ensure!(
        seen.occurrences.len() == 4,
        "the pupil sees {} lessons of 4",
        seen.occurrences.len()
    );
    tell.step(
        "R49 R50 R51",
        "A weekly lesson is planned and announced in the class chat; the pupil sees its four dates",
    );
    let request = |who: &Person| call::IssueJoinTokenRequest {
        org_id: who.org_id.clone(),
        call_id: planned.id.clone(),
        start_time: Some(start),
    };
    // A lesson begins with its teacher.
    match api.issue_join_token(request(leader)).await {
        Ok(_) => {
            let joined = school
                .pupil
                .session
                .calls()
                .issue_join_token(request(&school.pupil))
                .await;
            let joined = joined.map_err(said)?.into_inner();
            ensure!(!joined.token.is_empty(), "a join token is empty");
            tell.step(
                "R55",
                format!("Teacher and pupil join it on {}", joined.server_url),
            );
        }
        Err(status) => {
            let reason = Refusal::from_status(&status).map(|r| r.reason().to_owned());
            ensure!(
                reason.as_deref() == Some("MEDIA_NOT_CONFIGURED"),
                "{}",
                said(status)
            );
            tell.step(
                "R55",
                "Joining answers MEDIA_NOT_CONFIGURED: this suite has no LiveKit",
            );
        }
    }
    Ok(planned.id)
}

async fn entries(of: &Person, chat_id: &str) -> Result<Vec<chat::Entry>, tonic::Status> {
    let request = chat::ListEntriesRequest {
        org_id: of.org_id.clone(),
        chat_id: chat_id.to_owned(),
        ..Default::default()
    };
    Ok(of
        .session
        .messages()
        .list_entries(request)
        .await?
        .into_inner()
        .entries)
}

/// The pupil moves to another class.
async fn movement<F: FnMut(&Step)>(tell: &mut Narrator<F>, school: &School, old: &str) -> anyhow::Result<()> {
    let administrator = &school.administrator;
    let request = mbr::TransferPupilRequest {
        request_id: administrator.session.act(),
        org_id: administrator.org_id.clone(),
        member_id: school.pupil.member_id.clone(),
        from_unit_id: school.class.clone(),
        to_unit_id: school.other_class.clone(),
    };
    let moved = administrator
        .session
        .enrollments()
        .transfer_pupil(request)
        .await
        .map_err(said)?
        .into_inner();
    administrator.session.saw("membership", &moved.consistency_token);
    let secret = write(&school.leader, old, "Пётр перешёл в 6Б")
        .await
        .map_err(said)?;
    let now: Vec<_> = list(&school.pupil).await?;
    let fresh = now
        .iter()
        .find(|c| c.kind() == ChatKind::ClassPupils && c.unit_id == school.other_class)
        .context("the pupil is not in the new class chat")?;
    entries(&school.pupil, &fresh.id).await.map_err(said)?;
    if let Ok(still) = entries(&school.pupil, old).await {
        ensure!(
            !still.iter().any(|e| says(e, &secret.entry_id)),
            "the pupil still reads the old class chat"
        );
    }
    refused(
        "writing to the old class chat",
        &write(&school.pupil, old, "Я ещё тут").await,
    )?;
    tell.step(
        "R26 R38",
        "The pupil moves to 6Б: at once the new chat is open and the old one closed",
    );
    Ok(())
}

/// A link that nobody used is annulled and admits nobody.
async fn annulment<F: FnMut(&Step)>(
    town: &Town,
    tell: &mut Narrator<F>,
    school: &School,
) -> anyhow::Result<()> {
    let invitation = inv::CreateInvitationRequest {
        role: Role::Pupil.into(),
        unit_id: school.class.clone(),
        ..Default::default()
    };
    let made = school.leader.invite(invitation).await.map_err(said)?;
    let (made, link) = (
        made.invitation.context("no invitation")?,
        made.link.context("no link")?,
    );
    let request = inv::RevokeInvitationRequest {
        request_id: school.leader.session.act(),
        org_id: school.leader.org_id.clone(),
        invitation_id: made.id,
        etag: made.etag,
    };
    school
        .leader
        .session
        .invitations()
        .revoke_invitation(request)
        .await
        .map_err(said)?;
    let late = town.newcomer(&town.phone(8), "Опоздавший").await?;
    let outcome = late.accept(&link.link_token).await?;
    let reason = outcome
        .err()
        .and_then(|s| Refusal::from_status(&s))
        .map(|r| r.reason().to_owned());
    ensure!(
        reason.as_deref() == Some("INVITATION_NOT_USABLE"),
        "an annulled link answered {reason:?}"
    );
    tell.step("R15", "An unused link is annulled and admits nobody");
    Ok(())
}
