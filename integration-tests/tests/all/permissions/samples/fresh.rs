//! New objects of a school.
use super::*;

impl Fresh<'_> {
    pub(super) async fn unit(&self) -> String {
        let label = &self.0.school.administrator.client.request_id()[20..];
        self.0.school.class(label).await
    }

    pub(super) async fn member(&self, role: &str, unit: Option<&str>) -> String {
        let mut wanted = json!({"full_name": "Ожидаемый Человек", "role": role});
        if let Some(unit) = unit {
            wanted["unit_id"] = json!(unit);
        }
        id(
            &self.0.must("MemberService/CreateMember", wanted).await,
            "/member/id",
        )
    }

    pub(super) async fn invitation(&self) -> (String, String) {
        let wanted = json!({"role": "ROLE_PUPIL", "unit_id": self.0.class});
        let made = self.0.must("InvitationService/CreateInvitation", wanted).await;
        (id(&made, "/invitation/id"), id(&made, "/link/link_token"))
    }

    pub(super) async fn call(&self) -> Value {
        let wanted = lesson(&self.0.class);
        let planned = self.0.colleague.client.must("CallService/PlanCall", wanted).await;
        planned["call"].clone()
    }

    pub(super) async fn guardianship(&self, suite: &TwoSchools) -> String {
        let wanted = json!({
            "role": "ROLE_PARENT", "unit_id": self.0.class, "child_id": self.0.pupil.member_id, "max_uses": 1,
        });
        let link = self.0.school.link(&self.0.school.administrator, wanted).await;
        let parent = suite
            .suite
            .newcomer("Новый Родитель")
            .await
            .join(&link, &self.0.school.administrator)
            .await;
        let list = json!({"child_id": self.0.pupil.member_id, "page_size": 200});
        let all = self.0.must("GuardianshipService/ListGuardianships", list).await;
        let all = all["guardianships"].as_array().unwrap();
        let own = all.iter().find(|g| g["guardian_id"] == json!(parent.member_id));
        id(own.unwrap(), "/id")
    }

    /// Returns an expected pupil of the class whom a person has claimed.
    pub(super) async fn claimed_pupil(&self, suite: &TwoSchools) -> String {
        let member = self.member("ROLE_PUPIL", Some(&self.0.class)).await;
        let wanted = json!({
            "role": "ROLE_PUPIL", "unit_id": self.0.class, "claim_member_id": member, "max_uses": 1,
        });
        let administrator = &self.0.school.administrator;
        let link = self.0.school.link(administrator, wanted).await;
        let account = suite.suite.newcomer("Новый Ученик").await;
        account.join(&link, administrator).await;
        member
    }

    /// Makes a request to join the class. Returns the account that made it, and the request.
    pub(super) async fn join_request(&self, suite: &TwoSchools) -> (Client, String) {
        let (_, link) = self.invitation().await;
        let account = suite.suite.newcomer("Новый Ученик").await;
        let accepted = account.accept(&link).await;
        (account.client, id(&accepted, "/join_request_id"))
    }

    /// Returns the request of a duty.
    pub(super) async fn duty(&self) -> Value {
        json!({
            "org_id": self.0.school.org_id, "member_id": self.member("ROLE_STAFF", None).await,
            "kind": "DUTY_KIND_NURSE", "scope": {"organization": true}, "until_date": "2999-05-31",
            "order": {"number": "12-к", "date": "2026-01-12", "text": "О назначении"},
        })
    }

    /// Returns a suspension. A caller of this kind has not made it, where another member can.
    pub(super) async fn suspension(&self, two_schools: &TwoSchools, kind: Kind) -> String {
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

    /// Returns a pupil with a one-time code, and its text. A caller of this kind has not issued it, where
    /// another member can.
    pub(super) async fn one_time_code(&self, two_schools: &TwoSchools, kind: Kind) -> (String, String) {
        let member = self.claimed_pupil(two_schools).await;
        let head = two_schools.people.get(&Kind::Head);
        let org_id = self.0.school.org_id.as_str();
        let head = head.filter(|head| kind == Kind::Administrator && head.client.org_id() == Some(org_id));
        let by = head.map_or(&self.0.school.administrator.client, |head| &head.client);
        let wanted = json!({"org_id": org_id, "member_id": member});
        let issued = by.must("OneTimeCodeService/IssueOneTimeCode", wanted).await;
        (member, id(&issued, "/code"))
    }

    /// Returns the request to confirm the use of a one-time code.
    pub(super) async fn used_code(&self, two_schools: &TwoSchools, kind: Kind) -> Value {
        let (member, code) = self.one_time_code(two_schools, kind).await;
        let nobody = two_schools.suite.anonymous();
        nobody
            .must("OneTimeCodeService/RedeemOneTimeCode", json!({"code": code}))
            .await;
        let whose = json!({"member_id": member});
        let used = self.0.must("OneTimeCodeService/GetOneTimeCode", whose).await;
        json!({"member_id": member, "use_time": used["one_time_code"]["use_time"]})
    }

    /// Returns a roster import and a change of it that waits for a second person, because it makes a record
    /// with the name of the member who has started it. A caller of this kind has not, where another member
    /// can.
    pub(super) async fn waiting_change(&self, two_schools: &TwoSchools, kind: Kind) -> Value {
        let school = &self.0.school;
        let head = two_schools.people.get(&Kind::Head);
        let own = |client: &Client| client.org_id() == Some(school.org_id.as_str());
        let head = head.filter(|head| kind == Kind::Administrator && own(&head.client));
        let starter = head.unwrap_or(&school.administrator);
        let wanted = json!({"org_id": school.org_id, "member_id": starter.member_id});
        let found = starter.client.must("MemberService/GetMember", wanted).await;
        let name = found["member"]["full_name"].as_str().unwrap().to_owned();
        let row = format!("{},parent,,{name}\n", starter.client.request_id());
        let import = school.checked_import_by(&starter.client, &row).await;
        let import = json!({"org_id": school.org_id, "roster_import_id": import});
        starter
            .client
            .must("RosterImportService/StartRosterImport", import.clone())
            .await;
        parta_testkit::eventually("the change waits", async || {
            let rpc = "RosterImportService/GetRosterImport";
            let found = starter.client.must(rpc, import.clone()).await;
            (found["roster_import"]["waiting_count"] == 1).then_some(())
        })
        .await;
        json!({
            "roster_import_id": import["roster_import_id"], "numbers": [1],
            "decision": "ROSTER_CHANGE_DECISION_CONFIRM",
        })
    }

    /// Returns the request of UpdatePolicies with the etag of its preview.
    pub(super) async fn previewed(&self, by: &Client, mut wanted: Value) -> Value {
        let preview = by.must("PolicyService/PreviewPolicies", wanted.clone()).await;
        wanted["preview_etag"] = preview["preview_etag"].clone();
        wanted
    }

    /// Returns the request to let a new deputy act as the head. The one before no longer does.
    pub(super) async fn acting_head(&self) -> Value {
        let current = self.0.must("RoleService/GetActingHead", json!({})).await;
        if let Some(id) = current["acting_head"]["id"].as_str() {
            let end = json!({"acting_head_id": id, "cause": "возвращение"});
            // Another sample may have ended it meanwhile.
            let administrator = &self.0.school.administrator.client;
            let _ended = administrator.call("RoleService/EndActingHead", end).await;
        }
        let until = parta_ids::Env::system().now() + chrono::TimeDelta::days(7);
        json!({
            "member_id": self.member("ROLE_DEPUTY", None).await, "until_date": until.date_naive().to_string(),
            "order": {"number": "12-к", "date": "2026-01-12", "text": "Об исполнении обязанностей"},
        })
    }

    /// Returns the request to announce the end of the verification of a new teacher.
    pub(super) async fn verification_end(&self) -> Value {
        let member = self.member("ROLE_TEACHER", None).await;
        let verify = json!({"member_id": member, "evidence": "приказ № 7"});
        self.0.must("MemberService/VerifyTeacher", verify).await;
        let last = parta_ids::Env::system().now() + chrono::TimeDelta::days(40);
        let last = last.date_naive().to_string();
        json!({"member_id": member, "last_date": last, "cause": "срок аттестации"})
    }

    /// Returns the request of ChangeMemberRoles with the etag of its preview.
    pub(super) async fn role_change(&self, mut wanted: Value) -> Value {
        let preview = self.0.must("RoleService/PreviewRoleChange", wanted.clone()).await;
        wanted["preview_etag"] = preview["preview_etag"].clone();
        wanted
    }

    /// Returns the request to confirm a new pending change. The one before stays pending, on another policy.
    /// The author is not the administrator of the samples if that one confirms.
    pub(super) async fn policy_change(&self, kind: Kind) -> Value {
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

    /// Returns a chat in which the kind may write, or else the pupils' chat of the class. Staff who write in
    /// no chat get «Сотрудники».
    pub(super) async fn chat(&self, kind: Kind, person: Option<&Client>) -> String {
        let wanted = match kind {
            Kind::Parent => &["CHAT_KIND_CLASS_PARENTS"][..],
            Kind::UnverifiedTeacher | Kind::Administrator | Kind::Head => &[
                "CHAT_KIND_STAFF_ROOM",
                "CHAT_KIND_CLASS_PUPILS",
                "CHAT_KIND_STAFF_CHANNEL",
            ],
            _ => &["CHAT_KIND_CLASS_PUPILS"],
        };
        let by = person.unwrap_or(&self.0.colleague.client);
        let list = by.must("ChatService/ListChats", json!({"page_size": 200})).await;
        let all = list["chats"].as_array().unwrap();
        let of_kind = |wanted: &&str| all.iter().find(|chat| chat["kind"] == json!(wanted));
        let own = wanted.iter().find_map(of_kind);
        id(
            own.unwrap_or_else(|| panic!("no {wanted:?} for {kind:?} in {list:#}")),
            "/id",
        )
    }

    /// Returns a chat of these members that the maker has made, or else a teacher of the class.
    pub(super) async fn custom_chat(&self, maker: Option<&Client>, members: &[String]) -> String {
        let wanted = json!({"title": "Кружок", "member_ids": members});
        // A teacher of the class is cleared to be in a chat with its pupils; the administrator is not.
        let by = maker.unwrap_or(&self.0.colleague.client);
        id(&by.must("ChatService/CreateChat", wanted).await, "/chat/id")
    }
}
