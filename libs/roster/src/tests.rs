//! Events with numbers that this build does not know, as a later release may publish them, and rows with
//! numbers that no release writes.
mod commuting;
mod grounds;

use std::sync::Arc;

use parta_access::Secrets;
use parta_database::{DatabaseConfig, Db};
use parta_feed::{Freshness, HandleError, Handler as _};
use parta_ids::{AssignmentId, DutyId, Env, MemberId, OrgId, TypedId as _, UnitId};
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_proto_org_registry::v1::{self as orgs, org_registry_event::Payload as Org};
use parta_testkit::{TestDatabase, on_both};
use sea_orm::{ConnectionTrait as _, Statement};

use crate::{
    MemberContext, Members, NoObserver, Organizations, RelationLimit, RelationLimits, Roster, Unit, UnitKind,
};

/// A number that no enum has.
const UNKNOWN: i32 = 30;

// Copies never compare dates with the clock (F1), so that they have no ends to compare.
// Covers: F1 refused
on_both!(projection_has_no_times_of_ends, |database| async move {
    let projection = Projection::open(&database).await;
    let sql = if projection.db.is_postgres() {
        "SELECT table_name || '.' || column_name FROM information_schema.columns \
         WHERE table_name LIKE 'roster\\_%' AND table_schema = current_schema()"
    } else {
        "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND m.name LIKE 'roster\\_%' ESCAPE '\\'"
    };
    let conn = projection.db.conn();
    let statement = Statement::from_string(conn.get_database_backend(), sql);
    let rows = conn.query_all_raw(statement).await.unwrap();
    let columns: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
    assert!(
        columns.contains(&"roster_enrollment.begin_time".to_owned()),
        "{columns:?}"
    );
    for column in columns {
        let is_end = ["end", "until", "due", "expire"].iter().any(|word| {
            let (_, name) = column.split_once('.').unwrap();
            name.split('_').any(|part| part.starts_with(word))
        });
        assert!(!is_end, "{column}");
    }
});

struct Projection {
    db: Db,
    roster: Roster,
    org: OrgId,
    member: MemberId,
    unit: UnitId,
    assignment: AssignmentId,
    duty: DutyId,
    child: MemberId,
}

impl Projection {
    async fn open(database: &TestDatabase) -> Self {
        let env = Env::system();
        let (config, secrets) = (DatabaseConfig::new(database.url()), Secrets::generate(&env));
        let db = Db::connect(&config, "roster", secrets, env.clone())
            .await
            .unwrap();
        let mut all = parta_database::migrations();
        all.extend(parta_feed::migrations());
        all.extend(crate::migrations());
        db.migrate(all).await.unwrap();
        let fresh = Freshness::always;
        Self {
            roster: Roster::new(fresh("org-registry"), fresh("membership")),
            db,
            org: env.id(),
            member: env.id(),
            unit: env.id(),
            assignment: env.id(),
            duty: env.id(),
            child: env.id(),
        }
    }

    /// Another organization in the same projection.
    fn another(&self) -> Self {
        Self {
            db: self.db.clone(),
            roster: self.roster.clone(),
            org: self.db.env().id(),
            member: self.db.env().id(),
            unit: self.db.env().id(),
            assignment: self.db.env().id(),
            duty: self.db.env().id(),
            child: self.db.env().id(),
        }
    }

    /// Applies an organization with a class and a teacher, who has a duty and is limited toward a child.
    async fn populate(&self) {
        let created = Org::OrganizationCreated(orgs::OrganizationCreated::default());
        self.apply_org(created).await.unwrap();
        self.apply(self.changed(ACTIVE, vec![TEACHER])).await.unwrap();
        let duty = Member::DutyAssigned(members::DutyAssigned {
            duty_id: self.duty.to_string(),
            member_id: self.member.to_string(),
            kind: members::DutyKind::Psychologist.into(),
            scope: Some(members::DutyScope {
                scope: Some(members::duty_scope::Scope::Organization(true)),
            }),
            begin_time: None,
        });
        self.apply(duty).await.unwrap();
        let limit = members::RelationLimit::NoContact;
        self.apply(self.limited(limit.into())).await.unwrap();
        self.unit_of_kind(orgs::UnitKind::Class as i32).await;
    }

    /// The reads that are refused because of a stored value, and the reasons.
    async fn refused(&self) -> Vec<(&'static str, String)> {
        let (roster, conn) = (&self.roster, self.db.conn());
        let results = [
            (
                "contexts",
                roster.contexts_of(conn, self.org, &[self.member]).await.err(),
            ),
            ("state", roster.state(conn, self.org, self.member).await.err()),
            ("organization", roster.organization(conn, self.org).await.err()),
            ("unit", roster.unit(conn, self.org, self.unit).await.err()),
            ("units", roster.units(conn, self.org).await.err()),
        ];
        let refused = results
            .into_iter()
            .filter_map(|(read, refusal)| Some((read, refusal?)));
        refused
            .map(|(read, refusal)| (read, refusal.reason().to_owned()))
            .collect()
    }

    async fn apply_org(&self, payload: Org) -> Result<(), HandleError> {
        let event = &orgs::OrgRegistryEvent {
            org_id: self.org.to_string(),
            payload: Some(payload),
            ..Default::default()
        };
        let handler = &Organizations::new(Arc::new(NoObserver));
        self.db
            .write(|tx| async move { handler.apply(&tx, self.org, std::slice::from_ref(event)).await })
            .await
    }

    async fn apply(&self, payload: Member) -> Result<(), HandleError> {
        let event = &members::MembershipEvent {
            org_id: self.org.to_string(),
            payload: Some(payload),
            ..Default::default()
        };
        let handler = &Members::new(Arc::new(NoObserver));
        self.db
            .write(|tx| async move { handler.apply(&tx, self.org, std::slice::from_ref(event)).await })
            .await
    }

    fn changed(&self, state: i32, roles: Vec<i32>) -> Member {
        Member::MemberChanged(members::MemberChanged {
            member_id: self.member.to_string(),
            state,
            roles,
            teacher_verified: true,
            ..Default::default()
        })
    }

    fn assigned(&self, kind: i32) -> members::AssignmentCreated {
        members::AssignmentCreated {
            assignment_id: self.assignment.to_string(),
            member_id: self.member.to_string(),
            unit_id: self.unit.to_string(),
            kind,
            substitution: false,
            begin_time: None,
        }
    }

    /// The event that limits the member toward the child.
    fn limited(&self, limit: i32) -> Member {
        Member::RelationLimited(members::RelationLimited {
            guardian_id: self.member.to_string(),
            child_id: self.child.to_string(),
            limits: vec![limit],
        })
    }

    async fn context(&self) -> Option<MemberContext> {
        let members = [self.member];
        let found = self.roster.contexts_of(self.db.conn(), self.org, &members);
        found.await.unwrap().pop()
    }

    fn created(&self, kind: i32) -> Org {
        Org::UnitCreated(orgs::UnitCreated {
            unit_id: self.unit.to_string(),
            kind,
            label: "5А".into(),
            ..Default::default()
        })
    }

    async fn unit_of_kind(&self, kind: i32) -> Unit {
        self.apply_org(self.created(kind)).await.unwrap();
        let found = self.roster.unit(self.db.conn(), self.org, self.unit).await;
        found.unwrap().unwrap()
    }
}

const ACTIVE: i32 = members::MemberState::Active as i32;
const TEACHER: i32 = members::Role::Teacher as i32;

on_both!(unknown_role_grants_nothing, |database| async move {
    let projection = Projection::open(&database).await;
    projection
        .apply(projection.changed(ACTIVE, vec![TEACHER]))
        .await
        .unwrap();
    assert!(projection.context().await.unwrap().is_staff());
    projection
        .apply(projection.changed(ACTIVE, vec![UNKNOWN]))
        .await
        .unwrap();
    let context = projection.context().await.unwrap();
    assert!(context.is_active() && context.roles.is_empty());
    assert!(!context.is_staff() && !context.is_cleared());
});

on_both!(member_in_an_unknown_state_is_not_active, |database| async move {
    let projection = Projection::open(&database).await;
    projection
        .apply(projection.changed(ACTIVE, vec![TEACHER]))
        .await
        .unwrap();
    assert!(projection.context().await.unwrap().is_active());
    projection
        .apply(projection.changed(UNKNOWN, vec![TEACHER]))
        .await
        .unwrap();
    assert_eq!(projection.context().await, None);
    let (conn, org) = (projection.db.conn(), projection.org);
    assert_eq!(
        projection
            .roster
            .state(conn, org, projection.member)
            .await
            .unwrap(),
        None
    );
    let all = projection.roster.all_members(conn, org).await.unwrap();
    assert!(all.is_empty(), "{all:?}");
});

on_both!(
    assignment_of_an_unknown_kind_grants_nothing,
    |database| async move {
        let projection = Projection::open(&database).await;
        let unit = projection.unit;
        projection
            .apply(projection.changed(ACTIVE, vec![TEACHER]))
            .await
            .unwrap();
        let class_teacher = members::AssignmentKind::ClassTeacher as i32;
        for (kind, teaches) in [(UNKNOWN, false), (class_teacher, true), (UNKNOWN, false)] {
            let made = Member::AssignmentCreated(projection.assigned(kind));
            projection.apply(made).await.unwrap();
            let context = projection.context().await.unwrap();
            assert_eq!(context.teaches_in(unit), teaches, "{kind}");
            assert_eq!(context.is_class_teacher_of(unit), teaches, "{kind}");
            let (conn, org) = (projection.db.conn(), projection.org);
            let members = projection.roster.members_of_unit(conn, org, unit).await.unwrap();
            assert_eq!(members.contains(&projection.member), teaches, "{kind}");
        }
    }
);

on_both!(
    unit_of_an_unknown_kind_counts_as_archived,
    |database| async move {
        let projection = Projection::open(&database).await;
        assert!(
            !projection
                .unit_of_kind(orgs::UnitKind::Class as i32)
                .await
                .archived
        );
        let unit = projection.unit_of_kind(UNKNOWN).await;
        assert_eq!(unit.kind, UnitKind::Unknown);
        assert!(unit.archived);
        let (conn, org) = (projection.db.conn(), projection.org);
        let units = projection.roster.units(conn, org).await.unwrap();
        assert_eq!(units, [unit]);
    }
);

on_both!(unknown_limit_forbids_everything, |database| async move {
    let projection = Projection::open(&database).await;
    projection.populate().await;
    let limits = async || {
        let context = projection.context().await.unwrap();
        context.limits_toward(projection.child)
    };
    let no_contact = RelationLimits::from_iter([RelationLimit::NoContact]);
    assert_eq!(limits().await, no_contact);
    projection.apply(projection.limited(UNKNOWN)).await.unwrap();
    assert_eq!(limits().await, RelationLimits::ALL);
});

// A row with a number that no release writes is damaged. The organization returns UNAVAILABLE, and another
// one is not affected.
on_both!(unknown_stored_value_is_unavailable, |database| async move {
    parta_testkit::logs().allow("a stored value is not known to this build");
    let damaged = Projection::open(&database).await;
    let other = damaged.another();
    other.populate().await;
    for (assignment, reads) in [
        (
            "roster_organization SET unused_after_seconds = -1",
            &["contexts", "organization"][..],
        ),
        (
            "roster_organization SET history_for_newcomers = 0",
            &["contexts", "organization"],
        ),
        ("roster_member SET state = 0", &["contexts", "state"]),
        ("roster_member SET state = -1", &["contexts", "state"]),
        ("roster_member SET roles = 1073741824", &["contexts"]),
        ("roster_unit SET kind = 0", &["unit", "units"]),
        ("roster_unit SET kind = -1", &["unit", "units"]),
        ("roster_duty SET kind = 0", &["contexts"]),
        ("roster_duty SET kind = -1", &["contexts"]),
        ("roster_relation_limit SET limits = 1073741824", &["contexts"]),
        ("roster_relation_limit SET limits = -1", &["contexts"]),
    ] {
        damaged.populate().await;
        assert_eq!(damaged.refused().await, [], "{assignment}");
        let sql = format!("UPDATE {assignment} WHERE org_id = $1");
        let values = [damaged.org.uuid().into()];
        let statement = Statement::from_sql_and_values(damaged.db.backend(), sql, values);
        let done = damaged.db.writer().execute_raw(statement).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{assignment}");
        let reason = "STORED_VALUE_UNKNOWN".to_owned();
        let expected: Vec<_> = reads.iter().map(|read| (*read, reason.clone())).collect();
        assert_eq!(damaged.refused().await, expected, "{assignment}");
        assert_eq!(other.refused().await, [], "{assignment}");
    }
});

// An event without a kind or a state is malformed: no release publishes it.
on_both!(event_without_a_kind_or_state_is_rejected, |database| async move {
    let projection = Projection::open(&database).await;
    for number in [0, -1] {
        let refused = projection.apply_org(projection.created(number)).await;
        assert!(matches!(refused, Err(HandleError::Failed(_))), "{refused:?}");
        let refused = projection.apply(projection.changed(number, vec![TEACHER])).await;
        assert!(matches!(refused, Err(HandleError::Failed(_))), "{refused:?}");
    }
});
