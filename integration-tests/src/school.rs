use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};

use crate::{Client, Suite};

/// Numbers the organizations and people of one test process, so that numbers and phones are unique.
static NUMBER: AtomicU64 = AtomicU64::new(1);

fn number() -> u64 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Returns a registration number with a valid check digit for any number below 10^7.
pub fn ogrn(of: u64) -> String {
    let first = 102_770_000_000 + of;
    format!("{first}{}", first % 11 % 10)
}

/// A signed-in account.
#[derive(Clone)]
pub struct Account {
    /// Calls with the account's token.
    pub client: Client,
    /// The phone that the account signed in with.
    pub phone: String,
    /// The name that the person gave.
    pub full_name: String,
    refresh: Arc<Mutex<String>>,
}

/// A member of an organization.
#[derive(Clone)]
pub struct Person {
    /// A client with a token of the organization.
    pub client: Client,
    pub account: Account,
    /// `mbr_...`.
    pub member_id: String,
}

/// An organization with its administrator.
#[derive(Clone)]
pub struct School {
    /// `org_...`.
    pub org_id: String,
    /// The founding administrator.
    pub administrator: Person,
    suite: Suite,
}

impl Suite {
    /// Creates an approved school whose administrator has claimed the appointment.
    pub async fn school(&self, name: &str) -> School {
        let (account, org_id) = self.appointed(name).await;
        let claim = json!({"org_id": org_id});
        account
            .client
            .must("AppointmentService/ClaimAppointment", claim)
            .await;
        School {
            administrator: account.enter(&org_id).await,
            org_id,
            suite: self.clone(),
        }
    }

    /// Creates an approved school whose administrator has signed in, but has not claimed the appointment.
    pub async fn appointed(&self, name: &str) -> (Account, String) {
        let (n, phone) = (number(), new_phone());
        let administrator_name = format!("Иван Орлов {n}");
        let response = self.apply(n, name, &administrator_name, &phone).await;
        let approved = self
            .operator()
            .must(
                "ApplicationService/ApproveApplication",
                json!({"application_id": response["application_id"]}),
            )
            .await;
        let org_id = approved["organization"]["id"].as_str().expect("an id").to_owned();
        let account = self.sign_in(&phone, &administrator_name).await;
        parta_testkit::eventually("the appointment of the founding administrator", async || {
            let list = account
                .client
                .must("AppointmentService/ListAppointments", json!({}))
                .await;
            list["appointments"]
                .as_array()
                .is_some_and(|a| !a.is_empty())
                .then_some(())
        })
        .await;
        (account, org_id)
    }

    /// Submits an application that waits for the operator, and returns its id.
    pub async fn applied(&self, name: &str) -> String {
        let (n, phone) = (number(), new_phone());
        let response = self.apply(n, name, &format!("Иван Орлов {n}"), &phone).await;
        response["application_id"].as_str().expect("an id").to_owned()
    }

    /// Submits an application with its order. `n` determines its registration number.
    pub async fn apply(&self, n: u64, name: &str, administrator: &str, phone: &str) -> Value {
        use parta_proto_org_registry::v1 as pb;
        let form = pb::ApplicationForm {
            organization_name: name.to_owned(),
            kind: pb::OrganizationKind::General.into(),
            region: "Москва".to_owned(),
            ogrn: ogrn(n),
            kpp: "770101001".to_owned(),
            time_zone: "Europe/Moscow".to_owned(),
            head_full_name: "Анна Петрова".to_owned(),
            administrator_full_name: administrator.to_owned(),
            administrator_email: format!("admin{n}@school.example"),
            administrator_phone: phone.to_owned(),
        };
        let header = pb::SubmitApplicationHeader {
            form: Some(form),
            file_name: "order.pdf".to_owned(),
        };
        use pb::submit_application_request::Part;
        let message = |request_id: String, part| pb::SubmitApplicationRequest {
            request_id,
            part: Some(part),
        };
        let client = self.anonymous();
        let parts = [
            message(client.request_id(), Part::Header(header)),
            message(String::new(), Part::Chunk(b"%PDF-1.4\n%%EOF\n".to_vec().into())),
        ];
        let mut api =
            pb::application_service_client::ApplicationServiceClient::new(client.channel("org-registry"));
        let response = api
            .submit_application(client.request(tokio_stream::iter(parts)))
            .await
            .expect("the application is taken")
            .into_inner();
        json!({"application_id": response.application_id})
    }

    /// Signs in by a phone. Creates an account if the phone has none.
    pub async fn sign_in(&self, phone: &str, full_name: &str) -> Account {
        let client = self.anonymous();
        let requested = client
            .must("AuthenticationService/RequestCode", json!({"phone": phone}))
            .await;
        let verify = json!({"flow_id": requested["flow_id"], "code": self.code(phone).await});
        let verified = client.must("AuthenticationService/VerifyCode", verify).await;
        let mut start = json!({"flow_id": requested["flow_id"], "proof": verified["proof"]});
        match verified["profiles"].get(0) {
            Some(profile) => start["account_id"] = profile["account_id"].clone(),
            None => start["new_account"] = json!({"full_name": full_name}),
        }
        let session = client.must("AuthenticationService/StartSession", start).await;
        Account {
            client: client.with(session["access_token"].as_str().expect("a token")),
            phone: phone.to_owned(),
            full_name: full_name.to_owned(),
            refresh: Arc::new(Mutex::new(
                session["refresh_token"].as_str().expect("a token").to_owned(),
            )),
        }
    }

    /// Returns an account of an earlier run of the suite.
    pub fn again(&self, account: &Account) -> Account {
        let credential = account.client.credential().unwrap_or_default();
        Account {
            client: self.anonymous().with(credential.trim_start_matches("Bearer ")),
            ..account.clone()
        }
    }

    /// Signs in a new person with a new phone.
    pub async fn newcomer(&self, full_name: &str) -> Account {
        self.sign_in(&new_phone(), full_name).await
    }

    /// Returns the last code that was sent to a phone, from the development outbox or the SMS gateway.
    pub async fn code(&self, phone: &str) -> String {
        if let Some(gateway) = self.sms_gateway() {
            return gateway.next_code(phone).await;
        }
        let outbox = json!({"recipient": phone});
        let messages = self
            .operator()
            .must("OperatorService/ListOutboxMessages", outbox)
            .await;
        // A notice may have been sent since.
        let messages = messages["messages"].as_array().expect("messages");
        let texts = messages.iter().filter_map(|message| message["text"].as_str());
        let code = |text: &str| {
            let mut words = text.split(|c: char| !c.is_ascii_digit());
            words.rfind(|word| word.len() == 6).map(str::to_owned)
        };
        texts.filter_map(code).next().expect("a code")
    }
}

/// Returns a phone that is unique in this test process.
pub fn new_phone() -> String {
    format!("+7916{:07}", number())
}

impl Account {
    /// Returns the refresh token of the session. It can be used once.
    pub fn refresh_token(&self) -> String {
        self.refresh
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stores the next refresh token.
    pub fn refreshed(&self, token: &str) {
        token.clone_into(&mut self.refresh.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Refreshes the session. A token is valid for ten minutes.
    pub async fn prolonged(&self) -> Self {
        let request = json!({"refresh_token": self.refresh_token()});
        let fresh = self
            .client
            .anonymous()
            .must("AuthenticationService/RefreshSession", request)
            .await;
        self.refreshed(fresh["refresh_token"].as_str().expect("a token"));
        Self {
            client: self.client.with(fresh["access_token"].as_str().expect("a token")),
            ..self.clone()
        }
    }

    /// Gets a token of an organization of the account.
    pub async fn enter(&self, org_id: &str) -> Person {
        let request = json!({"org_id": org_id});
        let issued = self
            .client
            .must("AuthenticationService/IssueOrganizationToken", request)
            .await;
        Person {
            client: self
                .client
                .with(issued["access_token"].as_str().expect("a token"))
                .of(org_id),
            account: self.clone(),
            member_id: issued["member_id"].as_str().expect("an id").to_owned(),
        }
    }

    /// Returns a client that may accept this link.
    pub async fn joiner(&self, link_token: &str) -> Client {
        let request = json!({"invitation_token": link_token});
        let ticket = self
            .client
            .must("AuthenticationService/CreateJoinTicket", request)
            .await;
        self.client.with(ticket["ticket"].as_str().expect("a ticket"))
    }

    /// Accepts a link and returns the response: the member, or the request that staff decides.
    pub async fn accept(&self, link_token: &str) -> Value {
        let joiner = self.joiner(link_token).await;
        let accept = json!({"link_token": link_token});
        joiner.must("InvitationService/AcceptInvitation", accept).await
    }

    /// Joins by a link. `decider` accepts the request, if the link makes one.
    pub async fn join(&self, link_token: &str, decider: &Person) -> Person {
        let accepted = self.accept(link_token).await;
        if let Some(request) = accepted["join_request_id"].as_str().filter(|id| !id.is_empty()) {
            decider.decide(request, true).await;
        }
        self.enter(accepted["org_id"].as_str().expect("an id")).await
    }
}

impl Person {
    /// Accepts or refuses a request to join.
    pub async fn decide(&self, join_request_id: &str, accept: bool) {
        let decision = json!({"join_request_id": join_request_id, "accept": accept});
        let decisions = json!({"decisions": [decision]});
        self.client
            .must("JoinRequestService/DecideJoinRequests", decisions)
            .await;
    }
}

impl School {
    /// Returns the same school after a restart of its suite.
    #[must_use]
    pub fn with(self, suite: &Suite, administrator: Person) -> Self {
        Self {
            administrator,
            suite: suite.clone(),
            ..self
        }
    }

    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// Creates a class and returns its id.
    pub async fn class(&self, label: &str) -> String {
        let wanted = json!({"kind": "UNIT_KIND_CLASS", "label": label});
        let made = self
            .administrator
            .client
            .must("UnitService/CreateUnit", wanted)
            .await;
        made["unit"]["id"].as_str().expect("an id").to_owned()
    }

    /// Creates an invitation and returns the token of its link.
    pub async fn link(&self, by: &Person, invitation: Value) -> String {
        let made = by
            .client
            .must("InvitationService/CreateInvitation", invitation)
            .await;
        made["link"]["link_token"].as_str().expect("a token").to_owned()
    }

    /// Joins a new person by a new link.
    pub async fn comes(&self, by: &Person, full_name: &str, mut invitation: Value) -> Person {
        let phone = new_phone();
        if matches!(invitation["role"].as_str(), Some("ROLE_TEACHER" | "ROLE_STAFF")) {
            invitation["recipient_address"] = json!(phone);
        }
        let link = self.link(by, invitation).await;
        let account = self.suite.sign_in(&phone, full_name).await;
        account.join(&link, &self.administrator).await
    }

    /// Joins an unverified teacher.
    pub async fn newcomer_teacher(&self, full_name: &str) -> Person {
        let invitation = json!({"role": "ROLE_TEACHER", "recipient_label": full_name});
        self.comes(&self.administrator, full_name, invitation).await
    }

    /// Joins a teacher and verifies the teacher.
    pub async fn teacher(&self, full_name: &str) -> Person {
        let teacher = self.newcomer_teacher(full_name).await;
        let verify = json!({"member_id": teacher.member_id, "evidence": "приказ № 7"});
        self.administrator
            .client
            .must("MemberService/VerifyTeacher", verify)
            .await;
        teacher
    }

    /// Makes the founding administrator a verified teacher. Nobody decides in their own matter, so that
    /// a head joins, who is returned, and does it.
    pub async fn clear_administrator(&self) -> Person {
        let own = &self.administrator.member_id;
        let head = self.newcomer_teacher("Вера Орлова").await;
        self.administrator
            .client
            .change_roles(&head.member_id, &["ROLE_HEAD"])
            .await;
        head.client
            .change_roles(own, &["ROLE_ADMINISTRATOR", "ROLE_TEACHER"])
            .await;
        let verify = json!({"member_id": own, "evidence": "приказ № 7"});
        head.client.must("MemberService/VerifyTeacher", verify).await;
        head
    }

    /// Joins a verified teacher who is the class teacher of a class.
    pub async fn class_teacher(&self, full_name: &str, unit_id: &str) -> Person {
        let teacher = self.teacher(full_name).await;
        self.assign(&teacher, unit_id, "ASSIGNMENT_KIND_CLASS_TEACHER")
            .await;
        teacher
    }

    /// Assigns a teacher to a class.
    pub async fn assign(&self, teacher: &Person, unit_id: &str, kind: &str) {
        let assign = json!({"member_id": teacher.member_id, "unit_id": unit_id, "kind": kind});
        self.administrator
            .client
            .must("AssignmentService/CreateAssignment", assign)
            .await;
    }

    /// Joins a pupil of a class by a link of a member who may invite.
    pub async fn pupil(&self, by: &Person, full_name: &str, unit_id: &str) -> Person {
        let invitation = json!({"role": "ROLE_PUPIL", "unit_id": unit_id});
        self.comes(by, full_name, invitation).await
    }

    /// Returns the id of a checked roster import without people.
    pub async fn checked_import(&self) -> String {
        self.checked_import_by(&self.administrator.client, "").await
    }

    /// Returns the id of a roster import with these rows of users.csv, which this client has checked.
    pub async fn checked_import_by(&self, client: &Client, users: &str) -> String {
        self.checked_import_of_classes(client, users, "", "").await
    }

    /// Returns the id of a roster import with these rows of users.csv, classes.csv and enrollments.csv, which
    /// this client has checked.
    pub async fn checked_import_of_classes(
        &self,
        client: &Client,
        users: &str,
        classes: &str,
        enrollments: &str,
    ) -> String {
        use parta_proto_membership::v1 as pb;
        use pb::check_roster_import_request::Part;
        let users = format!("sourcedId,role,givenName,familyName\n{users}");
        let classes = format!("sourcedId,title\n{classes}");
        let enrollments = format!("sourcedId,classSourcedId,userSourcedId,role\n{enrollments}");
        let header = pb::CheckRosterImportRequest {
            request_id: client.request_id(),
            part: Some(Part::Header(pb::CheckRosterImportHeader {
                org_id: self.org_id.clone(),
            })),
        };
        let files = [
            ("orgs.csv", "sourcedId,name,type\n"),
            ("users.csv", users.as_str()),
            ("classes.csv", classes.as_str()),
            ("enrollments.csv", enrollments.as_str()),
        ];
        let chunks = files.map(|(file_name, text)| pb::CheckRosterImportRequest {
            request_id: String::new(),
            part: Some(Part::Chunk(pb::RosterFileChunk {
                file_name: file_name.to_owned(),
                data: text.as_bytes().to_vec().into(),
            })),
        });
        let all: Vec<_> = std::iter::once(header).chain(chunks).collect();
        let mut api =
            pb::roster_import_service_client::RosterImportServiceClient::new(client.channel("membership"));
        let response = api
            .check_roster_import(client.request(tokio_stream::iter(all)))
            .await;
        let import = response.expect("the set is taken").into_inner().roster_import;
        import.expect("an import").id
    }

    /// Joins a parent of a child in a class. The member who invited confirms the guardianship.
    pub async fn parent(&self, by: &Person, full_name: &str, child: &Person, unit_id: &str) -> Person {
        let invitation =
            json!({"role": "ROLE_PARENT", "unit_id": unit_id, "child_id": child.member_id, "max_uses": 1});
        let parent = self.comes(by, full_name, invitation).await;
        let list = json!({"child_id": child.member_id, "pending_only": true});
        let pending = by
            .client
            .must("GuardianshipService/ListGuardianships", list)
            .await;
        let of_this = |g: &&Value| g["guardian_id"] == json!(parent.member_id);
        let found = pending["guardianships"]
            .as_array()
            .and_then(|all| all.iter().find(of_this));
        let confirm = json!({"guardianship_id": found.expect("a pending relation")["id"]});
        by.client
            .must("GuardianshipService/ConfirmGuardianship", confirm)
            .await;
        parent
    }
}
