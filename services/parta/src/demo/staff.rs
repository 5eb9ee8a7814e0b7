//! Rights of the staff that end or are stopped: a substitute for a day, a teacher who becomes another member
//! of the staff, and a suspension.
use anyhow::Context as _;
use parta_proto_invitation::v1 as inv;
use parta_proto_membership::v1::{self as mbr, AssignmentKind, Role};

use super::{
    Narrator, Step,
    actors::{Actors, Person},
    participants::{self, School},
    refused_because,
    talk::{entries, open_personal_chat, write},
    to_error,
};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// `pupils` is the chat of the pupils of the class.
pub(super) async fn play<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
    school: &School,
    pupils: &str,
) -> anyhow::Result<()> {
    let teacher = substitute(actors, narrator, school, pupils).await?;
    demotion(narrator, school, pupils, &teacher).await?;
    suspension(actors, narrator, school, pupils).await
}

/// Lets a teacher substitute in the class, and ends the substitution early. Returns the teacher.
async fn substitute<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
    school: &School,
    pupils: &str,
) -> anyhow::Result<Person> {
    let by = &school.administrator;
    let teacher = participants::teacher(actors, by, 16, "Нина Зайцева").await?;
    let end = by.session.seconds_from_now(DAY_SECONDS);
    let kind = AssignmentKind::ClassTeacher;
    let assignment = participants::assign(by, &teacher, &school.class, kind, Some(end)).await?;
    write(&teacher, pupils, "Сегодня урок веду я")
        .await
        .map_err(to_error)?;
    let invitation = inv::CreateInvitationRequest {
        role: Role::Pupil.into(),
        unit_id: school.class.clone(),
        ..Default::default()
    };
    let invited = teacher.invite(invitation).await;
    refused_because("PERMISSION_DENIED", "a link made by a substitute", invited)?;
    let opened = open_personal_chat(&teacher, &school.pupil).await;
    refused_because(
        "MEMBER_NOT_REACHABLE",
        "a personal chat of a substitute with a pupil",
        opened,
    )?;
    narrator.step(
        "R25 F3",
        "A substitute for one day writes to 5А. To invite is refused (PERMISSION_DENIED), and so is a personal \
         chat with a pupil (MEMBER_NOT_REACHABLE)",
    );
    let request = mbr::EndAssignmentRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        assignment_id: assignment,
    };
    let mut api = by.session.assignments();
    let ended = api.end_assignment(request).await.map_err(to_error)?.into_inner();
    by.session.record_token("membership", &ended.consistency_token);
    refused_because(
        "NOT_FOUND",
        "a message of a former substitute",
        write(&teacher, pupils, "Ещё два слова").await,
    )?;
    refused_because(
        "NOT_FOUND",
        "reading by a former substitute",
        entries(&teacher, pupils).await,
    )?;
    narrator.step(
        "R26 F1",
        "The substitution ends. Reading and writing in the chat of 5А are refused immediately (NOT_FOUND)",
    );
    Ok(teacher)
}

/// Takes the badge and the role from a teacher of the class, who remains a member of the staff.
async fn demotion<F: FnMut(&Step)>(
    narrator: &mut Narrator<F>,
    school: &School,
    pupils: &str,
    teacher: &Person,
) -> anyhow::Result<()> {
    let by = &school.administrator;
    let kind = AssignmentKind::SubjectTeacher;
    participants::assign(by, teacher, &school.class, kind, None).await?;
    write(teacher, pupils, "Теперь физику веду я")
        .await
        .map_err(to_error)?;
    let personal = open_personal_chat(teacher, &school.pupil)
        .await
        .map_err(to_error)?;
    let request = mbr::WithdrawTeacherVerificationRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        member_id: teacher.member_id.clone(),
        cause: "приказ № 8".into(),
    };
    let mut api = by.session.members();
    api.withdraw_teacher_verification(request)
        .await
        .map_err(to_error)?;
    participants::change_roles(by, teacher, &[Role::Staff]).await?;
    refused_because(
        "NOT_FOUND",
        "a message of a former teacher to the class",
        write(teacher, pupils, "Я ещё тут").await,
    )?;
    refused_because(
        "PERMISSION_DENIED",
        "a message of a former teacher to a pupil",
        write(teacher, &personal, "Пётр?").await,
    )?;
    refused_because(
        "MEMBER_NOT_REACHABLE",
        "a new personal chat of a former teacher with a pupil",
        open_personal_chat(teacher, &school.pupil).await,
    )?;
    narrator.step(
        "R22 R23 F2",
        "A teacher loses the verification and becomes other staff. The class is gone (NOT_FOUND), the personal \
         chat with a pupil is silent (PERMISSION_DENIED), and a new one is refused (MEMBER_NOT_REACHABLE)",
    );
    Ok(())
}

/// Suspends the class teacher. The head lifts the suspension.
async fn suspension<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
    school: &School,
    pupils: &str,
) -> anyhow::Result<()> {
    let (by, leader) = (&school.administrator, &school.leader);
    let head = participants::colleague(actors, by, 17, "Вера Павлова", Role::Staff).await?;
    participants::change_roles(by, &head, &[Role::Head]).await?;
    let request = mbr::SuspendMemberRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        member_id: leader.member_id.clone(),
        roles: Vec::new(),
        cause: "проверка жалобы".into(),
    };
    let mut api = by.session.suspensions();
    let suspended = api.suspend_member(request).await.map_err(to_error)?.into_inner();
    by.session
        .record_token("membership", &suspended.consistency_token);
    let suspension = suspended.suspension.context("no suspension was returned")?.id;
    for outcome in [
        write(leader, pupils, "Что случилось?").await.map(|_| ()),
        entries(leader, pupils).await.map(|_| ()),
    ] {
        refused_because("MEMBER_SUSPENDED", "a call of a suspended teacher", outcome)?;
    }
    narrator.step(
        "R82 F5",
        "The administrator suspends the class teacher, who can neither read nor write from this moment \
         (MEMBER_SUSPENDED)",
    );
    let own = lift(by, &suspension).await;
    refused_because("SECOND_PERSON_REQUIRED", "lifting by the suspender", own)?;
    lift(&head, &suspension).await.map_err(to_error)?;
    write(leader, pupils, "Здравствуйте, я снова с вами")
        .await
        .map_err(to_error)?;
    narrator.step(
        "R82 F5 F6",
        "The administrator cannot lift the suspension alone (SECOND_PERSON_REQUIRED). The head lifts it, and \
         the teacher writes to 5А again",
    );
    Ok(())
}

async fn lift(by: &Person, suspension_id: &str) -> Result<(), tonic::Status> {
    let request = mbr::ReinstateMemberRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        suspension_id: suspension_id.to_owned(),
        cause: "жалоба не подтвердилась".into(),
    };
    let lifted = by.session.suspensions().reinstate_member(request).await?;
    by.session
        .record_token("membership", &lifted.into_inner().consistency_token);
    Ok(())
}
