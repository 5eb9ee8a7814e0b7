use std::{io::Write as _, path::PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use parta_proto_org_registry::v1 as pb;
use serde_json::{Value, json};

use super::Common;
use crate::output::{Failure, json as to_json};

#[derive(Debug, Subcommand)]
pub enum Application {
    /// Lists applications, oldest first.
    List {
        /// Include applications that were already decided.
        #[arg(long)]
        all: bool,
    },
    /// Shows an application with its history.
    Show {
        /// Application id, `app_...`.
        id: String,
    },
    /// Downloads the appointment order.
    Order {
        /// Application id, `app_...`.
        id: String,
        /// File to write. It must not exist yet.
        #[arg(long)]
        to: PathBuf,
    },
    /// Approves an application and creates the organization.
    Approve {
        /// Application id, `app_...`.
        id: String,
    },
    /// Refuses an application. The organization may apply again.
    Refuse {
        /// Application id, `app_...`.
        id: String,
        /// Reason, shown to the applicant.
        #[arg(long)]
        reason: String,
    },
}

fn document(application: &pb::Application) -> Result<Value, Failure> {
    Ok(to_json("parta.org_registry.v1.Application", application)?)
}

fn line(application: &pb::Application) -> String {
    let form = application.form.clone().unwrap_or_default();
    let state = application
        .state()
        .as_str_name()
        .trim_start_matches("APPLICATION_STATE_");
    format!(
        "{}  {state:<9}  {}  OGRN {}  {}",
        application.id, form.organization_name, form.ogrn, form.administrator_phone
    )
}

impl Application {
    pub(super) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (session, output) = (common.operator()?, common.print());
        let mut api = session.applications();
        match self {
            Self::List { all } => {
                let mut request = pb::ListApplicationsRequest::default();
                if !all {
                    request.set_state(pb::ApplicationState::Submitted);
                }
                let mut found = Vec::new();
                loop {
                    let page = api.list_applications(request.clone()).await?.into_inner();
                    found.extend(page.applications);
                    request.page_token = page.next_page_token;
                    if request.page_token.is_empty() {
                        break;
                    }
                }
                for application in &found {
                    output.line(line(application));
                }
                if found.is_empty() {
                    output.line("no applications are waiting");
                }
                let found = found.iter().map(document).collect::<Result<Vec<_>, _>>()?;
                output.document(&json!({"applications": found}));
            }
            Self::Show { id } => {
                let request = pb::GetApplicationRequest { application_id: id };
                let found = api.get_application(request).await?.into_inner().application;
                let found = found.unwrap_or_default();
                let value = document(&found)?;
                output.line(format!("{}\n{value:#}", line(&found)));
                output.document(&value);
            }
            Self::Order { id, to } => {
                let request = pb::DownloadApplicationOrderRequest { application_id: id };
                let mut parts = api.download_application_order(request).await?.into_inner();
                let file = std::fs::File::create_new(&to);
                let mut file = file.with_context(|| to.display().to_string())?;
                let mut size = 0;
                while let Some(part) = parts.message().await? {
                    file.write_all(&part.chunk)?;
                    size += part.chunk.len();
                }
                output.line(format!("{size} bytes in {}", to.display()));
                output.document(&json!({"file": to, "size_bytes": size}));
            }
            Self::Approve { id } => {
                let request = pb::ApproveApplicationRequest {
                    request_id: session.act(),
                    application_id: id,
                    ..Default::default()
                };
                let made = api.approve_application(request).await?.into_inner().organization;
                let made = made.unwrap_or_default();
                output.line(format!("approved: {} is {}", made.display_name, made.id));
                output.line("the administrator can now sign in with the phone number of the application");
                output.document(&to_json("parta.org_registry.v1.Organization", &made)?);
            }
            Self::Refuse { id, reason } => {
                let request = pb::RefuseApplicationRequest {
                    request_id: session.act(),
                    application_id: id,
                    reason,
                    ..Default::default()
                };
                let response = api.refuse_application(request).await?.into_inner();
                output.line("refused; the organization may apply again");
                output.document(&to_json(
                    "parta.org_registry.v1.RefuseApplicationResponse",
                    &response,
                )?);
            }
        }
        Ok(())
    }
}
