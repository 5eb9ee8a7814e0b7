//! The steps after the restore of a database: sessions end, links and keys of service accounts are revoked,
//! and membership repeats what had ended after the backup, so that a restore never gives access back.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::Context as _;
use parta_database::Db;
use parta_feed::Cursor;
use parta_ids::{Env, MemberId, OrgId};
use parta_roster::{Endings, Projected, Widened};
use parta_runtime::{ConfigArgs, Settings};
use serde_json::json;

use super::{
    databases::{self, Database, ServiceLocks},
    manifest::Kind,
    postgresql,
};
use crate::{SERVICES, output::Output};

const MEMBERSHIP: &str = "membership";
const INVITATION: &str = "invitation";
const ORG_REGISTRY: &str = "org-registry";
/// The files of the keys whose access tokens are accepted. The first one signs.
const SIGNING_KEYS: [&str; 3] = [
    "token-signing.pem",
    "token-signing-next.pem",
    "token-signing-previous.pem",
];

/// Options of `parta recover`.
#[derive(Debug, clap::Args)]
pub(crate) struct Recover {
    #[command(flatten)]
    kept: KeptAccess,
}

/// The choices about access that was perhaps ended after the backup.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct KeptAccess {
    /// Keeps the open links of a restored invitation. Otherwise they are revoked, because those that were
    /// revoked or used after the backup could be used again.
    #[arg(long)]
    keep_links: bool,
    /// Keeps the keys of service accounts of a restored membership. Otherwise they are revoked, because those
    /// that were revoked after the backup could be used again.
    #[arg(long)]
    keep_service_accounts: bool,
}

impl Recover {
    pub(crate) async fn run(self, args: ConfigArgs, output: Output) -> anyhow::Result<()> {
        let settings = databases::settings(args)?;
        let restored = [MEMBERSHIP, ORG_REGISTRY, INVITATION];
        let locks = ServiceLocks::acquire(&settings).await?;
        recover(&settings, &restored, Since::MayHaveRun, self.kept, output).await?;
        locks.release().await?;
        output.document(&json!({}));
        Ok(())
    }
}

/// Whether the services have run since their databases were restored, or lost commits in a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// They have not.
    Stopped,
    /// They may have.
    MayHaveRun,
}

/// The databases that exist.
pub(super) struct Databases(BTreeMap<&'static str, Db>);

impl Databases {
    /// Opens the databases of the services but those in `without`. A database that does not exist or is empty
    /// is left out; one that cannot be opened is an error.
    pub(super) async fn open(settings: &Settings, without: &[&str]) -> anyhow::Result<Self> {
        let mut open = Self(BTreeMap::new());
        for service in SERVICES {
            if without.contains(&service.name) {
                continue;
            }
            match Self::open_one(&Database::of(service, settings)?).await {
                Ok(Some(db)) => {
                    open.0.insert(service.name, db);
                }
                Ok(None) => {}
                Err(error) => {
                    open.close().await;
                    return Err(error.context("a restore compares the databases of all services"));
                }
            }
        }
        Ok(open)
    }

    async fn open_one(database: &Database) -> anyhow::Result<Option<Db>> {
        if database.kind() == Kind::Sqlite {
            return Ok(match database.file()?.exists() {
                true => Some(database.connect().await?),
                false => None,
            });
        }
        let db = database.connect().await?;
        match postgresql::tables(&db).await {
            Ok(tables) if !tables.is_empty() => Ok(Some(db)),
            other => {
                db.close().await;
                other.map(|_| None)
            }
        }
    }

    pub(super) async fn close(self) {
        for db in self.0.into_values() {
            db.close().await;
        }
    }
}

/// Recovers the databases after these services were restored. Nothing is left to do for others, which only
/// consume events.
pub(super) async fn recover(
    settings: &Settings,
    restored: &[&str],
    since: Since,
    kept: KeptAccess,
    output: Output,
) -> anyhow::Result<()> {
    let databases = Databases::open(settings, &[]).await?;
    let keys = databases::keys(settings);
    let restored = |name: &'static str| databases.0.get(name).filter(|_| restored.contains(&name));
    let steps = async {
        if let Some(invitation) = restored(INVITATION) {
            revoke_links(invitation, kept, output).await?;
        }
        if let Some(membership) = restored(MEMBERSHIP) {
            end_sessions(membership, &keys, output).await?;
            revoke_service_account_keys(membership, kept, output).await?;
            close_role_changes(membership, output).await?;
        }
        if let Some(membership) = databases.0.get(MEMBERSHIP) {
            let sources = [restored(MEMBERSHIP), restored(ORG_REGISTRY)];
            repeat_endings(&databases.0, membership, sources, since, output).await?;
        }
        if let (Some(membership), Some(invitation)) = (restored(MEMBERSHIP), databases.0.get(INVITATION)) {
            end_requests(membership, invitation, output).await?;
        }
        for source in [MEMBERSHIP, ORG_REGISTRY] {
            if let Some(db) = restored(source) {
                rebuild_projections(&databases.0, source, db, output).await?;
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    let done = steps.await;
    databases.close().await;
    done
}

async fn revoke_links(invitation: &Db, kept: KeptAccess, output: Output) -> anyhow::Result<()> {
    if kept.keep_links {
        output.line("invitation: links that were revoked or used after the backup can be used again");
        return Ok(());
    }
    let revoked = parta_invitation::revoke_open_links(invitation).await;
    let revoked = revoked.context("cannot revoke the links; run `parta recover`")?;
    output.line(format!(
        "invitation: {revoked} open links were revoked; the staff creates new ones"
    ));
    Ok(())
}

/// Ends the requests to join that had ended after the backup of membership, as far as invitation knows it.
async fn end_requests(membership: &Db, invitation: &Db, output: Output) -> anyhow::Result<()> {
    let failed = "cannot end the requests to join; run `parta recover`";
    let refused = parta_invitation::list_refused_requests(invitation).await;
    for (org, requests) in refused.context(failed)? {
        let ended = parta_membership::refuse_requests_again(membership, org, &requests).await;
        let ended = ended.context(failed)?;
        if ended > 0 {
            output.line(format!(
                "membership: {org}: {ended} requests to join, which had ended after the backup, were refused again"
            ));
        }
    }
    let links = parta_invitation::end_revoked_again(invitation)
        .await
        .context(failed)?;
    if links > 0 {
        output.line(format!(
            "invitation: the requests by {links} revoked links end again when the service runs"
        ));
    }
    Ok(())
}

/// Ends in membership what had ended after the backup of one of its sources, as far as another service knows
/// it: `restored` has membership and org-registry, if they were restored.
async fn repeat_endings(
    databases: &BTreeMap<&'static str, Db>,
    membership: &Db,
    restored: [Option<&Db>; 2],
    since: Since,
    output: Output,
) -> anyhow::Result<()> {
    let [restored_membership, restored_org_registry] = restored;
    let mut lost = BTreeMap::<OrgId, (Endings, Widened)>::new();
    if restored_membership.is_some() {
        for (service, db) in databases.iter().filter(|(service, _)| **service != MEMBERSHIP) {
            for cursor in lost_cursors(membership, db, &consumer(service, MEMBERSHIP)).await? {
                let (own, later) = projections(membership, db, cursor.org_id).await?;
                let (endings, widened) = lost.entry(cursor.org_id).or_default();
                let last_read = (since == Since::MayHaveRun).then_some(cursor.event_id);
                endings.add(own.ended_in(&later, last_read));
                widened.add(own.wider_than(&later));
            }
        }
    }
    if let Some(org_registry) = restored_org_registry {
        let consumer = consumer(MEMBERSHIP, ORG_REGISTRY);
        for Cursor { org_id: org, .. } in lost_cursors(org_registry, membership, &consumer).await? {
            let (own, source) = projections(membership, org_registry, org).await?;
            let (endings, _) = lost.entry(org).or_default();
            endings.add(own.relations_without_unit(&source));
            let wider = source.wider_policies(&own);
            if !wider.is_empty() {
                output.line(format!(
                    "org-registry: {org}: decide again about the policies {}, which were stricter after the backup",
                    wider.join(", ")
                ));
            }
        }
    }
    for (org, (endings, widened)) in lost {
        let mut kept = BTreeSet::new();
        if !endings.is_empty() {
            let repeated = parta_membership::repeat_endings(membership, org, &endings).await;
            kept = repeated.with_context(|| {
                format!("cannot repeat the endings of {org}; run `parta recover` before the services start")
            })?;
            output.line(format!(
                "membership: {org}: {} endings of after the backup were repeated",
                endings.count()
            ));
        }
        for (what, members) in [
            (
                "had lost the role of an administrator, and is the only one,",
                &kept,
            ),
            ("was released from an account", &widened.released),
            ("had limits toward a child", &widened.limits),
            ("had a protected family", &widened.protected),
        ] {
            let names: Vec<String> = members.iter().map(MemberId::to_string).collect();
            if !names.is_empty() {
                output.line(format!(
                    "membership: {org}: decide again about {}, who {what} after the backup",
                    names.join(", ")
                ));
            }
        }
    }
    Ok(())
}

/// Returns the name of the consumer of a service that reads the feed of membership or org-registry.
fn consumer(service: &str, source: &str) -> String {
    let effect = match source {
        MEMBERSHIP => "roster_members",
        _ => "roster_organizations",
    };
    format!("{}.{effect}", service.replace('-', "_"))
}

/// Returns the cursors of a consumer whose events the source has lost.
async fn lost_cursors(source: &Db, db: &Db, consumer: &str) -> anyhow::Result<Vec<Cursor>> {
    let lost = parta_feed::list_lost(source, db, consumer).await;
    lost.with_context(|| format!("cannot compare the cursors of {consumer} with the logs"))
}

/// Makes the consumers of a source take snapshots of the organizations of which it has lost events. They hold
/// these organizations until then. The endings must have been repeated: nothing else has them afterwards.
async fn rebuild_projections(
    databases: &BTreeMap<&'static str, Db>,
    source: &str,
    source_db: &Db,
    output: Output,
) -> anyhow::Result<()> {
    for (service, db) in databases.iter().filter(|(service, _)| **service != source) {
        let name = &consumer(service, source);
        let lost = lost_cursors(source_db, db, name).await?;
        for cursor in &lost {
            let request = db.write(|tx| async move { parta_feed::rebuild(&tx, cursor.org_id, name).await });
            let failed = || format!("cannot request a snapshot for {name}; run `parta recover`");
            request.await.with_context(failed)?;
        }
        if !lost.is_empty() {
            output.line(format!(
                "{service}: {name} replaces its data of {} organizations when the service runs",
                lost.len()
            ));
        }
    }
    Ok(())
}

async fn projections(first: &Db, second: &Db, org: OrgId) -> anyhow::Result<(Projected, Projected)> {
    let load = async |db: &Db| {
        let loaded = Projected::load(db.conn(), org).await;
        loaded.with_context(|| format!("cannot read the projection of the database of {}", db.service()))
    };
    Ok((load(first).await?, load(second).await?))
}

/// Closes the changes of roles: the restored database does not know which decisions were made after the
/// backup that an undo has to respect.
async fn close_role_changes(db: &Db, output: Output) -> anyhow::Result<()> {
    let closed = parta_membership::close_role_changes(db).await;
    let closed = closed.context("cannot close the changes of roles; run `parta recover`")?;
    output.line(format!(
        "membership: {closed} changes of roles of before the restore cannot be undone"
    ));
    Ok(())
}

/// Ends all sessions and replaces the key that signs access tokens: the restored database does not know which
/// sessions were ended after the backup, and a token outlives its session by up to ten minutes.
async fn end_sessions(db: &Db, keys: &Path, output: Output) -> anyhow::Result<()> {
    let ended = parta_membership::end_all_sessions(db).await;
    let ended = ended.context("cannot end the sessions of the restored database; run `parta recover`")?;
    output.line(format!(
        "membership: {ended} sessions have ended; everybody signs in again"
    ));
    let deleted = parta_membership::delete_one_time_codes(db).await;
    let deleted = deleted.context("cannot delete the one-time codes of the school; run `parta recover`")?;
    output.line(format!(
        "membership: {deleted} one-time codes of before the restore were deleted"
    ));
    if keys.join(SIGNING_KEYS[0]).exists() {
        for name in SIGNING_KEYS {
            let file = keys.join(name);
            if file.exists() {
                fs::remove_file(&file).with_context(|| format!("cannot replace {}", file.display()))?;
            }
        }
        parta_runtime::make_keys(&SERVICES, keys, &Env::system())?;
        output.line("membership: the key that signs access tokens was replaced");
    } else {
        output.line(format!(
            "membership: if the services have {} of before the restore elsewhere, replace it there and restart all \
             of them, because access tokens outlive their sessions by ten minutes",
            SIGNING_KEYS[0]
        ));
    }
    Ok(())
}

/// Revokes the keys of service accounts: the restored database does not know which of them were revoked after
/// the backup.
async fn revoke_service_account_keys(db: &Db, kept: KeptAccess, output: Output) -> anyhow::Result<()> {
    if kept.keep_service_accounts {
        output
            .line("membership: service accounts and keys that were revoked after the backup are valid again");
        return Ok(());
    }
    let revoked = parta_membership::revoke_all_service_account_keys(db).await;
    let revoked = revoked.context("cannot revoke the keys of service accounts; run `parta recover`")?;
    output.line(format!(
        "membership: {revoked} keys of service accounts were revoked; the administrators create new ones"
    ));
    Ok(())
}
