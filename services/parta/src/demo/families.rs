//! Rights of parents: a court order that forbids contact with the child, and a parent who becomes a teacher.
use anyhow::Context as _;
use parta_proto_chat::v1::ChatKind;
use parta_proto_membership::v1::{self as mbr, RelationLimit, Role};

use super::{
    Narrator, Step,
    actors::{Actors, Person},
    participants::{self, School},
    refused_because,
    talk::{find, list, open_personal_chat, write},
    to_error,
};

/// `pupils` is the chat of the pupils of the class.
pub(super) async fn play<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
    school: &School,
    pupils: &str,
) -> anyhow::Result<()> {
    court_order(narrator, school).await?;
    teacher_and_parent(actors, narrator, school, pupils).await
}

/// Limits the father by an order of a court.
async fn court_order<F: FnMut(&Step)>(narrator: &mut Narrator<F>, school: &School) -> anyhow::Result<()> {
    let [mother, father] = &school.parents;
    let child = &school.pupil;
    let of_father = open_personal_chat(father, child).await.map_err(to_error)?;
    let of_mother = open_personal_chat(mother, child).await.map_err(to_error)?;
    write(father, &of_father, "Как дела в школе?")
        .await
        .map_err(to_error)?;
    let relation = relation(&school.administrator, child, father).await?;
    let order = mbr::Order {
        number: "2-117/2026".into(),
        date: "2026-01-12".into(),
        text: "Отцу запрещено общение с ребёнком".into(),
    };
    limit(&school.administrator, &relation, Some(order))
        .await
        .map_err(to_error)?;
    refused_because(
        "PERMISSION_DENIED",
        "a message of the father to the child",
        write(father, &of_father, "Ответь мне").await,
    )?;
    refused_because(
        "RELATION_LIMITED",
        "a new personal chat of the father with the child",
        open_personal_chat(father, child).await,
    )?;
    write(mother, &of_mother, "Жду тебя дома")
        .await
        .map_err(to_error)?;
    let of_parents = find(&list(father).await?, ChatKind::ClassParents)?;
    write(father, &of_parents, "Когда собрание?")
        .await
        .map_err(to_error)?;
    narrator.step(
        "R27 F13",
        "A court forbids the father contact with the child. His messages to the child are refused \
         (PERMISSION_DENIED, RELATION_LIMITED); the mother writes to the child, and the father to the parents \
         of the class",
    );
    refused_because(
        "PERMISSION_DENIED",
        "lifting a limit by the class teacher",
        limit(&school.leader, &relation, None).await,
    )?;
    narrator.step(
        "F13",
        "The class teacher cannot lift the limit of the court (PERMISSION_DENIED)",
    );
    Ok(())
}

/// Gives the mother the role of a teacher, without a verification and without a class.
async fn teacher_and_parent<F: FnMut(&Step)>(
    actors: &Actors<'_>,
    narrator: &mut Narrator<F>,
    school: &School,
    pupils: &str,
) -> anyhow::Result<()> {
    let [mother, _] = &school.parents;
    let classmate = participants::pupil(actors, &school.leader, 18, "Яна Зайцева", &school.class).await?;
    participants::change_roles(&school.administrator, mother, &[Role::Parent, Role::Teacher]).await?;
    let own = open_personal_chat(mother, &school.pupil)
        .await
        .map_err(to_error)?;
    write(mother, &own, "Я теперь работаю в школе")
        .await
        .map_err(to_error)?;
    let of_parents = find(&list(mother).await?, ChatKind::ClassParents)?;
    write(mother, &of_parents, "Кто идёт в театр?")
        .await
        .map_err(to_error)?;
    refused_because(
        "MEMBER_NOT_REACHABLE",
        "a personal chat of a parent with a classmate of the child",
        open_personal_chat(mother, &classmate).await,
    )?;
    refused_because(
        "NOT_FOUND",
        "a message of a teacher without a verification to the class of their own child",
        write(mother, pupils, "Здравствуйте, дети").await,
    )?;
    narrator.step(
        "R23 R37 F4",
        "The mother becomes a teacher. She writes to her own child and to the parents of the class as before; \
         a classmate of the child (MEMBER_NOT_REACHABLE) and the chat of the pupils (NOT_FOUND) are refused",
    );
    Ok(())
}

/// Returns the id of the relation of a guardian and a child.
async fn relation(by: &Person, child: &Person, guardian: &Person) -> anyhow::Result<String> {
    let request = mbr::ListGuardianshipsRequest {
        org_id: by.org_id.clone(),
        child_id: child.member_id.clone(),
        ..Default::default()
    };
    let mut api = by.session.guardianships();
    let listed = api
        .list_guardianships(request)
        .await
        .map_err(to_error)?
        .into_inner();
    let mut all = listed.guardianships.into_iter();
    let found = all.find(|relation| relation.guardian_id == guardian.member_id);
    Ok(found.context("the relation is not listed")?.id)
}

/// Forbids a guardian contact with the child by an order, or requests to lift the limit without one.
async fn limit(by: &Person, guardianship_id: &str, order: Option<mbr::Order>) -> Result<(), tonic::Status> {
    let limits = order.iter().map(|_| RelationLimit::NoContact.into()).collect();
    let request = mbr::LimitGuardianshipRequest {
        request_id: by.session.act(),
        org_id: by.org_id.clone(),
        guardianship_id: guardianship_id.to_owned(),
        limits,
        order,
        until_date: String::new(),
        cause: "решение суда".into(),
    };
    let limited = by.session.guardianships().limit_guardianship(request).await?;
    by.session
        .record_token("membership", &limited.into_inner().consistency_token);
    Ok(())
}
