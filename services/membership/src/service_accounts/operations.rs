use std::collections::BTreeSet;

use parta_access::{Caller, OrgScope, SignedToken, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{OrgId, ServiceAccountId};
use serde::{Deserialize, Serialize};

use super::{model::ServiceAccount, policy, secret, storage};
use crate::{context::Context, error::Error};

const KIND: &str = "service account";

async fn may_administer(context: &Context, tx: &Tx, caller: &Caller, org: OrgId) -> Result<OrgScope, Error> {
    let facts = context.facts(tx, caller, org).await?;
    Ok(authorize(caller, org, policy::administer(&facts))?)
}

/// The outcome of CreateServiceAccount and RevokeServiceAccount.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Named {
    service_account_id: ServiceAccountId,
}

impl Stored for Named {}

#[derive(Debug)]
pub(crate) struct CreateServiceAccount {
    pub(crate) org_id: OrgId,
    pub(crate) display_name: String,
    pub(crate) permissions: BTreeSet<String>,
}

/// A new account with its key.
#[derive(Debug)]
pub(crate) struct NewServiceAccount {
    pub(crate) account: ServiceAccount,
    /// Derived from the id for each answer, so that no record holds it.
    pub(crate) key: String,
}

impl Mutation for CreateServiceAccount {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Named;
    type View = NewServiceAccount;
    type Error = Error;

    async fn authorize(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<OrgScope, Error> {
        may_administer(context, tx, caller, self.org_id).await
    }

    async fn act(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
        scope: &OrgScope,
    ) -> Result<Named, Error> {
        let account = ServiceAccount {
            org_id: self.org_id,
            id: tx.env().id(),
            display_name: self.display_name.clone(),
            permissions: self.permissions.clone(),
            create_time: tx.now(),
        };
        let digest = secret::key_digest(&secret::service_key(&context.secrets, account.id));
        storage::insert(tx, scope, &account, digest).await?;
        audit(tx, caller, self.org_id, account.id).await?;
        Ok(Named {
            service_account_id: account.id,
        })
    }

    async fn view(
        &self,
        context: &Context,
        tx: &Tx,
        scope: &OrgScope,
        outcome: &Named,
    ) -> Result<NewServiceAccount, Error> {
        // An account that was revoked since has no key to give.
        let id = outcome.service_account_id;
        let account = storage::find(tx, scope, id).await?;
        Ok(NewServiceAccount {
            account: account.ok_or_else(|| Error::unknown(KIND, id))?,
            key: secret::service_key(&context.secrets, id),
        })
    }
}

/// Revokes an account. Its key and the tokens issued for it stop working.
#[derive(Debug)]
pub(crate) struct RevokeServiceAccount {
    pub(crate) org_id: OrgId,
    pub(crate) service_account_id: ServiceAccountId,
}

impl Mutation for RevokeServiceAccount {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Named;
    type View = ServiceAccountId;
    type Error = Error;

    async fn authorize(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<OrgScope, Error> {
        may_administer(context, tx, caller, self.org_id).await
    }

    async fn act(&self, _: &Context, tx: &Tx, caller: &Caller, scope: &OrgScope) -> Result<Named, Error> {
        let id = self.service_account_id;
        if !storage::revoke(tx, scope, id, tx.now()).await? {
            return Err(Error::unknown(KIND, id));
        }
        audit(tx, caller, self.org_id, id).await?;
        Ok(Named {
            service_account_id: id,
        })
    }

    async fn view(
        &self,
        _: &Context,
        _: &Tx,
        _: &OrgScope,
        outcome: &Named,
    ) -> Result<ServiceAccountId, Error> {
        Ok(outcome.service_account_id)
    }
}

/// Lists the accounts that were not revoked.
#[derive(Debug)]
pub(crate) struct ListServiceAccounts {
    pub(crate) org_id: OrgId,
    pub(crate) page: PageRequest,
}

impl Query for ListServiceAccounts {
    type Context = Context;
    type View = Page<ServiceAccount>;
    type Error = Error;

    async fn run(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
    ) -> Result<Read<Page<ServiceAccount>>, Error> {
        let scope = may_administer(context, tx, caller, self.org_id).await?;
        let after = self.page.after(tx, caller)?;
        let rows = storage::list(tx, &scope, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.id)))
    }
}

/// Issues a token of the account whose key is presented.
pub(crate) struct IssueToken {
    pub(crate) key: String,
}

impl Query for IssueToken {
    type Context = Context;
    type View = SignedToken;
    type Error = Error;

    async fn run(&self, context: &Context, tx: &Tx, _: &Caller) -> Result<Read<SignedToken>, Error> {
        let found = storage::find_by_key(tx, secret::key_digest(&self.key)).await?;
        let account = found.ok_or_else(Error::service_account_key_invalid)?;
        let token = context.issuer.service_account(
            account.org_id,
            account.id,
            account.permissions.into_iter().collect(),
        );
        Ok(Read::plain(Context::signed(token)?))
    }
}

async fn audit(tx: &Tx, caller: &Caller, org: OrgId, id: ServiceAccountId) -> Result<(), Error> {
    let object = format!("organizations/{org}/serviceAccounts/{id}");
    Ok(parta_audit::record(tx, caller, Some(org), object).await?)
}
