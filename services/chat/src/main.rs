//! The chat service by itself.
fn main() -> std::process::ExitCode {
    parta_runtime::run_service(parta_chat::SERVICE)
}
