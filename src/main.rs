//! The command line; all of it is in [`condorito::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    condorito::cli::run()
}
