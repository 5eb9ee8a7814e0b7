//! A suspended member is refused by every service, and has everything back when the suspension is lifted
//! (R82). A duty places its holder in the room of its unit, and its end takes him out (F3). The operator
//! decides by the commands of docs/operations/suspensions.md.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
use std::{path::Path, process::Stdio};

use chrono::TimeDelta;
use parta_ids::Env;
use parta_integration_tests::{Client, Suite, on_both_topologies};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use tokio::process::Command;
use tonic::Code;

use crate::{command_line::text, operator_services::database};

/// A read of a member at each service.
fn reads() -> [(&'static str, Value); 5] {
    [
        ("UnitService/ListUnits", json!({})),
        ("MemberService/ListMembers", json!({})),
        ("InvitationService/ListInvitations", json!({})),
        ("ChatService/ListChats", json!({})),
        (
            "CallService/ListOccurrences",
            json!({"window_start_time": "2027-03-01T00:00:00Z", "window_end_time": "2027-03-02T00:00:00Z"}),
        ),
    ]
}

async fn chats(client: &Client) -> Vec<String> {
    let list = client
        .must("ChatService/ListChats", json!({"page_size": 200}))
        .await;
    let chats = list["chats"].as_array().into_iter().flatten();
    let mut ids: Vec<String> = chats.map(|chat| chat["id"].to_string()).collect();
    ids.sort();
    ids
}

on_both_topologies!(
    /// Covers: R82 allowed, R82 refused, F5 allowed, F5 refused
    suspended_member_is_refused_by_every_service, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Мария Кузнецова", &class).await;
        let before = chats(&leader.client).await;
        assert_eq!(before.len(), 6);
        let suspend = json!({"member_id": leader.member_id, "cause": "проверка"});
        let administrator = &school.administrator.client;
        let made = administrator.must("SuspensionService/SuspendMember", suspend).await;
        for (rpc, body) in reads() {
            let refused = leader.client.refused(rpc, body).await;
            assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "MEMBER_SUSPENDED"), "{rpc}");
        }
        let token = json!({"org_id": school.org_id});
        let refused = leader.account.client.refused("AuthenticationService/IssueOrganizationToken", token).await;
        assert_eq!(refused.reason, "MEMBER_SUSPENDED");
        let lift = json!({
            "org_id": school.org_id, "suspension_id": made["suspension"]["id"], "cause": "не подтвердилось",
        });
        let own = administrator.refused("SuspensionService/ReinstateMember", lift.clone()).await;
        assert_eq!(own.reason, "SECOND_PERSON_REQUIRED");
        suite.operator().must("SuspensionService/ReinstateMember", lift).await;
        for (rpc, body) in reads() {
            leader.client.must(rpc, body).await;
        }
        assert_eq!(chats(&leader.client).await, before);
    }
);

on_both_topologies!(
    /// Covers: F3 allowed, F3 refused
    duty_admits_its_holder_to_the_room_of_its_unit, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Мария Кузнецова", &class).await;
        let pupil = school.pupil(&leader, "Пётр Сидоров", &class).await;
        let holder = school.newcomer_teacher("Олег Волков").await;
        let before = chats(&holder.client).await;
        let direct = json!({"member_id": pupil.member_id});
        let refused = holder.client.refused("ChatService/CreateDirectChat", direct.clone()).await;
        assert_eq!(refused.reason, "MEMBER_NOT_REACHABLE");
        let duty = json!({
            "member_id": holder.member_id, "kind": "DUTY_KIND_PSYCHOLOGIST", "scope": {"unit_id": class},
            "order": {"number": "12-к", "date": "2026-01-12", "text": "О назначении"}, "until_date": "2999-05-31",
        });
        let administrator = &school.administrator.client;
        let made = administrator.must("DutyService/AssignDuty", duty).await;
        assert_eq!(chats(&holder.client).await.len(), before.len() + 1);
        let personal = holder.client.must("ChatService/CreateDirectChat", direct.clone()).await;
        let message = json!({"chat_id": personal["chat"]["id"], "text": "Здравствуйте"});
        pupil.client.must("MessageService/SendMessage", message.clone()).await;
        let named = json!({"title": "Адаптация", "member_ids": [pupil.member_id, holder.member_id]});
        let named = leader.client.must("ChatService/CreateChat", named).await;
        let in_named = json!({"chat_id": named["chat"]["id"], "text": "Здравствуйте"});
        holder.client.must("MessageService/SendMessage", in_named.clone()).await;
        let end = json!({"duty_id": made["duty"]["id"], "cause": "перевод"});
        administrator.must("DutyService/EndDuty", end).await;
        let refused = holder.client.refused("MessageService/SendMessage", in_named).await;
        assert_eq!(refused.reason, "NOT_FOUND");
        let refused = pupil.client.refused("MessageService/SendMessage", message).await;
        assert_eq!(refused.code, Code::PermissionDenied);
        let refused = holder.client.refused("ChatService/CreateDirectChat", direct).await;
        assert_eq!(refused.reason, "MEMBER_NOT_REACHABLE");
        // The personal chat stays readable; the room of the class and the named chat are gone.
        assert_eq!(chats(&holder.client).await.len(), before.len() + 1);
    }
);

/// A call that a command of the page makes.
struct Call {
    rpc: String,
    header: String,
    body: Value,
}

/// Runs the commands of the page, in which a function records the calls instead of `buf curl`.
async fn commands_of_the_page(suite: &Suite, org: &str, suspension: &Value) -> Vec<Call> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/operations/suspensions.md")).unwrap();
    let blocks: Vec<&str> = page.split("```bash\n").skip(1).collect();
    let blocks: Vec<&str> = blocks
        .into_iter()
        .map(|block| block.split("```").next().unwrap())
        .collect();
    let (definitions, commands) = blocks.split_first().unwrap();
    let record = "rpc() { printf '%s\\n' \"$@\"; }\n";
    let script = [*definitions, record, commands.concat().as_str()]
        .concat()
        .replace("/var/lib/parta/keys", &suite.keys().display().to_string())
        .replace("org_...", org)
        .replace("sus_...", suspension.as_str().unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-euc", &script]).stdin(Stdio::null());
    let output = bash.output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let words: Vec<&str> = printed.lines().collect();
    let calls = words.chunks(5).map(|words| {
        let [rpc, "-H", header, "-d", body] = words else {
            unreachable!("another form of a command: {words:?}");
        };
        Call {
            rpc: (*rpc).to_owned(),
            header: (*header).to_owned(),
            body: serde_json::from_str(body).unwrap(),
        }
    });
    calls.collect()
}

on_both_topologies!(
    /// Covers: R82 allowed
    operator_decides_by_the_commands_of_the_page, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let teacher = school.teacher("Мария Кузнецова").await;
        let suspend = json!({"member_id": teacher.member_id, "cause": "проверка"});
        let administrator = &school.administrator.client;
        let made = administrator.must("SuspensionService/SuspendMember", suspend).await;
        let suspension = &made["suspension"]["id"];
        // Nobody has decided within 72 hours.
        let db = database(&suite, "membership").await;
        let sql = "UPDATE suspension SET create_time = $1";
        let time = Env::system().now() - TimeDelta::hours(73);
        let aged = Statement::from_sql_and_values(db.get_database_backend(), sql, [time.into()]);
        assert_eq!(db.execute_raw(aged).await.unwrap().rows_affected(), 1);

        let calls = commands_of_the_page(&suite, &school.org_id, suspension).await;
        let key = std::fs::read_to_string(suite.keys().join("operator.key")).unwrap();
        let header = format!("authorization: Bearer {}", key.trim());
        assert!(calls.iter().all(|call| call.header == header));
        let names: Vec<&str> = calls.iter().map(|call| call.rpc.as_str()).collect();
        let [list, confirm, reinstate] = names.as_slice() else {
            unreachable!("other commands: {names:?}");
        };
        let operator = suite.operator();
        let listed = async || operator.must(list, calls[0].body.clone()).await["suspensions"].clone();
        let overdue = listed().await;
        assert_eq!(overdue[0]["id"], *suspension, "{overdue}");
        assert_eq!((&overdue[0]["org_id"], &overdue[0]["cause"]), (&json!(school.org_id), &json!("")));
        operator.must(confirm, calls[1].body.clone()).await;
        assert_eq!(listed().await, json!([]));
        let refused = teacher.client.refused("MemberService/ListMembers", json!({})).await;
        assert_eq!(refused.reason, "MEMBER_SUSPENDED");
        operator.must(reinstate, calls[2].body.clone()).await;
        teacher.client.must("MemberService/ListMembers", json!({})).await;
        let mut again = calls[1].body.clone();
        again["request_id"] = json!(operator.request_id());
        let gone = operator.refused(confirm, again).await;
        assert_eq!(gone.reason, "NOT_FOUND");
    }
);
