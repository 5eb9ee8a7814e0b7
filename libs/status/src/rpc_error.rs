use std::{collections::HashMap, fmt, time::Duration};

use parta_proto::Reason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// A refusal: a documented reason with its google.rpc details.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcError(Box<Inner>);

#[derive(Debug, Clone, PartialEq)]
struct Inner {
    code: Code,
    reason: String,
    domain: String,
    message: String,
    metadata: HashMap<String, String>,
    fields: Vec<(String, String)>,
    resource: Option<(String, String)>,
    preconditions: Vec<(String, String, String)>,
    quotas: Vec<(String, String)>,
    retry_after: Option<Duration>,
}

impl RpcError {
    /// Returns a refusal for `reason`, with the code that the proto documents. `message` is an English
    /// sentence for developers and contains no personal data.
    pub fn new<R: Reason>(reason: R, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code: reason.code(),
            reason: reason.text().to_owned(),
            domain: R::domain().to_owned(),
            message: message.into(),
            metadata: HashMap::new(),
            fields: Vec::new(),
            resource: None,
            preconditions: Vec::new(),
            quotas: Vec::new(),
            retry_after: None,
        }))
    }

    /// Returns INTERNAL with a fixed message, for a fault of the server. Logs the cause once.
    pub fn internal(error: impl fmt::Display) -> Self {
        tracing::error!(error.cause = %error, "internal fault");
        Self::new(
            parta_proto::status::v1::ErrorReason::Internal,
            "The server failed. The fault was logged under the returned trace id.",
        )
    }

    /// Adds a value to `ErrorInfo.metadata`.
    #[must_use]
    pub fn meta(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.0.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds an invalid field (`BadRequest`).
    #[must_use]
    pub fn field(mut self, path: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.fields.push((path.into(), description.into()));
        self
    }

    /// Adds the requested resource (`ResourceInfo`).
    #[must_use]
    pub fn resource(mut self, kind: &str, name: impl fmt::Display) -> Self {
        self.0.resource = Some((kind.to_owned(), name.to_string()));
        self
    }

    /// Adds the state that forbids the act (`PreconditionFailure`).
    #[must_use]
    pub fn precondition(mut self, kind: &str, subject: impl fmt::Display, description: &str) -> Self {
        self.0
            .preconditions
            .push((kind.to_owned(), subject.to_string(), description.to_owned()));
        self
    }

    /// Adds the exceeded limit (`QuotaFailure`).
    #[must_use]
    pub fn quota(mut self, subject: impl fmt::Display, description: &str) -> Self {
        self.0.quotas.push((subject.to_string(), description.to_owned()));
        self
    }

    /// Adds the delay before a retry (`RetryInfo`).
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.0.retry_after = Some(span);
        self
    }

    /// Returns the gRPC code.
    pub fn code(&self) -> Code {
        self.0.code
    }
    /// Returns the name of the reason without the prefix.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }
    /// Returns the domain of the reason.
    pub fn domain(&self) -> &str {
        &self.0.domain
    }
    /// Returns the message for developers.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// Returns the invalid fields, each with a description of the violation.
    pub fn fields(&self) -> &[(String, String)] {
        &self.0.fields
    }
    /// Returns a value of `ErrorInfo.metadata`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.0.metadata.get(key).map(String::as_str)
    }
    /// Returns the metadata keys that the proto documents for `reason` and that are absent, for tests of the
    /// error contract.
    pub fn missing_metadata<R: Reason>(&self, reason: R) -> Vec<&'static str> {
        let absent = |key: &&&str| !self.0.metadata.contains_key(**key);
        reason.metadata().iter().filter(absent).copied().collect()
    }

    /// Returns the delay before a retry.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }
    /// Returns whether the reason is `reason`.
    pub fn is<R: Reason>(&self, reason: R) -> bool {
        self.0.domain == R::domain() && self.0.reason == reason.text()
    }

    /// Decodes a refusal from a status; `None` if the status carries no `ErrorInfo`.
    pub fn from_status(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info()?;
        Some(Self(Box::new(Inner {
            code: status.code(),
            reason: info.reason.clone(),
            domain: info.domain.clone(),
            message: status.message().to_owned(),
            metadata: info.metadata.clone(),
            fields: details.bad_request().map_or_else(Vec::new, |b| {
                b.field_violations
                    .iter()
                    .map(|v| (v.field.clone(), v.description.clone()))
                    .collect()
            }),
            resource: details
                .resource_info()
                .map(|r| (r.resource_type.clone(), r.resource_name.clone())),
            preconditions: details.precondition_failure().map_or_else(Vec::new, |p| {
                p.violations
                    .iter()
                    .map(|v| (v.r#type.clone(), v.subject.clone(), v.description.clone()))
                    .collect()
            }),
            quotas: details.quota_failure().map_or_else(Vec::new, |q| {
                q.violations
                    .iter()
                    .map(|v| (v.subject.clone(), v.description.clone()))
                    .collect()
            }),
            retry_after: details.retry_info().and_then(|r| r.retry_delay),
        })))
    }
}

impl From<RpcError> for Status {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that makes the status of a refusal"
    )]
    fn from(refusal: RpcError) -> Self {
        let inner = *refusal.0;
        let mut details = ErrorDetails::new();
        details.set_error_info(inner.reason, inner.domain, inner.metadata);
        for (path, description) in inner.fields {
            details.add_bad_request_violation(path, description);
        }
        if let Some((kind, name)) = inner.resource {
            details.set_resource_info(kind, name, "", "");
        }
        for (kind, subject, description) in inner.preconditions {
            details.add_precondition_failure_violation(kind, subject, description);
        }
        for (subject, description) in inner.quotas {
            details.add_quota_failure_violation(subject, description);
        }
        if let Some(span) = inner.retry_after {
            details.set_retry_info(Some(span));
        }
        Status::with_error_details(inner.code, inner.message, details)
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.0.reason, self.0.domain, self.0.message)
    }
}

impl std::error::Error for RpcError {}
