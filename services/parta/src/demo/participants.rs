//! Registers a school and adds its classes and its people.
use anyhow::{Context as _, ensure};
use parta_proto_invitation::v1 as inv;
use parta_proto_membership::v1::{self as mbr, Role};
use parta_proto_org_registry::v1 as org;

use super::{
    Narrator, Step,
    actors::{Actors, Person},
    refused, to_error,
};

/// The class and its members.
pub(super) struct School {
    pub(super) administrator: Person,
    pub(super) class: String,
    pub(super) other_class: String,
    pub(super) leader: Person,
    pub(super) pupil: Person,
    pub(super) parents: [Person; 2],
}
pub(super) async fn registration<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
) -> anyhow::Result<Person> {
    let (phone, another) = (actors.phone(1), actors.phone(2));
    let application = actors.apply("Школа № 1", 1, &phone).await?;
    narrator.step("R1", "A school submits its application with the signed order");
    let again = actors.apply("Школа № 1", 1, &phone).await;
    ensure!(again.is_err(), "the same school applied twice at once");
    let org_id = actors.approve(&application).await?;
    narrator.step(
        "R2 R3",
        format!("The operator approves: {org_id} exists, with «Учительская»"),
    );
    let stranger = actors.newcomer(&another, "Пётр Чужой").await?;
    let mut api = stranger.session.appointments();
    let list = api
        .list_appointments(mbr::ListAppointmentsRequest::default())
        .await;
    let offered = list.map_err(to_error)?.into_inner().appointments;
    ensure!(offered.is_empty(), "another phone was offered the appointment");
    let claim = mbr::ClaimAppointmentRequest {
        request_id: stranger.session.act(),
        org_id: org_id.clone(),
    };
    let claimed = api.claim_appointment(claim).await;
    refused("claiming by another phone", &claimed)?;
    narrator.step("R19", "An account with another phone number sees no appointment");
    let administrator = actors
        .found(&actors.newcomer(&phone, "Иван Орлов").await?, &org_id)
        .await?;
    narrator.step(
        "R19",
        "The administrator signs in with the application's phone number and claims the appointment",
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
        .map_err(to_error)?
        .into_inner();
    administrator
        .session
        .record_token("org-registry", &made.consistency_token);
    Ok(made.unit.context("no class was returned")?.id)
}

/// Joins a member of the staff by a link of the administrator for the phone of the person.
pub(super) async fn colleague(
    actors: &Actors<'_>,
    by: &Person,
    phone: u8,
    full_name: &str,
    role: Role,
) -> anyhow::Result<Person> {
    let invitation = inv::CreateInvitationRequest {
        role: role.into(),
        recipient_label: full_name.to_owned(),
        recipient_address: actors.phone(phone),
        ..Default::default()
    };
    let link = by.link(invitation).await?;
    let account = actors.newcomer(&actors.phone(phone), full_name).await?;
    account.join(&link).await
}

/// Joins a teacher by the administrator's link and verifies the teacher.
pub(super) async fn teacher(
    actors: &Actors<'_>,
    by: &Person,
    phone: u8,
    full_name: &str,
) -> anyhow::Result<Person> {
    let teacher = colleague(actors, by, phone, full_name, Role::Teacher).await?;
    let request = mbr::VerifyTeacherRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        member_id: teacher.member_id.clone(),
        evidence: "приказ № 7".into(),
    };
    let mut api = by.session.members();
    let verified = api.verify_teacher(request).await.map_err(to_error)?.into_inner();
    by.session.record_token("membership", &verified.consistency_token);
    Ok(teacher)
}

/// Assigns a teacher to a unit and returns the id of the assignment.
pub(super) async fn assign(
    by: &Person,
    teacher: &Person,
    unit_id: &str,
    kind: mbr::AssignmentKind,
    expire_time: Option<prost_types::Timestamp>,
) -> anyhow::Result<String> {
    let request = mbr::CreateAssignmentRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        member_id: teacher.member_id.clone(),
        unit_id: unit_id.to_owned(),
        kind: kind.into(),
        expire_time,
        until_date: String::new(),
    };
    let mut api = by.session.assignments();
    let assigned = api
        .create_assignment(request)
        .await
        .map_err(to_error)?
        .into_inner();
    by.session.record_token("membership", &assigned.consistency_token);
    Ok(assigned.assignment.context("no assignment was returned")?.id)
}

/// Sets the roles of a member, as the preview showed it.
pub(super) async fn change_roles(by: &Person, of: &Person, roles: &[Role]) -> anyhow::Result<()> {
    let roles: Vec<i32> = roles.iter().map(|role| (*role).into()).collect();
    let preview = mbr::PreviewRoleChangeRequest {
        org_id: by.org_id.clone(),
        member_id: of.member_id.clone(),
        roles: roles.clone(),
    };
    let mut api = by.session.roles();
    let preview = api
        .preview_role_change(preview)
        .await
        .map_err(to_error)?
        .into_inner();
    let request = mbr::ChangeMemberRolesRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        member_id: of.member_id.clone(),
        roles,
        etag: String::new(),
        preview_etag: preview.preview_etag,
    };
    let mut api = by.session.members();
    let changed = api
        .change_member_roles(request)
        .await
        .map_err(to_error)?
        .into_inner();
    by.session.record_token("membership", &changed.consistency_token);
    Ok(())
}

/// Joins a pupil of a class by the link of the class teacher.
pub(super) async fn pupil(
    actors: &Actors<'_>,
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
    actors
        .newcomer(&actors.phone(phone), name)
        .await?
        .request_to_join(&link, by)
        .await
}

/// Joins the parents of a child by one link of the class teacher, who confirms each guardianship.
pub(super) async fn parents<const N: usize>(
    actors: &Actors<'_>,
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
    let mut joined = Vec::new();
    for (phone, name) in people {
        joined.push(
            actors
                .newcomer(&actors.phone(phone), name)
                .await?
                .join(&link)
                .await?,
        );
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
        .map_err(to_error)?
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
            ..Default::default()
        };
        let confirmed = api
            .confirm_guardianship(request)
            .await
            .map_err(to_error)?
            .into_inner();
        by.session
            .record_token("membership", &confirmed.consistency_token);
    }
    Ok(joined)
}

pub(super) async fn people<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
    administrator: Person,
) -> anyhow::Result<School> {
    let five = class(&administrator, "5А").await?;
    let six = class(&administrator, "6Б").await?;
    ensure!(
        class(&administrator, "5А").await.is_err(),
        "a label was given twice"
    );
    narrator.step("R5", "Classes 5А and 6Б are created; a second 5А is refused");
    let leader = teacher(actors, &administrator, 3, "Мария Кузнецова").await?;
    let other = teacher(actors, &administrator, 4, "Олег Попов").await?;
    narrator.step("R13 R22", "Two teachers join by links and are verified");
    let class_teacher = mbr::AssignmentKind::ClassTeacher;
    assign(&administrator, &leader, &five, class_teacher, None).await?;
    assign(&administrator, &other, &six, class_teacher, None).await?;
    narrator.step("R25", "Each teacher becomes the class teacher of one class");
    let foreign = inv::CreateInvitationRequest {
        role: Role::Pupil.into(),
        unit_id: six.clone(),
        ..Default::default()
    };
    refused(
        "inviting to another teacher's class",
        &leader.invite(foreign).await,
    )?;
    let child = pupil(actors, &leader, 5, "Пётр Сидоров", &five).await?;
    narrator.step(
        "R14 R16",
        "A pupil joins with the class teacher's link. The teacher cannot invite into another class",
    );
    let both = [(6, "Ольга Сидорова"), (7, "Андрей Сидоров")];
    let both = parents(actors, &leader, both, &child, &five).await?;
    let [mother, father] = <[Person; 2]>::try_from(both).map_err(|_| anyhow::anyhow!("not two parents"))?;
    narrator.step(
        "R16 R27",
        "Both parents join by one link for the child. The teacher confirms both guardianships",
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
