//! Notices about limits: the guardian, and the head after 72 hours (F13).
use chrono::TimeDelta;
use parta_proto_membership::v1::{self as pb, RelationLimit, Role};
use parta_testkit::on_both;

use super::{fixture::School, limits::confirmed};
use crate::tests::test_env::{by, org};

const ADMINISTRATOR: &str = "+79160000001";
const MOTHER: &str = "+79162222222";
const FATHER: &str = "+79164444444";
const SECOND: &str = "+79165555555";
const LIMITS: [RelationLimit; 1] = [RelationLimit::NoContact];

impl School {
    /// Returns the number of messages with this text that an address has received.
    async fn notices(&self, phone: &str, text: &str) -> usize {
        let messages = self.env.messages(phone).await;
        messages.iter().filter(|message| message.contains(text)).count()
    }

    async fn deliver(&self) {
        self.env.run_due_jobs().await;
    }
}

const LIMITS_CHANGED: &str = "изменены ваши права представителя ребёнка";
const OVERDUE: &str = "ждёт решения более 72 часов";

// Covers: R27 allowed, F13 allowed
on_both!(
    guardian_is_notified_of_each_change_of_limits,
    |database| async move {
        let school = confirmed(database).await;
        let relation = school.relation_of(&school.father).await.id;
        school
            .limit(&school.teacher, &relation, &LIMITS, None, "")
            .await
            .unwrap();
        for (payload, _) in school.env.jobs().await {
            assert!(
                payload.contains(&relation) && !payload.contains("Котов"),
                "{payload}"
            );
        }
        school.deliver().await;
        assert_eq!(school.notices(FATHER, LIMITS_CHANGED).await, 1);
        let named = "ребёнка (Ян Котов) в Parta";
        assert_eq!(school.notices(FATHER, named).await, 1);
        assert_eq!(
            school.notices(FATHER, "guardian of the child (Ян Котов)").await,
            1
        );
        // By an order, and when the limits are lifted.
        let administrator = &school.administrator;
        for (limits, order) in [(&LIMITS[..], school.order(-1)), (&[], school.order(0))] {
            school
                .limit(administrator, &relation, limits, order, "")
                .await
                .unwrap();
            school.deliver().await;
        }
        assert_eq!(school.notices(FATHER, LIMITS_CHANGED).await, 3);
        // An end without an order.
        school.end(&school.teacher, &relation).await.unwrap();
        school.deliver().await;
        assert_eq!(school.notices(FATHER, LIMITS_CHANGED).await, 4);
        assert_eq!(school.notices(MOTHER, LIMITS_CHANGED).await, 0);
        school.env.close().await;
    }
);

// A person whose relation nobody has confirmed may be a stranger, and gets no name. Nothing that names a
// child of a protected family is sent, because no contact was checked. A guardian who is suspended as a
// parent, or has left, is not notified.
// Covers: R27 refused, R83 refused, F13 refused
on_both!(
    limits_are_disclosed_only_to_those_who_may_know,
    |database| async move {
        let school = School::open(database).await;
        let relation = school.relation_of(&school.father).await.id;
        let limit = async |limits: &[RelationLimit]| {
            let limited = school.limit(&school.teacher, &relation, limits, None, "");
            limited.await.unwrap();
        };
        limit(&LIMITS).await;
        school.deliver().await;
        assert_eq!(school.notices(FATHER, LIMITS_CHANGED).await, 1);
        assert_eq!(school.notices(FATHER, "Котов").await, 0);

        let protect = pb::ProtectFamilyRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            child_id: school.child.member_id.clone(),
            order: school.order(0),
        };
        let mut api = school.env.guardianships();
        api.protect_family(by(&school.administrator.token, protect))
            .await
            .unwrap();
        limit(&[RelationLimit::NoWhereabouts]).await;
        school.deliver().await;
        assert_eq!(school.notices(FATHER, LIMITS_CHANGED).await, 1);
        let unprotect = pb::UnprotectFamilyRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            child_id: school.child.member_id.clone(),
            order: school.order(0),
        };
        api.unprotect_family(by(&school.administrator.token, unprotect))
            .await
            .unwrap();

        let suspend = pb::SuspendMemberRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            member_id: school.father.member_id.clone(),
            roles: vec![Role::Parent.into()],
            cause: "Проверка".to_owned(),
        };
        let mut suspensions = school.env.suspensions();
        let suspended = suspensions.suspend_member(by(&school.administrator.token, suspend));
        suspended.await.unwrap();
        limit(&[RelationLimit::NoDecisions]).await;
        school.deliver().await;
        assert_eq!(school.notices(FATHER, LIMITS_CHANGED).await, 1);
        school.env.close().await;
    }
);

// Covers: F13 allowed, F13 refused
on_both!(head_is_notified_after_72_hours, |database| async move {
    let mut school = confirmed(database).await;
    let head = school.second_administrator().await;
    school.set_roles(&head.member_id, &[Role::Head]).await;
    let relation = school.relation_of(&school.father).await.id;
    school
        .limit(&school.teacher, &relation, &LIMITS, None, "")
        .await
        .unwrap();
    school.env.time.advance(TimeDelta::hours(71));
    school.deliver().await;
    assert_eq!(school.notices(SECOND, OVERDUE).await, 0);
    school.sign_in_again().await;
    // Another provisional limit does not begin the time again, and causes one notice.
    let more = [RelationLimit::NoDecisions];
    school
        .limit(&school.teacher, &relation, &more, None, "")
        .await
        .unwrap();
    school.env.time.advance(TimeDelta::hours(1));
    school.deliver().await;
    assert_eq!(school.notices(SECOND, OVERDUE).await, 1);
    assert_eq!(school.notices(SECOND, "Котов").await, 0);
    school.env.time.advance(TimeDelta::hours(72));
    school.deliver().await;
    assert_eq!(school.notices(SECOND, OVERDUE).await, 1);
    assert_eq!(school.notices(ADMINISTRATOR, OVERDUE).await, 0);
    school.env.close().await;
});

// Without a head, or if the head is a guardian of the child, the rest of the administration gets the
// notice. A limit that was decided causes no notice.
// Covers: F6 refused, F13 allowed, F13 refused
on_both!(
    administration_is_notified_instead_of_the_head,
    |database| async move {
        let mut school = confirmed(database).await;
        let roles = [Role::Parent, Role::Head];
        school.set_roles(&school.mother.member_id, &roles).await;
        let relation = school.relation_of(&school.father).await.id;
        let provisional = school.limit(&school.teacher, &relation, &LIMITS, None, "");
        provisional.await.unwrap();
        school.env.time.advance(TimeDelta::hours(72));
        school.deliver().await;
        assert_eq!(school.notices(MOTHER, OVERDUE).await, 0);
        assert_eq!(school.notices(ADMINISTRATOR, OVERDUE).await, 1);
        school.sign_in_again().await;
        let order = school.order(0);
        let ordered = school.limit(&school.administrator, &relation, &LIMITS, order, "");
        ordered.await.unwrap();
        let provisional = school.limit(
            &school.teacher,
            &relation,
            &[RelationLimit::NoDecisions],
            None,
            "",
        );
        provisional.await.unwrap();
        let order = school.order(0);
        let decided = school.limit(&school.administrator, &relation, &LIMITS, order, "");
        decided.await.unwrap();
        school.env.time.advance(TimeDelta::hours(72));
        school.deliver().await;
        assert_eq!(school.notices(ADMINISTRATOR, OVERDUE).await, 1);
        school.env.close().await;
    }
);
