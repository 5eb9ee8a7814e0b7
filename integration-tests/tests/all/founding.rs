//! The founding of a school on a server that others reach, with TLS, the configuration of
//! `config/single-node.toml`, and codes that come by SMS (docs/operations/founding.md).
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use std::{fs, path::Path, process::Output};

use parta_integration_tests::{Client, Suite, new_phone};
use parta_testkit::{Authority, SmsGateway, SmsRequest};
use serde_json::{Value, json};
use tokio::process::Command;

const SECRET: &str = "the-key-of-the-account";

/// A running server, its gateway, and the command line of the operator.
struct Installation {
    suite: Suite,
    gateway: SmsGateway,
    folder: tempfile::TempDir,
}

fn config_folder() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("config").display().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn code(request: &SmsRequest) -> String {
    let text = request.field("msg").unwrap();
    let mut words = text.split(|c: char| !c.is_ascii_digit());
    words.find(|word| word.len() == 6).unwrap().to_owned()
}

impl Installation {
    /// Only files, addresses and the secret differ from the profile.
    async fn start(postgres: bool) -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let gateway = SmsGateway::start_tls(&authority.issue("localhost")).await;
        let server = authority.issue("localhost");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let settings = [
            (
                "server.tls_certificate_file",
                file("tls.crt", &server.certificate),
            ),
            ("server.tls_key_file", file("tls.key", &server.key)),
            ("server.drain_seconds", "0".to_owned()),
            ("membership.sms_url", gateway.url("/sms/send")),
            ("membership.sms_ca_file", file("ca.crt", &authority.certificate())),
            ("membership.sms_secret", SECRET.to_owned()),
        ];
        let settings: Vec<_> = settings
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let config = config_folder();
        let words = ["--config", &config, "--profile", "single-node"];
        let program = env!("CARGO_BIN_EXE_suite-process");
        let authority = authority.certificate();
        let suite = Suite::process_over_tls(program, &words, postgres, &settings, &authority).await;
        Self {
            suite,
            gateway,
            folder,
        }
    }

    async fn parta(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_suite-process"))
            .args(words)
            .args(["--output", "json"])
            .env_clear()
            .env("PARTA_SERVER", &self.suite.addresses()["membership"])
            .env("PARTA_TLS_AUTHORITY_FILE", self.folder.path().join("ca.crt"))
            .env("PARTA_OPERATOR_KEY_FILE", self.suite.keys().join("operator.key"))
            .env("PARTA_SESSION_FILE", self.folder.path().join("session.json"))
            .output()
            .await
            .unwrap()
    }

    async fn document(&self, words: &[&str]) -> Value {
        let output = self.parta(words).await;
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Returns the code of the latest SMS to a phone, of which `count` were sent to all phones.
    async fn code(&self, phone: &str, count: usize) -> String {
        let request = self.gateway.received(count).await.pop().unwrap();
        assert_eq!(request.field("to").unwrap(), phone.trim_start_matches('+'));
        assert_eq!(request.field("api_id").unwrap(), SECRET);
        code(&request)
    }

    /// Signs a newcomer in with the code of an SMS.
    async fn newcomer(&self, phone: &str, full_name: &str, count: usize) -> Client {
        let client = self.suite.anonymous();
        let requested = client
            .must("AuthenticationService/RequestCode", json!({"phone": phone}))
            .await;
        let flow = &requested["flow_id"];
        let verify = json!({"flow_id": flow, "code": self.code(phone, count).await});
        let verified = client.must("AuthenticationService/VerifyCode", verify).await;
        let proof = &verified["proof"];
        let start = json!({"flow_id": flow, "proof": proof, "new_account": {"full_name": full_name}});
        let session = client.must("AuthenticationService/StartSession", start).await;
        client.with(session["access_token"].as_str().unwrap())
    }

    /// Returns the client of the administrator whose session the command line stored.
    async fn administrator(&self, org_id: &str) -> Client {
        let kept = fs::read(self.folder.path().join("session.json")).unwrap();
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        let client = self.suite.anonymous();
        let refresh = json!({"refresh_token": kept["refresh_token"]});
        let fresh = client.must("AuthenticationService/RefreshSession", refresh).await;
        let account = client.with(fresh["access_token"].as_str().unwrap());
        let issue = json!({"org_id": org_id});
        let issued = account
            .must("AuthenticationService/IssueOrganizationToken", issue)
            .await;
        client.with(issued["access_token"].as_str().unwrap()).of(org_id)
    }
}

async fn found(postgres: bool) {
    let installation = Installation::start(postgres).await;
    let (suite, phone) = (&installation.suite, new_phone());

    // A head applies with the signed order, and the operator reads it and decides.
    let applied = suite.apply(1, "Школа № 1", "Иван Орлов", &phone).await;
    let id = applied["application_id"].as_str().unwrap();
    let listed = installation.document(&["application", "list"]).await;
    assert_eq!(listed["applications"][0]["id"], id);
    let order = installation.folder.path().join("order.pdf").display().to_string();
    installation
        .document(&["application", "order", id, "--to", &order])
        .await;
    assert!(fs::read(&order).unwrap().starts_with(b"%PDF"));
    let made = installation.document(&["application", "approve", id]).await;
    let org_id = made["id"].as_str().unwrap();

    // The administrator signs in by the phone of the application and claims the appointment.
    let requested = installation.document(&["login", "--phone", &phone]).await;
    let (flow, code) = (
        requested["flow_id"].as_str().unwrap(),
        installation.code(&phone, 1).await,
    );
    let name = "Иван Орлов";
    let login = [
        "login", "--phone", &phone, "--name", name, "--flow", flow, "--code", &code,
    ];
    let signed_in = installation.document(&login).await;
    assert_eq!(signed_in["org_id"], org_id);

    // A teacher is invited and joins.
    let administrator = installation.administrator(org_id).await;
    let phone = new_phone();
    let invitation = json!({
        "role": "ROLE_TEACHER", "recipient_label": "Пётр Ильин", "recipient_address": phone,
    });
    let invited = administrator
        .must("InvitationService/CreateInvitation", invitation)
        .await;
    let link = json!({"link_token": invited["link"]["link_token"]});
    let teacher = installation.newcomer(&phone, "Пётр Ильин", 2).await;
    let request = json!({"invitation_token": invited["link"]["link_token"]});
    let ticket = teacher
        .must("AuthenticationService/CreateJoinTicket", request)
        .await;
    let joiner = teacher.with(ticket["ticket"].as_str().unwrap());
    let accepted = joiner.must("InvitationService/AcceptInvitation", link).await;
    assert_eq!(accepted["org_id"], org_id);
    let members = administrator.must("MemberService/ListMembers", json!({})).await;
    let names: Vec<_> = members["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["full_name"].clone())
        .collect();
    assert!(
        names.contains(&json!("Иван Орлов")) && names.contains(&json!("Пётр Ильин")),
        "{names:?}"
    );

    // No code was kept for reading, and the log holds neither secrets nor people.
    let refused = suite
        .operator()
        .refused("OperatorService/ListOutboxMessages", json!({}))
        .await;
    assert_eq!(refused.reason, "OUTBOX_ABSENT");
    let log = json!(suite.log().await).to_string();
    assert!(log.contains("membership.sms_url"), "{log}");
    for personal in [SECRET, phone.trim_start_matches('+'), "Орлов", &code] {
        assert!(!log.contains(personal), "{personal} is in the log");
    }
    suite.stop().await;
}

mod school_is_founded_on_a_server_that_others_reach {
    use super::*;

    // Covers: R1 allowed, R2 allowed, R3 allowed, R16 allowed, R19 allowed
    #[test]
    fn sqlite() {
        parta_testkit::run(found(false));
    }

    // Covers: R1 allowed, R2 allowed, R3 allowed, R16 allowed, R19 allowed
    #[test]
    fn postgres() {
        parta_testkit::run(found(true));
    }
}

#[test]
fn outbox_is_refused_on_a_server_that_others_reach() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_suite-process"))
            .args(["--set", "server.listen=0.0.0.0:0", "--set"])
            .arg(format!("data.folder={}", folder.path().display()))
            .env_clear()
            .output()
            .await
            .unwrap();
        assert!(!output.status.success());
        let printed = text(&output.stderr);
        assert!(
            printed.contains("set membership.delivery to sms_gateway"),
            "{printed}"
        );
    });
}
