//! Pairs of mutations that touch one row, at the same time. Whichever is first, the other sees its effect.
use futures::future::join;
use parta_ids::{MemberId, TypedId as _};
use parta_proto_membership::v1::{self as pb, AssignmentKind, MemberState, Role};
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait as _, Statement};
use tonic::Status;

use super::test_env::{MemberSession, TestEnv, by, org, reason, unit};

/// Rounds of each pair. In a trial without the lock, 12 of 40 rounds went wrong on PostgreSQL.
const ROUNDS: u32 = 12;

async fn assign(test_env: &TestEnv, by_whom: &MemberSession, member_id: &str) -> Result<(), Status> {
    let assigned = test_env.assign(by_whom, member_id, unit(1), AssignmentKind::SubjectTeacher);
    assigned.await.map(|_| ())
}

async fn member(test_env: &TestEnv, by_whom: &MemberSession, member_id: &str) -> pb::Member {
    let request = pb::GetMemberRequest {
        org_id: org(1).to_string(),
        member_id: member_id.to_owned(),
    };
    let found = test_env.members().get_member(by(&by_whom.token, request)).await;
    found.unwrap().into_inner().member.unwrap()
}

/// The number of relations in a table that have not ended and concern the member.
async fn live_rows(test_env: &TestEnv, table: &str, member_id: &str) -> i64 {
    let id: MemberId = member_id.parse().unwrap();
    let sql = format!("SELECT COUNT(*) AS n FROM {table} WHERE end_time IS NULL AND member_id = $1");
    let statement = Statement::from_sql_and_values(test_env.db.backend(), sql, [id.uuid().into()]);
    let row = test_env.db.conn().query_one_raw(statement).await.unwrap();
    row.unwrap().try_get("", "n").unwrap()
}

/// The phone of the n-th person of a test.
fn phone(n: u32) -> String {
    format!("+7916{:07}", 5_000_000 + n)
}

on_both!(
    /// Covers: R24 allowed
    removed_pupil_has_no_enrollment_when_enrolled_meanwhile,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        for n in 0..ROUNDS {
            let pupil = test_env.join(&phone(n), "Пётр Иванов", Role::Pupil, |admit| admit.unit_id = unit(2).to_string()).await.member_id;
            let (enrolled, removed) = join(
                test_env.enroll(&administrator, &pupil, unit(1)),
                test_env.remove(&administrator, &pupil, ""),
            )
            .await;
            removed.unwrap();
            assert!(["OK", "NOT_A_PUPIL"].contains(&reason(&enrolled).as_str()), "{enrolled:?}");
            let left = member(&test_env, &administrator, &pupil).await;
            assert_eq!((left.state(), left.unit_ids.len()), (MemberState::Left, 0));
            assert_eq!(live_rows(&test_env, "enrollment", &pupil).await, 0, "round {n}");
        }
        test_env.close().await;
    }
);

on_both!(
    /// Covers: R24 allowed
    removed_teacher_has_no_assignment_when_assigned_meanwhile,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        for n in 0..ROUNDS {
            let teacher = test_env.join(&phone(n), "Мария Лисова", Role::Teacher, |_| {}).await.member_id;
            let (assigned, removed) = join(
                assign(&test_env, &administrator, &teacher),
                test_env.remove(&administrator, &teacher, ""),
            )
            .await;
            removed.unwrap();
            assert!(["OK", "NOT_A_TEACHER"].contains(&reason(&assigned).as_str()), "{assigned:?}");
            assert_eq!(live_rows(&test_env, "assignment", &teacher).await, 0, "round {n}");
        }
        test_env.close().await;
    }
);

on_both!(
    /// Covers: R24 refused
    relation_made_twice_at_once_exists_once,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        for n in 0..ROUNDS {
            let pupil = test_env.join(&phone(2 * n), "Пётр Иванов", Role::Pupil, |admit| admit.unit_id = unit(2).to_string()).await.member_id;
            let (one, other) = join(
                test_env.enroll(&administrator, &pupil, unit(1)),
                test_env.enroll(&administrator, &pupil, unit(1)),
            )
            .await;
            let mut reasons = [reason(&one), reason(&other)];
            reasons.sort();
            assert_eq!(reasons, ["ALREADY_ENROLLED", "OK"]);
            let teacher = test_env
                .join(&phone(2 * n + 1), "Мария Лисова", Role::Teacher, |_| {})
                .await
                .member_id;
            let (one, other) = join(
                assign(&test_env, &administrator, &teacher),
                assign(&test_env, &administrator, &teacher),
            )
            .await;
            let mut reasons = [reason(&one), reason(&other)];
            reasons.sort();
            assert_eq!(reasons, ["ALREADY_ASSIGNED", "OK"]);
        }
        test_env.close().await;
    }
);

on_both!(
    /// Covers: R3 refused
    appointment_claimed_twice_at_once_makes_one_member,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let person = test_env.newcomer("+79160000001", "Анна Петрова").await;
        let (one, other) = join(test_env.claim(&person, org(1)), test_env.claim(&person, org(1))).await;
        let mut reasons = [reason(&one), reason(&other)];
        reasons.sort();
        assert_eq!(reasons, ["NOT_FOUND", "OK"]);
        test_env.close().await;
    }
);
