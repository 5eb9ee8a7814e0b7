//! A school whose roster is imported, and the files of its source.
use parta_ids::{TypedId as _, UnitId, Uuid};
use parta_proto_membership::v1::{
    self as pb, Role, RosterChangeOutcome as Outcome, RosterImportState, RosterNoEffect as NoEffect,
    check_roster_import_request::Part,
};
use parta_proto_org_registry::v1::{UnitArchived, UnitCreated, UnitKind, org_registry_event::Payload};
use tonic::Status;

pub(super) use crate::tests::school::School;
use crate::tests::test_env::{MemberSession, by, org};

/// A OneRoster 1.1 set without a manifest, so that its files are complete.
#[derive(Clone, Default)]
pub(super) struct Source {
    /// Id, role, given name and family name.
    pub(super) users: Vec<(String, &'static str, String)>,
    pub(super) classes: Vec<&'static str>,
    /// Class, person and role.
    pub(super) places: Vec<(&'static str, String, &'static str)>,
    /// Child and guardian.
    pub(super) relations: Vec<(&'static str, &'static str)>,
}

impl Source {
    /// A class of pupils with the ids s1, s2 and so on.
    pub(super) fn pupils(count: usize, class: &'static str) -> Self {
        let keys = (1..=count).map(|n| format!("s{n}"));
        let user = |key: String| (key.clone(), "student", format!("Иван,Лисин-{key}"));
        Self {
            users: keys.clone().map(user).collect(),
            classes: vec![class],
            places: keys.map(|key| (class, key, "student")).collect(),
            relations: Vec::new(),
        }
    }

    /// Adds a person.
    pub(super) fn with(mut self, key: &str, role: &'static str, name: &str) -> Self {
        self.users.push((key.to_owned(), role, name.to_owned()));
        self
    }

    /// Adds an enrollment or an assignment.
    pub(super) fn source_line(mut self, class: &'static str, key: &str, role: &'static str) -> Self {
        self.places.push((class, key.to_owned(), role));
        self
    }

    /// Adds a relation of a child and a guardian.
    pub(super) fn relate(mut self, child: &'static str, guardian: &'static str) -> Self {
        self.relations.push((child, guardian));
        self
    }

    /// Takes a person away, with all rows about the person.
    pub(super) fn without(mut self, key: &str) -> Self {
        self.users.retain(|(user, ..)| user != key);
        self.places.retain(|(_, user, _)| user != key);
        self.relations
            .retain(|(child, guardian)| *child != key && *guardian != key);
        self
    }

    fn files(&self) -> [(&'static str, String); 5] {
        let users = self.users.iter();
        let users = users.map(|(key, role, name)| format!("{key},{role},{name}\n"));
        let classes = self.classes.iter().map(|label| format!("{label},{label}\n"));
        let places = self.places.iter().enumerate();
        let places = places.map(|(n, (class, key, role))| format!("e{n},{class},{key},{role}\n"));
        let relations = self.relations.iter();
        let relations = relations.map(|(child, guardian)| format!("{child},{guardian},guardian\n"));
        [
            ("orgs.csv", "sourcedId,name,type\no1,Школа,school\n".to_owned()),
            (
                "users.csv",
                format!(
                    "sourcedId,role,givenName,familyName\n{}",
                    users.collect::<String>()
                ),
            ),
            (
                "classes.csv",
                format!("sourcedId,title\n{}", classes.collect::<String>()),
            ),
            (
                "enrollments.csv",
                format!(
                    "sourcedId,classSourcedId,userSourcedId,role\n{}",
                    places.collect::<String>()
                ),
            ),
            (
                "relationships.csv",
                format!(
                    "userSourcedId,relationshipUserSourcedId,relationshipRole\n{}",
                    relations.collect::<String>()
                ),
            ),
        ]
    }
}

impl School {
    /// Checks a set, a minute after what was before.
    pub(super) async fn check(&self, caller: &MemberSession, source: &Source) -> pb::RosterImport {
        self.test_env.minute();
        let header = pb::CheckRosterImportRequest {
            request_id: self.test_env.act(),
            part: Some(Part::Header(pb::CheckRosterImportHeader {
                org_id: org(1).to_string(),
            })),
        };
        let chunk = |(name, text): (&str, String)| pb::CheckRosterImportRequest {
            request_id: String::new(),
            part: Some(Part::Chunk(pb::RosterFileChunk {
                file_name: name.to_owned(),
                data: text.into_bytes().into(),
            })),
        };
        let messages = std::iter::once(header).chain(source.files().map(chunk));
        let stream = futures::stream::iter(messages.collect::<Vec<_>>());
        let mut api = self.test_env.roster_imports();
        let answer = api.check_roster_import(by(&caller.token, stream)).await;
        let checked = answer.unwrap().into_inner().roster_import.unwrap();
        assert_eq!(checked.state(), RosterImportState::Checked, "{checked:?}");
        checked
    }

    /// Starts an import with these mass changes, and runs it as far as it comes.
    pub(super) async fn start(
        &self,
        caller: &MemberSession,
        import: &pb::RosterImport,
        confirmed: &[pb::RosterMassChange],
    ) -> Result<pb::RosterImport, Status> {
        let start = pb::StartRosterImportRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            roster_import_id: import.id.clone(),
            etag: import.etag.clone(),
            confirmed_mass_changes: confirmed.to_vec(),
        };
        let mut api = self.test_env.roster_imports();
        api.start_roster_import(by(&caller.token, start)).await?;
        self.test_env.run_due_jobs().await;
        Ok(self.get(&import.id).await)
    }

    pub(super) async fn get(&self, id: &str) -> pb::RosterImport {
        let request = pb::GetRosterImportRequest {
            org_id: org(1).to_string(),
            roster_import_id: id.to_owned(),
        };
        let mut api = self.test_env.roster_imports();
        let found = api
            .get_roster_import(by(&self.administrator.token, request))
            .await;
        found.unwrap().into_inner().roster_import.unwrap()
    }

    /// Imports a set whose classes exist, with all its mass changes.
    pub(super) async fn import_by(&self, caller: &MemberSession, source: &Source) -> pb::RosterImport {
        let checked = self.check(caller, source).await;
        let done = self.start(caller, &checked, &checked.mass_changes).await.unwrap();
        assert_eq!(done.state(), RosterImportState::Done, "{done:?}");
        done
    }

    pub(super) async fn import(&self, source: &Source) -> pb::RosterImport {
        self.import_by(&self.administrator, source).await
    }

    /// The changes of an import with an outcome.
    pub(super) async fn changes(&self, import: &str, outcome: Outcome) -> Vec<pb::RosterChange> {
        let request = pb::ListRosterImportChangesRequest {
            org_id: org(1).to_string(),
            roster_import_id: import.to_owned(),
            outcome: outcome.into(),
            ..Default::default()
        };
        let mut api = self.test_env.roster_imports();
        let listed = api
            .list_roster_import_changes(by(&self.administrator.token, request))
            .await;
        listed.unwrap().into_inner().changes
    }

    /// The rows of an import without effect: file, line and reason. The import must count them.
    pub(super) async fn without_effect(&self, import: &pb::RosterImport) -> Vec<(String, i32, NoEffect)> {
        let rows = self.changes(&import.id, Outcome::NoEffect).await;
        assert_eq!(i32::try_from(rows.len()).unwrap(), import.no_effect_count);
        rows.into_iter()
            .map(|row| (row.file.clone(), row.line, row.no_effect()))
            .collect()
    }

    /// The members, with those who have left.
    pub(super) async fn members(&self) -> Vec<pb::Member> {
        let list = pb::ListMembersRequest {
            org_id: org(1).to_string(),
            include_left: true,
            page_size: 200,
            ..Default::default()
        };
        let mut api = self.test_env.members();
        let listed = api.list_members(by(&self.administrator.token, list)).await;
        listed.unwrap().into_inner().members
    }

    /// The member whose name contains these letters.
    pub(super) async fn member(&self, name: &str) -> pb::Member {
        let mut found = self.members().await;
        found.retain(|member| member.full_name.contains(name));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found.remove(0)
    }

    /// A person claims the imported record with this name.
    pub(super) async fn claim(&self, phone: &str, name: &str) -> MemberSession {
        let record = self.member(name).await;
        let role = record.roles().next().unwrap();
        let join = self.test_env.join(phone, name, role, |request| {
            request.claim_member_id = record.id;
        });
        join.await
    }

    pub(super) async fn change_roles(&self, member_id: &str, roles: &[Role]) {
        let changed = self.test_env.change_roles(&self.administrator, member_id, roles);
        changed.await.unwrap();
    }

    pub(super) async fn remove(&self, member_id: &str) {
        let removed = self.test_env.remove(&self.administrator, member_id, "");
        removed.await.unwrap();
    }

    pub(super) async fn assignments(&self) -> Vec<pb::Assignment> {
        let request = pb::ListAssignmentsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.test_env.assignments();
        let listed = api.list_assignments(by(&self.administrator.token, request)).await;
        listed.unwrap().into_inner().assignments
    }

    pub(super) async fn relations(&self) -> Vec<pb::Guardianship> {
        let request = pb::ListGuardianshipsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.test_env.guardianships();
        let listed = api
            .list_guardianships(by(&self.administrator.token, request))
            .await;
        listed.unwrap().into_inner().guardianships
    }

    /// Decides about changes of an import.
    pub(super) async fn decide(
        &self,
        caller: &MemberSession,
        import: &str,
        numbers: &[i64],
        decision: pb::RosterChangeDecision,
    ) -> Result<pb::RosterImport, Status> {
        let request = pb::DecideRosterImportChangesRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            roster_import_id: import.to_owned(),
            numbers: numbers.to_vec(),
            decision: decision.into(),
        };
        let mut api = self.test_env.roster_imports();
        let decided = api
            .decide_roster_import_changes(by(&caller.token, request))
            .await?;
        Ok(decided.into_inner().roster_import.unwrap())
    }

    /// The event of org-registry about a class, which it made for an import if one is given.
    pub(super) async fn unit(&self, n: u128, label: &str, import: &str) {
        let source_key = if import.is_empty() { "" } else { label };
        let created = UnitCreated {
            unit_id: unit_id(n).to_string(),
            kind: UnitKind::Class.into(),
            label: label.to_owned(),
            roster_import_id: import.to_owned(),
            source_key: source_key.to_owned(),
            ..Default::default()
        };
        let env = &self.test_env.test_env;
        env.apply_org_registry(org(1), Payload::UnitCreated(created))
            .await;
    }

    pub(super) async fn archive(&self, n: u128) {
        let archived = UnitArchived {
            unit_id: unit_id(n).to_string(),
            ..Default::default()
        };
        let env = &self.test_env.test_env;
        env.apply_org_registry(org(1), Payload::UnitArchived(archived))
            .await;
    }
}

/// The id of a class by its number, as [`crate::tests::test_env::unit`] counts them.
pub(super) fn unit_id(n: u128) -> UnitId {
    UnitId::from_uuid(Uuid::from_u128(100 + n))
}
