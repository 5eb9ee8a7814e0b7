//! A database that was restored, or that lost commits in a failover, gives no access back (feeds.md,
//! "Histories"): what had ended ends again, also in the services that lost nothing, and everybody signs in
//! again.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
mod base_backup;
mod failover;
mod positions;

use std::collections::BTreeSet;

use parta_integration_tests::{Account, Client, Person, School, Suite};
use parta_testkit::eventually;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use tonic::Code;

const PROGRAM: &str = env!("CARGO_BIN_EXE_suite-process");

/// Reads of a member.
const READS: [&str; 5] = [
    "UnitService/ListUnits",
    "MemberService/ListMembers",
    "InvitationService/ListInvitations",
    "ChatService/ListChats",
    "GuardianshipService/ListGuardianships",
];

pub(crate) async fn again(suite: &Suite, person: &Person, org_id: &str) -> Person {
    let account = suite.sign_in(&person.account.phone, &person.account.full_name);
    account.await.enter(org_id).await
}

/// Returns the participants of all chats that a member sees.
pub(crate) async fn participants(of: &Client) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let chats = of.must("ChatService/ListChats", json!({"page_size": 200})).await;
    for chat in chats["chats"].as_array().into_iter().flatten() {
        let list = json!({"chat_id": chat["id"], "page_size": 200});
        let listed = of.call("ChatService/ListParticipants", list).await;
        // The participants of channels are not listed.
        let listed = listed.unwrap_or_default();
        let listed = listed["participants"].as_array().into_iter().flatten();
        all.extend(
            listed
                .filter_map(|one| one["member_id"].as_str())
                .map(str::to_owned),
        );
    }
    all
}

async fn chats(of: &Client) -> usize {
    let listed = of.must("ChatService/ListChats", json!({"page_size": 200})).await;
    listed["chats"].as_array().unwrap().len()
}

struct Lost {
    removed: Person,
    unassigned: Person,
    parent: Person,
    /// A teacher who loses the badge.
    unverified: Person,
    /// A teacher who becomes other staff.
    demoted: Person,
    suspended: Person,
    newcomers: Vec<Person>,
}

impl Lost {
    /// Those who are in no chat with the pupil after the change.
    fn gone(&self) -> [&Person; 5] {
        [
            &self.removed,
            &self.unassigned,
            &self.unverified,
            &self.demoted,
            &self.suspended,
        ]
    }
}

/// The badge and the role are taken again, and the suspension waits for a second person again.
async fn rights_are_taken_again(school: &School, lost: &Lost) {
    let administrator = &school.administrator.client;
    let get = async |person: &Person| {
        let get = json!({"member_id": person.member_id});
        let response = administrator.must("MemberService/GetMember", get).await;
        response["member"].clone()
    };
    let unverified = get(&lost.unverified).await;
    assert_eq!(unverified["teacher_verified"], false, "{unverified}");
    assert_eq!(unverified["roles"], json!(["ROLE_TEACHER"]));
    let demoted = get(&lost.demoted).await;
    assert_eq!(demoted["roles"], json!([]), "{demoted}");
    assert_eq!(get(&lost.suspended).await["absent"], true);
    let listed = administrator
        .must("SuspensionService/ListSuspensions", json!({}))
        .await;
    let suspension = &listed["suspensions"][0];
    assert_eq!(suspension["member_id"], json!(lost.suspended.member_id));
    assert_eq!(suspension["suspender_id"], "");
    // The member who suspended is not known any longer, so that anybody else in the administration decides.
    let confirm = json!({"suspension_id": suspension["id"]});
    administrator
        .must("SuspensionService/ConfirmSuspension", confirm)
        .await;
    // The demoted member gets a role again by a decision only.
    let role = json!({"member_id": lost.demoted.member_id, "roles": ["ROLE_STAFF"]});
    administrator.must("MemberService/ChangeMemberRoles", role).await;
}

/// A person who requested to join before the backup.
struct LinkRequest {
    account: Account,
    request: Value,
    link: Value,
}

/// Two people request to join by links of their own.
async fn request_to_join(suite: &Suite, school: &School, class: &str) -> [LinkRequest; 2] {
    let mut all = Vec::new();
    for name in ["Яна Крылова", "Олег Крылов"] {
        let wanted = json!({"role": "ROLE_PUPIL", "unit_id": class, "max_uses": 1});
        let administrator = &school.administrator.client;
        let made = administrator
            .must("InvitationService/CreateInvitation", wanted)
            .await;
        let token = made["link"]["link_token"].as_str().unwrap();
        let account = suite.newcomer(name).await;
        let accept = json!({"link_token": token});
        let joiner = account.joiner(token).await;
        let accepted = joiner.must("InvitationService/AcceptInvitation", accept).await;
        all.push(LinkRequest {
            account,
            request: accepted["join_request_id"].clone(),
            link: made["invitation"]["id"].clone(),
        });
    }
    all.try_into().ok().unwrap()
}

/// After the backup, staff refuses the first request, and revokes the link of the second one.
async fn end_requests(school: &School, [refused, revoked]: &[LinkRequest; 2]) {
    let administrator = &school.administrator.client;
    let refuse = json!({"decisions": [{"join_request_id": refused.request, "accept": false}]});
    administrator
        .must("JoinRequestService/DecideJoinRequests", refuse)
        .await;
    let revoke = json!({"invitation_id": revoked.link});
    administrator
        .must("InvitationService/RevokeInvitation", revoke)
        .await;
    // Invitation has carried both out before the restore.
    for request in [refused, revoked] {
        let get = json!({"invitation_id": request.link});
        eventually("the use is given back", async || {
            let seen = administrator
                .must("InvitationService/GetInvitation", get.clone())
                .await;
            (seen["invitation"]["use_count"] == 0).then_some(())
        })
        .await;
    }
}

/// The requests have ended again. Invitation knows that no membership came of them.
async fn requests_end_again(suite: &Suite, requests: &[LinkRequest; 2]) {
    for request in requests {
        let again = suite
            .sign_in(&request.account.phone, &request.account.full_name)
            .await;
        let own = again
            .client
            .must("JoinRequestService/ListOwnJoinRequests", json!({}))
            .await;
        assert_eq!(own["join_requests"][0]["state"], "JOIN_REQUEST_STATE_REFUSED");
    }
}

/// Changes the school after its backup.
async fn change(school: &School, class: &str, lost: &mut Lost) {
    let administrator = &school.administrator.client;
    let remove = json!({"member_id": lost.removed.member_id});
    administrator.must("MemberService/RemoveMember", remove).await;
    let list = json!({"member_id": lost.unassigned.member_id});
    let listed = administrator
        .must("AssignmentService/ListAssignments", list)
        .await;
    let end = json!({"assignment_id": listed["assignments"][0]["id"]});
    administrator.must("AssignmentService/EndAssignment", end).await;
    let listed = lost
        .parent
        .client
        .must("GuardianshipService/ListGuardianships", json!({}))
        .await;
    let end = json!({"guardianship_id": listed["guardianships"][0]["id"], "cause": "переезд"});
    administrator
        .must("GuardianshipService/EndGuardianship", end)
        .await;
    let withdraw = json!({"member_id": lost.unverified.member_id, "cause": "проверка"});
    administrator
        .must("MemberService/WithdrawTeacherVerification", withdraw)
        .await;
    administrator
        .change_roles(&lost.demoted.member_id, &["ROLE_STAFF"])
        .await;
    let suspend = json!({"member_id": lost.suspended.member_id, "cause": "проверка"});
    administrator
        .must("SuspensionService/SuspendMember", suspend)
        .await;
    for name in ["Анна Белова", "Ольга Зуева", "Инна Котова"] {
        lost.newcomers
            .push(school.pupil(&school.administrator, name, class).await);
    }
}

/// Makes a service account. Returns its id and its key.
async fn service_account(school: &School, name: &str) -> [String; 2] {
    let wanted = json!({"display_name": name, "permissions": ["roster.read"]});
    let rpc = "ServiceAccountService/CreateServiceAccount";
    let made = school.administrator.client.must(rpc, wanted).await;
    [&made["service_account"]["id"], &made["key"]].map(|text| text.as_str().unwrap().to_owned())
}

/// No key of before the restore is accepted, revoked or not. A new one is.
async fn keys_are_revoked(suite: &Suite, school: &School, accounts: &[[String; 2]]) {
    let rpc = "ServiceAccountService/IssueServiceAccountToken";
    for [_, key] in accounts {
        let refused = suite.anonymous().refused(rpc, json!({"key": key})).await;
        assert_eq!(refused.reason, "SERVICE_ACCOUNT_KEY_INVALID");
    }
    let [id, _] = &accounts[1];
    let rotation = json!({"service_account_id": id});
    let rotate = "ServiceAccountService/RotateServiceAccountKey";
    let next = school.administrator.client.must(rotate, rotation).await;
    suite.anonymous().must(rpc, json!({"key": next["key"]})).await;
}

/// Membership loses what was committed after the backup.
#[derive(Clone, Copy)]
enum Loss {
    /// The operator restores the backup by `parta restore`.
    Restore,
    /// The server fails over, and the services continue until the operator runs `parta recover`.
    Failover,
}

/// Stops these processes, restores membership from the backup in the folder, and starts them again.
pub(crate) async fn restore(suite: &Suite, folder: &str, processes: &[&'static str]) {
    for process in processes {
        suite.kill(process).await;
    }
    suite
        .run(&["restore", folder, "--only", "membership", "--replace"])
        .await;
    forget_codes(suite).await;
    for process in processes {
        suite.restart(process).await;
    }
}

/// Forgets when codes were sent: a phone gets one a minute, and everybody signs in again at once.
async fn forget_codes(suite: &Suite) {
    let urls = suite.database_urls().await;
    let mut services = parta::SERVICES.iter();
    let membership = services.position(|service| service.name == "membership");
    let file = suite.keys().parent().unwrap().join("membership.db");
    let sqlite = format!("sqlite://{}", file.display());
    let db = Database::connect(urls.get(membership.unwrap()).unwrap_or(&sqlite))
        .await
        .unwrap();
    db.execute_unprepared("DELETE FROM limit_bucket").await.unwrap();
    db.close().await.unwrap();
}

async fn lost_commits_give_no_access_back(suite: Suite, processes: &[&'static str], loss: Loss) {
    // The others notice that membership has lost events.
    let noticed = [
        "replacing a projection by a snapshot",
        "feed interrupted",
        "the source has lost events",
    ];
    suite.expect_complaints(&noticed).await;
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let removed = school.class_teacher("Мария Кузнецова", &class).await;
    let unassigned = school.teacher("Олег Волков").await;
    school
        .assign(&unassigned, &class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
        .await;
    let mut colleagues = Vec::new();
    for name in ["Вера Белова", "Игорь Орлов", "Анна Зуева"] {
        let colleague = school.teacher(name).await;
        school
            .assign(&colleague, &class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
            .await;
        colleagues.push(colleague);
    }
    let [unverified, demoted, suspended] = colleagues.try_into().ok().unwrap();
    let pupil = school.pupil(&removed, "Пётр Сидоров", &class).await;
    let parent = school.parent(&removed, "Ирина Сидорова", &pupil, &class).await;
    assert!(participants(&pupil.client).await.contains(&removed.member_id));
    let requests = request_to_join(&suite, &school, &class).await;
    let accounts = [
        service_account(&school, "Журнал").await,
        service_account(&school, "Столовая").await,
    ];
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup").display().to_string();
    suite.run(&["backup", &backup]).await;

    let mut lost = Lost {
        removed,
        unassigned,
        parent,
        unverified,
        demoted,
        suspended,
        newcomers: Vec::new(),
    };
    change(&school, &class, &mut lost).await;
    end_requests(&school, &requests).await;
    let revoke = json!({"service_account_id": accounts[0][0]});
    let rpc = "ServiceAccountService/RevokeServiceAccount";
    school.administrator.client.must(rpc, revoke).await;
    // Chat has read everything: the responses carry consistency tokens of membership.
    let seen = participants(&pupil.client).await;
    for gone in lost.gone() {
        assert!(!seen.contains(&gone.member_id), "{}", gone.account.full_name);
    }
    assert!(
        lost.newcomers.iter().all(|one| seen.contains(&one.member_id)),
        "{seen:?}"
    );

    let of_unassigned = chats(&lost.unassigned.client).await;
    let of_parent = chats(&lost.parent.client).await;

    match loss {
        Loss::Restore => restore(&suite, &backup, processes).await,
        Loss::Failover => failover::fail_over(&suite, &backup, processes, &school, &lost).await,
    }
    for rpc in READS {
        for person in [&lost.removed, &school.administrator] {
            assert_eq!(
                person.client.refused(rpc, json!({})).await.code,
                Code::Unauthenticated,
                "{rpc}"
            );
        }
    }
    let refresh = json!({"refresh_token": school.administrator.account.refresh_token()});
    let refused = suite
        .anonymous()
        .refused("AuthenticationService/RefreshSession", refresh)
        .await;
    assert_eq!(refused.reason, "SESSION_ENDED");
    let org_id = school.org_id.clone();
    let administrator = again(&suite, &school.administrator, &org_id).await;
    let school = school.with(&suite, administrator);
    // The response carries a token of membership, so that the others have read what membership repeated.
    let newcomer = school.pupil(&school.administrator, "Яна Ветрова", &class).await;
    let pupil = again(&suite, &pupil, &org_id).await;
    let seen = participants(&pupil.client).await;
    assert!(seen.contains(&newcomer.member_id), "{seen:?}");
    for gone in lost.gone() {
        assert!(!seen.contains(&gone.member_id), "{}", gone.account.full_name);
    }
    rights_are_taken_again(&school, &lost).await;
    keys_are_revoked(&suite, &school, &accounts).await;
    assert_eq!(failover::losses(&suite).await, [] as [Value; 0]);
    requests_end_again(&suite, &requests).await;
    // No chat has a participant whom membership does not know.
    assert!(
        lost.newcomers.iter().all(|one| !seen.contains(&one.member_id)),
        "{seen:?}"
    );
    let account = suite
        .sign_in(&lost.removed.account.phone, "Мария Кузнецова")
        .await;
    let enter = json!({"org_id": org_id});
    let refused = account
        .client
        .refused("AuthenticationService/IssueOrganizationToken", enter)
        .await;
    assert_eq!(refused.code, Code::NotFound, "{refused:?}");
    let unassigned = again(&suite, &lost.unassigned, &org_id).await;
    assert_eq!(chats(&unassigned.client).await, of_unassigned);
    let parent = again(&suite, &lost.parent, &org_id).await;
    assert_eq!(chats(&parent.client).await, of_parent);
    let listed: Value = parent
        .client
        .must("GuardianshipService/ListGuardianships", json!({}))
        .await;
    assert_eq!(listed["guardianships"], json!([]));
    suite.stop().await;
}

/// Covers: R81 allowed
mod restored_membership_gives_no_access {
    use super::*;

    #[test]
    fn sqlite() {
        parta_testkit::run(async {
            let suite = Suite::process(PROGRAM).await;
            lost_commits_give_no_access_back(suite, &["membership"], Loss::Restore).await;
        });
    }

    #[test]
    fn split() {
        parta_testkit::run(async {
            let suite = Suite::split(PROGRAM).await;
            let names = parta::SERVICES.map(|service| service.name);
            lost_commits_give_no_access_back(suite, &names, Loss::Restore).await;
        });
    }
}

/// Covers: R81 allowed
mod lossy_failover_gives_no_access {
    use super::*;

    #[test]
    fn sqlite() {
        parta_testkit::run(async {
            let suite = Suite::process(PROGRAM).await;
            lost_commits_give_no_access_back(suite, &["membership"], Loss::Failover).await;
        });
    }

    #[test]
    fn split() {
        parta_testkit::run(async {
            let suite = Suite::split(PROGRAM).await;
            let names = parta::SERVICES.map(|service| service.name);
            lost_commits_give_no_access_back(suite, &names, Loss::Failover).await;
        });
    }
}
