use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use parta_proto_membership::v1 as pb;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Common;
use crate::{client::Session, output::Failure};

/// The location of the stored session.
#[derive(Debug, Clone, Args)]
pub struct Remembered {
    /// File of the stored session, readable by its owner only.
    #[arg(long, env = "PARTA_SESSION_FILE", default_value = "data/session.json")]
    session_file: PathBuf,
}

#[derive(Debug, Args)]
pub struct Login {
    /// Phone number in international form.
    #[arg(long, required_unless_present = "email", conflicts_with = "email")]
    phone: Option<String>,
    /// E-mail address.
    #[arg(long)]
    email: Option<String>,
    /// Part of the person's name, where several people share the address; the full name of a new person.
    #[arg(long)]
    name: Option<String>,
    /// One-time code. The command prompts for it if it is missing.
    #[arg(long)]
    code: Option<String>,
    /// Flow id that an earlier run without a terminal printed. Needs `--code`.
    #[arg(long, requires = "code")]
    flow: Option<String>,
    /// Organization to act in, `org_...`. Not needed for members of only one organization.
    #[arg(long)]
    org: Option<String>,
    #[command(flatten)]
    remembered: Remembered,
}

#[derive(Debug, Args)]
pub struct Logout {
    #[command(flatten)]
    remembered: Remembered,
}

#[derive(Serialize, Deserialize)]
struct StoredSession {
    refresh_token: String,
    org_id: String,
}

fn store(file: &Path, stored: &StoredSession) -> anyhow::Result<()> {
    let unfinished = file.with_extension("unfinished");
    // An existing file may be readable by others and would keep its permissions.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| unfinished.display().to_string());
        }
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut out = options
        .open(&unfinished)
        .with_context(|| unfinished.display().to_string())?;
    out.write_all(&serde_json::to_vec(stored)?)?;
    out.sync_all()?;
    Ok(fs::rename(unfinished, file)?)
}

impl Remembered {
    /// Returns a session of the stored person in the stored organization, and the organization's id. The
    /// refresh token is used up and replaced.
    pub(super) async fn enter(&self, session: &Session) -> Result<(Session, String), Failure> {
        let file = &self.session_file;
        let text = fs::read(file).with_context(|| {
            format!(
                "cannot read the session file {}, run `parta login` first",
                file.display()
            )
        })?;
        let mut stored: StoredSession =
            serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
        let request = pb::RefreshSessionRequest {
            request_id: session.act(),
            refresh_token: stored.refresh_token,
        };
        let fresh = session
            .authentication()
            .refresh_session(request)
            .await?
            .into_inner();
        stored.refresh_token = fresh.refresh_token;
        store(file, &stored)?;
        let account = session.with(&fresh.access_token)?;
        let request = pb::IssueOrganizationTokenRequest {
            org_id: stored.org_id.clone(),
        };
        let issued = account.authentication().issue_organization_token(request).await?;
        Ok((session.with(&issued.into_inner().access_token)?, stored.org_id))
    }
}

fn prompt_for_code() -> anyhow::Result<Option<String>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut out = io::stderr().lock();
    write!(out, "code: ")?;
    out.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(Some(line.trim().to_owned()))
}

/// Selects the profile that `--name` names.
fn choose(profiles: Vec<pb::AccountProfile>, name: Option<&str>) -> anyhow::Result<pb::AccountProfile> {
    let names: Vec<_> = profiles.iter().map(|p| p.full_name.clone()).collect();
    let mut fitting = profiles
        .into_iter()
        .filter(|p| name.is_none_or(|n| p.full_name.to_lowercase().contains(&n.to_lowercase())));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        _ => bail!(
            "The choice of the person is not unique. Give a part of one name with --name: {}.",
            names.join(", ")
        ),
    }
}

impl Login {
    pub(super) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (session, output) = (common.anonymous()?, common.print());
        let mut api = session.authentication();
        let flow_id = match &self.flow {
            Some(flow) => flow.clone(),
            None => {
                let request = pb::RequestCodeRequest {
                    request_id: session.act(),
                    phone: self.phone.clone().unwrap_or_default(),
                    email: self.email.clone().unwrap_or_default(),
                };
                api.request_code(request).await?.into_inner().flow_id
            }
        };
        let code = match self.code.clone() {
            Some(code) => Some(code),
            None => prompt_for_code()?,
        };
        let Some(code) = code else {
            output.line(format!(
                "a code was sent, continue with: --flow {flow_id} --code CODE"
            ));
            output.document(&json!({"flow_id": flow_id}));
            return Ok(());
        };
        let request = pb::VerifyCodeRequest {
            flow_id: flow_id.clone(),
            code,
        };
        let verified = api.verify_code(request).await?.into_inner();
        let profiles = verified.profiles;
        let mut request = pb::StartSessionRequest {
            request_id: session.act(),
            flow_id,
            proof: verified.proof,
            ..Default::default()
        };
        if profiles.is_empty() {
            let full_name = self.name.clone().context(
                "There is no account with this address. Give the full name of the new person with --name.",
            )?;
            request.new_account = Some(pb::NewAccount { full_name });
        } else {
            request.account_id = choose(profiles, self.name.as_deref())?.account_id;
        }
        let started = api.start_session(request).await?.into_inner();
        let account = session.with(&started.access_token)?;
        claim(&account).await?;
        let org_id = organization(&account, self.org.as_deref()).await?;
        store(
            &self.remembered.session_file,
            &StoredSession {
                refresh_token: started.refresh_token,
                org_id: org_id.clone(),
            },
        )?;
        output.line(format!("signed in, acting in {org_id}"));
        output.document(&json!({"org_id": org_id}));
        Ok(())
    }
}

/// Claims the appointments of founding administrators that wait for this phone.
async fn claim(account: &Session) -> Result<(), Failure> {
    let mut api = account.appointments();
    let waiting = api
        .list_appointments(pb::ListAppointmentsRequest::default())
        .await?;
    for appointment in waiting.into_inner().appointments {
        let request = pb::ClaimAppointmentRequest {
            request_id: account.act(),
            org_id: appointment.org_id,
        };
        api.claim_appointment(request).await?;
    }
    Ok(())
}

async fn organization(account: &Session, wanted: Option<&str>) -> Result<String, Failure> {
    let request = pb::ListMembershipsRequest::default();
    let list = account
        .authentication()
        .list_memberships(request)
        .await?
        .into_inner()
        .memberships;
    let mut fitting = list.iter().filter(|m| wanted.is_none_or(|w| w == m.org_id));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.org_id.clone()),
        (None, _) => Err(anyhow::anyhow!(
            "You are not a member of the requested organization. Accept an invitation, or give another --org."
        )
        .into()),
        _ => {
            let all = list
                .iter()
                .map(|m| format!("{} {}", m.org_id, m.organization_display_name));
            let all = all.collect::<Vec<_>>().join(", ");
            Err(
                anyhow::anyhow!("You are a member of several organizations. Choose one with --org: {all}.")
                    .into(),
            )
        }
    }
}

impl Logout {
    pub(super) async fn run(self, common: &Common) -> Result<(), Failure> {
        let file = &self.remembered.session_file;
        let text = fs::read(file).with_context(|| file.display().to_string())?;
        let stored: StoredSession =
            serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
        let session = common.anonymous()?;
        let request = pb::RefreshSessionRequest {
            request_id: session.act(),
            refresh_token: stored.refresh_token,
        };
        // An expired session needs no sign-out.
        if let Ok(fresh) = session.authentication().refresh_session(request).await {
            let account = session.with(&fresh.into_inner().access_token)?;
            let mut api = account.authentication();
            let sessions = api
                .list_sessions(pb::ListSessionsRequest::default())
                .await?
                .into_inner()
                .sessions;
            for current in sessions.into_iter().filter(|s| s.current) {
                let request = pb::EndSessionRequest {
                    request_id: account.act(),
                    session_id: current.id,
                };
                api.end_session(request).await?;
            }
        }
        fs::remove_file(file)?;
        common.print().line("signed out");
        common.print().document(&json!({}));
        Ok(())
    }
}
