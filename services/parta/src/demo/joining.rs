//! A link of a class that is forwarded to a stranger (R18).
use anyhow::{Context as _, ensure};
use parta_proto_invitation::v1 as inv;
use parta_proto_membership::v1 as mbr;

use super::{
    Narrator, Step,
    actors::{Account, Actors, Person},
    participants::School,
    refused, to_error,
};

/// A stranger requests to join by the link of a class, enters nothing, and is refused by the class
/// teacher.
pub(super) async fn play<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
    school: &School,
) -> anyhow::Result<()> {
    let invitation = inv::CreateInvitationRequest {
        role: mbr::Role::Pupil.into(),
        unit_id: school.class.clone(),
        max_uses: 30,
        ..Default::default()
    };
    let link = school.leader.link(invitation).await?;
    let stranger = actors.newcomer(&actors.phone(15), "Чужой Человек").await?;
    let requested = stranger.accept(&link).await?.map_err(to_error)?;
    ensure!(
        requested.member_id.is_empty(),
        "a forwarded link admitted a stranger"
    );
    let issue = mbr::IssueOrganizationTokenRequest {
        org_id: requested.org_id.clone(),
    };
    let mut api = stranger.session.authentication();
    refused(
        "a token for an outsider who requests it",
        &api.issue_organization_token(issue).await,
    )?;
    refuse(&school.leader, &requested.join_request_id).await?;
    ensure!(
        own_state(&stranger).await? == mbr::JoinRequestState::Refused,
        "the stranger does not see the refusal"
    );
    narrator.step(
        "R18",
        "A stranger with a forwarded link of the class requests to join, sees nothing of the school, and is \
         refused by the class teacher",
    );
    Ok(())
}

async fn refuse(leader: &Person, join_request_id: &str) -> anyhow::Result<()> {
    let request = mbr::DecideJoinRequestsRequest {
        request_id: leader.session.act(),
        org_id: leader.org_id.clone(),
        decisions: vec![mbr::JoinDecision {
            join_request_id: join_request_id.to_owned(),
            ..Default::default()
        }],
    };
    let mut api = leader.session.join_requests();
    api.decide_join_requests(request).await.map_err(to_error)?;
    Ok(())
}

async fn own_state(account: &Account) -> anyhow::Result<mbr::JoinRequestState> {
    let mut api = account.session.join_requests();
    let request = mbr::ListOwnJoinRequestsRequest::default();
    let listed = api
        .list_own_join_requests(request)
        .await
        .map_err(to_error)?
        .into_inner();
    Ok(listed
        .join_requests
        .first()
        .context("no request is listed")?
        .state())
}
