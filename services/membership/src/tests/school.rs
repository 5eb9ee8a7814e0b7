//! The first organization with its administrator. The tests of a feature add its calls.
use parta_testkit::TestDatabase;

use super::test_env::{MemberSession, TestEnv};

/// The first organization with the classes 1А and 2А and its administrator, Анна Петрова.
pub(crate) struct School {
    pub(crate) test_env: TestEnv,
    pub(crate) administrator: MemberSession,
}

impl School {
    pub(crate) async fn open(database: TestDatabase) -> Self {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        Self {
            test_env,
            administrator,
        }
    }
}
