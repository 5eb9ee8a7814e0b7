use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use parta_proto_membership::v1 as pb;
use serde_json::json;

use super::{Common, login::Remembered};
use crate::{
    client::Session,
    output::{Failure, Output, json as to_json},
};

/// Size of one message of an upload, in bytes.
const CHUNK: usize = 256 * 1024;
/// Maximum number of changes, and of problems, that are printed for people.
const SHOWN: i32 = 20;

#[derive(Debug, Subcommand)]
pub enum Roster {
    /// Checks a folder of OneRoster 1.1 or 1.2 CSV files, shows the difference, and imports it after
    /// confirmation.
    Import {
        /// Folder with manifest.csv, users.csv and the other files.
        folder: PathBuf,
        /// Show the difference and change nothing.
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Import without a prompt for confirmation.
        #[arg(long)]
        yes: bool,
        /// Confirm a mass change with the number of people that a check has shown, for example
        /// REMOVE_MEMBER=300. May be repeated.
        #[arg(long, value_name = "KIND=PEOPLE", value_parser = confirmation)]
        confirm: Vec<Confirmation>,
        #[command(flatten)]
        remembered: Remembered,
    },
    /// Lists imports, newest first.
    List {
        #[command(flatten)]
        remembered: Remembered,
    },
    /// Shows an import with its difference and its problems.
    Show {
        /// Import id, `imp_...`.
        id: String,
        #[command(flatten)]
        remembered: Remembered,
    },
    /// Makes changes of an import that wait for a second person, or drops them.
    Decide {
        /// Import id, `imp_...`.
        id: String,
        /// Number of a change, as `show` prints it. May be repeated.
        #[arg(long = "change", required = true)]
        changes: Vec<i64>,
        /// Drop the changes instead of making them.
        #[arg(long)]
        drop: bool,
        #[command(flatten)]
        remembered: Remembered,
    },
}

impl Roster {
    pub(super) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (session, output) = (common.anonymous()?, common.print());
        match self {
            Self::Import {
                folder,
                dry_run,
                yes,
                confirm,
                remembered,
            } => {
                let files = read(&folder)?;
                if !dry_run && !yes && !io::stdin().is_terminal() {
                    return Err(anyhow::anyhow!(
                        "The command cannot prompt for confirmation without a terminal. Give --yes or --dry-run."
                    )
                    .into());
                }
                let (session, org_id) = remembered.enter(&session).await?;
                let checked = check(&session, &org_id, files).await?;
                let details = Details::of(&session, &org_id, &checked.id).await?;
                details.print(output, &checked);
                if checked.state() == pb::RosterImportState::Refused {
                    output.document(&details.document(&checked)?);
                    return Err(Failure::RosterRefused);
                }
                if dry_run || !(yes || confirmed()?) {
                    output.document(&details.document(&checked)?);
                    output.line("nothing was changed");
                    return Ok(());
                }
                let confirmed = confirmed_changes(&checked, &confirm);
                let done = carry_out(&session, &org_id, &checked, confirmed, output).await?;
                output.line(format!("done: {}", counts(done.done.as_ref())));
                output.line(format!(
                    "without effect: {}, waiting for a second person: {}",
                    done.no_effect_count, done.waiting_count
                ));
                output.document(&details.document(&done)?);
            }
            Self::List { remembered } => {
                let (session, org_id) = remembered.enter(&session).await?;
                let request = pb::ListRosterImportsRequest {
                    org_id,
                    page_size: 200,
                    ..Default::default()
                };
                let response = session
                    .roster_imports()
                    .list_roster_imports(request)
                    .await?
                    .into_inner();
                for import in &response.roster_imports {
                    output.line(format!(
                        "{}  {}  {}",
                        import.id,
                        state(import),
                        counts(import.planned.as_ref())
                    ));
                }
                output.document(&to_json(
                    "parta.membership.v1.ListRosterImportsResponse",
                    &response,
                )?);
            }
            Self::Show { id, remembered } => {
                let (session, org_id) = remembered.enter(&session).await?;
                let request = pb::GetRosterImportRequest {
                    org_id: org_id.clone(),
                    roster_import_id: id.clone(),
                };
                let import = session
                    .roster_imports()
                    .get_roster_import(request)
                    .await?
                    .into_inner();
                let import = import.roster_import.unwrap_or_default();
                let details = Details::of(&session, &org_id, &id).await?;
                details.print(output, &import);
                output.document(&details.document(&import)?);
            }
            Self::Decide {
                id,
                changes,
                drop,
                remembered,
            } => {
                let (session, org_id) = remembered.enter(&session).await?;
                let decision = if drop {
                    pb::RosterChangeDecision::Drop
                } else {
                    pb::RosterChangeDecision::Confirm
                };
                let request = pb::DecideRosterImportChangesRequest {
                    request_id: session.act(),
                    org_id,
                    roster_import_id: id,
                    numbers: changes,
                    decision: decision.into(),
                };
                let mut api = session.roster_imports();
                let response = api.decide_roster_import_changes(request).await?.into_inner();
                session.record_token("membership", &response.consistency_token);
                let waiting = response.roster_import.as_ref().map_or(0, |i| i.waiting_count);
                output.line(format!("changes that still wait: {waiting}"));
                output.document(&to_json(
                    "parta.membership.v1.DecideRosterImportChangesResponse",
                    &response,
                )?);
            }
        }
        Ok(())
    }
}

/// Reads the CSV files of a folder, sorted by name.
fn read(folder: &Path) -> anyhow::Result<Vec<(String, Bytes)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        if let Some(name) = path.file_name().and_then(|n| n.to_str()).filter(|_| is_csv) {
            let data = fs::read(&path).with_context(|| path.display().to_string())?;
            files.push((name.to_owned(), Bytes::from(data)));
        }
    }
    if !files
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("users.csv"))
    {
        bail!(
            "The folder {} has no users.csv. Give a folder of OneRoster CSV files.",
            folder.display()
        );
    }
    files.sort();
    Ok(files)
}

/// Uploads a set of files for a check. The check changes nothing.
pub(crate) async fn check(
    session: &Session,
    org_id: &str,
    files: Vec<(String, Bytes)>,
) -> Result<pb::RosterImport, Failure> {
    use pb::check_roster_import_request::Part;
    let header = pb::CheckRosterImportRequest {
        request_id: session.act(),
        part: Some(Part::Header(pb::CheckRosterImportHeader {
            org_id: org_id.to_owned(),
        })),
    };
    let chunks = files.into_iter().flat_map(|(file_name, data)| {
        let starts = (0..data.len().max(1)).step_by(CHUNK);
        starts.map(move |from| pb::CheckRosterImportRequest {
            request_id: String::new(),
            part: Some(Part::Chunk(pb::RosterFileChunk {
                file_name: file_name.clone(),
                data: data.slice(from..data.len().min(from + CHUNK)),
            })),
        })
    });
    let messages: Vec<_> = std::iter::once(header).chain(chunks).collect();
    let mut api = session.roster_imports();
    let response = api
        .check_roster_import(tokio_stream::iter(messages))
        .await?
        .into_inner();
    session.record_token("membership", &response.consistency_token);
    Ok(response.roster_import.unwrap_or_default())
}

/// Starts a checked import and follows it until it ends.
pub(crate) async fn carry_out(
    session: &Session,
    org_id: &str,
    checked: &pb::RosterImport,
    confirmed_mass_changes: Vec<pb::RosterMassChange>,
    output: Output,
) -> Result<pb::RosterImport, Failure> {
    let mut api = session.roster_imports();
    let request = pb::StartRosterImportRequest {
        request_id: session.act(),
        org_id: org_id.to_owned(),
        roster_import_id: checked.id.clone(),
        etag: checked.etag.clone(),
        confirmed_mass_changes,
    };
    let started = api.start_roster_import(request).await?.into_inner();
    session.record_token("membership", &started.consistency_token);
    let request = pb::WatchRosterImportRequest {
        org_id: org_id.to_owned(),
        roster_import_id: checked.id.clone(),
    };
    let mut stream = api.watch_roster_import(request).await?.into_inner();
    let bar = if output.shows_progress() {
        ProgressBar::new(total(checked.planned.as_ref()))
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut last = started.roster_import.unwrap_or_default();
    while let Some(next) = stream.message().await? {
        last = next.roster_import.unwrap_or_default();
        bar.set_position(total(last.done.as_ref()));
        bar.set_message(counts(last.done.as_ref()));
    }
    bar.finish_and_clear();
    match last.state() {
        pb::RosterImportState::Done => Ok(last),
        pb::RosterImportState::Stopped => Err(anyhow::anyhow!(
            "The import was stopped, because the member who started it may no longer import. Check the files again."
        )
        .into()),
        _ => Err(anyhow::anyhow!(
            "The connection ended while the import was {}. Run `parta roster show` to see its state.",
            state(&last)
        )
        .into()),
    }
}

/// A kind of change and the number of people whom it concerns.
type Confirmation = (pb::RosterChangeKind, i32);

fn confirmation(text: &str) -> Result<Confirmation, String> {
    let (kind, people) = text.split_once('=').ok_or("give KIND=PEOPLE")?;
    let name = format!("ROSTER_CHANGE_KIND_{}", kind.to_uppercase());
    let kind = pb::RosterChangeKind::from_str_name(&name).ok_or("there is no such kind of change")?;
    let people = people.parse().map_err(|_| "the number of people is no number")?;
    Ok((kind, people))
}

/// Returns the mass changes of the check that the user confirms, with the user's numbers.
fn confirmed_changes(checked: &pb::RosterImport, confirm: &[Confirmation]) -> Vec<pb::RosterMassChange> {
    let found = |kind: pb::RosterChangeKind| checked.mass_changes.iter().find(|c| c.kind() == kind);
    let change = |(kind, people): &Confirmation| pb::RosterMassChange {
        kind: (*kind).into(),
        people: *people,
        of: found(*kind).map_or(0, |change| change.of),
    };
    confirm.iter().map(change).collect()
}

fn confirmed() -> io::Result<bool> {
    let mut out = io::stderr().lock();
    write!(out, "import this? [y/N] ")?;
    out.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn state(import: &pb::RosterImport) -> &'static str {
    import
        .state()
        .as_str_name()
        .trim_start_matches("ROSTER_IMPORT_STATE_")
}

fn numbers(of: Option<&pb::RosterImportCounts>) -> [(i32, &'static str); 10] {
    let c = of.copied().unwrap_or_default();
    [
        (c.units, "classes"),
        (c.members, "members"),
        (c.renames, "renamed"),
        (c.enrollments_begun, "into classes"),
        (c.enrollments_ended, "out of classes"),
        (c.assignments_begun, "assignments"),
        (c.guardianships, "guardianships"),
        (c.removals, "leaving"),
        (c.invitations, "invitations"),
        (c.readmissions, "readmitted"),
    ]
}

fn total(of: Option<&pb::RosterImportCounts>) -> u64 {
    numbers(of)
        .iter()
        .map(|(n, _)| u64::try_from(*n).unwrap_or(0))
        .sum()
}

/// Formats the numbers of changes for people.
pub(crate) fn counts(of: Option<&pb::RosterImportCounts>) -> String {
    let some = numbers(of).into_iter().filter(|(n, _)| *n > 0);
    let words: Vec<_> = some.map(|(n, what)| format!("{n} {what}")).collect();
    if words.is_empty() {
        "no difference".to_owned()
    } else {
        words.join(", ")
    }
}

/// The first changes of the difference and the first problems.
struct Details {
    changes: pb::ListRosterImportChangesResponse,
    problems: pb::ListRosterImportProblemsResponse,
}

impl Details {
    async fn of(session: &Session, org_id: &str, id: &str) -> Result<Self, Failure> {
        let mut api = session.roster_imports();
        let request = pb::ListRosterImportChangesRequest {
            org_id: org_id.to_owned(),
            roster_import_id: id.to_owned(),
            page_size: SHOWN,
            ..Default::default()
        };
        let changes = api.list_roster_import_changes(request).await?.into_inner();
        let request = pb::ListRosterImportProblemsRequest {
            org_id: org_id.to_owned(),
            roster_import_id: id.to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        let problems = api.list_roster_import_problems(request).await?.into_inner();
        Ok(Self { changes, problems })
    }

    fn print(&self, output: Output, import: &pb::RosterImport) {
        output.line(format!("{}  {}", import.id, state(import)));
        for problem in &self.problems.problems {
            let kind = if problem.fatal { "refused" } else { "skipped" };
            let column = if problem.column.is_empty() {
                String::new()
            } else {
                format!(" {}", problem.column)
            };
            let location = format!("{}:{}{column}", problem.file, problem.line);
            output.line(format!("  {location}: {} ({kind})", problem.description));
        }
        for change in &self.changes.changes {
            let kind = change
                .kind()
                .as_str_name()
                .trim_start_matches("ROSTER_CHANGE_KIND_");
            let replaced = if change.before.is_empty() && change.after.is_empty() {
                String::new()
            } else {
                format!(" {} -> {}", change.before, change.after)
            };
            let no_effect = change.no_effect().as_str_name();
            let outcome = match change.outcome() {
                pb::RosterChangeOutcome::NoEffect => {
                    let reason = no_effect.trim_start_matches("ROSTER_NO_EFFECT_");
                    format!(" (no effect, {}:{}: {reason})", change.file, change.line)
                }
                pb::RosterChangeOutcome::Waiting => {
                    format!(" (change {} waits for a second person)", change.number)
                }
                pb::RosterChangeOutcome::Dropped => " (dropped)".to_owned(),
                _ => String::new(),
            };
            output.line(format!(
                "  {kind} {} {}{replaced}{outcome}",
                change.person, change.unit_label
            ));
        }
        if !self.changes.next_page_token.is_empty() {
            output.line("  ... and more");
        }
        output.line(format!("difference: {}", counts(import.planned.as_ref())));
        if import.no_effect_count > 0 {
            output.line(format!("rows without effect: {}", import.no_effect_count));
        }
        for mass in &import.mass_changes {
            let kind = mass
                .kind()
                .as_str_name()
                .trim_start_matches("ROSTER_CHANGE_KIND_");
            output.line(format!(
                "{kind} concerns {} of {} people: if this is intended, import with --confirm {kind}={}",
                mass.people, mass.of, mass.people
            ));
        }
    }

    fn document(&self, import: &pb::RosterImport) -> anyhow::Result<serde_json::Value> {
        let problems = to_json(
            "parta.membership.v1.ListRosterImportProblemsResponse",
            &self.problems,
        )?;
        let changes = to_json(
            "parta.membership.v1.ListRosterImportChangesResponse",
            &self.changes,
        )?;
        Ok(json!({
            "roster_import": to_json("parta.membership.v1.RosterImport", import)?,
            "problems": problems.get("problems").cloned().unwrap_or_else(|| json!([])),
            "first_changes": changes.get("changes").cloned().unwrap_or_else(|| json!([])),
        }))
    }
}
