use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
};

use crate::{POSTGRES_URL, TestDatabase, eventually, given};

/// Environment variable with the path of the program of PgBouncer.
const PROGRAM: &str = "PARTA_TEST_PGBOUNCER";

/// A PgBouncer in front of the PostgreSQL server that the tests share. It is stopped when this value is
/// dropped.
pub struct PgBouncer {
    child: Child,
    port: u16,
    // Dropped after the process that reads its files.
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts it with this `pool_mode`, and otherwise as PgBouncer is by default, and waits until it listens.
    /// Fails the test without the program.
    pub async fn start(pool_mode: &str) -> Self {
        let (program, server) = (given(PROGRAM, "it"), given(POSTGRES_URL, "PostgreSQL"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| Ok(listener.local_addr()?.port()))
            .expect("a free port");
        let settings = format!(
            "[databases]\n* = {}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {pool_mode}\ndefault_pool_size = 50\n",
            parameters(&server)
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, settings).expect("a file");
        let mut command = Command::new(program);
        if file.metadata().is_ok_and(|metadata| is_root(&metadata)) {
            // PgBouncer refuses to run as root. The folder must be readable by the other user.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
                .expect("the rights are set");
            command.args(["-u", "nobody"]);
        }
        let child = command
            .arg("--quiet")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("PgBouncer starts");
        eventually("PgBouncer listens", async || {
            tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .ok()
        })
        .await;
        Self {
            child,
            port,
            _folder: folder,
        }
    }

    /// Returns the URL by which this PgBouncer reaches a database of the server.
    pub fn url(&self, database: &TestDatabase) -> String {
        let (_, name) = database.url().rsplit_once('/').expect("a URL with a database");
        let name = name.split('?').next().unwrap_or(name);
        format!("postgres://parta@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether root owns a file that this process has created.
fn is_root(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(metadata) == 0
}

/// Returns the parameters by which PgBouncer connects to the server of a URL.
fn parameters(url: &str) -> String {
    let (_, rest) = url.split_once("://").expect("a URL");
    let authority = rest.split('/').next().unwrap_or(rest);
    let (user, server) = authority.rsplit_once('@').expect("a URL with a user");
    let (host, port) = server.rsplit_once(':').unwrap_or((server, "5432"));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let mut parameters = format!("host={host} port={port} user={user}");
    if !password.is_empty() {
        parameters.push_str(&format!(" password={password}"));
    }
    parameters
}
