//! The calls of the operator, and the jobs that the operator sees.
use sea_orm::{ConnectionTrait as _, Statement};
use tonic::Request;

use super::TestEnv;

impl TestEnv {
    pub(crate) fn by_operator<T>(&self, message: T) -> Request<T> {
        self.test_env.operator_request(message)
    }

    /// The jobs that wait: the texts of their payloads and why the latest attempt failed.
    pub(crate) async fn jobs(&self) -> Vec<(String, Option<String>)> {
        let sql = "SELECT payload, failure FROM job ORDER BY create_time";
        let statement = Statement::from_string(self.db.backend(), sql);
        let rows = self.db.conn().query_all_raw(statement).await.unwrap();
        let job = |row: sea_orm::QueryResult| {
            let payload: Vec<u8> = row.try_get("", "payload").unwrap();
            (
                String::from_utf8(payload).unwrap(),
                row.try_get("", "failure").unwrap(),
            )
        };
        rows.into_iter().map(job).collect()
    }
}
