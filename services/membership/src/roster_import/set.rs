//! Reads a set of OneRoster files as the roster that it describes.
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use parta_roster::{Role, label_key};

use crate::assignments::AssignmentKind;

use super::{
    Problems,
    files::{self, Row, Table},
};

/// The files of a set by the names of [`files::known`].
pub(crate) type Files = BTreeMap<&'static str, Bytes>;

/// The people and classes of earlier imports of the organization, to which a delta set may refer.
#[derive(Debug, Default, Clone)]
pub(crate) struct Earlier {
    pub(crate) people: BTreeSet<String>,
    /// Labels by the source's class ids.
    pub(crate) classes: BTreeMap<String, String>,
}

/// A person of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// «Фамилия Имя Отчество», as class registers have it.
    pub(crate) full_name: String,
    /// `None` for somebody of an earlier import of whose role the set says nothing: they stay what they are.
    pub(crate) role: Option<Role>,
}

/// The roster that the set describes. Keys are the source's ids.
#[derive(Debug, Default)]
pub(crate) struct Set {
    pub(crate) version: String,
    pub(crate) classes: BTreeMap<String, String>,
    pub(crate) people: BTreeMap<String, Wanted>,
    /// Pupil and class.
    pub(crate) places: BTreeSet<(String, String)>,
    /// Pupil and class, of rows that say that it is over.
    pub(crate) places_over: BTreeSet<(String, String)>,
    /// Teacher, class, task.
    pub(crate) tasks: BTreeSet<(String, String, i32)>,
    /// Guardian and child.
    pub(crate) families: BTreeSet<(String, String)>,
    /// People whose rows say that they leave.
    pub(crate) leaving: BTreeSet<String>,
    /// Whether people who are not in `people` are removed.
    pub(crate) all_people: bool,
    /// Whether enrollments that are not in `places` end.
    pub(crate) all_places: bool,
}

/// Longest label of a class and full name.
const LABEL: usize = 50;
const NAME: usize = 200;

struct Reading<'a> {
    files: &'a Files,
    earlier: &'a Earlier,
    problems: Problems,
    set: Set,
    /// Ids of users.csv, whether they are imported or passed over.
    listed: BTreeSet<String>,
    /// Ids of classes.csv that are no classes of a school.
    others: BTreeSet<String>,
}

/// Reads a set.
pub(crate) fn understand(files: &Files, earlier: &Earlier) -> (Set, Problems) {
    let mut reading = Reading {
        files,
        earlier,
        problems: Problems::default(),
        set: Set::default(),
        listed: BTreeSet::new(),
        others: BTreeSet::new(),
    };
    reading.whole();
    let Reading {
        mut problems, set, ..
    } = reading;
    problems.0.sort();
    (set, problems)
}

fn clean(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
}

/// The role here of a role of the source: `None` if it is unknown, `Some(None)` if it is not imported.
fn role(name: &str) -> Option<Option<Role>> {
    let name = name.to_lowercase();
    Some(match name.as_str() {
        "student" => Some(Role::Pupil),
        "teacher" | "professor" | "lecturer" | "faculty" | "adjunct" | "instructor" => Some(Role::Teacher),
        "parent" | "guardian" | "relative" => Some(Role::Parent),
        "administrator"
        | "aide"
        | "proctor"
        | "counselor"
        | "principal"
        | "siteadministrator"
        | "systemadministrator"
        | "districtadministrator"
        | "staff"
        | "officestaff"
        | "nurse"
        | "coach" => Some(Role::Staff),
        "taught" | "observer" => None,
        other if other.starts_with("ext:") => None,
        _ => return None,
    })
}

/// Of several roles of a person the one by which the person comes in.
fn first(a: Role, b: Role) -> Role {
    let order = [Role::Staff, Role::Teacher, Role::Pupil, Role::Parent];
    let place = |role| order.iter().position(|r| *r == role).unwrap_or(order.len());
    if place(b) < place(a) { b } else { a }
}

enum Status {
    Active,
    Over,
}

impl Reading<'_> {
    fn whole(&mut self) {
        let manifest = self.manifest();
        let mode = |file: &str| manifest.get(&format!("file.{file}")).map(String::as_str);
        let version = manifest.get("oneroster.version").cloned();
        let has_roles = self.files.contains_key("roles.csv");
        self.set.version = match version.as_deref() {
            Some(v) if v == "1.1" || v.starts_with("1.1.") => "1.1".to_owned(),
            Some(v) if v == "1.2" || v.starts_with("1.2.") => "1.2".to_owned(),
            Some(_) => {
                self.problems
                    .fatal("manifest.csv", 0, "oneroster.version", "must be 1.1 or 1.2");
                return;
            }
            None if has_roles => "1.2".to_owned(),
            None => "1.1".to_owned(),
        };
        // Only a file that is there and whole says who is not in it.
        let whole = |file: &str, name: &str| {
            self.files.contains_key(name) && !matches!(mode(file), Some("delta" | "absent"))
        };
        self.set.all_people = whole("users", "users.csv");
        self.set.all_places = whole("enrollments", "enrollments.csv");
        let mut required = vec!["orgs", "users", "classes", "enrollments"];
        if self.set.version == "1.2" {
            required.push("roles");
        }
        for file in required {
            let name = format!("{file}.csv");
            if !self.files.contains_key(name.as_str()) && mode(file) != Some("absent") {
                self.problems.fatal(&name, 0, "", "the file is missing");
            }
        }
        self.table("orgs.csv", &["sourcedid", "name", "type"]);
        self.people();
        self.classes();
        self.enrollments();
    }

    /// Reads a file that is there, and refuses ids that come twice.
    fn table(&mut self, file: &'static str, columns: &[&str]) -> Option<Table> {
        let bytes = self.files.get(file)?;
        let table = files::read(file, bytes, &mut self.problems);
        table.require(columns, &mut self.problems);
        let mut seen = BTreeSet::new();
        for row in &table.rows {
            let id = table.cell(row, "sourcedid");
            if columns.contains(&"sourcedid") && !clean(id, 255) {
                self.problems
                    .fatal(file, row.line, "sourcedId", "is missing or malformed");
            } else if !id.is_empty() && !seen.insert(id) {
                self.problems
                    .fatal(file, row.line, "sourcedId", "comes twice in the file");
            }
        }
        Some(table)
    }

    fn status(&mut self, table: &Table, row: &Row) -> Status {
        match table.cell(row, "status").to_lowercase().as_str() {
            "" | "active" => Status::Active,
            "tobedeleted" | "inactive" => Status::Over,
            _ => {
                self.problems
                    .fatal(table.file, row.line, "status", "must be active or tobedeleted");
                Status::Over
            }
        }
    }

    fn manifest(&mut self) -> BTreeMap<String, String> {
        let Some(table) = self.table("manifest.csv", &["propertyname", "value"]) else {
            return BTreeMap::new();
        };
        let pair = |row| {
            let (name, value) = (table.cell(row, "propertyname"), table.cell(row, "value"));
            (name.to_lowercase(), value.to_lowercase())
        };
        table.rows.iter().map(pair).collect()
    }

    fn role_of(&mut self, table: &Table, row: &Row) -> Option<Role> {
        let Some(known) = role(table.cell(row, "role")) else {
            self.problems
                .fatal(table.file, row.line, "role", "is no role of OneRoster");
            return None;
        };
        if known.is_none() {
            self.problems
                .passed(table.file, row.line, "role", "a role that has no place here");
        }
        known
    }

    fn people(&mut self) {
        let Some(users) = self.table("users.csv", &["sourcedid", "givenname", "familyname"]) else {
            return;
        };
        let mut roles = BTreeMap::<String, Role>::new();
        let mut add = |key: &str, role: Role| {
            let known = roles.entry(key.to_owned()).or_insert(role);
            *known = first(*known, role);
        };
        let ids = users
            .rows
            .iter()
            .map(|row| users.cell(row, "sourcedid").to_owned());
        self.listed = ids.collect();
        if self.set.version == "1.1" {
            users.require(&["role"], &mut self.problems);
            for row in &users.rows {
                if let Some(role) = self.role_of(&users, row) {
                    add(users.cell(row, "sourcedid"), role);
                }
            }
        } else if let Some(table) = self.table("roles.csv", &["usersourcedid", "role"]) {
            for row in &table.rows {
                let user = table.cell(row, "usersourcedid");
                if !self.listed.contains(user) && !self.earlier.people.contains(user) {
                    self.problems
                        .fatal(table.file, row.line, "userSourcedId", "nobody has this id");
                    continue;
                }
                if let (Status::Active, Some(role)) = (self.status(&table, row), self.role_of(&table, row)) {
                    add(user, role);
                }
            }
        }
        let related = self.relationships();
        for (_, _, guardian) in &related {
            if self.listed.contains(guardian) {
                // Sources that keep relations in a file of their own give their parents no role besides.
                roles.entry(guardian.clone()).or_insert(Role::Parent);
            }
        }
        let mut agents = Vec::new();
        for row in &users.rows {
            let key = users.cell(row, "sourcedid");
            if let Status::Over = self.status(&users, row) {
                self.set.leaving.insert(key.to_owned());
                continue;
            }
            let role = roles.get(key).copied();
            if role.is_none() && !self.earlier.people.contains(key) {
                self.problems
                    .passed(users.file, row.line, "role", "the person has no role here");
                continue;
            }
            let parts = ["familyname", "givenname", "middlename"].map(|column| users.cell(row, column));
            let full_name = parts
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(" ");
            if !clean(&full_name, NAME) {
                let why = "the name is missing, longer than 200 characters, or has control characters";
                self.problems.fatal(users.file, row.line, "familyName", why);
                continue;
            }
            for agent in list(users.cell(row, "agentsourcedids")) {
                agents.push((row.line, key.to_owned(), agent.to_owned()));
            }
            self.set.people.insert(key.to_owned(), Wanted { full_name, role });
        }
        for (line, person, agent) in agents {
            self.family(users.file, line, "agentSourcedIds", &person, &agent);
        }
        for (line, person, guardian) in related {
            self.family(
                "relationships.csv",
                line,
                "relationshipUserSourcedId",
                &person,
                &guardian,
            );
        }
    }

    /// Two people of whom one is the child.
    fn family(&mut self, file: &str, line: u32, column: &str, one: &str, other: &str) {
        let role = |key: &str| self.set.people.get(key).and_then(|person| person.role);
        let pair = match (role(one), role(other)) {
            (Some(Role::Pupil), Some(Role::Parent)) => (other, one),
            (Some(Role::Parent), Some(Role::Pupil)) => (one, other),
            (Some(_), Some(_)) => {
                self.problems
                    .passed(file, line, column, "does not relate a parent to a pupil");
                return;
            }
            _ => {
                self.problems
                    .passed(file, line, column, "names somebody who is not in the set");
                return;
            }
        };
        self.set.families.insert((pair.0.to_owned(), pair.1.to_owned()));
    }

    /// Line, person and guardian of each living row of relationships.csv.
    fn relationships(&mut self) -> Vec<(u32, String, String)> {
        let columns = ["usersourcedid", "relationshipusersourcedid"];
        let Some(table) = self.table("relationships.csv", &columns) else {
            return Vec::new();
        };
        let mut related = Vec::new();
        for row in &table.rows {
            if let Status::Active = self.status(&table, row) {
                let [person, guardian] = columns.map(|column| table.cell(row, column).to_owned());
                related.push((row.line, person, guardian));
            }
        }
        related
    }

    fn classes(&mut self) {
        let Some(table) = self.table("classes.csv", &["sourcedid", "title"]) else {
            return;
        };
        let homeroom = |row: &&Row| table.cell(row, "classtype").eq_ignore_ascii_case("homeroom");
        // If the source marks homerooms, only those are classes here, and the others are courses.
        let told = table.rows.iter().any(|row| homeroom(&row));
        let rows: Vec<_> = table.rows.iter().filter(|row| !told || homeroom(row)).collect();
        let mut labels = BTreeSet::new();
        for row in rows {
            if let Status::Over = self.status(&table, row) {
                continue;
            }
            let label = table.cell(row, "title");
            if !clean(label, LABEL) {
                let why = "the title is missing, longer than 50 characters, or has control characters";
                self.problems.fatal(table.file, row.line, "title", why);
            } else if !labels.insert(label_key(label)) {
                self.problems
                    .fatal(table.file, row.line, "title", "two classes have this title");
            } else {
                let key = table.cell(row, "sourcedid").to_owned();
                self.set.classes.insert(key, label.to_owned());
            }
        }
        // Ids of courses are known too, so that enrollments in them are not unknown.
        let ids = table
            .rows
            .iter()
            .map(|row| table.cell(row, "sourcedid").to_owned());
        self.others = ids.filter(|id| !self.set.classes.contains_key(id)).collect();
    }

    /// Whether it is a class of the set, or of an earlier one.
    fn is_class(&self, key: &str) -> bool {
        self.set.classes.contains_key(key) || self.earlier.classes.contains_key(key)
    }

    fn enrollments(&mut self) {
        let Some(table) = self.table("enrollments.csv", &["classsourcedid", "usersourcedid", "role"]) else {
            return;
        };
        for row in &table.rows {
            let [class, user] =
                ["classsourcedid", "usersourcedid"].map(|column| table.cell(row, column).to_owned());
            let status = self.status(&table, row);
            if self.others.contains(&class) {
                continue;
            }
            if !self.is_class(&class) {
                self.problems
                    .fatal(table.file, row.line, "classSourcedId", "no class has this id");
                continue;
            }
            if !self.listed.contains(&user) && !self.earlier.people.contains(&user) {
                self.problems
                    .fatal(table.file, row.line, "userSourcedId", "nobody has this id");
                continue;
            }
            match (self.role_of(&table, row), status) {
                (Some(Role::Pupil), Status::Active) => {
                    self.set.places.insert((user, class));
                }
                (Some(Role::Pupil), Status::Over) => {
                    self.set.places_over.insert((user, class));
                }
                (Some(Role::Teacher), Status::Active) => {
                    let leads = table.cell(row, "primary").eq_ignore_ascii_case("true");
                    let kind = if leads {
                        AssignmentKind::ClassTeacher
                    } else {
                        AssignmentKind::SubjectTeacher
                    };
                    self.set.tasks.insert((user, class, kind.number()));
                }
                _ => {}
            }
        }
    }
}

fn list(cell: &str) -> impl Iterator<Item = &str> {
    cell.split([',', ';']).map(str::trim).filter(|id| !id.is_empty())
}
