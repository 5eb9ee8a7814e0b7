//! A roster import of 600 people from a school journal.
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use parta_proto_invitation::v1 as inv;
use parta_proto_membership::v1::{self as mbr, Role, RosterImportState};

use super::{
    Narrator, Step,
    actors::{Actors, Person},
    school, to_error,
};
use crate::{
    command::roster::{carry_out, check, counts},
    output::{Format, Output},
};

/// Time limit for the links to appear after the import of the people.
const PATIENCE: Duration = Duration::from_secs(30);
const PEOPLE: usize = 600;

fn files() -> Vec<(String, Bytes)> {
    let set = school::generate(PEOPLE).into_iter();
    set.map(|(name, text)| (name, Bytes::from(text))).collect()
}

/// Returns a link that the import created for a member with this role.
async fn link(of: &Person, role: Role) -> anyhow::Result<(inv::Invitation, String)> {
    let mut api = of.session.invitations();
    let request = inv::ListInvitationsRequest {
        org_id: of.org_id.clone(),
        role: role.into(),
        unused: true,
        page_size: 200,
        ..Default::default()
    };
    let made = async {
        loop {
            let page = api
                .list_invitations(request.clone())
                .await
                .map_err(to_error)?
                .into_inner();
            let imported = page
                .invitations
                .into_iter()
                .find(|i| !i.roster_import_id.is_empty());
            if let Some(found) = imported {
                return anyhow::Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, made)
        .await
        .context("no link was made")??;
    let request = inv::GetInvitationLinkRequest {
        org_id: of.org_id.clone(),
        invitation_id: found.id.clone(),
    };
    let link = of
        .session
        .invitations()
        .get_invitation_link(request)
        .await
        .map_err(to_error)?;
    let link = link.into_inner().link.context("no link was returned")?.link_token;
    Ok((found, link))
}

pub(super) async fn play<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
    administrator: &Person,
) -> anyhow::Result<()> {
    let (session, org_id) = (&administrator.session, administrator.org_id.as_str());
    let quiet = Output(Format::Json);
    let checked = check(session, org_id, files()).await?;
    ensure!(
        checked.state() == RosterImportState::Checked,
        "the roster was refused"
    );
    let difference = counts(checked.planned.as_ref());
    let done = carry_out(session, org_id, &checked, Vec::new(), quiet).await?;
    let people = done.done.as_ref().map_or(0, |counts| counts.members);
    ensure!(
        usize::try_from(people)? == PEOPLE,
        "{people} people were imported"
    );
    let again = check(session, org_id, files()).await?;
    let difference_again = counts(again.planned.as_ref());
    ensure!(
        difference_again == "no difference",
        "imported twice: {difference_again}"
    );
    narrator.step(
        "R31",
        format!("The journal's roster is imported: {difference}; a second import of the same files shows no difference"),
    );

    let (invitation, token) = link(administrator, Role::Pupil).await?;
    let came = actors
        .newcomer(&actors.phone(14), "Ученик по ссылке")
        .await?
        .join(&token)
        .await?;
    ensure!(
        came.member_id == invitation.claim_member_id,
        "the link belongs to another person"
    );
    let request = mbr::GetMemberRequest {
        org_id: org_id.to_owned(),
        member_id: came.member_id.clone(),
    };
    let member = session
        .members()
        .get_member(request)
        .await
        .map_err(to_error)?
        .into_inner()
        .member;
    let member = member.context("no member was returned")?;
    ensure!(
        member.unit_ids.len() == 1,
        "{} is in {} classes",
        member.full_name,
        member.unit_ids.len()
    );
    narrator.step(
        "R16 R31",
        format!(
            "{} joins by a link that the import created and is in the class immediately",
            member.full_name
        ),
    );
    Ok(())
}
