//! Provokes reasons that the comments of RPCs list, over the whole descriptor set, and repeats messages.
use std::sync::Arc;

use parta_grpc::RequestExt as _;
use parta_ids::{ApplicationId, Env, UnitId};
use parta_integration_tests::{Person, new_phone, on_both_topologies};
use parta_proto_chat::internal::v1::{self as pb, announcement_service_client::AnnouncementServiceClient};
use parta_proto_membership::internal::v1::{GetNamesRequest, name_service_client::NameServiceClient};

use super::*;

/// Returns every RPC whose request has this field, with a sample from a permitted caller.
async fn samples_with(two_schools: &TwoSchools, field: &str) -> Vec<(String, Client, Value)> {
    let mut samples = Vec::new();
    let having = |rpc: &String| dynamic::method(rpc).input().get_field_by_name(field).is_some();
    for rpc in served().into_iter().filter(having) {
        let rows = permissions::rows();
        let row = rows
            .iter()
            .find(|row| row.rpc == rpc && row.own && row.kind != Kind::Joiner);
        let kind = row.unwrap_or_else(|| panic!("{rpc} has no caller")).kind;
        let (caller, body) = samples::sample(two_schools, &two_schools.own, kind, true, &rpc).await;
        let client = caller.unwrap_or_else(|| two_schools.client(kind, service(&rpc)));
        samples.push((rpc, client, body));
    }
    samples
}

#[test]
fn rpcs_with_etag_refuse_a_stale_etag() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let two_schools = TwoSchools::new(&suite).await;
        let mut wrong = Vec::new();
        for (rpc, client, mut body) in samples_with(&two_schools, "etag").await {
            body["etag"] = json!("stale");
            match client.call(&rpc, body).await {
                Err(status) if reason(&status) == "ETAG_MISMATCH" => {}
                outcome => wrong.push(format!("{rpc}: {outcome:?}")),
            }
        }
        suite.stop().await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// An organization that no feed has.
const ORG: &str = "org_00000000000000000000000001";

/// Returns the cursor after the snapshot of each feed, by the RPC that watches the feed.
async fn cursors(client: &Client) -> BTreeMap<String, Value> {
    let mut cursors = BTreeMap::new();
    for rpc in served().iter().filter(|rpc| rpc.ends_with("/Snapshot")) {
        let mut items = client.open(rpc, json!({"org_id": ORG})).await.unwrap();
        while let Some(item) = items.next().await {
            let cursor = dynamic::json(&item.unwrap())["cursor"].clone();
            cursors.insert(rpc.replace("/Snapshot", "/Watch"), cursor);
        }
    }
    cursors
}

#[test]
fn feeds_refuse_a_cursor_of_another_database() {
    parta_testkit::run(async {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let suite = Suite::one_process_in(folder.clone(), &[]).await;
        let cursors = cursors(&suite.service("call-scheduling")).await;
        suite.stop().await;
        // The keys are kept, so that the server recognizes its cursors.
        for entry in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        let suite = Suite::one_process_in(folder, &[]).await;
        let client = suite.service("call-scheduling");
        assert_eq!(cursors.len(), 5);
        for (rpc, cursor) in cursors {
            let status = match client.open(&rpc, json!({"org_id": ORG, "cursor": cursor})).await {
                Ok(mut items) => items.next().await.unwrap().unwrap_err(),
                Err(status) => status,
            };
            assert_eq!(reason(&status), "CURSOR_EXPIRED", "{rpc}");
            let read = rpc.replace("/Watch", "/Read");
            let refused = client
                .refused(&read, json!({"org_id": ORG, "cursor": cursor}))
                .await;
            assert_eq!(refused.reason, "CURSOR_EXPIRED", "{read}");
        }
        suite.stop().await;
    });
}

#[test]
fn derived_chat_participants_are_fixed_and_hidden_from_families() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let pupil = school.pupil(&leader, "Пётр Сидоров", &class).await;
        let list = pupil.client.must("ChatService/ListChats", json!({})).await;
        let chat = |kind: &str| {
            let chats = list["chats"].as_array().unwrap();
            chats.iter().find(|chat| chat["kind"] == json!(kind)).unwrap()["id"].clone()
        };
        let remove = json!({"chat_id": chat("CHAT_KIND_CLASS_PUPILS"), "member_ids": [pupil.member_id]});
        let refused = leader
            .client
            .refused("ChatService/RemoveParticipants", remove)
            .await;
        assert_eq!(refused.reason, "PARTICIPANTS_FIXED");
        let channel = json!({"chat_id": chat("CHAT_KIND_SCHOOL_CHANNEL")});
        let refused = pupil
            .client
            .refused("ChatService/ListParticipants", channel)
            .await;
        assert_eq!(refused.reason, "PERMISSION_DENIED");
        suite.stop().await;
    });
}

/// Fails unless the RPC refuses the request with the reason.
async fn expect(client: &Client, rpc: &str, body: Value, wanted: &str) {
    let refused = client.refused(rpc, body.clone()).await;
    assert_eq!(refused.reason, wanted, "{rpc} {body}");
}

#[test]
fn mutations_are_refused_when_the_member_state_forbids_them() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let school = suite.school("Школа № 1").await;
        let (class, other) = (school.class("5А").await, school.class("6Б").await);
        let pupil = school.pupil(&school.administrator, "Пётр Сидоров", &class).await;
        let teacher = school.teacher("Олег Быков").await;
        let by = &school.administrator.client;
        let unknown = Env::system().id::<UnitId>().to_string();
        let enroll = |member: &Person, unit: &str| json!({"member_id": member.member_id, "unit_id": unit});
        expect(
            by,
            "EnrollmentService/EnrollPupil",
            enroll(&teacher, &class),
            "NOT_A_PUPIL",
        )
        .await;
        expect(
            by,
            "EnrollmentService/EnrollPupil",
            enroll(&pupil, &unknown),
            "UNIT_UNKNOWN",
        )
        .await;
        expect(
            by,
            "EnrollmentService/EnrollPupil",
            enroll(&pupil, &class),
            "ALREADY_ENROLLED",
        )
        .await;
        by.must("EnrollmentService/EnrollPupil", enroll(&pupil, &other))
            .await;
        let transfer = |member: &Person, unit: &str| json!({"member_id": member.member_id, "from_unit_id": class, "to_unit_id": unit});
        expect(
            by,
            "EnrollmentService/TransferPupil",
            transfer(&teacher, &other),
            "NOT_A_PUPIL",
        )
        .await;
        expect(
            by,
            "EnrollmentService/TransferPupil",
            transfer(&pupil, &unknown),
            "UNIT_UNKNOWN",
        )
        .await;
        expect(
            by,
            "EnrollmentService/TransferPupil",
            transfer(&pupil, &other),
            "ALREADY_ENROLLED",
        )
        .await;
        let create = json!({"full_name": "Новый Ученик", "role": "ROLE_PUPIL", "unit_id": unknown});
        expect(by, "MemberService/CreateMember", create, "UNIT_UNKNOWN").await;

        let verify = |member: &Person| json!({"member_id": member.member_id, "evidence": "приказ № 7"});
        let withdraw = |member: &Person| json!({"member_id": member.member_id, "cause": "ошибка"});
        expect(
            by,
            "MemberService/WithdrawTeacherVerification",
            withdraw(&pupil),
            "NOT_A_TEACHER",
        )
        .await;
        let remove = json!({"member_id": teacher.member_id});
        by.must("MemberService/RemoveMember", remove.clone()).await;
        expect(by, "MemberService/RemoveMember", remove, "MEMBER_LEFT").await;
        expect(by, "MemberService/VerifyTeacher", verify(&teacher), "MEMBER_LEFT").await;
        expect(
            by,
            "MemberService/WithdrawTeacherVerification",
            withdraw(&teacher),
            "MEMBER_LEFT",
        )
        .await;
        let roles = json!({"member_id": teacher.member_id, "roles": ["ROLE_STAFF"]});
        expect(by, "MemberService/ChangeMemberRoles", roles, "MEMBER_LEFT").await;
        suite.stop().await;
    });
}

#[test]
fn links_are_refused_when_membership_no_longer_admits() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let by = &school.administrator;
        let made_for = json!({
            "role": "ROLE_TEACHER", "recipient_label": "Ольга Сидорова", "recipient_address": new_phone(),
        });
        let link = school.link(by, made_for).await;
        let joiner = suite.newcomer("Чужой Человек").await.joiner(&link).await;
        let accept = json!({"link_token": link});
        expect(
            &joiner,
            "InvitationService/AcceptInvitation",
            accept,
            "ADMISSION_REFUSED",
        )
        .await;

        let child = school.pupil(by, "Пётр Сидоров", &class).await;
        let parents = json!({
            "role": "ROLE_PARENT", "unit_id": class, "child_id": child.member_id, "max_uses": 1,
        });
        let made = by
            .client
            .must("InvitationService/CreateInvitation", parents)
            .await;
        let link = made["link"]["link_token"].as_str().unwrap();
        let ticket = json!({"invitation_token": link});
        let mother = suite.newcomer("Ольга Сидорова").await.client;
        let ticket = mother
            .must("AuthenticationService/CreateJoinTicket", ticket)
            .await;
        let remove = json!({"member_id": child.member_id});
        by.client.must("MemberService/RemoveMember", remove).await;
        // The child has left since invitation looked.
        let admit = json!({
            "org_id": school.org_id, "invitation_id": made["invitation"]["id"], "flow_id": ticket["flow_id"],
            "role": "ROLE_PARENT", "child_id": child.member_id,
        });
        expect(
            &suite.service("invitation"),
            "AdmissionService/AdmitMember",
            admit,
            "CHILD_UNKNOWN",
        )
        .await;

        let made = json!({"role": "ROLE_TEACHER", "recipient_label": "Анна Белова"});
        let made = by.client.must("InvitationService/CreateInvitation", made).await;
        let invitation = json!({"invitation_id": made["invitation"]["id"]});
        by.client
            .must("InvitationService/RevokeInvitation", invitation.clone())
            .await;
        expect(
            &by.client,
            "InvitationService/GetInvitationLink",
            invitation,
            "INVITATION_CLOSED",
        )
        .await;
        let closed = json!({"invitation_ids": [made["invitation"]["id"]]});
        for rpc in ["AdoptInvitations", "ExtendInvitations"] {
            let rpc = format!("InvitationService/{rpc}");
            expect(&by.client, &rpc, closed.clone(), "INVITATION_CLOSED").await;
        }
        suite.stop().await;
    });
}

#[test]
fn invalid_call_import_and_application_requests_are_refused() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let by = school.class_teacher("Анна Белова", &class).await.client;
        let plan = json!({
            "unit_id": class, "title": "Алгебра", "kind": "CALL_KIND_LESSON", "format": "CALL_FORMAT_ONLINE",
            "start_civil_time": "2027-03-01T09:00:00", "duration": "2700s",
        });
        let planned = by.must("CallService/PlanCall", plan).await;
        let call = json!({"call_id": planned["call"]["id"]});
        by.must("CallService/CancelCall", call.clone()).await;
        expect(&by, "CallService/AnnounceCall", call, "CALL_CANCELED").await;

        let import = json!({"roster_import_id": school.checked_import().await});
        let by = &school.administrator.client;
        by.must("RosterImportService/StartRosterImport", import.clone())
            .await;
        let again = "RosterImportService/StartRosterImport";
        expect(by, again, import, "ROSTER_IMPORT_NOT_STARTABLE").await;

        let application = json!({"application_id": Env::system().id::<ApplicationId>().to_string()});
        let rpc = "parta.org_registry.v1.ApplicationService/DownloadApplicationOrder";
        let status = call_rpc(suite.operator(), rpc, application).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND");
        suite.stop().await;
    });
}

#[test]
fn outbox_is_unavailable_when_mail_is_sent() {
    parta_testkit::run(async {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let settings = [
            "membership.delivery=smtp",
            "membership.smtp_url=smtps://user:password@127.0.0.1",
            "membership.mail_from=school@example.org",
        ];
        let suite = Suite::one_process_in(folder, &settings).await;
        expect(
            suite.operator(),
            "OperatorService/ListOutboxMessages",
            json!({}),
            "OUTBOX_ABSENT",
        )
        .await;
        suite.stop().await;
    });
}

#[test]
fn announcement_is_refused_when_the_unit_is_unknown() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let school = suite.school("Школа № 1").await;
        let (service, person) = (suite.service("call-scheduling"), &school.administrator.client);
        let request = pb::PostAnnouncementRequest {
            request_id: service.request_id(),
            org_id: school.org_id.clone(),
            unit_id: Env::system().id::<UnitId>().to_string(),
            text: "Урок".to_owned(),
            pupils: true,
            parents: false,
        };
        let token = person.credential().unwrap().trim_start_matches("Bearer ");
        let request = person.request(request).on_behalf(token.into());
        let mut api = AnnouncementServiceClient::new(service.channel("chat"));
        let status = api.post_announcement(request).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND", "{status:?}");
        suite.stop().await;
    });
}

// Covers: F21 allowed, F21 refused
#[test]
fn names_are_given_to_a_person_of_the_organization_only() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let (school, other) = (suite.school("Школа № 1").await, suite.school("Школа № 2").await);
        let api = NameServiceClient::new(suite.service("chat").channel("membership"));
        let names = async |person: &Person, ids: Vec<String>| {
            let request = GetNamesRequest {
                org_id: school.org_id.clone(),
                member_ids: ids,
            };
            let token = person.client.credential().unwrap().trim_start_matches("Bearer ");
            let request = person.client.request(request).on_behalf(token.into());
            api.clone().get_names(request).await
        };
        let (own, foreign) = (&school.administrator, &other.administrator);
        let ids = vec![own.member_id.clone(), foreign.member_id.clone()];
        let named = names(own, ids.clone()).await.unwrap().into_inner().members;
        assert_eq!(named.len(), 1, "{named:?}");
        assert_eq!(named[0].member_id, own.member_id);
        assert_eq!(reason(&names(foreign, ids).await.unwrap_err()), "NOT_FOUND");
        for wrong in [Vec::new(), vec!["x".to_owned()], vec![own.member_id.clone(); 101]] {
            assert_eq!(reason(&names(own, wrong).await.unwrap_err()), "FIELD_INVALID");
        }
        suite.stop().await;
    });
}

on_both_topologies!(
    /// Covers: R39 allowed, R45 refused
    stored_message_is_returned_when_the_chat_is_archived, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        school.class_teacher("Анна Белова", &class).await;
        let pupil = school.pupil(&school.administrator, "Пётр Сидоров", &class).await;
        let list = pupil.client.must("ChatService/ListChats", json!({})).await;
        let chats = list["chats"].as_array().unwrap();
        let chat = chats.iter().find(|chat| chat["unit_id"] == json!(class)).unwrap();
        let message = |text: &str| {
            json!({"request_id": pupil.client.request_id(), "chat_id": chat["id"], "text": text})
        };
        let (stored, new) = (message("первое"), message("второе"));
        let first = pupil.client.must("MessageService/SendMessage", stored.clone()).await;
        let archive = json!({"unit_id": class});
        school.administrator.client.must("UnitService/ArchiveUnit", archive).await;

        let refused = pupil.client.refused("MessageService/SendMessage", new).await;
        assert_eq!(refused.reason, "CHAT_ARCHIVED");
        let again = pupil.client.must("MessageService/SendMessage", stored.clone()).await;
        assert_eq!((&again["entry_id"], &again["seq"]), (&first["entry_id"], &first["seq"]));
        let mut other = stored;
        other["text"] = json!("другое");
        let refused = pupil.client.refused("MessageService/SendMessage", other).await;
        assert_eq!(refused.reason, "REQUEST_ID_REUSED");
    }
);

on_both_topologies!(
    /// Covers: R39 allowed, R39 refused
    stored_message_is_returned_when_the_sender_has_left, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let (owner, sender) = (school.teacher("Анна Белова").await, school.teacher("Олег Быков").await);
        let wanted = json!({"title": "Олимпиада", "member_ids": [sender.member_id]});
        let made = owner.client.must("ChatService/CreateChat", wanted).await;
        let chat = &made["chat"]["id"];
        let message = json!({"request_id": sender.client.request_id(), "chat_id": chat, "text": "до встречи"});
        let first = sender.client.must("MessageService/SendMessage", message.clone()).await;
        let leave = json!({"chat_id": chat, "member_ids": [sender.member_id]});
        sender.client.must("ChatService/RemoveParticipants", leave).await;

        let again = sender.client.must("MessageService/SendMessage", message).await;
        assert_eq!((&again["entry_id"], &again["seq"]), (&first["entry_id"], &first["seq"]));
        let new = json!({"chat_id": chat, "text": "ещё"});
        let refused = sender.client.refused("MessageService/SendMessage", new).await;
        assert_eq!(refused.reason, "NOT_FOUND");
    }
);
