//! Tools of the tests of the services for the operator, which each package declares under its own name.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use std::path::{Path, PathBuf};

use parta_integration_tests::Suite;
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, QueryResult, Statement};

/// Returns the name of a gRPC service of the package of a service: `ChatJobService` for `JobService`.
pub(crate) fn api(service: &str, name: &str) -> String {
    let words = service.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.collect::<String>() + name
}

/// Connects to the database of a service beside its process.
pub(crate) async fn database(suite: &Suite, service: &str) -> DatabaseConnection {
    let index = parta::SERVICES.iter().position(|s| s.name == service).unwrap();
    let url = suite.database_urls().await.get(index).cloned();
    let url = url.unwrap_or_else(|| {
        let folder = suite.keys().parent().unwrap();
        format!("sqlite://{}/{}.db", folder.display(), service.replace('-', "_"))
    });
    Database::connect(url).await.unwrap()
}

/// The objects of the audit rows of an RPC.
pub(crate) async fn audited(db: &DatabaseConnection, rpc: &str) -> Vec<String> {
    let sql = "SELECT object FROM audit_entry WHERE rpc LIKE $1 ORDER BY object";
    let name = format!("%/{rpc}");
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [name.into()]);
    let rows = db.query_all_raw(statement).await.unwrap();
    let object = |row: &QueryResult| row.try_get("", "object").unwrap();
    rows.iter().map(object).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The commands of a document: lines of its code blocks that begin with `parta`.
pub(crate) fn commands(document: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("    parta "));
    lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// Returns the proto file of a service for the operator in the package of a service, with placeholders for
/// what differs between the packages.
fn form(service: &parta_runtime::Service, name: &str, file: &str) -> String {
    let package = service.section();
    let text = std::fs::read_to_string(root().join(format!("proto/parta/{package}/v1/{file}"))).unwrap();
    text.replace(&api(service.name, name), name)
        .replace(&format!("parta.{package}."), "parta.PACKAGE.")
        .replace(&format!(" {}", service.name), " SERVICE")
}

/// The files differ in the names of their services only, so that one implementation serves them, by the same
/// access rules.
#[test]
fn services_for_the_operator_have_one_shape() {
    for (name, file) in [
        ("JobService", "job_service.proto"),
        ("QuarantineService", "quarantine_service.proto"),
    ] {
        let first = form(&parta::SERVICES[0], name, file);
        for service in &parta::SERVICES {
            assert_eq!(form(service, name, file), first);
            let name = format!("parta.{}.v1.{}", service.section(), api(service.name, name));
            assert!(service.grpc_services.contains(&name.as_str()), "{name}");
        }
    }
}
