//! The call-scheduling service as a process of its own.
fn main() -> std::process::ExitCode {
    parta_runtime::run_service(parta_call_scheduling::SERVICE)
}
