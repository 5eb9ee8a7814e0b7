use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{AccountId, JoinRequestId};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        events,
        model::{JoinRequest, RequestState},
        storage,
    },
    audit, unknown,
};
use crate::{
    context::{Context, Run},
    error::Error,
    sessions,
};

/// A request of the caller, with the name of the organization.
#[derive(Debug, Clone)]
pub(crate) struct OwnRequest {
    pub(crate) request: JoinRequest,
    /// Empty while the organization is not known here.
    pub(crate) organization_display_name: String,
}

async fn own(context: &Context, tx: &Tx, request: JoinRequest) -> Result<OwnRequest, Error> {
    let known = context.roster.organization(tx, request.terms.org_id).await?;
    Ok(OwnRequest {
        organization_display_name: known.map(|o| o.display_name).unwrap_or_default(),
        request,
    })
}

/// Lists the requests of the signed-in person.
#[derive(Debug)]
pub(crate) struct ListOwnJoinRequests {
    pub(crate) page: PageRequest,
}

impl Query for ListOwnJoinRequests {
    type Context = Context;
    type View = Page<OwnRequest>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<OwnRequest>>, Error> {
        let Run { context, tx, caller } = run;
        let (account, _) = sessions::signed_in(tx, caller).await?;
        let after: Option<JoinRequestId> = self.page.after(tx, caller)?;
        let rows = storage::list_own(tx, account, after, self.page.limit()).await?;
        let rows = self.page.page(tx, caller, rows, |row| row.id);
        let mut items = Vec::with_capacity(rows.items.len());
        for row in rows.items {
            match row.request {
                Ok(request) => items.push(own(context, tx, request).await?),
                Err(StorageError::UnknownValue { column, value }) => {
                    let org = row.org_id;
                    tracing::warn!(org.id = %org, column, value, "a request to join was left out of a list");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Read::plain(Page {
            items,
            next_page_token: rows.next_page_token,
        }))
    }
}

/// Withdraws a request of the signed-in person.
#[derive(Debug)]
pub(crate) struct WithdrawJoinRequest {
    pub(crate) join_request_id: JoinRequestId,
}

/// The outcome of a withdrawal, stored for repetitions.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Withdrawn {
    join_request_id: JoinRequestId,
}

impl Stored for Withdrawn {}

impl Mutation for WithdrawJoinRequest {
    type Context = Context;
    type Grant = AccountId;
    type Outcome = Withdrawn;
    type View = OwnRequest;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<AccountId, Error> {
        Ok(sessions::signed_in(run.tx, run.caller).await?.0)
    }

    async fn act(&self, run: Run<'_>, account: &AccountId) -> Result<Withdrawn, Error> {
        let Run { tx, caller, .. } = run;
        let id = self.join_request_id;
        let mut row = storage::lock_own(tx, *account, id)
            .await?
            .ok_or_else(|| unknown(id))?;
        match row.state {
            RequestState::Pending => {
                row.state = RequestState::Withdrawn;
                row.decide_time = Some(tx.now());
                let org = row.terms.org_id;
                let scope = OrgScope::for_consumer("membership.withdraw_join_request", org);
                storage::update(tx, &scope, &row).await?;
                events::decided(tx, &row).await?;
                audit(tx, caller, org, id).await?;
            }
            RequestState::Withdrawn => {}
            _ => return Err(Error::join_request_decided()),
        }
        Ok(Withdrawn { join_request_id: id })
    }

    async fn view(
        &self,
        run: Run<'_>,
        account: &AccountId,
        outcome: &Withdrawn,
    ) -> Result<OwnRequest, Error> {
        let Run { context, tx, .. } = run;
        let id = outcome.join_request_id;
        let row = storage::lock_own(tx, *account, id)
            .await?
            .ok_or_else(|| unknown(id))?;
        own(context, tx, row).await
    }
}
