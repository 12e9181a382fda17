//! The thin binary: parse, run, print one error, exit code. Everything else is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use whytop::app;
use whytop::cli::{Cli, one_line};

/// What every error exits with; 1 means "contention".
const ERROR: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            eprintln!("whytop: {}", one_line(&error));
            return ExitCode::from(ERROR);
        }
        // --help and --version. Nobody reads on when printing them fails.
        Err(error) => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    match app::run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("whytop: {error:#}");
            ExitCode::from(ERROR)
        }
    }
}
