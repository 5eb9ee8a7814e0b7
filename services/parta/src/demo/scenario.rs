//! The scenario, in the order of the regulation.
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::TimeDelta;
use parta_proto::{duration, time, timestamp};
use parta_proto_call_scheduling::v1 as call;
use parta_proto_chat::v1::{self as chat, ChatKind};
use parta_proto_invitation::v1 as inv;
use parta_proto_membership::v1::{self as mbr, Role};
use parta_status::RpcError;

use super::{
    Narrator, Step,
    actors::{Actors, Person},
    families, joining,
    outsiders::{self, Known},
    participants::{self, School},
    refused, refused_because, roster, staff,
    talk::{self, entries, list, says, subscribe, wait_for_entry, write},
    to_error,
};

pub(super) async fn play<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
) -> anyhow::Result<()> {
    let administrator = participants::registration(actors, narrator).await?;
    let school = participants::people(actors, narrator, administrator).await?;
    roster::play(actors, narrator, &school.administrator).await?;
    let pupils = talk::chats(narrator, &school).await?;
    let planned = lesson(narrator, &school, &pupils).await?;
    staff::play(actors, narrator, &school, &pupils).await?;
    families::play(actors, narrator, &school, &pupils).await?;
    movement(narrator, &school, &pupils).await?;
    bulk_revocation(actors, narrator, &school).await?;
    joining::play(actors, narrator, &school).await?;
    let known = Known {
        chat: pupils,
        call: planned,
    };
    outsiders::play(actors, narrator, &school, &known).await
}

/// Plans, announces and joins a weekly lesson. Returns the id of the call.
async fn lesson<F: FnMut(&Step)>(
    narrator: &mut Narrator<F>,
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
        duration: Some(duration(Duration::from_secs(45 * 60))),
        weekly: Some(call::WeeklyRecurrence {
            interval: 1,
            end: Some(call::weekly_recurrence::End::Count(4)),
        }),
        format: call::CallFormat::Online.into(),
        announce: true,
        ..Default::default()
    };
    let planned = api.plan_call(request).await.map_err(to_error)?.into_inner();
    leader
        .session
        .record_token("call-scheduling", &planned.consistency_token);
    let planned = planned.call.context("no call was returned")?;
    let announced = |entry: &chat::Entry| {
        use chat::entry::Content;
        entry.chat_id == pupils
            && matches!(&entry.content, Some(Content::Message(m)) if m.service == "call-scheduling")
    };
    wait_for_entry(&mut to_pupil, "the announcement of the lesson", announced).await?;
    let start = planned.start_time.as_ref().and_then(time);
    let start = start.context("the call has no start")?;
    let window = |days: i64| timestamp(start + TimeDelta::days(days));
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
        .map_err(to_error)?
        .into_inner();
    ensure!(
        seen.occurrences.len() == 4,
        "the pupil sees {} lessons of 4",
        seen.occurrences.len()
    );
    narrator.step(
        "R49 R50 R51",
        "A weekly lesson is planned and announced in the class chat; the pupil sees its four dates",
    );
    let request = |who: &Person| call::IssueJoinTokenRequest {
        org_id: who.org_id.clone(),
        call_id: planned.id.clone(),
        start_time: Some(timestamp(start)),
    };
    // The teacher starts a lesson. A server without a media server refuses it in every attempt.
    let mut api = leader.session.without_retries().calls();
    match api.issue_join_token(request(leader)).await {
        Ok(_) => {
            let joined = school
                .pupil
                .session
                .calls()
                .issue_join_token(request(&school.pupil))
                .await;
            let joined = joined.map_err(to_error)?.into_inner();
            ensure!(!joined.token.is_empty(), "a join token is empty");
            narrator.step(
                "R55",
                format!("Teacher and pupil join it on {}", joined.server_url),
            );
        }
        Err(status) => {
            let refusal = RpcError::from_status(&status);
            let absent = refusal.is_some_and(|r| {
                r.reason() == "DEPENDENCY_UNAVAILABLE" && r.metadata("dependency") == Some("the media server")
            });
            ensure!(absent, to_error(status));
            narrator.step(
                "R55",
                "Joining returns DEPENDENCY_UNAVAILABLE because this server has no LiveKit",
            );
        }
    }
    Ok(planned.id)
}

/// Moves the pupil to another class.
async fn movement<F: FnMut(&Step)>(
    narrator: &mut Narrator<F>,
    school: &School,
    old: &str,
) -> anyhow::Result<()> {
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
        .map_err(to_error)?
        .into_inner();
    administrator
        .session
        .record_token("membership", &moved.consistency_token);
    let secret = write(&school.leader, old, "Пётр перешёл в 6Б")
        .await
        .map_err(to_error)?;
    let now: Vec<_> = list(&school.pupil).await?;
    let fresh = now
        .iter()
        .find(|c| c.kind() == ChatKind::ClassPupils && c.unit_id == school.other_class)
        .context("the pupil is not in the new class chat")?;
    entries(&school.pupil, &fresh.id).await.map_err(to_error)?;
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
    narrator.step(
        "R26 R38",
        "The pupil moves to 6Б. The new chat is open and the old chat closed immediately",
    );
    Ok(())
}

/// Revokes an unused link and checks that it admits nobody.
async fn bulk_revocation<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
    school: &School,
) -> anyhow::Result<()> {
    let invitation = inv::CreateInvitationRequest {
        role: Role::Pupil.into(),
        unit_id: school.class.clone(),
        ..Default::default()
    };
    let made = school.leader.invite(invitation).await.map_err(to_error)?;
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
        .map_err(to_error)?;
    let late = actors.newcomer(&actors.phone(8), "Опоздавший").await?;
    let outcome = late.accept(&link.link_token).await?;
    refused_because("INVITATION_NOT_USABLE", "a revoked link", outcome)?;
    narrator.step("R15", "An unused link is revoked and admits nobody");
    Ok(())
}
