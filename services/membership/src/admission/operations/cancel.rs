use parta_access::{OrgScope, service_scope};
use parta_edge::{Mutation, Stored as _};
use parta_ids::OrgId;
use parta_mutations::Claim;

use super::Admitted;
use crate::{
    context::{Context, Run},
    error::Error,
};

/// Cancels a call of AdmitMember that may be on its way, or finds what it has done. Only services call it.
#[derive(Debug)]
pub(crate) struct CancelAdmission {
    pub(crate) org_id: OrgId,
    pub(crate) admission: parta_mutations::Mutation,
}

impl Mutation for CancelAdmission {
    type Context = Context;
    type Grant = OrgScope;
    /// That of the call, or [`Admitted::Canceled`].
    type Outcome = Admitted;
    type View = Admitted;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        Ok(service_scope(run.caller, self.org_id)?)
    }

    async fn act(&self, run: Run<'_>, _: &OrgScope) -> Result<Admitted, Error> {
        let Run { tx, caller, .. } = run;
        match parta_mutations::claim(tx, &self.admission).await? {
            Claim::Before(record) => Ok(Admitted::decode(record.outcome()?)?),
            Claim::New(claimed) => {
                claimed.keep(tx, Admitted::Canceled.encode()?).await?;
                let (org, id) = (self.org_id, self.admission.request_id());
                let object = format!("organizations/{org}/admissions/{id}");
                parta_audit::record(tx, caller, Some(org), object).await?;
                Ok(Admitted::Canceled)
            }
        }
    }

    async fn view(&self, _: Run<'_>, _: &OrgScope, outcome: &Admitted) -> Result<Admitted, Error> {
        Ok(outcome.clone())
    }
}
