//! `cargo run`: builds Lemma and boots it, with this terminal as its console.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use lemma::cli::{Cli, ImageArguments, RunArguments, Task};
use lemma::console::InputStarts;
use lemma::machine::Arch;
use lemma::media::Medium;
use lemma::qemu::Guest;
use lemma::setup::{self, Tool};
use lemma::workspace::{Workspace, say};
use lemma::{bench, compile, console, toolchain};

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            say(format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<u8> {
    let workspace = Workspace::locate()?;
    match &cli.command {
        None => boot(&workspace, &cli.run),
        Some(Task::Build(arguments)) => {
            arguments.options()?.build(&workspace)?;
            Ok(0)
        }
        Some(Task::Setup) => {
            toolchain::forget_failures(&workspace)?;
            setup::require_all(&workspace, &Tool::ALL)?;
            setup::require_all(&workspace, &Tool::FOR_TESTS)?;
            for arch in Arch::ALL {
                setup::require(&workspace, arch.qemu())?;
                for target in [toolchain::Target::Kernel(arch), toolchain::Target::User(arch)] {
                    say(toolchain::Toolchain::choose(&workspace, target)?.describe());
                }
            }
            Ok(0)
        }
        Some(Task::Image(arguments)) => image(&workspace, arguments),
        Some(Task::Bench(arguments)) => bench::run(&workspace, arguments),
        Some(Task::Clippy) => {
            for arch in Arch::ALL {
                compile::clippy(&workspace, arch)?;
            }
            Ok(0)
        }
    }
}

/// Writes what firmware boots, and says how to try it.
fn image(workspace: &Workspace, arguments: &ImageArguments) -> Result<u8> {
    let (medium, _) = arguments.options()?.medium(workspace)?;
    let arch = arguments.arch;
    let output = match &arguments.output {
        Some(output) => output.clone(),
        None => {
            let (name, extension) = (arch.name(), Medium::extension(arch));
            workspace.output(format!("lemma-{name}.{extension}"))?
        }
    };
    medium.write(workspace, &output)?;
    let size = output.metadata()?.len();
    say(format!("{} ({} KiB); {}", output.display(), size / 1024, Medium::advice(arch)));
    Ok(0)
}

fn boot(workspace: &Workspace, arguments: &RunArguments) -> Result<u8> {
    let built = arguments.options()?.build(workspace)?;
    if arguments.debug {
        say(format!("attach with: {}", built.debugger()));
    }
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        say("^A x ends the guest at once, ^D its shell");
    }
    let (guest, input, output) = Guest::start(workspace, &built.machine)?;
    let starts = if arguments.program.is_empty() {
        InputStarts::AtPrompt
    } else {
        InputStarts::AtFirstOutput
    };
    let outcome = console::connect(guest, input, output, starts, arguments.time_limit())?;
    if let Some(explanation) = outcome.explanation() {
        say(explanation);
    }
    Ok(outcome.exit_code())
}
