//! Rows are deleted when their retention has passed by the clock of the service (R75).
use chrono::TimeDelta;
use parta_proto_membership::v1 as pb;
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait as _, Statement};

use super::test_env::{TestEnv, by, org};
use crate::roster_import::tests::edge::check_small_import;

async fn count(test_env: &TestEnv, table: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) AS n FROM {table}");
    let statement = Statement::from_string(test_env.db.backend(), sql);
    let row = test_env.db.conn().query_one_raw(statement).await.unwrap();
    row.unwrap().try_get("", "n").unwrap()
}

/// Purges one second before the age and one second after it, and returns both numbers of rows. `age` is the
/// time since the rows of the table were made, of which `passed` has passed.
async fn around(test_env: &TestEnv, table: &str, age: TimeDelta, passed: &mut TimeDelta) -> [i64; 2] {
    let second = TimeDelta::seconds(1);
    test_env.time.advance(age - *passed - second);
    test_env.purge().await;
    let before = count(test_env, table).await;
    test_env.time.advance(second * 2);
    test_env.purge().await;
    *passed = age + second;
    [before, count(test_env, table).await]
}

on_both!(
    /// Covers: R75 allowed
    rows_are_deleted_when_their_retention_has_passed,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        test_env.flow(&administrator.person, "link").await;
        check_small_import(&test_env, &administrator).await;
        let mut passed = TimeDelta::zero();
        let mut around = async |table, age| around(&test_env, table, age, &mut passed).await;
        let (minutes, days) = (TimeDelta::minutes(5), TimeDelta::days);
        assert_eq!(around("limit_bucket", TimeDelta::minutes(30)).await, [1, 0]);
        assert_eq!(around("outbox_message", days(1)).await, [1, 0]);
        assert_eq!(around("sign_in_flow", days(1) + minutes).await, [1, 0]);
        assert_eq!(around("join_flow", days(31)).await, [1, 0]);
        assert_eq!(around("roster_import", days(90)).await, [1, 0]);
        assert_eq!(count(&test_env, "roster_import_change").await, 0);
        assert_eq!(around("session", days(91)).await, [1, 0]);
        test_env.close().await;
    }
);

on_both!(
    /// Rows that are still needed stay: wrong codes are counted for a year, and an import that runs is not
    /// over. A session that was ended is deleted before one that was left idle.
    needed_rows_are_kept_beyond_the_retention_of_others,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let person = test_env.newcomer("+79160000009", "Иван Орлов").await;
        let end = pb::EndSessionRequest {
            request_id: test_env.act(),
            session_id: person.session_id.clone(),
        };
        let mut api = test_env.authentication();
        api.end_session(by(&person.token, end)).await.unwrap();
        let requested = test_env.request_code("+79160000010").await.unwrap();
        let right = test_env.code("+79160000010").await;
        let wrong = if right == "000000" { "000001" } else { "000000" };
        test_env.verify(&requested.flow_id, wrong).await.unwrap_err();
        let import = check_small_import(&test_env, &administrator).await;
        let start = pb::StartRosterImportRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            roster_import_id: import,
            ..Default::default()
        };
        let mut api = test_env.roster_imports();
        api.start_roster_import(by(&administrator.token, start)).await.unwrap();
        let mut passed = TimeDelta::zero();
        let mut around = async |table, age| around(&test_env, table, age, &mut passed).await;
        let days = TimeDelta::days;
        assert_eq!(around("limit_bucket", TimeDelta::minutes(30)).await, [4, 0]);
        assert_eq!(around("session", days(31)).await, [2, 1]);
        assert_eq!(around("roster_import", days(90)).await, [1, 1]);
        assert_eq!(around("sign_in_failure", days(365)).await, [1, 0]);
        test_env.close().await;
    }
);

on_both!(
    /// A person who opens a link again may accept it as long as one who opens it for the first time.
    another_ticket_keeps_a_join_flow,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let phone = "+79160000009";
        let person = test_env.newcomer(phone, "Иван Орлов").await;
        let first = test_env.flow(&person, "link").await;
        test_env.time.advance(TimeDelta::days(20));
        let again = test_env.request_code(phone).await.unwrap().flow_id;
        test_env.verify(&again, &test_env.code(phone).await).await.unwrap();
        let person = test_env.start(&again, &person.account_id, "").await.unwrap();
        assert_eq!(test_env.flow(&person, "link").await, first);
        let mut passed = TimeDelta::zero();
        assert_eq!(around(&test_env, "join_flow", TimeDelta::days(31), &mut passed).await, [1, 0]);
        test_env.close().await;
    }
);
