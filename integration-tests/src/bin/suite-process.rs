//! `parta` under another name, for tests that start and kill real processes: cargo gives a test the paths of
//! the binaries of its own package only.

fn main() -> std::process::ExitCode {
    parta::main(std::env::args_os())
}
