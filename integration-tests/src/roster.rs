use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::School;

/// Writes the roster of a generated school of so many people.
pub fn write_roster(folder: &Path, people: usize) {
    for (name, text) in parta::demo::school::generate(people) {
        std::fs::write(folder.join(name), text).expect("a file of the roster");
    }
}

impl School {
    /// Runs `parta roster import` of this program as the administrator. Returns the exit code and the
    /// document, or what the command wrote to standard error if it printed no document.
    pub async fn import(&self, program: &str, folder: &Path, more: &[&str]) -> (i32, Value) {
        let account = &self.administrator.account;
        let home = tempfile::tempdir().expect("a temporary folder");
        let session = home.path().join("session.json");
        let fresh = json!({"refresh_token": account.refresh_token(), "org_id": self.org_id});
        std::fs::write(&session, fresh.to_string()).expect("the file of the session");
        let mut parta = Command::new(program);
        parta
            .args(["roster", "import", "--output", "json"])
            .arg(folder)
            .args(more);
        for (service, address) in self.suite().addresses() {
            parta.arg("--service").arg(format!("{service}={address}"));
        }
        parta.env_clear().env("PARTA_SESSION_FILE", &session);
        let output = parta.output().await.expect("the program runs");
        // The refresh token was used up. The next one is in the file of the session.
        let kept = std::fs::read(&session).expect("the file of the session");
        let kept: Value = serde_json::from_slice(&kept).expect("a session");
        account.refreshed(kept["refresh_token"].as_str().expect("a refresh token"));
        let document = serde_json::from_slice(&output.stdout);
        (
            output.status.code().expect("the program ends by itself"),
            document.unwrap_or_else(|_| json!({"stderr": String::from_utf8_lossy(&output.stderr)})),
        )
    }
}
