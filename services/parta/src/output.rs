//! The output of the command line and its exit codes.
use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::ValueEnum;
use parta_status::{RpcError, error_chain};
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;
use tonic::{Code, Status};

/// The format in which results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    Text,
    /// One JSON document with the field names of the API.
    Json,
}

/// The reason why a command failed. Each kind has its own exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server refused the call. Exit code 1.
    #[error("{}", explain(.0))]
    Refused(Box<Status>),
    /// The command failed locally. Exit code 1.
    #[error("{}", local(.0))]
    Local(anyhow::Error),
    /// The server could not be reached. Exit code 3.
    #[error("The server cannot be reached. Check --server and --service: {}", .0.message())]
    Unreachable(Box<Status>),
    /// The server refused the files of a roster import. Exit code 4.
    #[error(
        "The roster files were refused. Nothing was changed. Correct the listed problems and import again."
    )]
    RosterRefused,
    /// The doctor has found something. Exit code 5.
    #[error("{0} findings.")]
    Unhealthy(usize),
}

impl Failure {
    /// Returns the exit code of the process.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Local(_) => 1,
            Self::Unreachable(_) => 3,
            Self::RosterRefused => 4,
            Self::Unhealthy(_) => 5,
        })
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let here = RpcError::from_status(&status).is_none_or(|r| r.reason() == "DEPENDENCY_UNAVAILABLE");
        if status.code() == Code::Unavailable && here {
            Self::Unreachable(Box::new(status))
        } else {
            Self::Refused(Box::new(status))
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Local(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Local(error.into())
    }
}

fn local(error: &anyhow::Error) -> String {
    error_chain(&**error)
}

/// Formats a refusal for people: the message, the reason and the rejected fields.
pub fn explain(status: &Status) -> String {
    let mut text = format!("refused: {}", status.message());
    if let Some(refusal) = RpcError::from_status(status) {
        text += &format!(" ({} of {})", refusal.reason(), refusal.domain());
        for (field, why) in refusal.fields() {
            text += &format!("\n  {field}: {why}");
        }
    }
    if let Some(trace) = status
        .metadata()
        .get(parta_grpc::TRACE_ID)
        .and_then(|t| t.to_str().ok())
    {
        text += &format!("\n  trace {trace}");
    }
    text
}

/// Returns the JSON form of a message, given its full name.
pub fn json<M: Message>(name: &str, message: &M) -> anyhow::Result<Value> {
    let pool = parta_proto_all::descriptor_pool()
        .ok_or_else(|| anyhow::anyhow!("the descriptor set cannot be read"))?;
    let descriptor = pool
        .get_message_by_name(name)
        .ok_or_else(|| anyhow::anyhow!("the descriptor set has no message {name}"))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    Ok(message.serialize_with_options(serde_json::value::Serializer, &options)?)
}

/// Standard output in one of the two formats. A closed pipe ends the process without a message.
#[derive(Debug, Clone, Copy)]
pub struct Output(pub Format);

impl Output {
    /// Prints a line in the text format. Prints nothing in JSON.
    pub fn line(&self, text: impl AsRef<str>) {
        if self.0 == Format::Text {
            print(text.as_ref());
        }
    }

    /// Prints the JSON document. Prints nothing in the text format.
    pub fn document(&self, value: &Value) {
        if self.0 == Format::Json {
            print(&format!("{value:#}"));
        }
    }

    /// Returns whether a progress bar is useful.
    pub fn shows_progress(&self) -> bool {
        self.0 == Format::Text && io::stderr().is_terminal()
    }
}

/// Prints the error on standard error. A failed write is ignored, because the exit code reports the failure
/// too.
pub fn complain(why: &impl fmt::Display) {
    let _unread = writeln!(io::stderr().lock(), "error: {why}");
}

/// Prints on standard error that a refused call is being repeated.
pub(crate) fn waiting(refusal: &RpcError) {
    let why = refusal.reason();
    let _unread = writeln!(
        io::stderr().lock(),
        "note: the server is not ready for this call yet ({why}), trying again"
    );
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        // The reader has closed the pipe and needs no further output.
        std::process::exit(0);
    }
}
