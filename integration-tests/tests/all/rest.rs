//! The statements that each process runs while nothing happens. docs/performance.md lists them.
use std::time::Duration;

use parta_integration_tests::Suite;
use parta_testkit::StatementCounter;
use serde_json::json;

/// The processes settle within this time after the last change.
const SETTLING: Duration = Duration::from_secs(8);
const SECONDS: usize = 20;
/// At most five statements, and the pings of connections that were idle, which are counted too.
const PER_SECOND: usize = 6;

/// An ended session stands in the list of revocations, as in an installation that is in use. All
/// processes poll the first process of membership.
mod processes_at_rest_take_few_statements {
    use super::*;

    #[test]
    fn split() {
        parta_testkit::run(async {
            let (suite, counters) = Suite::counted(env!("CARGO_BIN_EXE_suite-process")).await;
            let school = suite.school("Школа № 1").await;
            let class = school.class("5А").await;
            let leader = school.class_teacher("Мария Кузнецова", &class).await;
            let account = &leader.account.client;
            account.must("AuthenticationService/EndSession", json!({})).await;
            tokio::time::sleep(SETTLING).await;
            let count = || counters.values().map(StatementCounter::count);
            let before: Vec<usize> = count().collect();
            tokio::time::sleep(Duration::from_secs(SECONDS as u64)).await;
            let taken = count().zip(before).map(|(after, before)| after - before);
            let taken: Vec<_> = counters.keys().zip(taken).collect();
            let many = taken.iter().filter(|(_, count)| *count > PER_SECOND * SECONDS);
            assert_eq!(many.count(), 0, "more than {PER_SECOND} a second: {taken:?}");
            suite.stop().await;
        });
    }
}
