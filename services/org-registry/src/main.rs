//! The org-registry service as a process of its own.
fn main() -> std::process::ExitCode {
    parta_runtime::run_service(parta_org_registry::SERVICE)
}
