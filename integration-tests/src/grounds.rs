//! Members whose rights rest on a ground that no column of the permission matrix has: other staff, holders of
//! a duty, substitutes, suspended members, and parents by each state of their relation.

use std::time::Duration;

use parta_access::PrincipalKind;
use serde_json::{Value, json};

use crate::{Person, TwoSchools};

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The ground of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// Staff who do not teach, without a duty.
    Staff,
    /// Staff who do not teach, with the duty of a psychologist for the class.
    StaffWithDuty,
    Deputy,
    /// A parent whose relation nobody has confirmed.
    UnconfirmedParent,
    /// A member who was removed.
    FormerMember,
    /// The class teacher of the class for a week.
    Substitute,
    /// A suspended teacher of the class.
    Suspended,
    /// A parent who may have no contact with the child.
    NoContact,
    /// A parent who may not know where the child is.
    NoWhereabouts,
    /// A parent who may not decide for the child.
    NoDecisions,
    /// A parent whose relation an order has ended.
    Ended,
    /// A person whom the family trusts.
    Trusted,
    /// A parent of the class who works at the school and does not teach.
    StaffParent,
    /// A pupil of full age.
    AdultPupil,
}

impl Ground {
    pub const ALL: [Self; 14] = [
        Self::Staff,
        Self::StaffWithDuty,
        Self::Deputy,
        Self::UnconfirmedParent,
        Self::FormerMember,
        Self::Substitute,
        Self::Suspended,
        Self::NoContact,
        Self::NoWhereabouts,
        Self::NoDecisions,
        Self::Ended,
        Self::Trusted,
        Self::StaffParent,
        Self::AdultPupil,
    ];
}

fn order() -> Value {
    json!({"number": "12-к", "date": "2026-01-12", "text": "О назначении"})
}

/// Makes people of the first school by its API.
struct Makers<'a>(&'a TwoSchools);

impl Makers<'_> {
    async fn must(&self, rpc: &str, body: Value) -> Value {
        self.0.own.must(rpc, body).await
    }

    async fn staff(&self, full_name: &str) -> Person {
        let school = &self.0.own.school;
        let invitation = json!({"role": "ROLE_STAFF", "recipient_label": full_name});
        school.comes(&school.administrator, full_name, invitation).await
    }

    async fn change_roles(&self, of: &Person, roles: &[&str]) {
        let administrator = &self.0.own.school.administrator.client;
        administrator.change_roles(&of.member_id, roles).await;
    }

    /// Joins a parent of the pupil of the matrix, and returns the parent and the relation.
    async fn parent(&self, full_name: &str) -> (Person, Value) {
        let (school, class) = (&self.0.own.school, &self.0.own.class);
        let (leader, child) = (
            &self.0.people[&PrincipalKind::ClassTeacher],
            &self.0.people[&PrincipalKind::Pupil],
        );
        let invitation = json!({
            "role": "ROLE_PARENT", "unit_id": class, "child_id": child.member_id, "max_uses": 1,
        });
        let parent = school.comes(leader, full_name, invitation).await;
        let list = json!({"child_id": child.member_id, "page_size": 200});
        let listed = self.must("GuardianshipService/ListGuardianships", list).await;
        let mut all = listed["guardianships"].as_array().into_iter().flatten();
        let own = all.find(|relation| relation["guardian_id"] == json!(parent.member_id));
        (parent.clone(), own.expect("a relation")["id"].clone())
    }

    async fn confirm(&self, relation: &Value, kind: &str) {
        let confirm = json!({"guardianship_id": relation, "kind": kind});
        self.must("GuardianshipService/ConfirmGuardianship", confirm)
            .await;
    }

    async fn limited_parent(&self, full_name: &str, limit: &str) -> Person {
        let (parent, relation) = self.parent(full_name).await;
        self.confirm(&relation, "GUARDIANSHIP_KIND_PARENT").await;
        let limit = json!({
            "guardianship_id": relation, "limits": [limit], "order": order(), "cause": "решение суда",
        });
        self.must("GuardianshipService/LimitGuardianship", limit).await;
        parent
    }

    async fn make(&self, ground: Ground) -> Person {
        let (school, class) = (&self.0.own.school, &self.0.own.class);
        let confirmed = "GUARDIANSHIP_KIND_PARENT";
        match ground {
            Ground::Staff => self.staff("Нина Зайцева").await,
            Ground::StaffWithDuty => {
                let holder = self.staff("Алла Седова").await;
                let duty = json!({
                    "member_id": holder.member_id, "kind": "DUTY_KIND_PSYCHOLOGIST",
                    "scope": {"unit_id": class}, "order": order(), "until_date": "2999-05-31",
                });
                self.must("DutyService/AssignDuty", duty).await;
                holder
            }
            Ground::Deputy => {
                let deputy = school.newcomer_teacher("Игорь Лавров").await;
                self.change_roles(&deputy, &["ROLE_DEPUTY"]).await;
                deputy
            }
            Ground::UnconfirmedParent => self.parent("Юрий Котов").await.0,
            Ground::FormerMember => {
                let former = school.teacher("Лидия Сомова").await;
                let remove = json!({"member_id": former.member_id});
                self.must("MemberService/RemoveMember", remove).await;
                former
            }
            Ground::Substitute => {
                let teacher = school.teacher("Егор Фомин").await;
                let end = parta_ids::Env::system().now() + WEEK;
                let assign = json!({
                    "member_id": teacher.member_id, "unit_id": class, "expire_time": end.to_rfc3339(),
                    "kind": "ASSIGNMENT_KIND_CLASS_TEACHER",
                });
                self.must("AssignmentService/CreateAssignment", assign).await;
                teacher
            }
            Ground::Suspended => {
                let teacher = school.teacher("Борис Титов").await;
                school
                    .assign(&teacher, class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
                    .await;
                let suspend = json!({"member_id": teacher.member_id, "cause": "проверка"});
                self.must("SuspensionService/SuspendMember", suspend).await;
                teacher
            }
            Ground::NoContact => {
                self.limited_parent("Илья Котов", "RELATION_LIMIT_NO_CONTACT")
                    .await
            }
            Ground::NoWhereabouts => {
                self.limited_parent("Денис Котов", "RELATION_LIMIT_NO_WHEREABOUTS")
                    .await
            }
            Ground::NoDecisions => {
                self.limited_parent("Антон Котов", "RELATION_LIMIT_NO_DECISIONS")
                    .await
            }
            Ground::Ended => self.limited_parent("Роман Котов", "RELATION_LIMIT_ENDED").await,
            Ground::Trusted => {
                let (trusted, relation) = self.parent("Зоя Котова").await;
                self.confirm(&relation, "GUARDIANSHIP_KIND_TRUSTED").await;
                trusted
            }
            Ground::StaffParent => {
                let (parent, relation) = self.parent("Ирина Котова").await;
                self.confirm(&relation, confirmed).await;
                self.change_roles(&parent, &["ROLE_PARENT", "ROLE_STAFF"]).await;
                parent
            }
            Ground::AdultPupil => {
                let leader = &self.0.people[&PrincipalKind::ClassTeacher];
                let student = school.pupil(leader, "Пётр Котов", class).await;
                let born = json!({"child_id": student.member_id, "birth_date": "2000-05-31"});
                self.must("GuardianshipService/SetBirthDate", born).await;
                student
            }
        }
    }
}

impl TwoSchools {
    /// Makes a member of the first school on each ground, by its API.
    pub async fn people_by_ground(&self) -> Vec<(Ground, Person)> {
        let mut people = Vec::new();
        for ground in Ground::ALL {
            people.push((ground, Makers(self).make(ground).await));
        }
        people
    }

    /// Returns the same schools with this person as the principal of a kind.
    #[must_use]
    pub fn with(&self, kind: PrincipalKind, person: Person) -> Self {
        let mut schools = self.clone();
        schools.people.insert(kind, person);
        schools
    }
}
