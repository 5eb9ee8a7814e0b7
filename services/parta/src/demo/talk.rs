//! Chats: their participants, their messages and live delivery.
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use parta_proto_chat::v1::{self as chat, ChatKind};
use tonic::Streaming;

use super::{Narrator, Step, actors::Person, participants::School, refused, to_error};

/// Time limit for live delivery.
const LIVE: Duration = Duration::from_secs(20);

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
        .map_err(to_error)?
        .into_inner()
        .chats)
}

pub(super) fn find(chats: &[chat::Chat], kind: ChatKind) -> anyhow::Result<String> {
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

/// Opens the personal chat with a member, and returns its id.
pub(super) async fn open_personal_chat(by: &Person, with: &Person) -> Result<String, tonic::Status> {
    let request = chat::CreateDirectChatRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        member_id: with.member_id.clone(),
    };
    let opened = by.session.chats().create_direct_chat(request).await?.into_inner();
    by.session.record_token("chat", &opened.consistency_token);
    Ok(opened.chat.map(|chat| chat.id).unwrap_or_default())
}

type Live = Streaming<chat::SubscribeChatsResponse>;

pub(super) async fn subscribe(who: &Person) -> anyhow::Result<Live> {
    let request = chat::SubscribeChatsRequest {
        org_id: who.org_id.clone(),
        ..Default::default()
    };
    let mut stream = who
        .session
        .live()
        .subscribe_chats(request)
        .await
        .map_err(to_error)?
        .into_inner();
    match stream.message().await.map_err(to_error)?.and_then(|m| m.item) {
        Some(chat::subscribe_chats_response::Item::Started(_)) => Ok(stream),
        other => bail!("a subscription began with {other:?}"),
    }
}

pub(super) async fn wait_for_entry(
    stream: &mut Live,
    what: &str,
    wanted: impl Fn(&chat::Entry) -> bool,
) -> anyhow::Result<()> {
    let found = async {
        while let Some(next) = stream.message().await.map_err(to_error)? {
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

pub(super) fn says(entry: &chat::Entry, id: &str) -> bool {
    entry.id == id
}

pub(super) async fn entries(of: &Person, chat_id: &str) -> Result<Vec<chat::Entry>, tonic::Status> {
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

/// Shows that derived chats get their participants and that messages are delivered live. Returns the id of
/// the pupils' class chat.
pub(super) async fn chats<F: FnMut(&Step)>(
    narrator: &mut Narrator<F>,
    school: &School,
) -> anyhow::Result<String> {
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
        ChatKind::StaffRoom,
    ] {
        ensure!(
            has(&of_leader, kind),
            "the teacher is not in {}",
            kind.as_str_name()
        );
    }
    narrator.step(
        "R33 R35 R38",
        "The chats of the class get their participants from the roster: pupils, parents and teachers",
    );

    let pupils = find(&of_pupil, ChatKind::ClassPupils)?;
    let (mut to_pupil, mut to_father) = (subscribe(&school.pupil).await?, subscribe(father).await?);
    let sent = write(&school.leader, &pupils, "Здравствуйте, 5А!")
        .await
        .map_err(to_error)?;
    wait_for_entry(&mut to_pupil, "the teacher's greeting", |e| {
        says(e, &sent.entry_id)
    })
    .await?;
    let of_parents = find(&of_mother, ChatKind::ClassParents)?;
    let sent = write(mother, &of_parents, "Когда собрание?")
        .await
        .map_err(to_error)?;
    wait_for_entry(&mut to_father, "the mother's question", |e| {
        says(e, &sent.entry_id)
    })
    .await?;
    narrator.step("R39 R43", "Messages reach the subscribers of each chat live");

    let everybody = find(&of_pupil, ChatKind::SchoolChannel)?;
    refused(
        "a pupil publishing to the whole school",
        &write(&school.pupil, &everybody, "Привет всем!").await,
    )?;
    let news = write(&school.administrator, &everybody, "Завтра первый звонок в 9:00")
        .await
        .map_err(to_error)?;
    wait_for_entry(&mut to_pupil, "the announcement", |e| says(e, &news.entry_id)).await?;
    wait_for_entry(&mut to_father, "the announcement", |e| says(e, &news.entry_id)).await?;
    narrator.step("R33", "«Общешкольный канал» carries the administration's announcement to all; a pupil may not publish there");

    let staff = find(&of_leader, ChatKind::StaffChannel)?;
    refused(
        "a teacher publishing to all staff",
        &write(&school.leader, &staff, "Коллеги, сдаём отчёты").await,
    )?;
    let staff_room = find(&of_leader, ChatKind::StaffRoom)?;
    write(&school.leader, &staff_room, "Коллеги, кто возьмёт замену?")
        .await
        .map_err(to_error)?;
    narrator.step(
        "F25",
        "Teachers talk in «Учительская»; in «Сотрудники» only administrators and the head publish",
    );
    Ok(pupils)
}
