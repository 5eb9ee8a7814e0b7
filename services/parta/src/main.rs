//! `parta`: the five services, together or one of them, and the command line for operators and
//! administrators.

fn main() -> std::process::ExitCode {
    parta::main(std::env::args_os())
}
