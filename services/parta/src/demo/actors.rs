//! The actors of the scenario and the ways in which they join: application, code and link.
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::future::BoxFuture;
use parta_proto_invitation::v1 as inv;
use parta_proto_membership::v1 as mbr;
use parta_proto_org_registry::v1 as org;
use uuid::Uuid;

use super::{Codes, to_error};
use crate::client::Session;

/// Time limit for asynchronous changes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The clients of the scenario, and the source of its phone and registration numbers.
pub(super) struct Actors<'a> {
    pub(super) anonymous: Session,
    pub(super) operator: Session,
    codes: &'a dyn Codes,
    /// Distinguishes runs from each other. Below 100,000.
    run: u128,
}

/// The development outbox, read by the operator.
pub(super) struct Outbox(pub(super) Session);

impl Codes for Outbox {
    fn code<'a>(&'a self, phone: &'a str) -> BoxFuture<'a, anyhow::Result<String>> {
        Box::pin(async move {
            let request = mbr::ListOutboxMessagesRequest {
                recipient: phone.to_owned(),
                ..Default::default()
            };
            let sent = self.0.operators().list_outbox_messages(request).await;
            let sent = sent.map_err(to_error)?.into_inner().messages;
            // A notice may have been sent since.
            let code = |message: &mbr::OutboxMessage| {
                let mut words = message.text.split(|c: char| !c.is_ascii_digit());
                words.rfind(|word| word.len() == 6).map(str::to_owned)
            };
            sent.iter().find_map(code).context("no code was sent")
        })
    }
}

/// A signed-in account.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) session: Session,
}

/// A member of an organization.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) session: Session,
    pub(super) member_id: String,
    pub(super) org_id: String,
}

/// Returns a registration number with a valid check digit.
fn ogrn(number: u128) -> String {
    let first = 102_790_000_000 + number;
    format!("{first}{}", first % 11 % 10)
}

impl<'a> Actors<'a> {
    pub(super) fn new(anonymous: Session, operator: Session, codes: &'a dyn Codes) -> Self {
        let run = Uuid::parse_str(&anonymous.act()).map_or(0, |id| id.as_u128() % 100_000);
        Self {
            anonymous,
            operator,
            codes,
            run,
        }
    }

    /// Returns the phone of the n-th person of this run.
    pub(super) fn phone(&self, n: u8) -> String {
        format!("+7925{:05}{n:02}", self.run)
    }

    /// Submits an application with its order and returns its id.
    pub(super) async fn apply(&self, name: &str, number: u128, phone: &str) -> anyhow::Result<String> {
        use org::submit_application_request::Part;
        let form = org::ApplicationForm {
            organization_name: name.to_owned(),
            kind: org::OrganizationKind::General.into(),
            region: "Москва".into(),
            ogrn: ogrn(self.run * 10 + number),
            kpp: "770101001".into(),
            time_zone: "Europe/Moscow".into(),
            head_full_name: "Анна Петрова".into(),
            administrator_full_name: "Иван Орлов".into(),
            administrator_email: "orlov@school.example".into(),
            administrator_phone: phone.to_owned(),
        };
        let message = |request_id, part| org::SubmitApplicationRequest {
            request_id,
            part: Some(part),
        };
        let header = org::SubmitApplicationHeader {
            form: Some(form),
            file_name: "order.pdf".into(),
        };
        let parts = [
            message(self.anonymous.act(), Part::Header(header)),
            message(String::new(), Part::Chunk(b"%PDF-1.4\n%%EOF\n".as_slice().into())),
        ];
        let mut api = self.anonymous.applications();
        let response = api
            .submit_application(tokio_stream::iter(parts))
            .await
            .map_err(to_error)?;
        Ok(response.into_inner().application_id)
    }

    /// Approves as the operator and returns the id of the organization.
    pub(super) async fn approve(&self, application_id: &str) -> anyhow::Result<String> {
        let request = org::ApproveApplicationRequest {
            request_id: self.operator.act(),
            application_id: application_id.to_owned(),
            ..Default::default()
        };
        let response = self.operator.applications().approve_application(request).await;
        let response = response.map_err(to_error)?.into_inner();
        self.operator
            .record_token("org-registry", &response.consistency_token);
        Ok(response.organization.context("no organization was returned")?.id)
    }

    /// Signs in a new person with a one-time code.
    pub(super) async fn newcomer(&self, phone: &str, full_name: &str) -> anyhow::Result<Account> {
        let mut api = self.anonymous.authentication();
        let request = mbr::RequestCodeRequest {
            request_id: self.anonymous.act(),
            phone: phone.to_owned(),
            ..Default::default()
        };
        let flow_id = api
            .request_code(request)
            .await
            .map_err(to_error)?
            .into_inner()
            .flow_id;
        let code = self.codes.code(phone).await?;
        let request = mbr::VerifyCodeRequest {
            flow_id: flow_id.clone(),
            code,
        };
        let verified = api.verify_code(request).await.map_err(to_error)?.into_inner();
        ensure!(verified.profiles.is_empty(), "{phone} was not new");
        let request = mbr::StartSessionRequest {
            request_id: self.anonymous.act(),
            flow_id,
            new_account: Some(mbr::NewAccount {
                full_name: full_name.to_owned(),
            }),
            proof: verified.proof,
            ..Default::default()
        };
        let started = api.start_session(request).await.map_err(to_error)?.into_inner();
        Ok(Account {
            session: self.anonymous.with(&started.access_token)?,
        })
    }

    /// Waits for the founding administrator's appointment and claims it.
    pub(super) async fn found(&self, account: &Account, org_id: &str) -> anyhow::Result<Person> {
        let mut api = account.session.appointments();
        let arrived = async {
            loop {
                let list = api
                    .list_appointments(mbr::ListAppointmentsRequest::default())
                    .await;
                if !list.map_err(to_error)?.into_inner().appointments.is_empty() {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, arrived)
            .await
            .context("the appointment did not arrive")??;
        let request = mbr::ClaimAppointmentRequest {
            request_id: account.session.act(),
            org_id: org_id.to_owned(),
        };
        let claimed = api
            .claim_appointment(request)
            .await
            .map_err(to_error)?
            .into_inner();
        account
            .session
            .record_token("membership", &claimed.consistency_token);
        account.enter(org_id).await
    }

    /// Creates a school, from the application to its administrator.
    pub(super) async fn school(&self, name: &str, number: u128, phone: &str) -> anyhow::Result<Person> {
        let application = self.apply(name, number, phone).await?;
        let org_id = self.approve(&application).await?;
        self.found(&self.newcomer(phone, "Иван Орлов").await?, &org_id)
            .await
    }
}

impl Account {
    pub(super) async fn enter(&self, org_id: &str) -> anyhow::Result<Person> {
        let request = mbr::IssueOrganizationTokenRequest {
            org_id: org_id.to_owned(),
        };
        let issued = self
            .session
            .authentication()
            .issue_organization_token(request)
            .await;
        let issued = issued.map_err(to_error)?.into_inner();
        Ok(Person {
            session: self.session.with(&issued.access_token)?,
            member_id: issued.member_id,
            org_id: org_id.to_owned(),
        })
    }

    /// Accepts a link. The caller checks the refusal.
    pub(super) async fn accept(
        &self,
        link: &str,
    ) -> anyhow::Result<Result<inv::AcceptInvitationResponse, tonic::Status>> {
        let request = mbr::CreateJoinTicketRequest {
            request_id: self.session.act(),
            invitation_token: link.to_owned(),
        };
        let ticket = self.session.authentication().create_join_ticket(request).await;
        let joiner = self
            .session
            .with(&ticket.map_err(to_error)?.into_inner().ticket)?;
        let request = inv::AcceptInvitationRequest {
            request_id: joiner.act(),
            secret: Some(inv::accept_invitation_request::Secret::LinkToken(link.to_owned())),
        };
        let response = joiner.invitations().accept_invitation(request).await;
        Ok(response.map(tonic::Response::into_inner))
    }

    /// Joins by a link that names the person.
    pub(super) async fn join(&self, link: &str) -> anyhow::Result<Person> {
        let accepted = self.accept(link).await?.map_err(to_error)?;
        ensure!(accepted.join_request_id.is_empty(), "the link names nobody");
        self.session
            .record_token("invitation", &accepted.consistency_token);
        self.enter(&accepted.org_id).await
    }

    /// Requests to join by a link that names nobody, and joins when `decider` has accepted.
    pub(super) async fn request_to_join(&self, link: &str, decider: &Person) -> anyhow::Result<Person> {
        let accepted = self.accept(link).await?.map_err(to_error)?;
        ensure!(
            accepted.member_id.is_empty(),
            "a link that names nobody admitted a person at once"
        );
        let request = mbr::DecideJoinRequestsRequest {
            request_id: decider.session.act(),
            org_id: accepted.org_id.clone(),
            decisions: vec![mbr::JoinDecision {
                join_request_id: accepted.join_request_id,
                accept: true,
                member_id: String::new(),
            }],
        };
        let decided = decider
            .session
            .join_requests()
            .decide_join_requests(request)
            .await;
        let decided = decided.map_err(to_error)?.into_inner();
        self.session
            .record_token("membership", &decided.consistency_token);
        self.enter(&accepted.org_id).await
    }
}

impl Person {
    /// Creates an invitation. The caller checks the refusal.
    pub(super) async fn invite(
        &self,
        mut request: inv::CreateInvitationRequest,
    ) -> Result<inv::CreateInvitationResponse, tonic::Status> {
        request.request_id = self.session.act();
        request.org_id.clone_from(&self.org_id);
        let response = self
            .session
            .invitations()
            .create_invitation(request)
            .await?
            .into_inner();
        self.session
            .record_token("invitation", &response.consistency_token);
        Ok(response)
    }

    pub(super) async fn link(&self, request: inv::CreateInvitationRequest) -> anyhow::Result<String> {
        let made = self.invite(request).await.map_err(to_error)?;
        Ok(made.link.context("no link was returned")?.link_token)
    }
}
