use std::collections::{BTreeMap, BTreeSet};

use parta_access::{Caller, OrgScope, ServiceAccountPermission, SignedToken};
use parta_database::Tx;
use parta_edge::{Act, Mutation, Page, PageRequest, Query, Read, Stored, UnclaimedMutation};
use parta_ids::{OrgId, ServiceAccountId, ServiceAccountKeyId};
use serde::{Deserialize, Serialize};

use super::{
    model::{MAX_KEYS, ServiceAccount, ServiceAccountKey, ServiceAccountView},
    policy, secret, storage,
};
use crate::{
    context::{Context, Run},
    error::Error,
};

const KIND: &str = "service account";
const KEY_KIND: &str = "service account key";

async fn may_administer(run: Run<'_>, org: OrgId) -> Result<OrgScope, Error> {
    let Run { context, tx, caller } = run;
    Ok(context
        .authorize(tx, caller, org, policy::administer)
        .await?
        .scope)
}

/// The outcome of CreateServiceAccount and RotateServiceAccountKey.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyCreated {
    service_account_id: ServiceAccountId,
    key_id: ServiceAccountKeyId,
}

impl Stored for KeyCreated {}

/// The outcome of RevokeServiceAccount and RevokeServiceAccountKey.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeysRevoked {
    key_ids: Vec<ServiceAccountKeyId>,
}

impl Stored for KeysRevoked {}

/// An account with a new key.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) shown: ServiceAccountView,
    pub(crate) key_id: ServiceAccountKeyId,
    /// Derived from the id for each response, so that no record holds it.
    pub(crate) key: String,
}

/// Creates a key of an account whose row is locked or new.
async fn create_key(run: Run<'_>, scope: &OrgScope, account: ServiceAccountId) -> Result<KeyCreated, Error> {
    let Run { context, tx, caller } = run;
    let key = ServiceAccountKey {
        id: tx.env().id(),
        account_id: account,
        create_time: tx.now(),
        last_use_time: None,
    };
    let digest = secret::key_digest(&secret::service_key(&context.secrets, key.id));
    storage::insert_key(tx, scope, &key, digest).await?;
    audit(tx, caller, scope.org_id(), account, Some(key.id)).await?;
    Ok(KeyCreated {
        service_account_id: account,
        key_id: key.id,
    })
}

/// Loads an account with a key. An account or a key that was revoked since has no key to give.
async fn load_key(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    created: &KeyCreated,
) -> Result<NewKey, Error> {
    let (id, key_id) = (created.service_account_id, created.key_id);
    let account = storage::find(tx, scope, id).await?;
    let account = account.ok_or_else(|| Error::unknown(KIND, id))?;
    let keys = storage::list_keys(tx, scope, [id]).await?;
    if !keys.iter().any(|key| key.id == key_id) {
        return Err(Error::unknown(KEY_KIND, key_id));
    }
    Ok(NewKey {
        shown: ServiceAccountView { account, keys },
        key_id,
        key: secret::service_key(&context.secrets, key_id),
    })
}

#[derive(Debug)]
pub(crate) struct CreateServiceAccount {
    pub(crate) org_id: OrgId,
    pub(crate) display_name: String,
    pub(crate) permissions: BTreeSet<ServiceAccountPermission>,
}

impl Mutation for CreateServiceAccount {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = KeyCreated;
    type View = NewKey;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        may_administer(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<KeyCreated, Error> {
        let Run { tx, .. } = run;
        let account = ServiceAccount {
            org_id: self.org_id,
            id: tx.env().id(),
            display_name: self.display_name.clone(),
            permissions: self.permissions.clone(),
            create_time: tx.now(),
        };
        storage::insert(tx, scope, &account).await?;
        create_key(run, scope, account.id).await
    }

    async fn view(&self, run: Run<'_>, scope: &OrgScope, outcome: &KeyCreated) -> Result<NewKey, Error> {
        load_key(run.context, run.tx, scope, outcome).await
    }
}

/// Creates a further key. The other key stays valid.
#[derive(Debug)]
pub(crate) struct RotateKey {
    pub(crate) org_id: OrgId,
    pub(crate) service_account_id: ServiceAccountId,
}

impl Mutation for RotateKey {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = KeyCreated;
    type View = NewKey;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        may_administer(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<KeyCreated, Error> {
        let id = self.service_account_id;
        if !storage::lock(run.tx, scope, id).await? {
            return Err(Error::unknown(KIND, id));
        }
        if storage::list_keys(run.tx, scope, [id]).await?.len() >= MAX_KEYS {
            return Err(Error::service_account_key_limit());
        }
        create_key(run, scope, id).await
    }

    async fn view(&self, run: Run<'_>, scope: &OrgScope, outcome: &KeyCreated) -> Result<NewKey, Error> {
        load_key(run.context, run.tx, scope, outcome).await
    }
}

/// Revokes a key, or an account with all its keys. The tokens issued for them stop working.
#[derive(Debug)]
pub(crate) struct Revoke {
    pub(crate) org_id: OrgId,
    pub(crate) service_account_id: ServiceAccountId,
    /// Only this key.
    pub(crate) key_id: Option<ServiceAccountKeyId>,
}

impl Mutation for Revoke {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = KeysRevoked;
    type View = Vec<ServiceAccountKeyId>;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        may_administer(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<KeysRevoked, Error> {
        let Run { tx, caller, .. } = run;
        let id = self.service_account_id;
        if !storage::lock(tx, scope, id).await? {
            return Err(Error::unknown(KIND, id));
        }
        let mut key_ids: Vec<_> = storage::list_keys(tx, scope, [id])
            .await?
            .iter()
            .map(|key| key.id)
            .collect();
        if let Some(wanted) = self.key_id {
            key_ids.retain(|key| *key == wanted);
            if key_ids.is_empty() {
                return Err(Error::unknown(KEY_KIND, wanted));
            }
        } else {
            storage::update_revoked(tx, scope, id, tx.now()).await?;
        }
        let now = tx.database_now().await?;
        for key in &key_ids {
            storage::revoke_key(tx, scope, *key, now).await?;
        }
        audit(tx, caller, self.org_id, id, self.key_id).await?;
        Ok(KeysRevoked { key_ids })
    }

    async fn view(
        &self,
        _: Run<'_>,
        _: &OrgScope,
        outcome: &KeysRevoked,
    ) -> Result<Vec<ServiceAccountKeyId>, Error> {
        Ok(outcome.key_ids.clone())
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
    type View = Page<ServiceAccountView>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<ServiceAccountView>>, Error> {
        let Run { tx, caller, .. } = run;
        let scope = may_administer(run, self.org_id).await?;
        let after = self.page.after(tx, caller)?;
        let accounts = storage::list(tx, &scope, after, self.page.limit()).await?;
        let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for key in storage::list_keys(tx, &scope, accounts.iter().map(|account| account.id)).await? {
            keys.entry(key.account_id).or_default().push(key);
        }
        let view = |account: ServiceAccount| ServiceAccountView {
            keys: keys.remove(&account.id).unwrap_or_default(),
            account,
        };
        let rows: Vec<_> = accounts.into_iter().map(view).collect();
        Ok(Read::plain(
            self.page.page(tx, caller, rows, |row| row.account.id),
        ))
    }
}

/// Returns the permissions that accounts can have.
#[derive(Debug)]
pub(crate) struct GetPermissionCatalog {
    pub(crate) org_id: OrgId,
}

impl Query for GetPermissionCatalog {
    type Context = Context;
    type View = &'static [ServiceAccountPermission];
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Self::View>, Error> {
        may_administer(run, self.org_id).await?;
        Ok(Read::plain(&ServiceAccountPermission::ALL))
    }
}

/// Issues a token of the account whose key is presented.
pub(crate) struct IssueToken {
    pub(crate) key: String,
}

/// A token, and the use to record.
pub(crate) struct IssuedToken {
    pub(crate) token: SignedToken,
    /// `None` if a use was recorded within the last hour.
    pub(crate) to_record: Option<RecordUse>,
}

impl Query for IssueToken {
    type Context = Context;
    type View = IssuedToken;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<IssuedToken>, Error> {
        let Run { context, tx, .. } = run;
        let found = storage::find_presented(tx, secret::key_digest(&self.key)).await?;
        let (account, key) = found.ok_or_else(Error::service_account_key_invalid)?;
        let org_id = account.org_id;
        let token = context
            .issuer
            .service_account(org_id, account.id, key.id, account.permissions);
        Ok(Read::plain(IssuedToken {
            token: Context::signed(token)?,
            to_record: key.is_use_recorded(tx.now()).then_some(RecordUse {
                org_id,
                key_id: key.id,
            }),
        }))
    }
}

/// Records that a key was presented. Calls that present it at the same time record one use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordUse {
    org_id: OrgId,
    key_id: ServiceAccountKeyId,
}

impl UnclaimedMutation for RecordUse {
    type Context = Context;
    type View = ();
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Act<()>, Error> {
        storage::record_use(run.tx, self.org_id, self.key_id, run.tx.now()).await?;
        Ok(Act::Done(()))
    }
}

async fn audit(
    tx: &Tx,
    caller: &Caller,
    org: OrgId,
    id: ServiceAccountId,
    key: Option<ServiceAccountKeyId>,
) -> Result<(), Error> {
    let mut object = format!("organizations/{org}/serviceAccounts/{id}");
    if let Some(key) = key {
        object.push_str(&format!("/keys/{key}"));
    }
    Ok(parta_audit::record(tx, caller, Some(org), object).await?)
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcomes_have_their_golden_forms() {
        let key_id = ServiceAccountKeyId::from_uuid(Uuid::from_u128(2));
        let created = KeyCreated {
            service_account_id: ServiceAccountId::from_uuid(Uuid::from_u128(1)),
            key_id,
        };
        let form = format!(
            "\u{1}{{\"service_account_id\":\"{}\",\"key_id\":\"{key_id}\"}}",
            created.service_account_id
        );
        let stored = created.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(KeyCreated::decode(&stored).unwrap(), created);
        let revoked = KeysRevoked {
            key_ids: vec![key_id],
        };
        let stored = revoked.encode().unwrap();
        assert_eq!(stored, format!("\u{1}{{\"key_ids\":[\"{key_id}\"]}}").as_bytes());
        assert_eq!(KeysRevoked::decode(&stored).unwrap(), revoked);
    }
}
