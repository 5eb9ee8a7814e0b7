//! The members and chats of a run.
use parta_integration_tests::{Client, Person, School, Suite};
use serde_json::{Value, json};

use crate::consistency::Size;

#[derive(Clone)]
pub(crate) struct Chat {
    /// `cht_...`.
    pub(crate) id: String,
    /// Whether the participants come from the roster.
    pub(crate) derived: bool,
    /// The index of the member who never leaves the chat.
    pub(crate) permanent_member: usize,
    /// The indexes of the members who may be in the chat at some time.
    pub(crate) people: Vec<usize>,
    /// The indexes of the members who are added and removed during a round.
    pub(crate) movable: Vec<usize>,
}

/// The members by index: the administrator, who creates the custom chats; the teacher of both classes, who is
/// always in their chats; a colleague; then the pupils.
pub(crate) struct Workload {
    pub(crate) school: School,
    pub(crate) people: Vec<Person>,
    /// First a chat with permanent participants, then the chats with changing participants, then the chats of
    /// the classes.
    pub(crate) chats: Vec<Chat>,
    pub(crate) classes: [String; 2],
    /// Index of the class of each pupil.
    pub(crate) class_of: Vec<usize>,
    /// Members whose sessions end during a round. They neither write nor read.
    pub(crate) revocable: Vec<Person>,
}

pub(crate) const ADMINISTRATOR: usize = 0;
const TEACHER: usize = 1;
pub(crate) const COLLEAGUE: usize = 2;
pub(crate) const FIRST_PUPIL: usize = 3;

fn text(value: &Value) -> String {
    value.as_str().expect("the value is not a string").to_owned()
}

/// Returns the pupils' chat of a class, as listed by its teacher.
async fn class_chat(teacher: &Client, class: &str) -> String {
    // The call presents the consistency tokens of the class and of its members.
    let all = teacher
        .must("ChatService/ListChats", json!({"page_size": 200}))
        .await;
    let is_wanted = |chat: &&Value| chat["unit_id"] == class && chat["kind"] == "CHAT_KIND_CLASS_PUPILS";
    let chats = all["chats"].as_array().expect("a list of chats");
    text(&chats.iter().find(is_wanted).expect("the chat of the class")["id"])
}

impl Workload {
    /// Creates a school with two classes.
    pub(crate) async fn new(suite: &Suite, size: &Size) -> Self {
        let school = suite.school("Школа № 1").await;
        let head = school.clear_administrator().await;
        let classes = [school.class("5А").await, school.class("6Б").await];
        let teacher = school.class_teacher("Мария Кузнецова", &classes[0]).await;
        school
            .assign(&teacher, &classes[1], "ASSIGNMENT_KIND_CLASS_TEACHER")
            .await;
        let colleague = school.teacher("Олег Попов").await;
        let mut people = vec![school.administrator.clone(), teacher, colleague];
        // Adults are in named chats with the pupils of both classes by a ground that outlasts each transfer.
        for (person, by) in people.iter().zip([&head, &people[0], &people[0]]) {
            let duty = json!({
                "member_id": person.member_id, "kind": "DUTY_KIND_PSYCHOLOGIST", "scope": {"organization": true},
                "order": {"number": "12-к", "date": "2026-01-12", "text": "О назначении"},
                "until_date": "2999-05-31",
            });
            by.client.must("DutyService/AssignDuty", duty).await;
        }
        let mut class_of = Vec::new();
        for n in 0..size.pupils {
            let name = format!("Иван Иванов {n}");
            let pupil = school.pupil(&school.administrator, &name, &classes[n % 2]).await;
            people.push(pupil);
            class_of.push(n % 2);
        }
        let mut chats = Vec::new();
        for class in &classes {
            let id = class_chat(&people[TEACHER].client, class).await;
            chats.push(Chat {
                id,
                derived: true,
                permanent_member: TEACHER,
                people: (FIRST_PUPIL..people.len()).chain([TEACHER]).collect(),
                movable: Vec::new(),
            });
        }
        let mut workload = Self {
            school,
            people,
            chats,
            classes,
            class_of,
            revocable: Vec::new(),
        };
        workload.replace_custom_chats(size).await;
        workload.replace_revocable(size).await;
        workload
    }

    /// Replaces the members whose sessions have ended by new ones.
    pub(crate) async fn replace_revocable(&mut self, size: &Size) {
        self.revocable.clear();
        for n in 0..size.revocations {
            let name = format!("Анна Смирнова {n}");
            let pupil = self
                .school
                .pupil(&self.school.administrator, &name, &self.classes[0]);
            self.revocable.push(pupil.await);
        }
    }

    /// Replaces the custom chats by new ones.
    pub(crate) async fn replace_custom_chats(&mut self, size: &Size) {
        let ids: Vec<_> = self.people[1..].iter().map(|p| &p.member_id).collect();
        let mut chats = Vec::new();
        for n in 0..=size.changing_chats {
            let created = json!({"title": format!("Беседа {n}"), "member_ids": ids});
            let administrator = &self.people[ADMINISTRATOR].client;
            let created = administrator.must("ChatService/CreateChat", created).await;
            let movable = if n == 0 {
                0..0
            } else {
                COLLEAGUE..self.people.len()
            };
            chats.push(Chat {
                id: text(&created["chat"]["id"]),
                derived: false,
                permanent_member: ADMINISTRATOR,
                people: (0..self.people.len()).collect(),
                movable: movable.collect(),
            });
        }
        let class_chats = self.chats.iter().filter(|chat| chat.derived).cloned();
        chats.extend(class_chats);
        self.chats = chats;
    }

    /// Gives all members new tokens.
    pub(crate) async fn renew_tokens(&mut self) {
        for person in &mut self.people {
            *person = person.account.prolonged().await.enter(&self.school.org_id).await;
        }
        self.school.administrator = self.people[ADMINISTRATOR].clone();
    }

    pub(crate) fn index_of(&self, chat: &str) -> Option<usize> {
        self.chats.iter().position(|c| c.id == chat)
    }
}
