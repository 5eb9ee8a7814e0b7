//! Returns a valid request for each RPC. Only the caller may be wrong.
mod fresh;

use parta_access::PrincipalKind as Kind;
use parta_integration_tests::{Client, SampleSchool, TwoSchools, new_phone};
use serde_json::{Value, json};

use crate::{jobs, operator_services, quarantine};

/// Returns an id of a response.
fn id(response: &Value, path: &str) -> String {
    response
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {path} in {response:#}"))
        .to_owned()
}

/// Creates new objects of a school, so that calls do not depend on earlier calls.
struct Fresh<'a>(&'a SampleSchool);

fn unused_after() -> Value {
    json!({"policies": {"unused_after": "1209600s"}, "update_mask": "unusedAfter"})
}

fn lesson(unit: &str) -> Value {
    json!({
        "unit_id": unit, "title": "Алгебра", "kind": "CALL_KIND_LESSON", "format": "CALL_FORMAT_ONLINE",
        "start_civil_time": "2027-03-01T09:00:00", "duration": "2700s",
    })
}

/// Starts a sign-in flow, and returns it with its code.
async fn flow(two_schools: &TwoSchools) -> (String, String) {
    let (phone, nobody) = (new_phone(), two_schools.suite.anonymous());
    let requested = nobody
        .must("AuthenticationService/RequestCode", json!({"phone": phone}))
        .await;
    (id(&requested, "/flow_id"), two_schools.suite.code(&phone).await)
}

/// Verifies a new sign-in flow and returns a request of StartSession.
async fn start_of_session(two_schools: &TwoSchools) -> Value {
    let (flow, code) = flow(two_schools).await;
    let verify = json!({"flow_id": flow, "code": code});
    let nobody = two_schools.suite.anonymous();
    let verified = nobody.must("AuthenticationService/VerifyCode", verify).await;
    json!({"flow_id": flow, "proof": verified["proof"], "new_account": {"full_name": "Новый Человек"}})
}

/// Returns a person who has requested another address, and the request of ConfirmContactChange.
async fn contact_change(two_schools: &TwoSchools) -> (Client, Value) {
    let (present, new) = (new_phone(), new_phone());
    let account = two_schools.suite.sign_in(&present, "Новый Человек").await.client;
    let requested = account
        .must("AccountService/RequestContactChange", json!({"phone": new}))
        .await;
    let codes = (
        two_schools.suite.code(&present).await,
        two_schools.suite.code(&new).await,
    );
    (
        account,
        json!({"flow_id": requested["flow_id"], "present_code": codes.0, "new_code": codes.1}),
    )
}

/// Creates the request. `own` says whether the caller belongs to `target`.
pub async fn sample(
    two_schools: &TwoSchools,
    target: &SampleSchool,
    kind: Kind,
    own: bool,
    rpc: &str,
) -> (Option<Client>, Value) {
    let fresh = Fresh(target);
    let person = two_schools.people.get(&kind).filter(|_| own);
    let (_, name) = rpc.rsplit_once('.').unwrap();
    let mut caller = None;
    let mut body = match name {
        "ApplicationService/SubmitApplication" => json!({"header": {"form": {}, "file_name": "a.pdf"}}),
        "ApplicationService/GetApplication"
        | "ApplicationService/DownloadApplicationOrder"
        | "ApplicationService/ApproveApplication" => {
            json!({"application_id": two_schools.suite.applied("Школа № 9").await})
        }
        "ApplicationService/RefuseApplication" => {
            json!({"application_id": two_schools.suite.applied("Школа № 9").await, "reason": "Нет печати"})
        }
        "OrganizationService/UpdateOrganization" => {
            json!({"organization": {"region": "Тверь"}, "update_mask": "region"})
        }
        "PolicyService/PreviewPolicies" => unused_after(),
        "PolicyService/UpdatePolicies" => {
            fresh
                .previewed(&target.school.administrator.client, unused_after())
                .await
        }
        "PolicyService/ConfirmPolicyChange" => {
            let mut confirm = fresh.policy_change(kind).await;
            if kind == Kind::Operator {
                confirm["order"] = json!({"number": "7", "date": "2026-01-12", "text": "О проверке"});
            }
            confirm
        }
        "PolicyService/DropPolicyChange" => {
            let change = fresh.policy_change(kind).await;
            json!({"policy_change_id": change["policy_change_id"]})
        }
        "UnitService/CreateUnit" => {
            json!({"kind": "UNIT_KIND_GROUP", "label": &two_schools.suite.anonymous().request_id()[20..]})
        }
        "UnitService/GetUnit" => json!({"unit_id": target.class}),
        "UnitService/RenameUnit" => {
            json!({"unit_id": fresh.unit().await, "label": &two_schools.suite.anonymous().request_id()[20..]})
        }
        "UnitService/ArchiveUnit" => json!({"unit_id": fresh.unit().await}),
        "AuthenticationService/RequestCode" => json!({"phone": new_phone()}),
        "AuthenticationService/VerifyCode" => {
            let (flow, code) = flow(two_schools).await;
            json!({"flow_id": flow, "code": code})
        }
        "AuthenticationService/StartSession" => start_of_session(two_schools).await,
        "AuthenticationService/RefreshSession" => {
            let start = start_of_session(two_schools).await;
            let nobody = two_schools.suite.anonymous();
            let session = nobody.must("AuthenticationService/StartSession", start).await;
            json!({"refresh_token": session["refresh_token"]})
        }
        "AuthenticationService/EndSession" => {
            let other = two_schools.suite.newcomer("Новый Человек").await.client;
            let list = other.must("AuthenticationService/ListSessions", json!({})).await;
            let session = list["sessions"][0]["id"].clone();
            caller = Some(other).filter(|_| kind == Kind::Account);
            json!({"session_id": session})
        }
        "AccountService/RequestContactChange" => {
            // Each account waits between two codes to its own address.
            let account = two_schools.suite.newcomer("Новый Человек").await.client;
            caller = Some(account).filter(|_| kind == Kind::Account);
            json!({"phone": new_phone()})
        }
        "AccountService/ConfirmContactChange" => {
            let (account, confirm) = contact_change(two_schools).await;
            caller = Some(account).filter(|_| kind == Kind::Account);
            confirm
        }
        "AuthenticationService/CreateJoinTicket" => json!({"invitation_token": target.link}),
        "AppointmentService/ClaimAppointment" => {
            let (account, org) = two_schools.suite.appointed("Школа № 8").await;
            let org = if own { org } else { target.school.org_id.clone() };
            caller = Some(account.client).filter(|_| kind == Kind::Account);
            json!({"org_id": org})
        }
        "MemberService/GetMember" => {
            // An unverified teacher may see only staff.
            let whom = if kind == Kind::UnverifiedTeacher {
                &target.colleague
            } else {
                &target.pupil
            };
            json!({"member_id": whom.member_id})
        }
        "MemberService/BatchGetMembers" => json!({"member_ids": [target.pupil.member_id]}),
        "MemberService/CreateMember" => {
            json!({"full_name": "Ожидаемый Ученик", "role": "ROLE_PUPIL", "unit_id": target.class})
        }
        "MemberService/ChangeMemberRoles" => {
            let member = fresh.member("ROLE_TEACHER", None).await;
            fresh
                .role_change(json!({"member_id": member, "roles": ["ROLE_STAFF"]}))
                .await
        }
        "RoleService/PreviewRoleChange" => {
            json!({"member_id": fresh.member("ROLE_TEACHER", None).await, "roles": ["ROLE_STAFF"]})
        }
        "RoleService/UndoRoleChange" => {
            let member = fresh.member("ROLE_TEACHER", None).await;
            let administrator = &target.school.administrator.client;
            let changed = administrator.change_roles(&member, &["ROLE_STAFF"]).await;
            json!({"role_change_id": changed["role_change_id"]})
        }
        "MemberService/VerifyTeacher" => {
            json!({"member_id": fresh.member("ROLE_TEACHER", None).await, "evidence": "приказ № 7"})
        }
        "MemberService/VerifyTeachers" => {
            json!({"member_ids": [fresh.member("ROLE_TEACHER", None).await], "evidence": "приказ № 7"})
        }
        "MemberService/RequestVerification" => json!({"evidence": "диплом № 7"}),
        "MemberService/RefuseVerification" => {
            let teacher = &two_schools.people[&Kind::UnverifiedTeacher];
            let request = json!({"evidence": "диплом № 7"});
            teacher
                .client
                .must("MemberService/RequestVerification", request)
                .await;
            json!({"member_id": teacher.member_id})
        }
        "MemberService/WithdrawTeacherVerification" => {
            let member = fresh.member("ROLE_TEACHER", None).await;
            let verify = json!({"member_id": member, "evidence": "приказ № 7"});
            target.must("MemberService/VerifyTeacher", verify).await;
            json!({"member_id": member, "cause": "уволен"})
        }
        "RoleService/AppointActingHead" => fresh.acting_head().await,
        "RoleService/EndActingHead" => {
            let appointed = target
                .must("RoleService/AppointActingHead", fresh.acting_head().await)
                .await;
            json!({"acting_head_id": appointed["acting_head"]["id"], "cause": "возвращение"})
        }
        "RoleService/AnnounceVerificationEnd" => fresh.verification_end().await,
        "RoleService/CancelVerificationEnd" => {
            let announced = fresh.verification_end().await;
            target
                .must("RoleService/AnnounceVerificationEnd", announced.clone())
                .await;
            json!({"member_id": announced["member_id"]})
        }
        "MemberService/RemoveMember" => {
            json!({"member_id": fresh.member("ROLE_PUPIL", Some(&target.class)).await})
        }
        "MemberService/CorrectMemberName" => json!({
            "member_id": fresh.member("ROLE_PUPIL", Some(&target.class)).await, "full_name": "Вера Белова",
        }),
        "MemberService/ListFormerNames" => json!({"member_id": target.pupil.member_id}),
        "MemberService/UnlockMemberSignIn" => json!({"member_id": fresh.member("ROLE_PUPIL", None).await}),
        "MemberService/ReleaseProfile" => json!({"member_id": fresh.claimed_pupil(two_schools).await}),
        "OneTimeCodeService/IssueOneTimeCode" => {
            let member = match kind {
                Kind::Operator => target.school.administrator.member_id.clone(),
                _ => fresh.claimed_pupil(two_schools).await,
            };
            json!({"member_id": member})
        }
        "OneTimeCodeService/GetOneTimeCode" | "OneTimeCodeService/RevokeOneTimeCode" => {
            json!({"member_id": fresh.one_time_code(two_schools, kind).await.0})
        }
        "OneTimeCodeService/RedeemOneTimeCode" => {
            json!({"code": fresh.one_time_code(two_schools, kind).await.1})
        }
        "OneTimeCodeService/ConfirmOneTimeCode" => fresh.used_code(two_schools, kind).await,
        "OperatorService/UnlockSignIn" => json!({"phone": new_phone()}),
        "AssignmentService/CreateAssignment" | "AssignmentService/EndAssignment" => {
            let wanted = json!({
                "member_id": target.colleague.member_id, "unit_id": fresh.unit().await,
                "kind": "ASSIGNMENT_KIND_SUBJECT_TEACHER",
            });
            if name.ends_with("EndAssignment") {
                let made = target.must("AssignmentService/CreateAssignment", wanted).await;
                json!({"assignment_id": made["assignment"]["id"]})
            } else {
                wanted
            }
        }
        "EnrollmentService/EnrollPupil" => {
            json!({"member_id": fresh.member("ROLE_PUPIL", Some(&target.class)).await, "unit_id": target.other_class})
        }
        "EnrollmentService/TransferPupil" => json!({
            "member_id": fresh.member("ROLE_PUPIL", Some(&target.class)).await,
            "from_unit_id": target.class, "to_unit_id": target.other_class,
        }),
        "GuardianshipService/ConfirmGuardianship" => {
            json!({"guardianship_id": fresh.guardianship(two_schools).await})
        }
        "GuardianshipService/ConfirmGuardianships" => {
            json!({"guardianship_ids": [fresh.guardianship(two_schools).await]})
        }
        "GuardianshipService/ProposeGuardianship" => json!({
            "guardian_id": fresh.member("ROLE_PARENT", None).await, "child_id": target.pupil.member_id,
            "kind": "GUARDIANSHIP_KIND_TRUSTED",
        }),
        "GuardianshipService/LimitGuardianship" => json!({
            "guardianship_id": fresh.guardianship(two_schools).await, "cause": "заявление",
            "limits": ["RELATION_LIMIT_NO_CONTACT"],
        }),
        "GuardianshipService/ProtectFamily" | "GuardianshipService/UnprotectFamily" => json!({
            "child_id": fresh.member("ROLE_PUPIL", Some(&target.class)).await,
            "order": {"number": "7", "date": "2026-01-12", "text": "Определение суда"},
        }),
        "GuardianshipService/SetBirthDate" => json!({
            "child_id": fresh.member("ROLE_PUPIL", Some(&target.class)).await, "birth_date": "2015-05-31",
        }),
        "GuardianshipService/GetChildRecord" => json!({"child_id": target.pupil.member_id}),
        "GuardianshipService/ChooseAdultAccess" => {
            // The 18th birthday is in a month, so that the choice is open.
            let birthday = parta_ids::Env::system().now() + chrono::TimeDelta::days(30);
            let born = birthday.date_naive() - chrono::Months::new(18 * 12);
            // Only the student chooses, about their own relation.
            let student = person.filter(|_| kind == Kind::Pupil);
            let (child, guardianship) = match student {
                Some(student) => {
                    let own = json!({"child_id": student.member_id});
                    let listed = target.must("GuardianshipService/ListGuardianships", own).await;
                    (&student.member_id, id(&listed, "/guardianships/0/id"))
                }
                None => (&target.pupil.member_id, fresh.guardianship(two_schools).await),
            };
            let born = json!({"child_id": child, "birth_date": born.to_string()});
            target.must("GuardianshipService/SetBirthDate", born).await;
            json!({"guardianship_id": guardianship, "access": "ADULT_ACCESS_FULL"})
        }
        "GuardianshipService/EndGuardianship" => {
            json!({"guardianship_id": fresh.guardianship(two_schools).await, "cause": "ошибка"})
        }
        "DutyService/AssignDuty" => fresh.duty().await,
        "DutyService/EndDuty" => {
            let made = target.must("DutyService/AssignDuty", fresh.duty().await).await;
            json!({"duty_id": made["duty"]["id"], "cause": "перевод"})
        }
        "SuspensionService/SuspendMember" => {
            json!({"member_id": fresh.member("ROLE_STAFF", None).await, "cause": "проверка"})
        }
        "SuspensionService/ConfirmSuspension" => {
            json!({"suspension_id": fresh.suspension(two_schools, kind).await})
        }
        "SuspensionService/ReinstateMember" => {
            json!({"suspension_id": fresh.suspension(two_schools, kind).await, "cause": "проверено"})
        }
        "JoinRequestService/DecideJoinRequests" => {
            let (_, request) = fresh.join_request(two_schools).await;
            json!({"decisions": [{"join_request_id": request, "accept": true}]})
        }
        "JoinRequestService/WithdrawJoinRequest" => {
            let (account, request) = fresh.join_request(two_schools).await;
            caller = Some(account).filter(|_| own && kind == Kind::Account);
            json!({"join_request_id": request})
        }
        "ServiceAccountService/CreateServiceAccount" => {
            json!({"display_name": "Расписание", "permissions": ["roster.read"]})
        }
        "ServiceAccountService/RevokeServiceAccount"
        | "ServiceAccountService/RotateServiceAccountKey"
        | "ServiceAccountService/RevokeServiceAccountKey" => {
            let wanted = json!({"display_name": "Расписание", "permissions": ["roster.read"]});
            let made = target
                .must("ServiceAccountService/CreateServiceAccount", wanted)
                .await;
            match name {
                "ServiceAccountService/RevokeServiceAccountKey" => json!({
                    "service_account_id": made["service_account"]["id"],
                    "key_id": made["service_account"]["keys"][0]["id"],
                }),
                _ => json!({"service_account_id": made["service_account"]["id"]}),
            }
        }
        "ServiceAccountService/IssueServiceAccountToken" => json!({"key": two_schools.key}),
        "RosterImportService/CheckRosterImport" => json!({"header": {"org_id": target.school.org_id}}),
        "RosterImportService/DecideRosterImportChanges" => fresh.waiting_change(two_schools, kind).await,
        "RosterImportService/StartRosterImport"
        | "RosterImportService/GetRosterImport"
        | "RosterImportService/ListRosterImportChanges"
        | "RosterImportService/ListRosterImportProblems"
        | "RosterImportService/WatchRosterImport" => {
            json!({"roster_import_id": target.school.checked_import().await})
        }
        "AdmissionService/AdmitMember" => {
            let (invitation, link) = fresh.invitation().await;
            let request = json!({"invitation_token": link});
            let newcomer = two_schools.suite.newcomer("Новый Ученик").await.client;
            let ticket = newcomer
                .must("AuthenticationService/CreateJoinTicket", request)
                .await;
            json!({
                "invitation_id": invitation, "flow_id": ticket["flow_id"], "role": "ROLE_PUPIL",
                "unit_id": target.class, "issuer_id": target.school.administrator.member_id,
            })
        }
        "AdmissionService/CancelAdmission" => json!({"admission": {
            "request_id": two_schools.suite.service("invitation").request_id(), "org_id": target.school.org_id,
        }}),
        "AdmissionService/EndInvitations" => json!({"invitation_ids": [fresh.invitation().await.0]}),
        "AdmissionService/AppointFoundingAdministrator" => json!({
            "application_id": two_schools.suite.applied("Школа № 7").await, "phone": new_phone(),
            "full_name": "Иван Орлов", "organization_display_name": "Школа № 7",
        }),
        "InvitationService/CreateInvitation" => json!({"role": "ROLE_PUPIL", "unit_id": target.class}),
        "InvitationService/GetInvitation"
        | "InvitationService/GetInvitationLink"
        | "InvitationService/ListInvitationUses"
        | "InvitationService/RevokeInvitation" => json!({"invitation_id": fresh.invitation().await.0}),
        "InvitationService/AdoptInvitations" | "InvitationService/ExtendInvitations" => {
            json!({"invitation_ids": [fresh.invitation().await.0]})
        }
        "InvitationService/ResolveInvitation" => json!({"link_token": target.link}),
        "InvitationService/AcceptInvitation" => {
            let (_, link) = fresh.invitation().await;
            if kind == Kind::Joiner {
                caller = Some(
                    two_schools
                        .suite
                        .newcomer("Новый Ученик")
                        .await
                        .joiner(&link)
                        .await,
                );
            }
            json!({"link_token": link})
        }
        "InvitationService/BulkRevokeInvitations" => {
            json!({"condition": "REVOCATION_CONDITION_UNUSED", "dry_run": true})
        }
        "CallService/PlanCall" => lesson(&target.class),
        "CallService/GetCall" | "CallService/CancelCall" | "CallService/AnnounceCall" => {
            json!({"call_id": fresh.call().await["id"]})
        }
        "CallService/CancelOccurrence" | "CallService/IssueJoinToken" => {
            let call = fresh.call().await;
            json!({"call_id": call["id"], "start_time": call["start_time"]})
        }
        "CallService/ListOccurrences" => json!({
            "window_start_time": "2027-03-01T00:00:00Z", "window_end_time": "2027-03-02T00:00:00Z",
        }),
        "ChatService/CreateChat" => json!({"title": "Кружок", "member_ids": [target.colleague.member_id]}),
        "ChatService/CreateDirectChat" => json!({"member_id": target.colleague.member_id}),
        "MessageService/BatchGetAuthors" => {
            json!({"chat_id": fresh.chat(kind, person.map(|p| &p.client)).await, "seqs": [1]})
        }
        "NameService/GetNames" => json!({"member_ids": [target.pupil.member_id]}),
        "ChatService/GetChat" | "ChatService/ListParticipants" | "MessageService/ListEntries" => {
            json!({"chat_id": fresh.chat(kind, person.map(|p| &p.client)).await})
        }
        "MessageService/MarkRead" => {
            json!({"chat_id": fresh.chat(kind, person.map(|p| &p.client)).await, "seq": 1})
        }
        "MessageService/SendMessage" => {
            json!({"chat_id": fresh.chat(kind, person.map(|p| &p.client)).await, "text": "Здравствуйте"})
        }
        "ChatService/RemoveParticipants" => {
            let oneself = person.map_or(&target.pupil.member_id, |p| &p.member_id).clone();
            let chat = fresh.custom_chat(None, std::slice::from_ref(&oneself)).await;
            json!({"chat_id": chat, "member_ids": [oneself]})
        }
        "ChatService/AddParticipants" | "ChatService/TransferResponsibility" => {
            // Staff choose the participants of a chat that they made, and families are in one of a teacher.
            let maker = person.filter(|_| !matches!(kind, Kind::Pupil | Kind::Parent));
            let colleague = &target.colleague.member_id;
            let oneself = person.map_or(&target.pupil.member_id, |p| &p.member_id);
            let with = if maker.is_some() { colleague } else { oneself };
            let chat = fresh
                .custom_chat(maker.map(|p| &p.client), std::slice::from_ref(with))
                .await;
            if name.ends_with("AddParticipants") {
                json!({"chat_id": chat, "member_ids": [colleague]})
            } else {
                json!({"chat_id": chat, "responsible_id": colleague})
            }
        }
        name if name.ends_with("JobService/RetryJob") || name.ends_with("JobService/DropJob") => {
            let package = rpc.split('.').nth(1).unwrap().replace('_', "-");
            let database = operator_services::database(&two_schools.suite, &package).await;
            json!({"job_id": jobs::insert(&database, true, None).await})
        }
        name if name.contains("QuarantineService/") => {
            let package = rpc.split('.').nth(1).unwrap().replace('_', "-");
            let database = operator_services::database(&two_schools.suite, &package).await;
            let mut body = quarantine::insert(&database, &package).await;
            let input = parta_testkit::dynamic::method(rpc).input();
            let fields = body.as_object_mut().unwrap();
            fields.retain(|field, _| input.get_field_by_name(field).is_some());
            body
        }
        "AnnouncementService/PostAnnouncement" => {
            json!({"unit_id": target.class, "text": "Урок", "pupils": true})
        }
        _ => json!({}),
    };
    let input = parta_testkit::dynamic::method(rpc).input();
    if input.get_field_by_name("org_id").is_some() && body.get("org_id").is_none() {
        body["org_id"] = json!(target.school.org_id);
    }
    (caller, body)
}

/// Creates a request about a call that the principal organizes.
pub async fn created(two_schools: &TwoSchools, kind: Kind, rpc: &str) -> Value {
    let target = &two_schools.own;
    let organizer = &two_schools.people[&kind].client;
    let planned = organizer
        .must("CallService/PlanCall", lesson(&target.class))
        .await;
    let call = &planned["call"];
    let mut body = json!({"org_id": target.school.org_id, "call_id": call["id"]});
    match rpc.rsplit_once('/').unwrap().1 {
        "AnnounceCall" | "CancelCall" => {}
        "CancelOccurrence" => body["start_time"] = call["start_time"].clone(),
        other => panic!("{other} has no sample of a creator"),
    }
    body
}
