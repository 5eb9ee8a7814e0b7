//! Calls of a substitute, and of the holder of a duty.
use std::time::Duration;

use super::*;

/// Plans a call of this kind that begins now.
async fn plan(
    by: &Person,
    kind: &str,
    class: &str,
    participants: &[&Person],
) -> Result<Value, tonic::Status> {
    let participants: Vec<_> = participants.iter().map(|person| &person.member_id).collect();
    let wanted = json!({
        "unit_id": class, "title": "Занятие", "kind": format!("CALL_KIND_{kind}"),
        "format": "CALL_FORMAT_ONLINE", "duration": "2700s", "participant_ids": participants,
    });
    let planned = by.client.call("CallService/PlanCall", wanted).await?;
    Ok(planned["call"].clone())
}

async fn token(person: &Person, call: &Value) -> Result<Value, tonic::Status> {
    let wanted = json!({"call_id": call["id"], "start_time": call["start_time"]});
    person.client.call("CallService/IssueJoinToken", wanted).await
}

/// Returns whether the person waits in the lobby, or the reason of the refusal.
async fn join(person: &Person, call: &Value) -> Result<bool, String> {
    match token(person, call).await {
        Ok(token) => Ok(token["lobby"] == json!(true)),
        Err(status) => Err(parta_integration_tests::reason(&status)),
    }
}

/// A person enters a running call. Returns the token.
async fn enter(suite: &Suite, person: &Person, call: &Value) -> String {
    let token = token(person, call).await.unwrap()["token"].clone();
    let token = token.as_str().unwrap().to_owned();
    suite.media().enter(&token);
    token
}

/// The time within which a person who loses the right is out of a running call.
const PROMISED: Duration = Duration::from_secs(10);

/// Waits until a person has left the call, and a second time after the person has entered with the token of
/// before.
async fn is_left(suite: &Suite, token: &str, what: &str) {
    let left = async || {
        let left = tokio::time::timeout(PROMISED, suite.media().left(token)).await;
        assert!(left.is_ok(), "{what} does not end the presence in the call");
    };
    left().await;
    suite.media().enter(token);
    left().await;
}

fn denied<T>() -> Result<T, String> {
    Err("PERMISSION_DENIED".to_owned())
}

// Case 2: a substitute hosts a lesson. When the assignment ends by its time, she neither joins nor manages
// it, and plans none.
// Covers: R25 allowed, R25 refused, R55 allowed, R55 refused, F1 refused, F3 allowed
on_both_topologies!(calls_of_a_substitute_end_with_it, |suite: Suite| async move {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let leader = school.class_teacher("Анна Белова", &class).await;
    let pupil = school.pupil(&leader, "Иван Иванов", &class).await;
    let teacher = school.teacher("Олег Быков").await;
    substitute(&school, &teacher, &class, TimeDelta::seconds(10)).await;
    let lesson = plan(&teacher, "LESSON", &class, &[]).await.unwrap();
    assert_eq!(join(&pupil, &lesson).await, Ok(true));
    assert_eq!(join(&teacher, &lesson).await, Ok(false));
    assert_eq!(join(&pupil, &lesson).await, Ok(false));
    eventually("the substitute joins no longer", async || {
        (join(&teacher, &lesson).await == denied()).then_some(())
    })
    .await;
    let cancel = json!({"call_id": lesson["id"]});
    let refused = teacher.client.refused("CallService/CancelCall", cancel).await;
    assert_eq!(refused.reason, "PERMISSION_DENIED");
    assert!(plan(&teacher, "LESSON", &class, &[]).await.is_err());
    assert_eq!(join(&leader, &lesson).await, Ok(false));
});

// A psychologist and a tutor hold calls with those whom their duties concern, until the duties end. The
// other pupils, and the lessons of the class, are not theirs.
// Covers: R49 allowed, R49 refused, R55 allowed, R55 refused, F3 allowed, F3 refused, F15 allowed
on_both_topologies!(duty_gives_calls_in_its_scope, |suite: Suite| async move {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let leader = school.class_teacher("Анна Белова", &class).await;
    let pupil = school.pupil(&leader, "Иван Иванов", &class).await;
    let classmate = school.pupil(&leader, "Пётр Сидоров", &class).await;
    let by = &school.administrator.client;
    let named = json!({"pupils": {"member_ids": [pupil.member_id]}});
    let everybody = json!({"organization": true});
    let (mut holders, mut duties) = (Vec::new(), Vec::new());
    for (kind, scope) in [
        ("PSYCHOLOGIST", &everybody),
        ("TUTOR", &named),
        ("NURSE", &everybody),
    ] {
        let invitation = json!({"role": "ROLE_STAFF", "recipient_label": kind});
        let holder = school
            .comes(&school.administrator, "Алла Седова", invitation)
            .await;
        assert!(plan(&holder, "CONSULTATION", &class, &[&pupil]).await.is_err());
        let duty = json!({
            "member_id": holder.member_id, "kind": format!("DUTY_KIND_{kind}"), "scope": scope,
            "order": {"number": "12-к", "date": "2026-01-12", "text": "О назначении"},
            "until_date": "2999-05-31",
        });
        let assigned = by.must("DutyService/AssignDuty", duty).await;
        duties.push(assigned["duty"]["id"].clone());
        holders.push(holder);
    }
    let (psychologist, tutor, nurse) = (&holders[0], &holders[1], &holders[2]);
    let lesson = plan(&leader, "LESSON", &class, &[]).await.unwrap();
    let mut calls = Vec::new();
    for holder in [psychologist, tutor] {
        let call = plan(holder, "CONSULTATION", &class, &[&pupil]).await.unwrap();
        assert_eq!(join(&pupil, &call).await, Ok(true));
        assert_eq!(join(holder, &call).await, Ok(false));
        assert_eq!(join(&pupil, &call).await, Ok(false));
        assert_eq!(join(&classmate, &call).await, denied());
        assert_eq!(join(holder, &lesson).await, denied());
        calls.push((holder, call));
    }
    let both = [&pupil, &classmate];
    plan(psychologist, "CONSULTATION", &class, &both).await.unwrap();
    assert!(plan(tutor, "CONSULTATION", &class, &both).await.is_err());
    for (holder, kind, participants) in [
        (nurse, "CONSULTATION", &[&pupil][..]),
        (tutor, "CONSULTATION", &[]),
        (psychologist, "LESSON", &[]),
        (tutor, "LESSON", &[&pupil]),
    ] {
        let refused = plan(holder, kind, &class, participants).await.unwrap_err();
        assert_eq!(parta_integration_tests::reason(&refused), "PERMISSION_DENIED");
    }
    for duty in duties {
        let end = json!({"duty_id": duty, "cause": "перевод"});
        by.must("DutyService/EndDuty", end).await;
    }
    for (holder, call) in calls {
        assert_eq!(join(holder, &call).await, denied());
        assert!(plan(holder, "CONSULTATION", &class, &[&pupil]).await.is_err());
    }
});

// A running call is left at the end of an assignment by its time, with a relation, with a session and at a
// suspension, also by a person who enters again with the token of before. The others stay.
// Covers: F1 refused, F5 refused, F11 refused, F12 refused, F18 allowed, F18 refused, R29 refused
on_both_topologies!(running_call_is_left_with_its_ground, |suite: Suite| async move {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let leader = school.class_teacher("Анна Белова", &class).await;
    let pupil = school.pupil(&leader, "Иван Иванов", &class).await;
    let classmate = school.pupil(&leader, "Пётр Сидоров", &class).await;
    let mother = school.parent(&leader, "Ольга Иванова", &pupil, &class).await;
    let teacher = school.teacher("Олег Быков").await;
    let call = plan(&leader, "CONSULTATION", &class, &[]).await.unwrap();
    let lasts = TimeDelta::seconds(15);
    substitute(&school, &teacher, &class, lasts).await;
    let by_substitute = enter(&suite, &teacher, &call).await;
    let by_leader = enter(&suite, &leader, &call).await;
    let by_mother = enter(&suite, &mother, &call).await;
    let by_pupil = enter(&suite, &pupil, &call).await;
    let by_classmate = enter(&suite, &classmate, &call).await;

    let by = &school.administrator.client;
    let relation = json!({"child_id": pupil.member_id, "page_size": 200});
    let relations = by.must("GuardianshipService/ListGuardianships", relation).await;
    let relation = &relations["guardianships"][0]["id"];
    let end = json!({"guardianship_id": relation, "cause": "ошибка"});
    leader
        .client
        .must("GuardianshipService/EndGuardianship", end)
        .await;
    is_left(&suite, &by_mother, "the end of a relation").await;

    let client = &classmate.account.client;
    client.must("AuthenticationService/EndSession", json!({})).await;
    is_left(&suite, &by_classmate, "the end of a session").await;

    // The end is published within five seconds of its time.
    let published = lasts.to_std().unwrap() + Duration::from_secs(5);
    let ended = tokio::time::timeout(published + PROMISED, suite.media().left(&by_substitute));
    assert!(ended.await.is_ok());
    suite.media().enter(&by_substitute);
    is_left(&suite, &by_substitute, "the end of an assignment").await;

    assert!(suite.media().has(&by_leader) && suite.media().has(&by_pupil));
    let suspend = json!({"member_id": leader.member_id, "cause": "проверка"});
    by.must("SuspensionService/SuspendMember", suspend).await;
    is_left(&suite, &by_leader, "a suspension").await;
});
