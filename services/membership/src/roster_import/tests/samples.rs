//! Sets in the forms that other programs write: of this module, and published ones if they are present.
use std::path::Path;

use parta_roster::Role;
use parta_testkit::shared_data;

use super::plan::{files, small_set};
use crate::roster_import::{
    Problems,
    files::accepted_name,
    set::{self, EarlierImports, Files, SourceRoster},
};

/// A OneRoster 1.2 set of changes, with all columns and all files of the format.
fn delta_set() -> Files {
    files(&[
        (
            "manifest.csv",
            "propertyName,value\r\nmanifest.version,1.0\r\noneroster.version,1.2\r\n\
             file.academicSessions,delta\r\nfile.classes,delta\r\nfile.courses,delta\r\n\
             file.demographics,delta\r\nfile.enrollments,delta\r\nfile.orgs,delta\r\nfile.roles,delta\r\n\
             file.userProfiles,delta\r\nfile.users,delta\r\nfile.results,absent\r\nsource.systemName,Журнал\r\n",
        ),
        (
            "orgs.csv",
            "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\n\
             org5,active,2026-08-20T06:00:00.000Z,Школа № 5,school,,\r\n",
        ),
        (
            "academicsessions.csv",
            "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear\r\n\
             y26,active,2026-08-20T06:00:00.000Z,2026/27,schoolYear,2026-09-01,2027-05-31,,2027\r\n",
        ),
        (
            "courses.csv",
            "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,orgSourcedId\r\n\
             all,active,2026-08-20T06:00:00.000Z,y26,Все предметы,,5,org5\r\n",
        ),
        (
            "classes.csv",
            "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,schoolSourcedId\r\n\
             5b,active,2026-08-20T06:00:00.000Z,5Б,5,all,,homeroom,org5\r\n",
        ),
        (
            "users.csv",
            "sourcedId,status,dateLastModified,enabledUser,username,givenName,familyName,middleName,grades\r\n\
             u1,active,2026-08-20T06:00:00.000Z,true,egorova,Вера,Егорова,Павловна,\r\n\
             u2,active,2026-08-20T06:00:00.000Z,true,lisin,Илья,Лисин,,5\r\n\
             u3,tobedeleted,2026-08-20T06:00:00.000Z,true,orlov,Олег,Орлов,,5\r\n",
        ),
        (
            "roles.csv",
            "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId\r\n\
             r1,active,2026-08-20T06:00:00.000Z,u1,primary,teacher,,,org5\r\n\
             r2,active,2026-08-20T06:00:00.000Z,u2,primary,student,,,org5\r\n\
             r3,tobedeleted,2026-08-20T06:00:00.000Z,u3,primary,student,,,org5\r\n",
        ),
        (
            "enrollments.csv",
            "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary\r\n\
             e1,active,2026-08-20T06:00:00.000Z,5b,org5,u1,teacher,true\r\n\
             e2,active,2026-08-20T06:00:00.000Z,5b,org5,u2,student,false\r\n\
             e3,tobedeleted,2026-08-20T06:00:00.000Z,5b,org5,u3,student,false\r\n",
        ),
        (
            "demographics.csv",
            "sourcedId,status,dateLastModified,birthDate,sex\r\nu2,active,2026-08-20T06:00:00.000Z,,male\r\n",
        ),
        (
            "userprofiles.csv",
            "sourcedId,status,dateLastModified,userSourcedId,profileType,vendorId,credentialType,username\r\n\
             p2,active,2026-08-20T06:00:00.000Z,u2,system,diary,login,lisin\r\n",
        ),
    ])
}

/// A set of School Data Sync: no manifest and no status; guardians in a file of their own.
fn school_data_sync_set() -> Files {
    files(&[
        (
            "orgs.csv",
            "sourcedId,name,type,parentSourcedId\n10,Школа № 5,school,\n",
        ),
        (
            "users.csv",
            "sourcedId,username,givenName,familyName,password,email\n\
             21,egorova@school.example,Вера,Егорова,,\n22,lisin@school.example,Илья,Лисин,,\n\
             23,,Нина,Лисина,,\n",
        ),
        (
            "roles.csv",
            "userSourcedId,orgSourcedId,role,sessionSourcedId,grade,isPrimary\n\
             21,10,teacher,y26,,TRUE\n22,10,student,y26,5,TRUE\n",
        ),
        (
            "classes.csv",
            "sourcedId,orgSourcedId,title,sessionSourcedIds,courseSourcedId\n31,10,5Б,y26,\n",
        ),
        (
            "enrollments.csv",
            "classSourcedId,userSourcedId,role\n31,21,teacher\n31,22,student\n",
        ),
        (
            "relationships.csv",
            "userSourcedId,relationshipUserSourcedId,relationshipRole\n22,23,guardian\n",
        ),
        ("userflags.csv", "userSourcedId,flag\n22,iep\n"),
    ])
}

/// Parses a set, which must be accepted and have people. Its problems must say where they are.
fn accepted(name: &str, files: &Files) -> (SourceRoster, Problems) {
    let (set, problems) = set::parse(files, &EarlierImports::default());
    assert!(!problems.refused(), "{name} is refused: {problems:?}");
    assert!(!set.people.is_empty(), "{name} has no people");
    let is_located = |p: &crate::roster_import::Problem| !p.file.is_empty() && !p.description.is_empty();
    assert!(problems.0.iter().all(is_located), "{name}: {problems:?}");
    (set, problems)
}

#[test]
fn sets_of_each_form_are_accepted() {
    for (name, files, version, complete, people, guardianships, leaving) in [
        ("OneRoster 1.1", small_set(), "1.1", true, 4, 1, 0),
        ("OneRoster 1.2", delta_set(), "1.2", false, 2, 0, 1),
        ("School Data Sync", school_data_sync_set(), "1.2", true, 3, 1, 0),
    ] {
        let (set, problems) = accepted(name, &files);
        assert_eq!(problems.0, [], "{name}");
        assert_eq!(set.version, version, "{name}");
        assert_eq!(
            (set.people_are_complete, set.enrollments_are_complete),
            (complete, complete),
            "{name}"
        );
        assert_eq!(
            (set.classes.len(), set.people.len(), set.assignments.len()),
            (1, people, 1),
            "{name}"
        );
        assert_eq!(
            (
                set.guardianships.len(),
                set.leaving.len(),
                set.ended_enrollments.len()
            ),
            (guardianships, leaving, leaving),
            "{name}"
        );
        let pupils = set
            .people
            .values()
            .filter(|person| person.role == Some(Role::Pupil));
        assert_eq!(pupils.count(), set.enrollments.len(), "{name}");
    }
}

/// Reads the accepted files of a folder.
fn read(folder: &Path) -> Files {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(accepted_name);
        if let Some(name) = name {
            files.insert(name, std::fs::read(&path).unwrap().into());
        }
    }
    files
}

#[test]
fn published_sets_are_accepted_if_present() {
    for name in ["oneroster/v1p1-minimal", "oneroster/v1p2-delta", "sds-v2.1"] {
        if let Some(folder) = shared_data(name) {
            accepted(name, &read(&folder));
        }
    }
}
