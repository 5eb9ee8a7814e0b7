//! The panic hook of the process. The standard hook writes the message of a panic, which may quote a name, to
//! the standard error, where no filter of the log applies.
use std::panic::PanicHookInfo;

/// Replaces the standard hook. Call it once, at the start of the process.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(log));
}

/// Logs where a panic happened, without its message.
#[expect(
    clippy::print_stderr,
    reason = "there is no log before the configuration was read"
)]
fn log(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    if !tracing::dispatcher::has_been_set() {
        eprintln!("panic at {location} in the thread {thread}");
        return;
    }
    let task = tokio::task::try_id().map(|task| task.to_string());
    tracing::error!(location, thread, task, "panic");
}
