//! A generated school as a OneRoster 1.2 set: Russian names, classes like 5А, the same people in every run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

const SURNAMES: [&str; 24] = [
    "Иванов",
    "Смирнов",
    "Кузнецов",
    "Попов",
    "Васильев",
    "Петров",
    "Соколов",
    "Михайлов",
    "Новиков",
    "Фёдоров",
    "Морозов",
    "Волков",
    "Алексеев",
    "Лебедев",
    "Семёнов",
    "Егоров",
    "Павлов",
    "Козлов",
    "Степанов",
    "Николаев",
    "Орлов",
    "Андреев",
    "Макаров",
    "Никитин",
];
const BOYS: [&str; 12] = [
    "Александр",
    "Дмитрий",
    "Максим",
    "Артём",
    "Иван",
    "Михаил",
    "Кирилл",
    "Матвей",
    "Тимофей",
    "Егор",
    "Илья",
    "Лев",
];
const GIRLS: [&str; 12] = [
    "Анна",
    "Мария",
    "София",
    "Виктория",
    "Алиса",
    "Полина",
    "Дарья",
    "Варвара",
    "Ксения",
    "Вероника",
    "Ева",
    "Юлия",
];
const FATHERS: [(&str, &str); 8] = [
    ("Андреевич", "Андреевна"),
    ("Сергеевич", "Сергеевна"),
    ("Алексеевич", "Алексеевна"),
    ("Ильич", "Ильинична"),
    ("Петрович", "Петровна"),
    ("Олегович", "Олеговна"),
    ("Игоревич", "Игоревна"),
    ("Львович", "Львовна"),
];
const LETTERS: [&str; 2] = ["А", "Б"];
const GRADES: usize = 11;

/// A generated set: file names and CSV texts, in upload order.
pub type FileSet = BTreeMap<String, String>;

struct Name {
    given: &'static str,
    middle: &'static str,
    family: String,
}

/// Returns the n-th generated person. The same n gives the same person.
fn name(n: usize) -> Name {
    let woman = n % 2 == 1;
    let family = SURNAMES[(n * 7 + n / SURNAMES.len()) % SURNAMES.len()];
    let (man_middle, woman_middle) = FATHERS[(n / 3) % FATHERS.len()];
    if woman {
        Name {
            given: GIRLS[(n / 2) % GIRLS.len()],
            middle: woman_middle,
            family: format!("{family}а"),
        }
    } else {
        Name {
            given: BOYS[(n / 2) % BOYS.len()],
            middle: man_middle,
            family: family.to_owned(),
        }
    }
}

fn row(out: &mut String, cells: &[&str]) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        out,
        "{}",
        cells.iter().map(|c| quote(c)).collect::<Vec<_>>().join(",")
    );
}

fn quote(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// Generates a bulk OneRoster 1.2 set of `people` persons. About one in fifteen is a teacher. The pupils are
/// spread evenly over the classes 1А to 11Б.
pub fn generate(people: usize) -> FileSet {
    let teachers = (people / 15).max(GRADES * LETTERS.len());
    let pupils = people.saturating_sub(teachers);
    let mut files = FileSet::new();

    let mut manifest = String::new();
    row(&mut manifest, &["propertyName", "value"]);
    row(&mut manifest, &["manifest.version", "1.0"]);
    row(&mut manifest, &["oneroster.version", "1.2"]);
    for file in [
        "academicSessions",
        "classes",
        "courses",
        "enrollments",
        "orgs",
        "roles",
        "users",
    ] {
        row(&mut manifest, &[&format!("file.{file}"), "bulk"]);
    }
    for file in [
        "categories",
        "classResources",
        "courseResources",
        "demographics",
        "lineItems",
        "resources",
    ] {
        row(&mut manifest, &[&format!("file.{file}"), "absent"]);
    }
    row(&mut manifest, &["source.systemName", "Школьный журнал"]);
    files.insert("manifest.csv".to_owned(), manifest);

    let mut orgs = String::new();
    row(
        &mut orgs,
        &[
            "sourcedId",
            "status",
            "dateLastModified",
            "name",
            "type",
            "identifier",
            "parentSourcedId",
        ],
    );
    row(&mut orgs, &["school-1", "", "", "Школа № 1", "school", "", ""]);
    files.insert("orgs.csv".to_owned(), orgs);

    let mut sessions = String::new();
    row(
        &mut sessions,
        &[
            "sourcedId",
            "status",
            "dateLastModified",
            "title",
            "type",
            "startDate",
            "endDate",
            "parentSourcedId",
            "schoolYear",
        ],
    );
    row(
        &mut sessions,
        &[
            "year-2026",
            "",
            "",
            "2026/27",
            "schoolYear",
            "2026-09-01",
            "2027-05-31",
            "",
            "2027",
        ],
    );
    files.insert("academicSessions.csv".to_owned(), sessions);

    let mut courses = String::new();
    row(
        &mut courses,
        &[
            "sourcedId",
            "status",
            "dateLastModified",
            "schoolYearSourcedId",
            "title",
            "courseCode",
            "grades",
            "orgSourcedId",
            "subjects",
            "subjectCodes",
        ],
    );
    let mut classes = String::new();
    row(
        &mut classes,
        &[
            "sourcedId",
            "status",
            "dateLastModified",
            "title",
            "grades",
            "courseSourcedId",
            "classCode",
            "classType",
            "location",
            "schoolSourcedId",
            "termSourcedIds",
            "subjects",
            "subjectCodes",
            "periods",
        ],
    );
    let mut class_ids = Vec::new();
    for grade in 1..=GRADES {
        let course = format!("course-{grade}");
        row(
            &mut courses,
            &[
                &course,
                "",
                "",
                "year-2026",
                &format!("{grade} класс"),
                "",
                &grade.to_string(),
                "school-1",
                "",
                "",
            ],
        );
        for letter in LETTERS {
            let id = format!("class-{grade}{letter}");
            row(
                &mut classes,
                &[
                    &id,
                    "",
                    "",
                    &format!("{grade}{letter}"),
                    &grade.to_string(),
                    &course,
                    "",
                    "homeroom",
                    "",
                    "school-1",
                    "year-2026",
                    "",
                    "",
                    "",
                ],
            );
            class_ids.push(id);
        }
    }
    files.insert("courses.csv".to_owned(), courses);
    files.insert("classes.csv".to_owned(), classes);

    let mut users = String::new();
    row(
        &mut users,
        &[
            "sourcedId",
            "status",
            "dateLastModified",
            "enabledUser",
            "username",
            "userIds",
            "givenName",
            "familyName",
            "middleName",
            "identifier",
            "email",
            "sms",
            "phone",
            "agentSourcedIds",
            "grades",
            "password",
            "userMasterIdentifier",
            "preferredGivenName",
            "preferredMiddleName",
            "preferredFamilyName",
            "primaryOrgSourcedId",
            "pronouns",
        ],
    );
    let mut roles = String::new();
    row(
        &mut roles,
        &[
            "sourcedId",
            "status",
            "dateLastModified",
            "userSourcedId",
            "roleType",
            "role",
            "beginDate",
            "endDate",
            "orgSourcedId",
            "userProfileSourcedId",
        ],
    );
    let mut enrollments = String::new();
    row(
        &mut enrollments,
        &[
            "sourcedId",
            "status",
            "dateLastModified",
            "classSourcedId",
            "schoolSourcedId",
            "userSourcedId",
            "role",
            "primary",
            "beginDate",
            "endDate",
        ],
    );
    for n in 0..teachers + pupils {
        let teacher = n < teachers;
        let person = name(n);
        let id = format!("user-{n:05}");
        let class = &class_ids[n % class_ids.len()];
        let grade = if teacher {
            String::new()
        } else {
            ((n % class_ids.len()) / LETTERS.len() + 1).to_string()
        };
        let role = if teacher { "teacher" } else { "student" };
        row(
            &mut users,
            &[
                &id,
                "",
                "",
                "true",
                &format!("u{n:05}"),
                "",
                person.given,
                &person.family,
                person.middle,
                "",
                "",
                "",
                "",
                "",
                &grade,
                "",
                "",
                "",
                "",
                "",
                "school-1",
                "",
            ],
        );
        row(
            &mut roles,
            &[
                &format!("role-{n:05}"),
                "",
                "",
                &id,
                "primary",
                role,
                "",
                "",
                "school-1",
                "",
            ],
        );
        row(
            &mut enrollments,
            &[
                &format!("enr-{n:05}"),
                "",
                "",
                class,
                "school-1",
                &id,
                role,
                "",
                "",
                "",
            ],
        );
    }
    files.insert("users.csv".to_owned(), users);
    files.insert("roles.csv".to_owned(), roles);
    files.insert("enrollments.csv".to_owned(), enrollments);
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_school_has_600_people_and_22_classes() {
        let set = generate(600);
        assert_eq!(set["users.csv"].lines().count(), 601);
        assert_eq!(set["classes.csv"].lines().count(), 23);
        assert!(set["classes.csv"].contains(",5А,"));
        assert_eq!(set, generate(600));
    }
}
