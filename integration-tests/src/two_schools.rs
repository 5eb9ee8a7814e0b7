use std::collections::BTreeMap;

use parta_access::{PrincipalKind, ServiceAccountPermission};
use serde_json::{Value, json};

use crate::{Account, Client, Person, School, Suite};

/// A school with classes, members and an invitation, in addition to the principals of [`TwoSchools`].
#[derive(Clone)]
pub struct SampleSchool {
    pub school: School,
    /// The class of the members, `unt_...`.
    pub class: String,
    /// Another class.
    pub other_class: String,
    /// A verified subject teacher of the class.
    pub colleague: Person,
    pub pupil: Person,
    /// The link of an invitation for pupils of the class.
    pub link: String,
}

/// Two schools, with a principal of every kind in the first school.
#[derive(Clone)]
pub struct TwoSchools {
    pub suite: Suite,
    /// The first school, to which all principals belong.
    pub own: SampleSchool,
    /// The other school.
    pub foreign: SampleSchool,
    pub people: BTreeMap<PrincipalKind, Person>,
    /// An account that is a member of the first school.
    pub account: Account,
    /// The key of a service account of the first school.
    pub key: String,
    joiner: Client,
    system: Client,
}

impl SampleSchool {
    async fn new(suite: &Suite, name: &str) -> Self {
        let school = suite.school(name).await;
        let (class, other_class) = (school.class("5А").await, school.class("6Б").await);
        let colleague = school.teacher("Мария Кузнецова").await;
        school
            .assign(&colleague, &class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
            .await;
        let invitation = json!({"role": "ROLE_PUPIL", "unit_id": class, "max_uses": 40});
        let link = school.link(&school.administrator, invitation).await;
        Self {
            pupil: school.pupil(&school.administrator, "Пётр Сидоров", &class).await,
            school,
            class,
            other_class,
            colleague,
            link,
        }
    }

    /// Calls as the administrator. The call must succeed.
    pub async fn must(&self, rpc: &str, body: Value) -> Value {
        self.school.administrator.client.must(rpc, body).await
    }
}

impl TwoSchools {
    /// Creates both schools and their principals.
    pub async fn new(suite: &Suite) -> Self {
        let (own, foreign) = tokio::join!(
            SampleSchool::new(suite, "Школа № 1"),
            SampleSchool::new(suite, "Школа № 2")
        );
        let (school, class) = (&own.school, &own.class);
        let leader = school.class_teacher("Анна Белова", class).await;
        let teacher = school.teacher("Олег Быков").await;
        school
            .assign(&teacher, class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
            .await;
        let unverified = school.newcomer_teacher("Павел Новиков").await;
        school
            .assign(&unverified, class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
            .await;
        let head = school.newcomer_teacher("Вера Орлова").await;
        school
            .administrator
            .client
            .change_roles(&head.member_id, &["ROLE_HEAD"])
            .await;
        let pupil = school.pupil(&leader, "Иван Иванов", class).await;
        let parent = school.parent(&leader, "Ольга Иванова", &pupil, class).await;
        let permissions = ServiceAccountPermission::ALL.map(ServiceAccountPermission::name);
        let wanted = json!({"display_name": "Дневник", "permissions": permissions});
        let made = own
            .must("ServiceAccountService/CreateServiceAccount", wanted)
            .await;
        let key = made["key"].as_str().expect("a key").to_owned();
        let issued = suite
            .anonymous()
            .must(
                "ServiceAccountService/IssueServiceAccountToken",
                json!({"key": key}),
            )
            .await;
        let people = [
            (PrincipalKind::Pupil, pupil),
            (PrincipalKind::Parent, parent),
            (PrincipalKind::UnverifiedTeacher, unverified),
            (PrincipalKind::Teacher, teacher),
            (PrincipalKind::ClassTeacher, leader.clone()),
            (PrincipalKind::Administrator, school.administrator.clone()),
            (PrincipalKind::Head, head),
        ];
        let newcomer = suite.newcomer("Новый Ученик").await;
        Self {
            suite: suite.clone(),
            people: people.into(),
            account: leader.account,
            joiner: newcomer.joiner(&own.link).await,
            system: suite
                .anonymous()
                .with(issued["access_token"].as_str().expect("a token")),
            key,
            own,
            foreign,
        }
    }

    /// Calls as a kind of principal. `service` names the calling service, if the kind is a service.
    pub fn client(&self, kind: PrincipalKind, service: &str) -> Client {
        match kind {
            PrincipalKind::Anonymous => self.suite.anonymous().clone(),
            PrincipalKind::Account => self.account.client.clone(),
            PrincipalKind::Joiner => self.joiner.clone(),
            PrincipalKind::Operator => self.suite.operator().clone(),
            PrincipalKind::ServiceAccount => self.system.clone(),
            PrincipalKind::Service => self.suite.service(service),
            person => self.people[&person].client.clone(),
        }
    }
}
