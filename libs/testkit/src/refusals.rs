//! Checks the refusals by servers against the lists in the comments of the RPCs, and records them for
//! `cargo xtask reasons`.

use std::{
    collections::BTreeSet,
    fmt,
    fs::OpenOptions,
    io::Write as _,
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
};

use parta_reasons::DocumentedReasons;
use tracing::field::{Field, Visit};

/// Environment variable with the folder of the records. Without it nothing is recorded.
const RECORDS: &str = "PARTA_TEST_REFUSALS";
/// The target of the events with which servers report refusals.
pub(crate) const TARGET: &str = "parta_grpc::refusal";

static DOCUMENTED: LazyLock<DocumentedReasons> = LazyLock::new(|| {
    let pool = parta_proto_all::descriptor_pool().expect("the descriptor set");
    DocumentedReasons::read(pool).unwrap_or_else(|error| panic!("{error}"))
});

/// An RPC and the reason with which it was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refusal {
    /// The full name of the RPC.
    pub(crate) rpc: String,
    /// `ErrorInfo.domain`.
    pub(crate) domain: String,
    /// `ErrorInfo.reason`.
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn is_documented(&self) -> bool {
        DOCUMENTED.allows(&self.rpc, &self.domain, &self.reason)
    }
}

impl Visit for Refusal {
    fn record_str(&mut self, field: &Field, value: &str) {
        let target = match field.name() {
            "rpc" => &mut self.rpc,
            "domain" => &mut self.domain,
            "reason" => &mut self.reason,
            _ => return,
        };
        value.clone_into(target);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Appends a refusal to the file of this process if it is new.
pub(crate) fn record(refusal: &Refusal) {
    static RECORDED: Mutex<BTreeSet<Refusal>> = Mutex::new(BTreeSet::new());
    let Some(folder) = std::env::var_os(RECORDS) else {
        return;
    };
    let mut recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
    if recorded.insert(refusal.clone()) {
        let path = Path::new(&folder).join(std::process::id().to_string());
        let file = OpenOptions::new().create(true).append(true).open(path);
        let line = format!("{} {}\n", refusal.rpc, refusal.reason);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the record of a refusal is written");
    }
}

/// Returns the error message for these undocumented refusals; `None` if there are none.
pub(crate) fn failure(undocumented: &BTreeSet<Refusal>) -> Option<String> {
    if undocumented.is_empty() {
        return None;
    }
    let line = |refusal: &Refusal| format!("  {}: {} of {}", refusal.rpc, refusal.reason, refusal.domain);
    let lines: Vec<String> = undocumented.iter().map(line).collect();
    Some(format!(
        "RPCs were refused with reasons that their comments do not list:\n{}\nAdd the reason to `Reasons:` in the \
         comment of the RPC and say there when it happens. If any RPC may return it, set `common` where the reason is \
         declared. If the test has a fake server, call `parta_testkit::logs().ignore_refusals()`.",
        lines.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use crate::{logs, refused, run};

    const SEND: &str = "parta.chat.v1.MessageService/SendMessage";

    #[test]
    fn undocumented_reason_fails_the_test() {
        let test = || {
            run(async {
                tracing::debug!(
                    target: "parta_grpc::refusal",
                    rpc = SEND,
                    domain = "membership.parta",
                    reason = "LAST_ADMINISTRATOR",
                    "call refused"
                );
            });
        };
        let panic = catch_unwind(test).expect_err("the test must fail");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(
            message.contains(&format!("{SEND}: LAST_ADMINISTRATOR of membership.parta")),
            "{message}"
        );
    }

    #[test]
    fn undocumented_reason_of_another_process_fails_the_test() {
        let test = || run(async { refused(SEND, "parta", "ETAG_MISMATCH") });
        assert!(catch_unwind(test).is_err());
    }

    #[test]
    fn documented_and_common_reasons_pass() {
        run(async {
            logs().ignore_refusals();
            refused(SEND, "parta", "ETAG_MISMATCH");
        });
        for (domain, reason) in [("chat.parta", "CHAT_ARCHIVED"), ("parta", "CREDENTIAL_MISSING")] {
            let refusal = super::Refusal {
                rpc: SEND.to_owned(),
                domain: domain.to_owned(),
                reason: reason.to_owned(),
            };
            assert!(refusal.is_documented(), "{reason}");
        }
    }
}
