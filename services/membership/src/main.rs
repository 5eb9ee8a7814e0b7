//! The membership service as a standalone process.
fn main() -> std::process::ExitCode {
    parta_runtime::run_service(parta_membership::SERVICE)
}
