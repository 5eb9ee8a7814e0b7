//! `parta` under another name, for tests that start and kill real processes: cargo tells a test where the binaries
//! of its own package are, but not where those of other packages are.

fn main() -> std::process::ExitCode {
    parta::main(std::env::args_os())
}
