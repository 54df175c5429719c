//! The `headwater` program: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(headwater::cli::main_from(std::env::args_os()))
}
