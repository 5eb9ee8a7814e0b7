//! Suspensions and duties: a projection that was rebuilt equals one that followed the feed.
use parta_database::Tx;
use parta_feed::Snapshot;
use parta_ids::SuspensionId;
use parta_proto_membership::v1::{self as pb, duty_scope::Scope, membership_event::Payload};

use super::*;
use crate::{Change, DutyFunction, Role, RosterObserver, State};

const PARENT: i32 = 2;

impl Projection {
    /// Replaces the members' half by these events, as a snapshot does.
    async fn replace(&self, payloads: Vec<Payload>) {
        let event = |payload| pb::MembershipEvent {
            org_id: self.org.to_string(),
            payload: Some(payload),
            ..Default::default()
        };
        let events = payloads.into_iter().map(event);
        let (handler, snapshot) = (&Members::new(Arc::new(NoObserver)), &Snapshot::from_iter(events));
        self.db
            .write(|tx| async move { handler.replace(&tx, self.org, snapshot).await })
            .await
            .unwrap();
    }

    fn suspended(&self, suspension: SuspensionId, roles: &[i32]) -> Payload {
        Payload::MemberSuspended(pb::MemberSuspended {
            suspension_id: suspension.to_string(),
            member_id: self.member.to_string(),
            roles: roles.to_vec(),
        })
    }

    fn duty(&self, duty: DutyId, kind: i32, scope: Scope) -> Payload {
        Payload::DutyAssigned(pb::DutyAssigned {
            duty_id: duty.to_string(),
            member_id: self.member.to_string(),
            kind,
            scope: Some(pb::DutyScope { scope: Some(scope) }),
            begin_time: None,
        })
    }

    async fn stored_state(&self) -> Option<State> {
        let state = self.roster.state(self.db.conn(), self.org, self.member).await;
        state.unwrap()
    }
}

// Covers: R82 allowed, R82 refused, F1 allowed
on_both!(
    suspension_follows_the_feed_and_the_snapshot,
    |database| async move {
        let projection = Projection::open(&database).await;
        let env = projection.db.env().clone();
        let (of_teacher, of_all) = (env.id::<SuspensionId>(), env.id::<SuspensionId>());
        let member = || projection.changed(ACTIVE, vec![TEACHER, PARENT]);
        let partly = || projection.suspended(of_teacher, &[TEACHER]);
        let wholly = || projection.suspended(of_all, &[]);
        projection.apply(member()).await.unwrap();
        let assigned = projection.assigned(members::AssignmentKind::ClassTeacher as i32);
        projection
            .apply(Member::AssignmentCreated(assigned.clone()))
            .await
            .unwrap();
        let before = projection.context().await.unwrap();
        projection.apply(partly()).await.unwrap();
        let followed = projection.context().await.unwrap();
        assert_eq!(followed.roles, [Role::Parent].into());
        assert!(followed.is_active() && !followed.teacher_verified && followed.teaches.is_empty());
        assert_eq!(projection.stored_state().await, Some(State::Active));
        projection.apply(wholly()).await.unwrap();
        assert!(projection.context().await.unwrap().is_suspended());
        assert_eq!(projection.stored_state().await, Some(State::Suspended));
        // A change of the record does not lift it, and a role that the member gains is suspended too.
        projection
            .apply(projection.changed(ACTIVE, vec![TEACHER, PARENT, 4]))
            .await
            .unwrap();
        assert_eq!(projection.stored_state().await, Some(State::Suspended));
        let lifted = |suspension: SuspensionId| {
            Payload::MemberReinstated(pb::MemberReinstated {
                suspension_id: suspension.to_string(),
            })
        };
        projection.apply(member()).await.unwrap();
        projection.apply(lifted(of_all)).await.unwrap();
        assert_eq!(projection.context().await.unwrap(), followed);
        let assignment = || Member::AssignmentCreated(assigned.clone());
        projection.replace(vec![member(), assignment(), partly()]).await;
        assert_eq!(projection.context().await.unwrap(), followed);
        projection.replace(vec![member(), assignment()]).await;
        assert_eq!(projection.context().await.unwrap(), before);
        projection.apply(lifted(of_teacher)).await.unwrap();
        assert_eq!(projection.context().await.unwrap(), before);
    }
);

// Covers: F8 allowed
on_both!(
    removal_for_cause_follows_the_feed_and_the_snapshot,
    |database| async move {
        let projection = Projection::open(&database).await;
        let changed = |removed_for_cause: bool| {
            Payload::MemberChanged(pb::MemberChanged {
                member_id: projection.member.to_string(),
                state: ACTIVE,
                roles: vec![PARENT],
                removed_for_cause,
                ..Default::default()
            })
        };
        projection.apply(changed(false)).await.unwrap();
        assert!(!projection.context().await.unwrap().removed_for_cause);
        projection.apply(changed(true)).await.unwrap();
        let followed = projection.context().await.unwrap();
        assert!(followed.removed_for_cause && followed.is_active());
        let admitted = Payload::MemberAdmitted(pb::MemberAdmitted {
            member_id: projection.member.to_string(),
            state: ACTIVE,
            roles: vec![PARENT],
            removed_for_cause: true,
            ..Default::default()
        });
        projection.replace(vec![admitted]).await;
        assert_eq!(projection.context().await.unwrap(), followed);
    }
);

// Covers: F1 allowed, F3 allowed, F3 refused
on_both!(duty_follows_the_feed_and_the_snapshot, |database| async move {
    let projection = Projection::open(&database).await;
    let env = projection.db.env().clone();
    let member = || projection.changed(ACTIVE, vec![TEACHER]);
    let (tutor, office, unknown) = (env.id::<DutyId>(), env.id(), env.id());
    let mut pupil = MemberContext::new(projection.org, env.id(), State::Active, [Role::Pupil]);
    let mut other = MemberContext::new(projection.org, env.id(), State::Active, [Role::Pupil]);
    pupil.enrolled_in.insert(projection.unit);
    other.enrolled_in.insert(env.id());
    let named = || {
        let member_ids = vec![pupil.member_id.to_string()];
        projection.duty(tutor, 5, Scope::Pupils(pb::DutyPupils { member_ids }))
    };
    let of_unit = || {
        let scope = Scope::UnitId(projection.unit.to_string());
        projection.duty(office, 9, scope)
    };
    projection.apply(member()).await.unwrap();
    projection.apply(named()).await.unwrap();
    projection.apply(of_unit()).await.unwrap();
    let strange = projection.duty(unknown, UNKNOWN, Scope::Organization(true));
    projection.apply(strange).await.unwrap();
    let followed = projection.context().await.unwrap();
    assert_eq!(
        followed.duties.len(),
        2,
        "a kind that this build does not know grants nothing"
    );
    for function in [DutyFunction::Names, DutyFunction::Rooms] {
        assert!(
            followed.may(function, &pupil) && !followed.may(function, &other),
            "{function:?}"
        );
    }
    assert!(!followed.may(DutyFunction::PersonalChats, &pupil));
    projection.replace(vec![member(), of_unit(), named()]).await;
    let rebuilt = projection.context().await.unwrap();
    assert!(rebuilt.may(DutyFunction::Rooms, &pupil) && rebuilt.duties.len() == 2);
    let ended = Payload::DutyEnded(pb::DutyEnded {
        duty_id: tutor.to_string(),
    });
    projection.apply(ended).await.unwrap();
    let context = projection.context().await.unwrap();
    assert!(!context.may(DutyFunction::Rooms, &pupil) && context.may(DutyFunction::Names, &pupil));
    projection.replace(vec![member()]).await;
    assert_eq!(projection.context().await.unwrap().duties, []);
    let unnamed = projection.duty(tutor, 5, Scope::Pupils(pb::DutyPupils::default()));
    projection.apply(unnamed).await.unwrap();
    let context = projection.context().await.unwrap();
    assert!(
        !context.may(DutyFunction::Names, &pupil),
        "an empty list is nobody, and not everybody"
    );
});

/// Records the members whose records were released.
#[derive(Default)]
struct Releases(std::sync::Mutex<Vec<MemberId>>);

#[async_trait::async_trait]
impl RosterObserver for Releases {
    async fn changed(&self, _: &Tx, _: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        for change in changes {
            if let Change::MemberReleased(member) = change {
                self.0.lock().unwrap().push(*member);
            }
        }
        Ok(())
    }
}

// A consumer that reads a snapshot after the release notices it as well as one that followed the feed, and a
// record that is not known has nothing to hide.
on_both!(release_is_noticed_once, |database| async move {
    let projection = Projection::open(&database).await;
    let releases = Arc::new(Releases::default());
    let handler = &Members::new(releases.clone());
    let event = |count| pb::MembershipEvent {
        org_id: projection.org.to_string(),
        payload: Some(Payload::MemberAdmitted(pb::MemberAdmitted {
            member_id: projection.member.to_string(),
            state: ACTIVE,
            roles: vec![PARENT],
            release_count: count,
            ..Default::default()
        })),
        ..Default::default()
    };
    let count = || releases.0.lock().unwrap().len();
    let (db, org) = (&projection.db, projection.org);
    let apply = async |events: Vec<pb::MembershipEvent>, is_snapshot: bool| {
        let (events, snapshot) = (&events, &Snapshot::from_iter(events.clone()));
        let applied = db.write(|tx| async move {
            if is_snapshot {
                handler.replace(&tx, org, snapshot).await
            } else {
                handler.apply(&tx, org, events).await
            }
        });
        applied.await.unwrap();
    };
    apply(vec![event(1)], false).await;
    assert_eq!(count(), 0);
    let earlier = crate::Projected::load(db.conn(), org).await.unwrap();
    apply(vec![event(2)], false).await;
    apply(vec![event(2)], false).await;
    assert_eq!(count(), 1);
    apply(vec![event(3)], true).await;
    apply(vec![event(3)], true).await;
    assert_eq!(*releases.0.lock().unwrap(), [projection.member; 2]);
    // Recovery lists the member if the restored state is the one of before.
    let later = crate::Projected::load(db.conn(), org).await.unwrap();
    assert_eq!(earlier.wider_than(&later).released, [projection.member].into());
    assert!(later.wider_than(&earlier).released.is_empty());
});
