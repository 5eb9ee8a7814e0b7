//! What the command line prints, and how it ends.
use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::ValueEnum;
use parta_status::RpcError;
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;
use tonic::{Code, Status};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document with the API's own field names.
    Json,
}

/// Why a command did not do what was asked; each kind has an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The suite refused: 1.
    #[error("{}", explain(.0))]
    Refused(Box<Status>),
    /// Something on this side: 1.
    #[error("{0:#}")]
    Local(anyhow::Error),
    /// The suite could not be reached: 3.
    #[error("the suite cannot be reached: {}", .0.message())]
    Unreachable(Box<Status>),
    /// The files of a roster import were refused: 4.
    #[error("the files were refused; nothing was changed")]
    RosterRefused,
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Local(_) => 1,
            Self::Unreachable(_) => 3,
            Self::RosterRefused => 4,
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

/// A refusal in words: what, why, and which fields.
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

/// The JSON form of a message by its full name.
pub fn json<M: Message>(name: &str, message: &M) -> anyhow::Result<Value> {
    let pool = parta_proto::descriptor_pool().ok_or_else(|| anyhow::anyhow!("no descriptors"))?;
    let descriptor = pool
        .get_message_by_name(name)
        .ok_or_else(|| anyhow::anyhow!("no message {name}"))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    Ok(message.serialize_with_options(serde_json::value::Serializer, &options)?)
}

/// Standard output in one of the two formats. A closed pipe ends the process quietly.
#[derive(Debug, Clone, Copy)]
pub struct Output(pub Format);

impl Output {
    /// A line for people; nothing in JSON.
    pub fn line(&self, text: impl AsRef<str>) {
        if self.0 == Format::Text {
            print(text.as_ref());
        }
    }

    /// The document of JSON; nothing for people.
    pub fn document(&self, value: &Value) {
        if self.0 == Format::Json {
            print(&format!("{value:#}"));
        }
    }

    /// Whether a progress bar helps anybody.
    pub fn shows_progress(&self) -> bool {
        self.0 == Format::Text && io::stderr().is_terminal()
    }
}

/// Tells on standard error why it did not work. Nobody need be reading there: the exit code says it too.
pub fn complain(why: &impl fmt::Display) {
    let _unread = writeln!(io::stderr().lock(), "error: {why}");
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        // Whoever read has gone: what was asked for is done as far as they care.
        std::process::exit(0);
    }
}
