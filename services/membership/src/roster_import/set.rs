//! Parses a set of OneRoster files.
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use parta_roster::{Role, label_key};
use parta_status::name::is_visible;

use crate::assignments::AssignmentKind;

use super::{
    Problems,
    files::{self, Row, Table},
    model::SourceLine,
};

/// The files of a set, by the names of [`files::accepted_name`].
pub(crate) type Files = BTreeMap<&'static str, Bytes>;

/// The people and classes of earlier imports of the organization. A delta set may refer to them.
#[derive(Debug, Default, Clone)]
pub(crate) struct EarlierImports {
    pub(crate) people: BTreeSet<String>,
    /// Labels of the classes, by their ids in the source.
    pub(crate) classes: BTreeMap<String, String>,
}

/// A person in the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourcePerson {
    /// Family name, given name and patronymic, in the order of Russian class registers.
    pub(crate) full_name: String,
    /// `None` if the set gives no role to a person of an earlier import, whose role then does not change.
    pub(crate) role: Option<Role>,
    pub(crate) source_line: SourceLine,
}

/// The roster that the set describes. Keys are ids in the source.
#[derive(Debug, Default, Clone)]
pub(crate) struct SourceRoster {
    pub(crate) version: String,
    pub(crate) classes: BTreeMap<String, String>,
    /// The rows of these classes.
    pub(crate) class_lines: BTreeMap<String, SourceLine>,
    pub(crate) people: BTreeMap<String, SourcePerson>,
    /// Enrollments: pupil and class, with the row.
    pub(crate) enrollments: BTreeMap<(String, String), SourceLine>,
    /// Enrollments that the set marks as ended: pupil and class, with the row.
    pub(crate) ended_enrollments: BTreeMap<(String, String), SourceLine>,
    /// Assignments: teacher, class and kind, with the row.
    pub(crate) assignments: BTreeMap<(String, String, i32), SourceLine>,
    /// Guardianships: guardian and child, with the row.
    pub(crate) guardianships: BTreeMap<(String, String), SourceLine>,
    /// People whom the set marks as deleted, with the row.
    pub(crate) leaving: BTreeMap<String, SourceLine>,
    /// Whether the set lists all people, so that members who are not in `people` are removed.
    pub(crate) people_are_complete: bool,
    /// Whether the set lists all enrollments, so that other enrollments end.
    pub(crate) enrollments_are_complete: bool,
}

/// Longest label of a class, in characters.
const MAX_LABEL: usize = 50;
/// Longest full name, in characters.
const MAX_NAME: usize = 200;

struct Parser<'a> {
    files: &'a Files,
    earlier: &'a EarlierImports,
    problems: Problems,
    set: SourceRoster,
    /// All ids of users.csv, including people who are not imported.
    user_ids: BTreeSet<String>,
    /// Ids of classes.csv that are courses and not classes of a school.
    course_ids: BTreeSet<String>,
    /// Ids of classes that the set marks as deleted.
    deleted_classes: BTreeSet<String>,
}

/// Parses a set of files. The problems are sorted by file and line.
pub(crate) fn parse(files: &Files, earlier: &EarlierImports) -> (SourceRoster, Problems) {
    let mut parser = Parser {
        files,
        earlier,
        problems: Problems::default(),
        set: SourceRoster::default(),
        user_ids: BTreeSet::new(),
        course_ids: BTreeSet::new(),
        deleted_classes: BTreeSet::new(),
    };
    parser.parse_all();
    let Parser {
        mut problems, set, ..
    } = parser;
    problems.0.sort();
    (set, problems)
}

/// Whether a text is not empty, has at most `max` characters and no control characters.
fn is_valid_text(text: &str, max: usize) -> bool {
    !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control)
}

/// Whether a text is a valid name that people read.
fn is_valid_name(text: &str, max: usize) -> bool {
    is_valid_text(text, max) && is_visible(text)
}

/// Maps a role of OneRoster: `None` if it is unknown, `Some(None)` if it is not imported.
fn map_role(name: &str) -> Option<Option<Role>> {
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

/// Returns the role with which a person of two roles is imported.
fn primary_role(a: Role, b: Role) -> Role {
    let order = [Role::Staff, Role::Teacher, Role::Pupil, Role::Parent];
    let rank = |role| order.iter().position(|r| *r == role).unwrap_or(order.len());
    if rank(b) < rank(a) { b } else { a }
}

enum Status {
    Active,
    Ended,
}

impl Parser<'_> {
    fn parse_all(&mut self) {
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
        // Only a complete file shows who is missing from it.
        let is_complete = |file: &str, name: &str| {
            self.files.contains_key(name) && !matches!(mode(file), Some("delta" | "absent"))
        };
        self.set.people_are_complete = is_complete("users", "users.csv");
        self.set.enrollments_are_complete = is_complete("enrollments", "enrollments.csv");
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

    /// Reads a file if it exists. Missing and duplicate ids are fatal problems.
    fn table(&mut self, file: &'static str, columns: &[&str]) -> Option<Table> {
        let bytes = self.files.get(file)?;
        let table = files::read(file, bytes, &mut self.problems);
        table.require(columns, &mut self.problems);
        let mut seen = BTreeSet::new();
        for row in &table.rows {
            let id = table.cell(row, "sourcedid");
            if columns.contains(&"sourcedid") && !is_valid_text(id, 255) {
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
            "tobedeleted" | "inactive" => Status::Ended,
            _ => {
                self.problems
                    .fatal(table.file, row.line, "status", "must be active or tobedeleted");
                Status::Ended
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
        let Some(known) = map_role(table.cell(row, "role")) else {
            self.problems
                .fatal(table.file, row.line, "role", "is no role of OneRoster");
            return None;
        };
        if known.is_none() {
            self.problems
                .skipped(table.file, row.line, "role", "a role that has no place here");
        }
        known
    }

    fn people(&mut self) {
        let Some(users) = self.table("users.csv", &["sourcedid", "givenname", "familyname"]) else {
            return;
        };
        let mut roles = BTreeMap::<String, (Role, u32)>::new();
        let ids = users
            .rows
            .iter()
            .map(|row| users.cell(row, "sourcedid").to_owned());
        self.user_ids = ids.collect();
        if self.set.version == "1.1" {
            users.require(&["role"], &mut self.problems);
            for row in &users.rows {
                if let Some(role) = self.role_of(&users, row) {
                    roles.insert(users.cell(row, "sourcedid").to_owned(), (role, row.line));
                }
            }
        } else if let Some(table) = self.table("roles.csv", &["usersourcedid", "role"]) {
            for row in &table.rows {
                let user = table.cell(row, "usersourcedid");
                if !self.user_ids.contains(user) && !self.earlier.people.contains(user) {
                    self.problems
                        .fatal(table.file, row.line, "userSourcedId", "nobody has this id");
                    continue;
                }
                if let (Status::Active, Some(role)) = (self.status(&table, row), self.role_of(&table, row)) {
                    let new = (role, row.line);
                    let known = roles.entry(user.to_owned()).or_insert(new);
                    let unused = if primary_role(known.0, role) == known.0 {
                        new
                    } else {
                        std::mem::replace(known, new)
                    };
                    if unused.0 != known.0 {
                        let why = "has no effect: a person is imported with one role";
                        self.problems.skipped(table.file, unused.1, "role", why);
                    }
                }
            }
        }
        let relationships = self.relationships();
        for (_, _, guardian) in &relationships {
            if self.user_ids.contains(guardian) {
                // Sources with a file of relationships give no roles to parents.
                roles.entry(guardian.clone()).or_insert((Role::Parent, 0));
            }
        }
        let mut agents = Vec::new();
        for row in &users.rows {
            let key = users.cell(row, "sourcedid");
            if let Status::Ended = self.status(&users, row) {
                self.set.leaving.insert(key.to_owned(), source_line(&users, row));
                continue;
            }
            let role = roles.get(key).map(|(role, _)| *role);
            if role.is_none() && !self.earlier.people.contains(key) {
                self.problems
                    .skipped(users.file, row.line, "role", "the person has no role here");
                continue;
            }
            let parts = ["familyname", "givenname", "middlename"].map(|column| users.cell(row, column));
            let full_name = parts
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(" ");
            if !is_valid_name(&full_name, MAX_NAME) {
                let why = "the name is missing, longer than 200 characters, or has invisible characters";
                self.problems.fatal(users.file, row.line, "familyName", why);
                continue;
            }
            for agent in split_ids(users.cell(row, "agentsourcedids")) {
                agents.push((row.line, key.to_owned(), agent.to_owned()));
            }
            let person = SourcePerson {
                full_name,
                role,
                source_line: source_line(&users, row),
            };
            self.set.people.insert(key.to_owned(), person);
        }
        for (line, person, agent) in agents {
            self.add_guardianship(users.file, line, "agentSourcedIds", &person, &agent);
        }
        for (line, person, guardian) in relationships {
            self.add_guardianship(
                "relationships.csv",
                line,
                "relationshipUserSourcedId",
                &person,
                &guardian,
            );
        }
    }

    /// Adds a guardianship between two people. Their roles show which one is the child.
    fn add_guardianship(&mut self, file: &'static str, line: u32, column: &str, one: &str, other: &str) {
        let role = |key: &str| self.set.people.get(key).and_then(|person| person.role);
        let pair = match (role(one), role(other)) {
            (Some(Role::Pupil), Some(Role::Parent)) => (other, one),
            (Some(Role::Parent), Some(Role::Pupil)) => (one, other),
            (Some(_), Some(_)) => {
                self.problems
                    .skipped(file, line, column, "does not relate a parent to a pupil");
                return;
            }
            _ => {
                self.problems
                    .skipped(file, line, column, "names a person who is not in the set");
                return;
            }
        };
        let pair = (pair.0.to_owned(), pair.1.to_owned());
        self.set
            .guardianships
            .entry(pair)
            .or_insert(SourceLine { file, line });
    }

    /// Returns line, person and guardian of each active row of relationships.csv.
    fn relationships(&mut self) -> Vec<(u32, String, String)> {
        let columns = ["usersourcedid", "relationshipusersourcedid"];
        let Some(table) = self.table("relationships.csv", &columns) else {
            return Vec::new();
        };
        let mut relationships = Vec::new();
        for row in &table.rows {
            if let Status::Active = self.status(&table, row) {
                let [person, guardian] = columns.map(|column| table.cell(row, column).to_owned());
                relationships.push((row.line, person, guardian));
            } else {
                let why = "has no effect: the school ends relations itself";
                self.problems.skipped(table.file, row.line, "status", why);
            }
        }
        relationships
    }

    fn classes(&mut self) {
        let Some(table) = self.table("classes.csv", &["sourcedid", "title"]) else {
            return;
        };
        let is_homeroom = |row: &&Row| table.cell(row, "classtype").eq_ignore_ascii_case("homeroom");
        // If the source marks homerooms, only they are imported as classes. The others are courses.
        let has_homerooms = table.rows.iter().any(|row| is_homeroom(&row));
        let rows: Vec<_> = table
            .rows
            .iter()
            .filter(|row| !has_homerooms || is_homeroom(row))
            .collect();
        let mut labels = BTreeSet::new();
        for row in rows {
            if let Status::Ended = self.status(&table, row) {
                self.deleted_classes
                    .insert(table.cell(row, "sourcedid").to_owned());
                let why = "has no effect: the school archives classes itself";
                self.problems.skipped(table.file, row.line, "status", why);
                continue;
            }
            let label = table.cell(row, "title");
            if !is_valid_name(label, MAX_LABEL) {
                let why = "the title is missing, longer than 50 characters, or has invisible characters";
                self.problems.fatal(table.file, row.line, "title", why);
            } else if !labels.insert(label_key(label)) {
                self.problems
                    .fatal(table.file, row.line, "title", "two classes have this title");
            } else {
                let key = table.cell(row, "sourcedid").to_owned();
                self.set.class_lines.insert(key.clone(), source_line(&table, row));
                self.set.classes.insert(key, label.to_owned());
            }
        }
        // The ids of courses are remembered, so that enrollments in courses are no problems.
        let ids = table
            .rows
            .iter()
            .map(|row| table.cell(row, "sourcedid").to_owned());
        self.course_ids = ids.filter(|id| !self.set.classes.contains_key(id)).collect();
    }

    /// Whether this is the id of a class of the set or of an earlier import.
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
            if self.deleted_classes.contains(&class) && matches!(status, Status::Active) {
                let why = "has no effect: the set marks the class as deleted";
                self.problems.skipped(table.file, row.line, "classSourcedId", why);
            }
            if self.course_ids.contains(&class) {
                continue;
            }
            if !self.is_class(&class) {
                self.problems
                    .fatal(table.file, row.line, "classSourcedId", "no class has this id");
                continue;
            }
            if !self.user_ids.contains(&user) && !self.earlier.people.contains(&user) {
                self.problems
                    .fatal(table.file, row.line, "userSourcedId", "nobody has this id");
                continue;
            }
            match (self.role_of(&table, row), status) {
                (Some(Role::Pupil), Status::Active) => {
                    let row = source_line(&table, row);
                    self.set.enrollments.entry((user, class)).or_insert(row);
                }
                (Some(Role::Pupil), Status::Ended) => {
                    let row = source_line(&table, row);
                    self.set.ended_enrollments.entry((user, class)).or_insert(row);
                }
                (Some(Role::Teacher), Status::Active) => {
                    let is_class_teacher = table.cell(row, "primary").eq_ignore_ascii_case("true");
                    let kind = if is_class_teacher {
                        AssignmentKind::ClassTeacher
                    } else {
                        AssignmentKind::SubjectTeacher
                    };
                    let key = (user, class, kind.number());
                    self.set
                        .assignments
                        .entry(key)
                        .or_insert(source_line(&table, row));
                }
                (Some(Role::Teacher), Status::Ended) => {
                    let why = "has no effect: the school ends assignments itself";
                    self.problems.skipped(table.file, row.line, "status", why);
                }
                (Some(_), Status::Active) => {
                    let why = "has no effect: only pupils and teachers are in a class";
                    self.problems.skipped(table.file, row.line, "role", why);
                }
                (Some(_), Status::Ended) | (None, _) => {}
            }
        }
    }
}

/// Returns where a row stands.
fn source_line(table: &Table, row: &Row) -> SourceLine {
    SourceLine {
        file: table.file,
        line: row.line,
    }
}

/// Splits a cell into ids.
fn split_ids(cell: &str) -> impl Iterator<Item = &str> {
    cell.split([',', ';']).map(str::trim).filter(|id| !id.is_empty())
}
