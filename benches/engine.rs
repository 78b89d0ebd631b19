//! `cargo bench --bench engine`: measures the BPF engine beside native code and its peers.
//!
//! The measurements are a program of their own (`benches/engine`), because the peers are
//! libraries that nothing else here should have to build. This starts it.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "--quiet", "--release", "--package", "engine-bench", "--"])
        .args(std::env::args_os().skip(1))
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("engine: cannot start cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
