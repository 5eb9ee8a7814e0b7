//! Reading: get and list.

use parta_access::Caller;
use parta_ids::{ApplicationId, OrgId, UnitId};
use parta_proto::parta::org_registry::v1::{self as pb, ApplicationState};

use crate::{
    applications::storage as applications,
    context::{App, operator},
    convert,
    error::Error,
    organizations::storage as organizations,
    units::{policy, storage as units},
};

/// A page as asked for.
pub(crate) struct Page<'a> {
    pub(crate) size: u64,
    pub(crate) token: &'a str,
    /// What else the list was asked by; a token of another list is refused.
    pub(crate) filter: String,
}

/// Cuts what was read beyond the page; whether there was more.
fn cut<T>(rows: &mut Vec<T>, size: u64) -> bool {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = rows.len() > size;
    rows.truncate(size);
    more
}

impl App {
    pub(crate) async fn get_application(
        &self,
        caller: &Caller,
        id: ApplicationId,
    ) -> Result<pb::GetApplicationResponse, Error> {
        operator(caller)?;
        let application = applications::get(self.db.conn(), id).await?;
        let steps = applications::list_steps(self.db.conn(), id).await?;
        Ok(pb::GetApplicationResponse {
            application: Some(convert::application(&application, &steps)),
        })
    }

    pub(crate) async fn list_applications(
        &self,
        caller: &Caller,
        state: Option<ApplicationState>,
        page: Page<'_>,
    ) -> Result<pb::ListApplicationsResponse, Error> {
        operator(caller)?;
        let after = self
            .db
            .decode_page::<ApplicationId>(caller, &page.filter, page.token)?;
        let mut found = applications::list(self.db.conn(), state, after, page.size + 1).await?;
        let more = cut(&mut found, page.size);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| self.db.encode_page(caller, &page.filter, &last.id));
        Ok(pb::ListApplicationsResponse {
            // A list tells where things stand; the history comes with the single application.
            applications: found.iter().map(|a| convert::application(a, &[])).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    /// Checks that there is such an order and writes down that it is read.
    pub(crate) async fn open_order(&self, caller: &Caller, id: ApplicationId) -> Result<(), Error> {
        operator(caller)?;
        self.db
            .write(|tx| async move {
                applications::get(&tx, id).await?;
                parta_audit::record(&tx, caller, None, format!("applications/{id}/order")).await?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn get_organization(
        &self,
        caller: &Caller,
        org: OrgId,
    ) -> Result<pb::GetOrganizationResponse, Error> {
        let (scope, _) = self.read_scope(caller, org, policy::read_organization).await?;
        let found = organizations::get(self.db.conn(), &scope).await?;
        Ok(pb::GetOrganizationResponse {
            organization: Some(convert::organization(&found)),
        })
    }

    pub(crate) async fn list_organizations(
        &self,
        caller: &Caller,
        page: Page<'_>,
    ) -> Result<pb::ListOrganizationsResponse, Error> {
        operator(caller)?;
        let after = self.db.decode_page::<OrgId>(caller, &page.filter, page.token)?;
        let mut found = organizations::list(self.db.conn(), None, after, page.size + 1).await?;
        let more = cut(&mut found, page.size);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| self.db.encode_page(caller, &page.filter, &last.id));
        Ok(pb::ListOrganizationsResponse {
            organizations: found.iter().map(convert::organization).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    pub(crate) async fn get_unit(
        &self,
        caller: &Caller,
        org: OrgId,
        id: UnitId,
    ) -> Result<pb::GetUnitResponse, Error> {
        let (scope, facts) = self.read_scope(caller, org, policy::list_units).await?;
        if facts.is_some_and(|facts| !policy::sees_unit(&facts, id)) {
            return Err(Error::UnknownUnit(id));
        }
        let found = units::find(self.db.conn(), &scope, id)
            .await?
            .ok_or(Error::UnknownUnit(id))?;
        Ok(pb::GetUnitResponse {
            unit: Some(convert::unit(&found)),
        })
    }

    pub(crate) async fn list_units(
        &self,
        caller: &Caller,
        org: OrgId,
        mut filter: units::Filter,
        page: Page<'_>,
    ) -> Result<pb::ListUnitsResponse, Error> {
        let (scope, facts) = self.read_scope(caller, org, policy::list_units).await?;
        if let Some(facts) = facts.filter(|facts| !facts.is_staff()) {
            filter.only = Some(
                facts
                    .units()
                    .into_iter()
                    .filter(|unit| policy::sees_unit(&facts, *unit))
                    .collect(),
            );
        }
        let after = self.db.decode_page::<UnitId>(caller, &page.filter, page.token)?;
        let mut found = units::list(self.db.conn(), &scope, &filter, after, page.size + 1).await?;
        let more = cut(&mut found, page.size);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| self.db.encode_page(caller, &page.filter, &last.id));
        Ok(pb::ListUnitsResponse {
            units: found.iter().map(convert::unit).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }
}
