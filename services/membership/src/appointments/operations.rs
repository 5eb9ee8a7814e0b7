//! The first administrator: whoever proves the phone of the application (R3, R19).
use parta_access::{Caller, Decision, authorize};
use parta_ids::{AccountId, OrgId, TypedId as _};
use parta_proto::parta::membership::{
    internal::v1::AppointFoundingAdministratorResponse,
    v1::{Appointment, ClaimAppointmentResponse, ListAppointmentsResponse},
};
use parta_roster::{Role, State};
use parta_status::not_found;
use parta_storage::Mutation;
use sea_orm::ConnectionTrait;

use super::storage::{self as appointments, NewAppointment};
use crate::{
    accounts::storage as accounts,
    context::{Context, Page},
    error::Error,
    feed::timestamp,
    member_records::{Member, MemberView, events, storage as members},
    members::to_proto,
};

impl Context {
    async fn phones(&self, conn: &impl ConnectionTrait, account: AccountId) -> Result<Vec<String>, Error> {
        let mut addresses = accounts::addresses(conn, account).await?;
        addresses.retain(|address| address.starts_with('+'));
        Ok(addresses)
    }

    pub(crate) async fn list_appointments(
        &self,
        caller: &Caller,
        page: Page<'_>,
    ) -> Result<ListAppointmentsResponse, Error> {
        let (account, _) = self.account(self.db.conn(), caller).await?;
        let phones = self.phones(self.db.conn(), account).await?;
        let after = self.db.decode_page(caller, &page.filter, page.token)?;
        let mut rows = appointments::list_open(self.db.conn(), &phones, after, page.size + 1).await?;
        let next_page_token = self.cut(caller, &page, &mut rows, |row| OrgId::from_uuid(row.org_id));
        let appointment = |row: appointments::Appointment| Appointment {
            org_id: OrgId::from_uuid(row.org_id).to_string(),
            organization_display_name: row.organization_display_name,
            full_name: row.full_name,
            create_time: Some(timestamp(row.create_time)),
        };
        Ok(ListAppointmentsResponse {
            appointments: rows.into_iter().map(appointment).collect(),
            next_page_token,
        })
    }

    pub(crate) async fn claim_appointment(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
    ) -> Result<ClaimAppointmentResponse, Error> {
        let (account, _) = self.account(self.db.conn(), caller).await?;
        let scope = &authorize(caller, org, Decision::Allow)?;
        self.db
            .mutate(mutation, |tx| async move {
                let phones = self.phones(&tx, account).await?;
                let claimed = appointments::update_claimed(&tx, org, &phones, account, tx.now()).await?;
                let appointment = claimed.ok_or_else(|| not_found("appointment", org))?;
                let row = match members::lock_by_account(&tx, scope, account).await? {
                    Some(mut row) => {
                        row.roles.insert(Role::Administrator);
                        (row.state, row.leave_time) = (State::Active, None);
                        members::update(&tx, scope, &mut row).await?;
                        events::changed(&tx, &row).await?;
                        row
                    }
                    None => {
                        let mut row = Member::new(
                            org,
                            tx.env().id(),
                            &appointment.full_name,
                            State::Active,
                            Role::Administrator,
                            tx.now(),
                        );
                        row.account_id = Some(account);
                        members::insert(&tx, scope, &row).await?;
                        events::admitted(&tx, &row).await?;
                        row
                    }
                };
                let id = row.id;
                parta_audit::record(
                    &tx,
                    caller,
                    Some(org),
                    format!("organizations/{org}/members/{id}"),
                )
                .await?;
                Ok::<_, Error>(ClaimAppointmentResponse {
                    member: Some(to_proto(&MemberView {
                        member: row,
                        units: Vec::new(),
                    })),
                    ..Default::default()
                })
            })
            .await
    }

    pub(crate) async fn appoint(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        new: &NewAppointment,
    ) -> Result<AppointFoundingAdministratorResponse, Error> {
        let scope = &authorize(caller, org, Decision::Allow)?;
        self.db
            .mutate(mutation, |tx| async move {
                appointments::insert(&tx, scope, new, tx.now()).await?;
                parta_audit::record(&tx, caller, Some(org), format!("organizations/{org}/appointment"))
                    .await?;
                Ok::<_, Error>(AppointFoundingAdministratorResponse::default())
            })
            .await
    }
}
