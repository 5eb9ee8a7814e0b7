//! The links and the jobs depend on the two feeds only, and not on the order in which they arrive.
use chrono::TimeDelta;
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_ids::{InvitationId, OrgId, TypedId as _, Uuid};
use parta_service_testkit::{
    ServiceEnv,
    history::{FeedsCommute, MEMBERS, Part, id},
};
use parta_testkit::{TestDatabase, on_both};

use crate::{
    assembly::roster_observer,
    invitations::{
        END_JOB,
        model::{Draft, Invitation, InviteRole},
        storage,
    },
};

const CHECK: FeedsCommute = FeedsCommute {
    histories: 8,
    skipped: &[],
    parts: &[
        Part {
            table: "job",
            only: "kind <> 'invitation.end_revoked'",
            without: &["job_id", "due_millis"],
        },
        // The jobs that end requests have ids of their own.
        Part {
            table: "job",
            only: "kind = 'invitation.end_revoked'",
            without: &["job_id", "request_id", "due_millis"],
        },
    ],
    names: None,
    filled: &["invitation", "job", "roster_member"],
};

async fn open(database: &TestDatabase) -> ServiceEnv {
    let env = ServiceEnv::open(database, "invitation", crate::migrations()).await;
    env.observed_by(roster_observer())
}

/// Makes a link that names the record of each member.
async fn make_links(tx: &Tx, org: OrgId) -> Result<(), StorageError> {
    let scope = &OrgScope::for_consumer("test", org);
    for member in 0..u32::from(MEMBERS) {
        let link = Invitation {
            id: InvitationId::from_uuid(Uuid::from_u128(1_000 + u128::from(member))),
            draft: Draft {
                org_id: org,
                role: InviteRole::Pupil,
                unit_id: Some(id(0)),
                child_id: None,
                claim_member_id: Some(id(member)),
                max_uses: 1,
                ttl: TimeDelta::days(14),
                recipient_label: String::new(),
                recipient_address: None,
            },
            use_count: 0,
            issuer_id: Some(id(0)),
            roster_import_id: None,
            create_time: tx.now(),
            expire_time: tx.now() + TimeDelta::days(14),
            last_use_time: None,
            revoke_time: None,
            revision: 1,
        };
        let digest = member.to_le_bytes().to_vec();
        storage::insert(tx, scope, &link, digest.clone(), digest).await?;
    }
    Ok(())
}

on_both!(
    order_of_the_feeds_decides_nothing_in_links,
    |database| async move {
        assert_eq!(END_JOB, "invitation.end_revoked");
        let prepare = async |env: &ServiceEnv, org: OrgId| {
            let made = env.db.write(|tx| async move { make_links(&tx, org).await });
            made.await.unwrap();
        };
        CHECK.check(&database, open, prepare).await;
    }
);
