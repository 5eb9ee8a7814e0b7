//! A suspended member is refused by every service, and has everything back when the suspension is lifted
//! (R82). A duty places its holder in the room of its unit, and its end takes him out (F3).
use parta_integration_tests::{Client, Suite, on_both_topologies};
use serde_json::{Value, json};
use tonic::Code;

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
