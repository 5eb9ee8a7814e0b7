//! Returns a valid request for each RPC. Only the caller may be wrong.
use parta_access::PrincipalKind as Kind;
use parta_integration_tests::{Client, SampleSchool, TwoSchools, new_phone};
use serde_json::{Value, json};

use crate::{jobs, quarantine};

/// Returns an id of a response.
fn id(answer: &Value, path: &str) -> String {
    answer
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {path} in {answer:#}"))
        .to_owned()
}

/// Creates new objects of a school, so that calls do not depend on earlier calls.
struct Fresh<'a>(&'a SampleSchool);

impl Fresh<'_> {
    async fn unit(&self) -> String {
        let label = &self.0.school.administrator.client.request_id()[20..];
        self.0.school.class(label).await
    }

    async fn member(&self, role: &str, unit: Option<&str>) -> String {
        let mut wanted = json!({"full_name": "Ожидаемый Человек", "role": role});
        if let Some(unit) = unit {
            wanted["unit_id"] = json!(unit);
        }
        id(
            &self.0.must("MemberService/CreateMember", wanted).await,
            "/member/id",
        )
    }

    async fn invitation(&self) -> (String, String) {
        let wanted = json!({"role": "ROLE_PUPIL", "unit_id": self.0.class});
        let made = self.0.must("InvitationService/CreateInvitation", wanted).await;
        (id(&made, "/invitation/id"), id(&made, "/link/link_token"))
    }

    async fn call(&self) -> Value {
        let wanted = lesson(&self.0.class);
        let planned = self.0.colleague.client.must("CallService/PlanCall", wanted).await;
        planned["call"].clone()
    }

    async fn guardianship(&self, suite: &TwoSchools) -> String {
        let wanted = json!({
            "role": "ROLE_PARENT", "unit_id": self.0.class, "child_id": self.0.pupil.member_id, "max_uses": 1,
        });
        let link = self.0.school.link(&self.0.school.administrator, wanted).await;
        let parent = suite.suite.newcomer("Новый Родитель").await.join(&link).await;
        let list = json!({"child_id": self.0.pupil.member_id, "page_size": 200});
        let all = self.0.must("GuardianshipService/ListGuardianships", list).await;
        let all = all["guardianships"].as_array().unwrap();
        let own = all.iter().find(|g| g["guardian_id"] == json!(parent.member_id));
        id(own.unwrap(), "/id")
    }

    /// Returns the request of a duty.
    async fn duty(&self) -> Value {
        json!({
            "org_id": self.0.school.org_id, "member_id": self.member("ROLE_STAFF", None).await,
            "kind": "DUTY_KIND_NURSE", "scope": {"organization": true}, "until_date": "2999-05-31",
            "order": {"number": "12-к", "date": "2026-01-12", "text": "О назначении"},
        })
    }

    /// Returns a suspension. A caller of this kind has not made it, where another member can.
    async fn suspension(&self, two_schools: &TwoSchools, kind: Kind) -> String {
        let head = two_schools.people.get(&Kind::Head);
        let org_id = self.0.school.org_id.as_str();
        let head = head.filter(|head| kind == Kind::Administrator && head.client.org_id() == Some(org_id));
        let by = head.map_or(&self.0.school.administrator.client, |head| &head.client);
        let wanted = json!({
            "org_id": org_id, "member_id": self.member("ROLE_STAFF", None).await, "cause": "проверка",
        });
        id(
            &by.must("SuspensionService/SuspendMember", wanted).await,
            "/suspension/id",
        )
    }

    /// Returns the request of UpdatePolicies with the etag of its preview.
    async fn previewed(&self, by: &Client, mut wanted: Value) -> Value {
        let preview = by.must("PolicyService/PreviewPolicies", wanted.clone()).await;
        wanted["preview_etag"] = preview["preview_etag"].clone();
        wanted
    }

    /// Returns the request to confirm a new pending change. The one before stays pending, on another policy.
    /// The author is not the administrator of the samples if that one confirms.
    async fn policy_change(&self, kind: Kind) -> Value {
        let school = &self.0.school;
        let mut author = school.administrator.client.clone();
        if kind == Kind::Administrator {
            let other = school.teacher("Ирина Седова").await;
            let roles = json!({
                "member_id": other.member_id, "roles": ["ROLE_TEACHER", "ROLE_ADMINISTRATOR"],
            });
            self.0.must("MemberService/ChangeMemberRoles", roles).await;
            author = other.client;
        }
        let pending = json!({"pending_only": true});
        let listed = self.0.must("PolicyService/ListPolicyChanges", pending).await;
        let waiting = listed["changes"].as_array().unwrap();
        if let [_, oldest] = &waiting[..] {
            let drop = json!({"policy_change_id": oldest["id"]});
            self.0.must("PolicyService/DropPolicyChange", drop).await;
        }
        let (field, mask, values) = match waiting.first() {
            Some(newest) if newest["values"][0]["path"] == json!("parent_inviters") => (
                "teacher_verification",
                "teacherVerification",
                ["TEACHER_VERIFICATION_REQUIRED", "TEACHER_VERIFICATION_OPTIONAL"],
            ),
            _ => (
                "parent_inviters",
                "parentInviters",
                ["PARENT_INVITERS_CLASS_TEACHER", "PARENT_INVITERS_CLASS_STAFF"],
            ),
        };
        let mut change = Value::Null;
        for value in values {
            let wanted = json!({
                "org_id": school.org_id, "policies": {field: value}, "update_mask": mask,
            });
            let wanted = self.previewed(&author, wanted).await;
            let updated = author.must("PolicyService/UpdatePolicies", wanted).await;
            change = updated["pending_change"].clone();
        }
        json!({"policy_change_id": change["id"], "preview_etag": change["preview_etag"]})
    }

    /// Returns a chat in which the kind may write, or else the pupils' chat of the class.
    async fn chat(&self, kind: Kind, person: Option<&Client>) -> String {
        let wanted = match kind {
            Kind::Parent => "CHAT_KIND_CLASS_PARENTS",
            Kind::UnverifiedTeacher | Kind::Administrator | Kind::Head => "CHAT_KIND_STAFF_CHANNEL",
            _ => "CHAT_KIND_CLASS_PUPILS",
        };
        let by = person.unwrap_or(&self.0.colleague.client);
        let list = by.must("ChatService/ListChats", json!({"page_size": 200})).await;
        let all = list["chats"].as_array().unwrap();
        let own = all.iter().find(|chat| chat["kind"] == json!(wanted));
        id(
            own.unwrap_or_else(|| panic!("no {wanted} for {kind:?} in {list:#}")),
            "/id",
        )
    }

    async fn custom_chat(&self, members: &[String]) -> String {
        let wanted = json!({"title": "Кружок", "member_ids": members});
        // A teacher of the class is cleared to be in a chat with its pupils; the administrator is not.
        let by = &self.0.colleague.client;
        id(&by.must("ChatService/CreateChat", wanted).await, "/chat/id")
    }
}

fn unused_after() -> Value {
    json!({"policies": {"unused_after": "1209600s"}, "update_mask": "unusedAfter"})
}

fn lesson(unit: &str) -> Value {
    json!({
        "unit_id": unit, "title": "Алгебра", "kind": "CALL_KIND_LESSON", "format": "CALL_FORMAT_ONLINE",
        "start_civil_time": "2027-03-01T09:00:00", "duration": "2700s",
    })
}

/// Starts a sign-in flow, and verifies it if requested.
async fn flow(two_schools: &TwoSchools, verified: bool) -> (String, String) {
    let (phone, nobody) = (new_phone(), two_schools.suite.anonymous());
    let asked = nobody
        .must("AuthenticationService/RequestCode", json!({"phone": phone}))
        .await;
    let (flow, code) = (id(&asked, "/flow_id"), two_schools.suite.code(&phone).await);
    if verified {
        let verify = json!({"flow_id": flow, "code": code});
        nobody.must("AuthenticationService/VerifyCode", verify).await;
    }
    (flow, code)
}

/// Creates the request. `own` says whether the caller belongs to the school of `place`.
pub async fn sample(
    two_schools: &TwoSchools,
    place: &SampleSchool,
    kind: Kind,
    own: bool,
    rpc: &str,
) -> (Option<Client>, Value) {
    let fresh = Fresh(place);
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
                .previewed(&place.school.administrator.client, unused_after())
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
        "UnitService/GetUnit" => json!({"unit_id": place.class}),
        "UnitService/RenameUnit" => {
            json!({"unit_id": fresh.unit().await, "label": &two_schools.suite.anonymous().request_id()[20..]})
        }
        "UnitService/ArchiveUnit" => json!({"unit_id": fresh.unit().await}),
        "AuthenticationService/RequestCode" => json!({"phone": new_phone()}),
        "AuthenticationService/VerifyCode" => {
            let (flow, code) = flow(two_schools, false).await;
            json!({"flow_id": flow, "code": code})
        }
        "AuthenticationService/StartSession" => {
            json!({"flow_id": flow(two_schools, true).await.0, "new_account": {"full_name": "Новый Человек"}})
        }
        "AuthenticationService/RefreshSession" => {
            let start = json!({"flow_id": flow(two_schools, true).await.0, "new_account": {"full_name": "Новый Человек"}});
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
        "AuthenticationService/CreateJoinTicket" => json!({"invitation_token": place.link}),
        "AppointmentService/ClaimAppointment" => {
            let (account, org) = two_schools.suite.appointed("Школа № 8").await;
            let org = if own { org } else { place.school.org_id.clone() };
            caller = Some(account.client).filter(|_| kind == Kind::Account);
            json!({"org_id": org})
        }
        "MemberService/GetMember" => {
            // An unverified teacher may see only staff.
            let whom = if kind == Kind::UnverifiedTeacher {
                &place.colleague
            } else {
                &place.pupil
            };
            json!({"member_id": whom.member_id})
        }
        "MemberService/BatchGetMembers" => json!({"member_ids": [place.pupil.member_id]}),
        "MemberService/CreateMember" => {
            json!({"full_name": "Ожидаемый Ученик", "role": "ROLE_PUPIL", "unit_id": place.class})
        }
        "MemberService/ChangeMemberRoles" => {
            json!({"member_id": fresh.member("ROLE_TEACHER", None).await, "roles": ["ROLE_STAFF"]})
        }
        "MemberService/VerifyTeacher" => {
            json!({"member_id": fresh.member("ROLE_TEACHER", None).await, "evidence": "приказ № 7"})
        }
        "MemberService/WithdrawTeacherVerification" => {
            let member = fresh.member("ROLE_TEACHER", None).await;
            let verify = json!({"member_id": member, "evidence": "приказ № 7"});
            place.must("MemberService/VerifyTeacher", verify).await;
            json!({"member_id": member, "cause": "уволен"})
        }
        "MemberService/RemoveMember" => {
            json!({"member_id": fresh.member("ROLE_PUPIL", Some(&place.class)).await})
        }
        "AssignmentService/CreateAssignment" | "AssignmentService/EndAssignment" => {
            let wanted = json!({
                "member_id": place.colleague.member_id, "unit_id": fresh.unit().await,
                "kind": "ASSIGNMENT_KIND_SUBJECT_TEACHER",
            });
            if name.ends_with("EndAssignment") {
                let made = place.must("AssignmentService/CreateAssignment", wanted).await;
                json!({"assignment_id": made["assignment"]["id"]})
            } else {
                wanted
            }
        }
        "EnrollmentService/EnrollPupil" => {
            json!({"member_id": fresh.member("ROLE_PUPIL", Some(&place.class)).await, "unit_id": place.other_class})
        }
        "EnrollmentService/TransferPupil" => json!({
            "member_id": fresh.member("ROLE_PUPIL", Some(&place.class)).await,
            "from_unit_id": place.class, "to_unit_id": place.other_class,
        }),
        "GuardianshipService/ConfirmGuardianship" => {
            json!({"guardianship_id": fresh.guardianship(two_schools).await})
        }
        "GuardianshipService/ConfirmGuardianships" => {
            json!({"guardianship_ids": [fresh.guardianship(two_schools).await]})
        }
        "GuardianshipService/ProposeGuardianship" => json!({
            "guardian_id": fresh.member("ROLE_PARENT", None).await, "child_id": place.pupil.member_id,
            "kind": "GUARDIANSHIP_KIND_TRUSTED",
        }),
        "GuardianshipService/LimitGuardianship" => json!({
            "guardianship_id": fresh.guardianship(two_schools).await, "cause": "заявление",
            "limits": ["RELATION_LIMIT_NO_CONTACT"],
        }),
        "GuardianshipService/ProtectFamily" | "GuardianshipService/UnprotectFamily" => json!({
            "child_id": fresh.member("ROLE_PUPIL", Some(&place.class)).await,
            "order": {"number": "7", "date": "2026-01-12", "text": "Определение суда"},
        }),
        "GuardianshipService/SetBirthDate" => json!({
            "child_id": fresh.member("ROLE_PUPIL", Some(&place.class)).await, "birth_date": "2015-05-31",
        }),
        "GuardianshipService/GetChildRecord" => json!({"child_id": place.pupil.member_id}),
        "GuardianshipService/ChooseAdultAccess" => {
            // The 18th birthday is in a month, so that the choice is open.
            let birthday = parta_ids::Env::system().now() + chrono::TimeDelta::days(30);
            let born = birthday.date_naive() - chrono::Months::new(18 * 12);
            // Only the student chooses, about an own relation.
            let student = person.filter(|_| kind == Kind::Pupil);
            let (child, guardianship) = match student {
                Some(student) => {
                    let own = json!({"child_id": student.member_id});
                    let listed = place.must("GuardianshipService/ListGuardianships", own).await;
                    (&student.member_id, id(&listed, "/guardianships/0/id"))
                }
                None => (&place.pupil.member_id, fresh.guardianship(two_schools).await),
            };
            let born = json!({"child_id": child, "birth_date": born.to_string()});
            place.must("GuardianshipService/SetBirthDate", born).await;
            json!({"guardianship_id": guardianship, "access": "ADULT_ACCESS_FULL"})
        }
        "GuardianshipService/EndGuardianship" => {
            json!({"guardianship_id": fresh.guardianship(two_schools).await, "cause": "ошибка"})
        }
        "DutyService/AssignDuty" => fresh.duty().await,
        "DutyService/EndDuty" => {
            let made = place.must("DutyService/AssignDuty", fresh.duty().await).await;
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
        "ServiceAccountService/CreateServiceAccount" => {
            json!({"display_name": "Расписание", "permissions": ["roster.read"]})
        }
        "ServiceAccountService/RevokeServiceAccount" => {
            let wanted = json!({"display_name": "Расписание", "permissions": ["roster.read"]});
            let made = place
                .must("ServiceAccountService/CreateServiceAccount", wanted)
                .await;
            json!({"service_account_id": made["service_account"]["id"]})
        }
        "ServiceAccountService/IssueServiceAccountToken" => json!({"key": two_schools.key}),
        "RosterImportService/CheckRosterImport" => json!({"header": {"org_id": place.school.org_id}}),
        "RosterImportService/StartRosterImport"
        | "RosterImportService/GetRosterImport"
        | "RosterImportService/ListRosterImportChanges"
        | "RosterImportService/ListRosterImportProblems"
        | "RosterImportService/WatchRosterImport" => {
            json!({"roster_import_id": place.school.checked_import().await})
        }
        "AdmissionService/AdmitMember" => {
            let (invitation, link) = fresh.invitation().await;
            let ask = json!({"invitation_token": link});
            let newcomer = two_schools.suite.newcomer("Новый Ученик").await.client;
            let ticket = newcomer.must("AuthenticationService/CreateJoinTicket", ask).await;
            json!({
                "invitation_id": invitation, "flow_id": ticket["flow_id"], "role": "ROLE_PUPIL",
                "unit_id": place.class, "issuer_id": place.school.administrator.member_id,
            })
        }
        "AdmissionService/AppointFoundingAdministrator" => json!({
            "application_id": two_schools.suite.applied("Школа № 7").await, "phone": new_phone(),
            "full_name": "Иван Орлов", "organization_display_name": "Школа № 7",
        }),
        "InvitationService/CreateInvitation" => json!({"role": "ROLE_PUPIL", "unit_id": place.class}),
        "InvitationService/GetInvitation"
        | "InvitationService/GetInvitationLink"
        | "InvitationService/ListInvitationUses"
        | "InvitationService/RevokeInvitation" => json!({"invitation_id": fresh.invitation().await.0}),
        "InvitationService/ResolveInvitation" => json!({"link_token": place.link}),
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
        "CallService/PlanCall" => lesson(&place.class),
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
        "ChatService/CreateChat" => json!({"title": "Кружок", "member_ids": [place.colleague.member_id]}),
        "ChatService/CreateDirectChat" => json!({"member_id": place.colleague.member_id}),
        "ChatService/GetChat" | "ChatService/ListParticipants" | "MessageService/ListEntries" => {
            json!({"chat_id": fresh.chat(kind, person.map(|p| &p.client)).await})
        }
        "MessageService/MarkRead" => {
            json!({"chat_id": fresh.chat(kind, person.map(|p| &p.client)).await, "seq": 1})
        }
        "MessageService/SendMessage" => {
            json!({"chat_id": fresh.chat(kind, person.map(|p| &p.client)).await, "text": "Здравствуйте"})
        }
        "ChatService/AddParticipants" | "ChatService/RemoveParticipants" => {
            let oneself = person.map_or(&place.pupil.member_id, |p| &p.member_id).clone();
            let chat = fresh.custom_chat(std::slice::from_ref(&oneself)).await;
            let adds = name.ends_with("AddParticipants");
            let whom = if adds {
                place.colleague.member_id.clone()
            } else {
                oneself
            };
            json!({"chat_id": chat, "member_ids": [whom]})
        }
        name if name.ends_with("JobService/RetryJob") || name.ends_with("JobService/DropJob") => {
            let package = rpc.split('.').nth(1).unwrap().replace('_', "-");
            let database = jobs::database(&two_schools.suite, &package).await;
            json!({"job_id": jobs::insert(&database, true, None).await})
        }
        name if name.contains("QuarantineService/") => {
            let package = rpc.split('.').nth(1).unwrap().replace('_', "-");
            let database = jobs::database(&two_schools.suite, &package).await;
            let mut body = quarantine::insert(&database, &package).await;
            let input = parta_testkit::dynamic::method(rpc).input();
            let fields = body.as_object_mut().unwrap();
            fields.retain(|field, _| input.get_field_by_name(field).is_some());
            body
        }
        "AnnouncementService/PostAnnouncement" => json!({"unit_id": place.class, "text": "Урок"}),
        _ => json!({}),
    };
    let input = parta_testkit::dynamic::method(rpc).input();
    if input.get_field_by_name("org_id").is_some() && body.get("org_id").is_none() {
        body["org_id"] = json!(place.school.org_id);
    }
    (caller, body)
}

/// Creates a request about a call that the principal organizes.
pub async fn created(two_schools: &TwoSchools, kind: Kind, rpc: &str) -> Value {
    let place = &two_schools.own;
    let organizer = &two_schools.people[&kind].client;
    let planned = organizer.must("CallService/PlanCall", lesson(&place.class)).await;
    let call = &planned["call"];
    let mut body = json!({"org_id": place.school.org_id, "call_id": call["id"]});
    match rpc.rsplit_once('/').unwrap().1 {
        "AnnounceCall" | "CancelCall" => {}
        "CancelOccurrence" => body["start_time"] = call["start_time"].clone(),
        other => panic!("{other} has no sample of a creator"),
    }
    body
}
