use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use parta_ids::{MemberId, TypedId as _, Uuid};
use parta_roster::{Role, label_key};
use proptest::prelude::*;

use crate::roster_import::{
    Problems,
    mass::{is_mass, mass_changes},
    model::{ChangeKind as Kind, Counts as RosterImportCounts, MassChange, NoEffect, Outcome, SourceLine},
    plan::{self, Change, CurrentMember, CurrentRoster, DroppedMember},
    set::{self, EarlierImports, Files, SourceRoster},
};

pub(super) fn files(build: &[(&'static str, &str)]) -> Files {
    build
        .iter()
        .map(|(name, text)| (*name, Bytes::copy_from_slice(text.as_bytes())))
        .collect()
}

/// A OneRoster 1.1 set: a class, its teacher, two pupils, a parent.
pub(super) fn small_set() -> Files {
    files(&[
        (
            "manifest.csv",
            "propertyName,value\noneroster.version,1.1\nfile.users,bulk\nfile.enrollments,bulk\n",
        ),
        ("orgs.csv", "sourcedId,name,type\no1,Школа,school\n"),
        (
            "users.csv",
            "\u{feff}sourcedId,role,givenName,familyName,middleName,agentSourcedIds\n\
             t1,teacher,Мария,Кузнецова,Ивановна,\n\
             s1,student,Пётр,Сидоров,,p1\n\
             s2,student,Анна,Новикова,,\n\
             p1,parent,Ольга,Сидорова,,\n",
        ),
        (
            "classes.csv",
            "sourcedId,title,classType\nc1,5А,homeroom\nc2,Алгебра,scheduled\n",
        ),
        (
            "enrollments.csv",
            "sourcedId,classSourcedId,userSourcedId,role,primary\n\
             e1,c1,t1,teacher,true\ne2,c1,s1,student,\ne3,c1,s2,student,\ne4,c2,s1,student,\n",
        ),
    ])
}

fn parse(files: &Files) -> (SourceRoster, Problems) {
    set::parse(files, &EarlierImports::default())
}

/// Returns the roster after the changes were applied.
fn apply(changes: &[Change], set: &SourceRoster, before: CurrentRoster) -> CurrentRoster {
    let mut current = before;
    let id = |key: &str| {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(key);
        MemberId::from_uuid(Uuid::from_slice(&digest[..16]).unwrap())
    };
    current.classes.extend(set.classes.clone());
    for change in changes {
        let key = change.source_key.clone();
        let label = change.details.unit_label.clone();
        let kind = change.kind;
        let child = id(&change.details.other_key);
        let person = |current: &mut CurrentRoster, act: &dyn Fn(&mut CurrentMember)| {
            if let Some((_, member)) = current.people.get_mut(&key) {
                act(member);
            }
        };
        match kind {
            Kind::CreateUnit => {
                current.labels.insert(label_key(&label), label);
            }
            Kind::ChangeRole => {}
            Kind::CreateMember | Kind::ReadmitMember => {
                let full_name = change.details.person.clone();
                let member = CurrentMember {
                    full_name,
                    roles: Role::set_of(change.details.value),
                    ..CurrentMember::default()
                };
                current.people.insert(key.clone(), (id(&key), member));
            }
            Kind::RenameMember => person(&mut current, &|k| k.full_name.clone_from(&change.details.after)),
            Kind::BeginEnrollment => person(&mut current, &|k| {
                k.classes.insert(label_key(&label));
            }),
            Kind::EndEnrollment => person(&mut current, &|k| {
                k.classes.remove(&label_key(&label));
            }),
            Kind::BeginAssignment => person(&mut current, &|k| {
                k.assignments.insert((label_key(&label), change.details.value));
            }),
            Kind::EstablishGuardianship => person(&mut current, &|k| {
                k.children.insert(child);
            }),
            Kind::RemoveMember => {
                current.people.remove(&key);
            }
        }
    }
    current
}

fn counts(changes: &[Change]) -> RosterImportCounts {
    plan::counts(changes)
}

#[test]
fn plan_creates_everything_of_a_new_set() {
    let (set, problems) = parse(&small_set());
    assert_eq!(problems.0, []);
    assert_eq!(set.people["t1"].full_name, "Кузнецова Мария Ивановна");
    let planned = counts(&plan::plan(&set, &CurrentRoster::default()));
    let expected = RosterImportCounts {
        units: 1,
        members: 4,
        invitations: 4,
        enrollments_begun: 2,
        assignments_begun: 1,
        guardianships: 1,
        ..Default::default()
    };
    assert_eq!(planned, expected);
}

#[test]
fn importing_the_same_set_again_changes_nothing() {
    let (set, _) = parse(&small_set());
    let first = plan::plan(&set, &CurrentRoster::default());
    let current = apply(&first, &set, CurrentRoster::default());
    assert_eq!(plan::plan(&set, &current), []);
}

#[test]
fn bulk_set_removes_missing_people_and_moves_pupils() {
    let (set, _) = parse(&small_set());
    let current = apply(
        &plan::plan(&set, &CurrentRoster::default()),
        &set,
        CurrentRoster::default(),
    );
    let mut later = small_set();
    later.insert(
        "classes.csv",
        Bytes::from_static("sourcedId,title,classType\nc1,5А,homeroom\nc3,6А,homeroom\n".as_bytes()),
    );
    later.insert(
        "users.csv",
        Bytes::from_static(
            "sourcedId,role,givenName,familyName\nt1,teacher,Мария,Петрова\ns1,student,Пётр,Сидоров\n"
                .as_bytes(),
        ),
    );
    later.insert(
        "enrollments.csv",
        Bytes::from_static("sourcedId,classSourcedId,userSourcedId,role\ne1,c3,s1,student\n".as_bytes()),
    );
    let (set, problems) = parse(&later);
    assert_eq!(problems.0, []);
    let planned = counts(&plan::plan(&set, &current));
    let expected = RosterImportCounts {
        units: 1,
        renames: 1,
        enrollments_begun: 1,
        enrollments_ended: 1,
        removals: 2,
        ..Default::default()
    };
    assert_eq!(planned, expected);
    // A delta set removes only people whom it marks as deleted.
    let manifest = "propertyName,value\noneroster.version,1.1\nfile.users,delta\nfile.enrollments,delta\n";
    later.insert("manifest.csv", Bytes::from_static(manifest.as_bytes()));
    let planned = counts(&plan::plan(&parse(&later).0, &current));
    assert_eq!((planned.removals, planned.enrollments_ended), (0, 0));
}

#[test]
fn problems_have_file_line_and_column() {
    let mut invalid = small_set();
    let users = "sourcedId,role,givenName,familyName\n\"a\nb\",student,Пётр,Сидоров\nt1,wizard,Мария,Кузнецова\nt1,teacher,,\ns1,student\n";
    invalid.insert("users.csv", Bytes::from_static(users.as_bytes()));
    let (_, problems) = parse(&invalid);
    let reported: BTreeSet<_> = problems
        .0
        .iter()
        .map(|p| (p.file.as_str(), p.line, p.column.as_str()))
        .collect();
    for position in [
        ("users.csv", 2, "sourcedId"),
        ("users.csv", 4, "role"),
        ("users.csv", 5, "sourcedId"),
        ("users.csv", 5, "familyName"),
        ("users.csv", 6, ""),
        ("enrollments.csv", 3, "userSourcedId"),
    ] {
        assert!(
            reported.contains(&position),
            "{position:?} is not among {reported:?}"
        );
    }
    assert!(problems.refused());
    // No problem quotes a cell.
    assert!(
        !problems
            .0
            .iter()
            .any(|p| p.description.contains("Сидоров") || p.description.contains("wizard"))
    );
}

#[test]
fn windows_1251_is_decoded() {
    let mut old = small_set();
    let (bytes, ..) =
        encoding_rs::WINDOWS_1251.encode("sourcedId,role,givenName,familyName\ns1,student,Пётр,Сидоров\n");
    old.insert("users.csv", Bytes::copy_from_slice(&bytes));
    old.insert(
        "enrollments.csv",
        Bytes::from_static(b"sourcedId,classSourcedId,userSourcedId,role\n"),
    );
    let (set, problems) = parse(&old);
    assert_eq!(problems.0, []);
    assert_eq!(set.people["s1"].full_name, "Сидоров Пётр");
}

/// The roster and the imports of an organization after the import of the small set.
fn imported() -> (CurrentRoster, EarlierImports) {
    let (set, _) = parse(&small_set());
    let current = apply(
        &plan::plan(&set, &CurrentRoster::default()),
        &set,
        CurrentRoster::default(),
    );
    let earlier = EarlierImports {
        people: current.people.keys().cloned().collect(),
        classes: current.classes.clone(),
    };
    (current, earlier)
}

#[test]
fn absent_file_removes_nobody() {
    let (current, earlier) = imported();
    let manifest = "propertyName,value\noneroster.version,1.1\nfile.users,absent\nfile.enrollments,absent\n";
    let mut later = small_set();
    later.insert("manifest.csv", Bytes::from_static(manifest.as_bytes()));
    later.remove("users.csv");
    later.remove("enrollments.csv");
    let (set, problems) = set::parse(&later, &earlier);
    assert_eq!(problems.0, []);
    assert_eq!(plan::plan(&set, &current), []);
}

#[test]
fn similar_labels_are_one_class() {
    let (set, _) = parse(&small_set());
    let current = CurrentRoster {
        labels: BTreeMap::from([(label_key("5a"), "5a".to_owned())]),
        ..CurrentRoster::default()
    };
    assert_eq!(counts(&plan::plan(&set, &current)).units, 0);
    let mut twice = small_set();
    twice.insert(
        "classes.csv",
        Bytes::from_static("sourcedId,title\nc1,5А\nc2,5 a\n".as_bytes()),
    );
    let (_, problems) = parse(&twice);
    let at = |p: &crate::roster_import::Problem| {
        (p.file.as_str(), p.line, p.column.as_str()) == ("classes.csv", 3, "title")
    };
    assert!(problems.refused() && problems.0.iter().any(at), "{problems:?}");
}

#[test]
fn person_without_a_role_in_a_later_set_is_renamed() {
    let (current, earlier) = imported();
    let mut later = small_set();
    let manifest = "propertyName,value\noneroster.version,1.2\n";
    later.insert("manifest.csv", Bytes::from_static(manifest.as_bytes()));
    let roles = "sourcedId,userSourcedId,role\nr1,t1,teacher\nr2,s1,observer\nr3,p1,parent\n";
    later.insert("roles.csv", Bytes::from_static(roles.as_bytes()));
    let users = "sourcedId,givenName,familyName,middleName\nt1,Мария,Кузнецова,Ивановна\ns1,Пётр,Иванов,\ns2,Анна,Новикова,\np1,Ольга,Сидорова,\n";
    later.insert("users.csv", Bytes::from_static(users.as_bytes()));
    let (set, problems) = set::parse(&later, &earlier);
    assert!(!problems.refused(), "{problems:?}");
    let planned = counts(&plan::plan(&set, &current));
    let expected = RosterImportCounts {
        renames: 1,
        ..Default::default()
    };
    assert_eq!(planned, expected);
}

#[test]
fn lines_are_counted_with_lf_and_crlf() {
    for text in [
        "sourcedId,title\na,1\n\nb,\"x\ny\"\nc,3\n",
        "sourcedId,title\r\na,1\r\n\r\nb,\"x\r\ny\"\r\nc,3\r\n",
    ] {
        let mut problems = Problems::default();
        let table = crate::roster_import::files::read("classes.csv", text.as_bytes(), &mut problems);
        let lines: Vec<_> = table.rows.iter().map(|row| row.line).collect();
        assert_eq!((lines, problems.0), (vec![2, 4, 6], vec![]), "{text:?}");
    }
}

#[test]
fn file_with_too_many_rows_is_refused() {
    let mut many = small_set();
    many.insert(
        "orgs.csv",
        Bytes::from(format!("name\n{}", "a\n".repeat(500_001))),
    );
    let (_, problems) = parse(&many);
    assert!(
        problems
            .0
            .iter()
            .any(|p| p.file == "orgs.csv" && p.line == 500_002 && p.fatal)
    );
}

#[test]
fn mass_change_is_three_people_and_more_than_a_tenth() {
    assert!(is_mass(3, 3));
    assert!(is_mass(10, 10));
    assert!(is_mass(3, 29));
    assert!(!is_mass(3, 30));
    assert!(!is_mass(2, 2));
    assert!(is_mass(61, 600));
    assert!(!is_mass(60, 600));
}

/// A roster of pupils in one class and of teachers without an assignment, all of earlier imports.
fn roster(pupils: usize, teachers: usize) -> CurrentRoster {
    let mut current = CurrentRoster {
        labels: BTreeMap::from([(label_key("5А"), "5А".to_owned())]),
        ..CurrentRoster::default()
    };
    for n in 0..pupils + teachers {
        let id = MemberId::from_uuid(Uuid::from_u128(1 + n as u128));
        let is_pupil = n < pupils;
        let role = if is_pupil { Role::Pupil } else { Role::Teacher };
        let member = CurrentMember {
            full_name: format!("Имя {n}"),
            roles: BTreeSet::from([role]),
            classes: is_pupil.then(|| label_key("5А")).into_iter().collect(),
            ..CurrentMember::default()
        };
        let key = if is_pupil {
            format!("s{n}")
        } else {
            format!("t{}", n - pupils)
        };
        current.people.insert(key, (id, member));
    }
    current
}

fn planned(kind: Kind, key: &str, label: &str, after: &str) -> Change {
    Change {
        kind,
        source_key: key.to_owned(),
        details: plan::Details {
            unit_label: label.to_owned(),
            after: after.to_owned(),
            value: 2,
            ..plan::Details::default()
        },
        source_line: SourceLine::default(),
        outcome: Outcome::Planned,
    }
}

#[test]
fn every_kind_of_change_is_guarded() {
    let current = roster(40, 5);
    for (kind, prefix, label, of) in [
        (Kind::RenameMember, "s", "", 45),
        (Kind::EndEnrollment, "s", "5А", 40),
        (Kind::BeginEnrollment, "s", "6А", 40),
        (Kind::BeginAssignment, "t", "5А", 5),
        (Kind::RemoveMember, "s", "", 45),
    ] {
        let changes: Vec<_> = (0..5)
            .map(|n| planned(kind, &format!("{prefix}{n}"), label, "Другое Имя"))
            .collect();
        let mass = [MassChange {
            kind: kind.number(),
            people: 5,
            of,
        }];
        assert_eq!(mass_changes(&changes, &current), mass, "{kind:?}");
        assert_eq!(mass_changes(&changes[..2], &current), [], "{kind:?}");
    }
    // New people, changes that are made already, and rows without effect do not count.
    let mut changes = vec![planned(Kind::RemoveMember, "s0", "", "")];
    changes.push(planned(Kind::CreateMember, "new", "", ""));
    changes.extend((0..9).map(|n| planned(Kind::BeginEnrollment, &format!("s{n}"), "5А", "")));
    changes.extend((0..9).map(|n| Change {
        outcome: Outcome::NoEffect(NoEffect::ClassDecided),
        ..planned(Kind::EndEnrollment, &format!("s{n}"), "5А", "")
    }));
    assert_eq!(mass_changes(&changes, &current), []);
}

/// The reasons of the rows without effect, with their files and lines.
fn without_effect(changes: &[Change]) -> Vec<(Kind, &str, u32, NoEffect)> {
    let rows = changes.iter().filter_map(|change| {
        let reason = change.outcome.no_effect()?;
        Some((
            change.kind,
            change.source_line.file,
            change.source_line.line,
            reason,
        ))
    });
    rows.collect()
}

#[test]
fn rows_without_effect_name_their_lines() {
    let (set, _) = parse(&small_set());
    let first = plan::plan(&set, &CurrentRoster::default());
    assert_eq!(without_effect(&first), []);
    let mut current = apply(&first, &set, CurrentRoster::default());
    // The school removed one pupil, took a role away, and the source had dropped the parent.
    current.people.remove("s1");
    current.removed.insert("s1".to_owned());
    let (_, teacher) = current.people.get_mut("t1").unwrap();
    teacher.roles = BTreeSet::from([Role::Staff]);
    teacher.revoked = BTreeSet::from([Role::Teacher]);
    teacher.assignments.clear();
    let (id, _) = current.people.remove("p1").unwrap();
    let revoked = BTreeSet::new();
    current
        .dropped
        .insert("p1".to_owned(), DroppedMember { id, revoked });
    let changes = plan::plan(&set, &current);
    assert_eq!(
        without_effect(&changes),
        [
            (Kind::CreateMember, "users.csv", 3, NoEffect::RemovedByDecision),
            (Kind::ChangeRole, "users.csv", 2, NoEffect::RoleRevoked),
            (
                Kind::BeginEnrollment,
                "enrollments.csv",
                3,
                NoEffect::RemovedByDecision
            ),
            (Kind::BeginAssignment, "enrollments.csv", 2, NoEffect::RoleRevoked),
            (
                Kind::EstablishGuardianship,
                "users.csv",
                3,
                NoEffect::RemovedByDecision
            ),
        ]
    );
    let expected = RosterImportCounts {
        readmissions: 1,
        ..Default::default()
    };
    assert_eq!(counts(&changes), expected);
}

proptest! {
    #[test]
    fn parsing_never_panics(users in any::<Vec<u8>>(), enrollments in any::<Vec<u8>>(), classes in "[\\PC,\"\n]{0,200}") {
        let mut any = small_set();
        any.insert("users.csv", users.into());
        any.insert("enrollments.csv", enrollments.into());
        any.insert("classes.csv", classes.into());
        let (set, _) = parse(&any);
        plan::plan(&set, &CurrentRoster::default());
    }

    #[test]
    fn plan_does_not_depend_on_the_order_of_rows(order in Just((0..4).collect::<Vec<usize>>()).prop_shuffle()) {
        let mut shuffled = small_set();
        let text = String::from_utf8_lossy(&shuffled["users.csv"]).into_owned();
        let lines: Vec<_> = text.lines().collect();
        let rows = order.iter().map(|n| lines[n + 1]);
        let all: Vec<_> = std::iter::once(lines[0]).chain(rows).collect();
        shuffled.insert("users.csv", Bytes::from(all.join("\n")));
        // Only the lines differ.
        let build = |files: &Files| {
            let mut changes = plan::plan(&parse(files).0, &CurrentRoster::default());
            changes.iter_mut().for_each(|change| change.source_line = SourceLine::default());
            changes
        };
        prop_assert_eq!(build(&shuffled), build(&small_set()));
    }
}
