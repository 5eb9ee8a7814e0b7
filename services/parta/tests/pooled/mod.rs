//! All services behind PgBouncer, as docs/operations/postgresql.md describes it.
use parta_testkit::{PgBouncer, TestDatabase};

use super::*;

#[test]
fn all_services_serve_behind_pgbouncer() {
    parta_testkit::run_for(Duration::from_secs(120), async {
        let pooler = PgBouncer::start("session").await;
        let folder = tempfile::tempdir().unwrap();
        let (mut set, mut databases) = (Vec::new(), Vec::new());
        for service in parta::SERVICES {
            let database = TestDatabase::postgres().await;
            let section = service.section();
            for value in [
                format!("{section}.database_url={}", pooler.url(&database)),
                // Few, because the tests share a server.
                format!("{section}.database_max_connections=4"),
            ] {
                set.extend(["--set".to_owned(), value]);
            }
            databases.push(database);
        }
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let mut serving = Serving::start(folder.path(), &set);
        let address = serving.address().await;
        let played = run(folder.path(), &["demo", "--server", &address]).await;
        let printed = String::from_utf8_lossy(&played.stderr).into_owned();
        assert!(played.status.success(), "{printed}");
        let (succeeded, _, log) = serving.end().await;
        assert!(succeeded && !log.contains("ERROR"), "{log}");
    });
}
