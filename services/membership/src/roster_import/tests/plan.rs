use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use parta_ids::{MemberId, TypedId as _, Uuid};
use parta_roster::{Role, label_key};
use proptest::prelude::*;

use crate::roster_import::{
    Problems,
    model::{ChangeKind as Kind, Counts as RosterImportCounts},
    plan::{self, Change, Known, There},
    set::{self, Earlier, Files, Set},
};

fn files(of: &[(&'static str, &str)]) -> Files {
    of.iter()
        .map(|(name, text)| (*name, Bytes::copy_from_slice(text.as_bytes())))
        .collect()
}

/// A OneRoster 1.1 set: a class, its teacher, two pupils, a parent.
fn small() -> Files {
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

fn understood(files: &Files) -> (Set, Problems) {
    set::understand(files, &Earlier::default())
}

/// The roster after a plan was carried out.
fn carried_out(changes: &[Change], set: &Set, before: There) -> There {
    let mut there = before;
    let id = |key: &str| {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(key);
        MemberId::from_uuid(Uuid::from_slice(&digest[..16]).unwrap())
    };
    there.classes.extend(set.classes.clone());
    for change in changes {
        let key = change.source_key.clone();
        let label = change.details.unit_label.clone();
        let kind = change.kind;
        let child = id(&change.details.other_key);
        let person = |there: &mut There, act: &dyn Fn(&mut Known)| {
            if let Some((_, known)) = there.people.get_mut(&key) {
                act(known);
            }
        };
        match kind {
            Kind::CreateUnit => {
                there.labels.insert(label_key(&label), label);
            }
            Kind::CreateMember => {
                let full_name = change.details.person.clone();
                let known = Known {
                    full_name,
                    pupil: change.details.value == Role::Pupil.bit(),
                    teacher: change.details.value == Role::Teacher.bit(),
                    ..Known::default()
                };
                there.people.insert(key.clone(), (id(&key), known));
            }
            Kind::RenameMember => person(&mut there, &|k| k.full_name.clone_from(&change.details.after)),
            Kind::BeginEnrollment => person(&mut there, &|k| {
                k.classes.insert(label_key(&label));
            }),
            Kind::EndEnrollment => person(&mut there, &|k| {
                k.classes.remove(&label_key(&label));
            }),
            Kind::BeginAssignment => person(&mut there, &|k| {
                k.tasks.insert((label_key(&label), change.details.value));
            }),
            Kind::EstablishGuardianship => person(&mut there, &|k| {
                k.children.insert(child);
            }),
            Kind::RemoveMember => {
                there.people.remove(&key);
            }
        }
    }
    there
}

fn counts(changes: &[Change]) -> RosterImportCounts {
    plan::counts(changes)
}

#[test]
fn a_set_is_what_its_rows_say() {
    let (set, problems) = understood(&small());
    assert_eq!(problems.0, []);
    assert_eq!(set.people["t1"].full_name, "Кузнецова Мария Ивановна");
    let planned = counts(&plan::plan(&set, &There::default()));
    let wanted = RosterImportCounts {
        units: 1,
        members: 4,
        invitations: 4,
        enrollments_begun: 2,
        assignments_begun: 1,
        guardianships: 1,
        ..Default::default()
    };
    assert_eq!(planned, wanted);
}

#[test]
fn the_same_set_twice_is_no_difference() {
    let (set, _) = understood(&small());
    let first = plan::plan(&set, &There::default());
    let there = carried_out(&first, &set, There::default());
    assert_eq!(plan::plan(&set, &there), []);
}

#[test]
fn who_is_gone_from_a_bulk_set_leaves_and_who_moved_moves() {
    let (set, _) = understood(&small());
    let there = carried_out(&plan::plan(&set, &There::default()), &set, There::default());
    let mut later = small();
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
    let (set, problems) = understood(&later);
    assert_eq!(problems.0, []);
    let planned = counts(&plan::plan(&set, &there));
    let wanted = RosterImportCounts {
        units: 1,
        renames: 1,
        enrollments_begun: 1,
        enrollments_ended: 1,
        removals: 2,
        ..Default::default()
    };
    assert_eq!(planned, wanted);
    // A delta set lets nobody go whom it does not name.
    let manifest = "propertyName,value\noneroster.version,1.1\nfile.users,delta\nfile.enrollments,delta\n";
    later.insert("manifest.csv", Bytes::from_static(manifest.as_bytes()));
    let planned = counts(&plan::plan(&understood(&later).0, &there));
    assert_eq!((planned.removals, planned.enrollments_ended), (0, 0));
}

#[test]
fn dirt_is_told_by_file_line_and_column() {
    let mut dirty = small();
    let users = "sourcedId,role,givenName,familyName\n\"a\nb\",student,Пётр,Сидоров\nt1,wizard,Мария,Кузнецова\nt1,teacher,,\ns1,student\n";
    dirty.insert("users.csv", Bytes::from_static(users.as_bytes()));
    let (_, problems) = understood(&dirty);
    let told: BTreeSet<_> = problems
        .0
        .iter()
        .map(|p| (p.file.as_str(), p.line, p.column.as_str()))
        .collect();
    for place in [
        ("users.csv", 2, "sourcedId"),
        ("users.csv", 4, "role"),
        ("users.csv", 5, "sourcedId"),
        ("users.csv", 5, "familyName"),
        ("users.csv", 6, ""),
        ("enrollments.csv", 3, "userSourcedId"),
    ] {
        assert!(told.contains(&place), "{place:?} is not among {told:?}");
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
fn windows_1251_is_read() {
    let mut old = small();
    let (bytes, ..) =
        encoding_rs::WINDOWS_1251.encode("sourcedId,role,givenName,familyName\ns1,student,Пётр,Сидоров\n");
    old.insert("users.csv", Bytes::copy_from_slice(&bytes));
    old.insert(
        "enrollments.csv",
        Bytes::from_static(b"sourcedId,classSourcedId,userSourcedId,role\n"),
    );
    let (set, problems) = understood(&old);
    assert_eq!(problems.0, []);
    assert_eq!(set.people["s1"].full_name, "Сидоров Пётр");
}

#[test]
fn a_file_that_is_absent_removes_nobody() {
    let (set, _) = understood(&small());
    let there = carried_out(&plan::plan(&set, &There::default()), &set, There::default());
    let earlier = Earlier {
        people: there.people.keys().cloned().collect(),
        classes: there.classes.clone(),
    };
    let manifest = "propertyName,value\noneroster.version,1.1\nfile.users,absent\nfile.enrollments,absent\n";
    let mut later = small();
    later.insert("manifest.csv", Bytes::from_static(manifest.as_bytes()));
    later.remove("users.csv");
    later.remove("enrollments.csv");
    let (set, problems) = set::understand(&later, &earlier);
    assert_eq!(problems.0, []);
    assert_eq!(plan::plan(&set, &there), []);
}

#[test]
fn labels_that_look_alike_are_one_class() {
    let (set, _) = understood(&small());
    let there = There {
        labels: BTreeMap::from([(label_key("5a"), "5a".to_owned())]),
        ..There::default()
    };
    assert_eq!(counts(&plan::plan(&set, &there)).units, 0);
    let mut twice = small();
    twice.insert(
        "classes.csv",
        Bytes::from_static("sourcedId,title\nc1,5А\nc2,5 a\n".as_bytes()),
    );
    let (_, problems) = understood(&twice);
    let at = |p: &crate::roster_import::Problem| {
        (p.file.as_str(), p.line, p.column.as_str()) == ("classes.csv", 3, "title")
    };
    assert!(problems.refused() && problems.0.iter().any(at), "{problems:?}");
}

#[test]
fn somebody_of_whose_role_a_later_set_says_nothing_stays_and_is_renamed() {
    let (set, _) = understood(&small());
    let there = carried_out(&plan::plan(&set, &There::default()), &set, There::default());
    let earlier = Earlier {
        people: there.people.keys().cloned().collect(),
        classes: there.classes.clone(),
    };
    let mut later = small();
    let manifest = "propertyName,value\noneroster.version,1.2\n";
    later.insert("manifest.csv", Bytes::from_static(manifest.as_bytes()));
    let roles = "sourcedId,userSourcedId,role\nr1,t1,teacher\nr2,s1,observer\nr3,p1,parent\n";
    later.insert("roles.csv", Bytes::from_static(roles.as_bytes()));
    let users = "sourcedId,givenName,familyName,middleName\nt1,Мария,Кузнецова,Ивановна\ns1,Пётр,Иванов,\ns2,Анна,Новикова,\np1,Ольга,Сидорова,\n";
    later.insert("users.csv", Bytes::from_static(users.as_bytes()));
    let (set, problems) = set::understand(&later, &earlier);
    assert!(!problems.refused(), "{problems:?}");
    let planned = counts(&plan::plan(&set, &there));
    let wanted = RosterImportCounts {
        renames: 1,
        ..Default::default()
    };
    assert_eq!(planned, wanted);
}

#[test]
fn lines_are_counted_whatever_ends_them() {
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
fn a_file_of_too_many_rows_is_refused() {
    let mut many = small();
    many.insert(
        "orgs.csv",
        Bytes::from(format!("name\n{}", "a\n".repeat(500_001))),
    );
    let (_, problems) = understood(&many);
    assert!(
        problems
            .0
            .iter()
            .any(|p| p.file == "orgs.csv" && p.line == 500_002 && p.fatal)
    );
}

#[test]
fn many_removals_have_to_be_meant() {
    let of = |removals| RosterImportCounts {
        removals,
        ..Default::default()
    };
    assert!(plan::is_mass_removal(&of(11), 100));
    assert!(!plan::is_mass_removal(&of(11), 110));
    assert!(!plan::is_mass_removal(&of(10), 10));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(users in any::<Vec<u8>>(), enrollments in any::<Vec<u8>>(), classes in "[\\PC,\"\n]{0,200}") {
        let mut any = small();
        any.insert("users.csv", users.into());
        any.insert("enrollments.csv", enrollments.into());
        any.insert("classes.csv", classes.into());
        let (set, _) = understood(&any);
        plan::plan(&set, &There::default());
    }

    #[test]
    fn the_order_of_rows_does_not_matter(order in Just((0..4).collect::<Vec<usize>>()).prop_shuffle()) {
        let mut shuffled = small();
        let text = String::from_utf8_lossy(&shuffled["users.csv"]).into_owned();
        let lines: Vec<_> = text.lines().collect();
        let rows = order.iter().map(|n| lines[n + 1]);
        let all: Vec<_> = std::iter::once(lines[0]).chain(rows).collect();
        shuffled.insert("users.csv", Bytes::from(all.join("\n")));
        let of = |files: &Files| plan::plan(&understood(files).0, &There::default());
        prop_assert_eq!(of(&shuffled), of(&small()));
    }
}

#[test]
fn sets_of_others_are_understood_or_refused_with_places() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let mut seen = BTreeMap::new();
    for set in ["oneroster/v1p1-minimal", "oneroster/v1p2-delta", "sds-v2.1"] {
        let Ok(entries) = std::fs::read_dir(folder.join(set)) else {
            continue;
        };
        let mut files = Files::new();
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let name = path
                .file_name()
                .and_then(|n| n.to_str())
                .and_then(crate::roster_import::files::known);
            if let (Some(name), Ok(bytes)) = (name, std::fs::read(&path)) {
                files.insert(name, bytes.into());
            }
        }
        let (wanted, problems) = understood(&files);
        assert!(
            problems
                .0
                .iter()
                .all(|p| !p.file.is_empty() && !p.description.is_empty())
        );
        assert!(!wanted.version.is_empty());
        seen.insert(set, (problems.refused(), wanted.people.len(), problems.0));
    }
    for (set, (refused, people, problems)) in seen {
        assert!(!refused, "{set} is refused: {problems:?}");
        assert!(people > 0, "{set} brings nobody");
    }
}
