//! The measurements: what operations cost in guest instructions, beside Linux's figures.
//!
//! Under `-icount` one tick of the guest's clock is one instruction, and two runs are
//! identical, except for rows that wait for the disk, whose completions follow the host:
//! those are marked. The guest's program `bench` measures and prints `name value unit`;
//! here are the boots, the table, the comparison, and the rows that only the outside sees.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::build::Options;
use crate::cli::BenchArguments;
use crate::compile::{self, KernelVariant};
use crate::machine::Arch;
use crate::qemu::Outcome;
use crate::session::Session;
use crate::workspace::{Workspace, say, write_atomically};

/// Linux's figures on the same machine.
const fn linux_figures(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => include_str!("../benches/linux-x86_64.tsv"),
        Arch::Aarch64 => include_str!("../benches/linux-aarch64.tsv"),
        Arch::Riscv64 => include_str!("../benches/linux-riscv64.tsv"),
    }
}

/// What the rows of files on a disk are called.
const ON_DISK: &str = "file_";
/// Rows that the guest's program does not measure.
const ELSEWHERE: [&str; 4] =
    ["kernel_image_size", "boot_to_init", "memory_at_init", "getppid_without_hooks"];
/// Rows that wait for the disk: two runs may differ.
const DISK_ROWS: [&str; 1] = ["file_create_unlink_ext2"];

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    name: String,
    /// What was measured, or why it could not be.
    figure: Result<Figure, String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Figure {
    value: f64,
    unit: String,
}

impl Row {
    fn new(name: &str, value: f64, unit: &str) -> Self {
        Self { name: name.to_owned(), figure: Ok(Figure { value, unit: unit.to_owned() }) }
    }

    fn failed(name: &str, reason: &str) -> Self {
        Self { name: name.to_owned(), figure: Err(reason.to_owned()) }
    }

    fn waits_for_disk(&self) -> bool {
        DISK_ROWS.contains(&self.name.as_str())
    }

    /// `name value unit`, or `# name failed: reason`; anything else on the console is not a row.
    fn parse(line: &str) -> Option<Self> {
        if let Some((name, reason)) =
            line.strip_prefix("# ").and_then(|remark| remark.split_once(" failed: "))
        {
            return Some(Self::failed(name, reason.trim_end()));
        }
        let mut words = line.split_ascii_whitespace();
        let (name, value, unit) = (words.next()?, words.next()?, words.next()?);
        // Whole instructions: the rest is the share of the loop around the operation.
        let value = value.parse::<f64>().ok()?.round();
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_name && words.next().is_none()).then(|| Self::new(name, value, unit))
    }
}

/// Runs the measurements, prints the tables, writes the JSON. The status is 0 if all could be
/// measured; what could not does not keep the rest from being measured.
pub fn run(workspace: &Workspace, arguments: &BenchArguments) -> Result<u8> {
    let archs = &arguments.arch.0;
    let mut figures = Vec::new();
    let mut complete = true;
    for (index, &arch) in archs.iter().enumerate() {
        if archs.len() > 1 {
            let gap = if index == 0 { "" } else { "\n" };
            println!("{gap}{}", arch.name());
        }
        let rows = run_on(workspace, arch, arguments);
        complete &= matches!(&rows, Ok(rows) if rows.iter().all(|row| row.figure.is_ok()));
        match rows {
            Ok(rows) => figures.push(to_json(arch, &rows)?),
            Err(error) if archs.len() > 1 => {
                say(format!("{}: {error:#}", arch.name()));
                figures.push(json!({ "machine": arch.name(), "failed": format!("{error:#}") }));
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(file) = &arguments.json {
        // One machine's figures, or a list.
        let json = match figures.as_slice() {
            [one] => one.clone(),
            _ => Value::Array(figures),
        };
        write_atomically(&std::path::absolute(file)?, &serde_json::to_vec_pretty(&json)?)?;
    }
    Ok(u8::from(!complete))
}

/// Measures on one machine and prints the table.
fn run_on(workspace: &Workspace, arch: Arch, arguments: &BenchArguments) -> Result<Vec<Row>> {
    let rows = measure(workspace, arch, &arguments.rows)?;
    if rows.is_empty() {
        bail!("no row is named {}", arguments.rows.join(" or "));
    }
    print!("{}", table(arch, &rows)?);
    if arguments.twice {
        let differences = differences(&rows, &measure(workspace, arch, &arguments.rows)?);
        if !differences.is_empty() {
            bail!("two runs on {} differ: {}", arch.name(), differences.join(", "));
        }
        say("a second run gave the same figures");
    }
    Ok(rows)
}

/// All rows whose names start with one of `wanted`; all of them if it is empty.
fn measure(workspace: &Workspace, arch: Arch, wanted: &[String]) -> Result<Vec<Row>> {
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|prefix| name.starts_with(prefix));
    let mut rows = Vec::new();

    let variant = KernelVariant::default();
    if is_wanted("kernel_image_size") {
        let image = compile::kernel(workspace, arch, variant)?.image;
        rows.push(Row::new("kernel_image_size", image.metadata()?.len() as f64, "bytes"));
    }
    if is_wanted("boot_to_init") || is_wanted("memory_at_init") {
        rows.extend(boot_rows(workspace, arch)?.into_iter().filter(|row| is_wanted(&row.name)));
    }
    let arguments: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let in_memory =
        |prefix: &String| !prefix.starts_with(ON_DISK) && !ELSEWHERE.contains(&prefix.as_str());
    if wanted.is_empty() || wanted.iter().any(in_memory) {
        let others = Options { kernel: variant, ram_disk: true, ..machine(arch) };
        rows.extend(guest(workspace, others, "--no-disk", &arguments)?);
    }
    let on_disk = |prefix: &String| prefix.starts_with(ON_DISK) || ON_DISK.starts_with(prefix);
    if wanted.is_empty() || wanted.iter().any(on_disk) {
        let with_disk = Options { kernel: variant, ..machine(arch) };
        rows.extend(guest(workspace, with_disk, "--disk", &arguments)?);
    }
    // The same row on a kernel without hook call sites shows what an empty hook costs.
    if is_wanted("getppid_without_hooks") {
        let kernel = KernelVariant { hooks: false, ..variant };
        let without = Options { kernel, ram_disk: true, ..machine(arch) };
        let found = guest(workspace, without, "--no-disk", &["getppid"])?;
        let row = found.iter().find(|row| row.name == "getppid").context("no row getppid")?;
        rows.push(Row { name: "getppid_without_hooks".to_owned(), ..row.clone() });
    }
    Ok(rows)
}

/// Boots the guest's program with these arguments; returns its rows. What waits for no disk is
/// measured on a machine whose root file system is in memory, as Linux's was: nothing there follows
/// the host.
fn guest(
    workspace: &Workspace,
    options: Options,
    rows: &str,
    arguments: &[&str],
) -> Result<Vec<Row>> {
    let program = ["bench", rows].into_iter().chain(arguments.iter().copied());
    let options = Options { program: program.map(str::to_owned).collect(), ..options };
    let session = Session::boot(workspace, &options)?;
    let (outcome, console) = session.finish()?;
    if outcome != Outcome::Exited(0) {
        let reason = outcome.explanation().unwrap_or_else(|| format!("{outcome:?}"));
        bail!("the measurements did not finish ({reason}); the console said:\n{console}");
    }
    Ok(console.lines().filter_map(Row::parse).collect())
}

/// What is measured on: without an entropy device, which answers when the host gets to it.
fn machine(arch: Arch) -> Options {
    Options { arch, icount: true, entropy: false, ..Options::default() }
}

/// The clock and the memory as the first process finds them. While the kernel waits for a disk,
/// which the host decides, the clock goes on; so that boot has its root file system in memory, as
/// Linux's has.
fn boot_rows(workspace: &Workspace, arch: Arch) -> Result<Vec<Row>> {
    let mut rows = boot(workspace, Options { ram_disk: true, ..machine(arch) })?;
    rows.retain(|row| row.name == "boot_to_init");
    let options = machine(arch);
    // All that is not free counts, as for Linux: the kernel's image, the firmware's part.
    let all = (options.memory_mib << 20) as f64;
    for row in boot(workspace, options)? {
        if row.name == "memory_free_at_init" {
            let name = "memory_at_init".to_owned();
            let figure = row.figure.map(|free| Figure { value: all - free.value, ..free });
            rows.push(Row { name, figure });
        }
    }
    Ok(rows)
}

/// Boots with the measuring program in the place of init, which is stopped when it has printed
/// both.
fn boot(workspace: &Workspace, mut options: Options) -> Result<Vec<Row>> {
    options.append = vec!["init=/bin/bench".to_owned()];
    options.program = ["boot_to_init", "memory_free_at_init"].map(str::to_owned).into();
    let mut session = Session::boot(workspace, &options)?;
    // Followed by a blank: the kernel repeats its command line, which has the name too.
    session.wait_for("memory_free_at_init ")?;
    session.wait_for("\n")?;
    Ok(session.transcript().lines().filter_map(Row::parse).collect())
}

/// Linux's "lean" figure for each row that has one.
fn linux(arch: Arch) -> Result<BTreeMap<&'static str, f64>> {
    linux_figures(arch)
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let mut fields = line.split('\t');
            let name = fields.next().context("a line without a name")?;
            let lean = fields.nth(1).context("a line without figures")?.parse()?;
            Ok((name, lean))
        })
        .collect::<Result<_>>()
        .with_context(|| format!("benches/linux-{}.tsv", arch.name()))
}

fn table(arch: Arch, rows: &[Row]) -> Result<String> {
    let linux = linux(arch)?;
    let mut text = String::new();
    writeln!(text, "{:<28} {:>14} {:<12} {:>14} {:>7}", "row", "Lemma", "unit", "Linux", "ratio")?;
    for row in rows {
        let mark = if row.waits_for_disk() { "*" } else { "" };
        let name = format!("{}{mark}", row.name);
        match &row.figure {
            Ok(Figure { value, unit }) => {
                write!(text, "{name:<28} {value:>14} {unit:<12}")?;
                if let Some(linux) = linux.get(row.name.as_str()) {
                    write!(text, " {linux:>14} {:>7.2}", value / linux)?;
                }
            }
            Err(reason) => write!(text, "{name:<28} failed: {reason}")?,
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    writeln!(text, "Linux: 6.12 with its lean command line. Ratio: Lemma / Linux.")?;
    writeln!(text, "* waits for the disk: two runs may differ; the others are identical.")?;
    Ok(text)
}

fn to_json(arch: Arch, rows: &[Row]) -> Result<Value> {
    let linux = linux(arch)?;
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let figure = row.figure.as_ref();
            json!({
                "name": row.name,
                "value": figure.ok().map(|figure| figure.value),
                "unit": figure.ok().map(|figure| &figure.unit),
                "failed": figure.err(),
                "linux": linux.get(row.name.as_str()),
                "waits_for_disk": row.waits_for_disk(),
            })
        })
        .collect();
    Ok(json!({ "machine": arch.name(), "rows": rows }))
}

/// What two runs disagree about, rows that wait for the disk excepted.
fn differences(first: &[Row], second: &[Row]) -> Vec<String> {
    let value = |rows: &[Row], name: &str| {
        let row = rows.iter().find(|row| row.name == name)?;
        Some(match &row.figure {
            Ok(figure) => figure.value.to_string(),
            Err(reason) => format!("failed ({reason})"),
        })
    };
    let mut names: Vec<&str> = first
        .iter()
        .chain(second)
        .filter(|row| !row.waits_for_disk())
        .map(|row| row.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let show = |value: Option<String>| value.unwrap_or_else(|| "absent".to_owned());
    names
        .into_iter()
        .filter_map(|name| {
            let (a, b) = (value(first, name), value(second, name));
            (a != b).then(|| format!("{name} {} and {}", show(a), show(b)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_are_rows() {
        let row = Row::parse("getppid 110.02 t/op").unwrap();
        assert_eq!(row, Row::new("getppid", 110.0, "t/op"));
        let row = Row::parse("# pipe failed: Too many open files").unwrap();
        assert_eq!(row, Row::failed("pipe", "Too many open files"));
        for other in ["", "# getppid iters 5", "init: mount failed now", "a 1", "a 1 b c", "a: 1 b"]
        {
            assert_eq!(Row::parse(other), None, "{other}");
        }
    }

    #[test]
    fn linux_s_figures_are_read() {
        for (arch, getppid, fork) in [
            (Arch::X86_64, 330.0, 250_352.0),
            (Arch::Aarch64, 430.0, 175_039.0),
            (Arch::Riscv64, 426.0, 239_310.0),
        ] {
            let linux = linux(arch).unwrap();
            assert_eq!(linux["getppid"], getppid);
            assert_eq!(linux["fork_execve_wait"], fork);
            assert!(linux["boot_to_init"] > 900e6 && linux["memory_at_init"] > 50e6);
            assert!(linux.len() > 40);
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_row() {
        let rows = [
            Row::new("getppid", 165.0, "t/op"),
            Row::new("file_create_unlink_ext2", 5.0, "t"),
            Row::failed("stat", "No such file or directory"),
        ];
        let table = table(Arch::X86_64, &rows).unwrap();
        assert!(table.contains("file_create_unlink_ext2*"), "{table}");
        let line = table.lines().find(|line| line.starts_with("getppid")).unwrap();
        assert!(line.ends_with("330    0.50"), "{line}");
        let line = table.lines().find(|line| line.starts_with("stat")).unwrap();
        assert!(line.ends_with(" failed: No such file or directory"), "{line}");
    }

    #[test]
    fn runs_may_differ_only_where_they_wait_for_the_disk() {
        let a = [Row::new("stat", 1.0, "t"), Row::new("file_create_unlink_ext2", 1.0, "t")];
        let b = [Row::new("stat", 1.0, "t"), Row::new("file_create_unlink_ext2", 2.0, "t")];
        assert!(differences(&a, &b).is_empty());
        let c = [Row::new("stat", 2.0, "t")];
        assert_eq!(differences(&a, &c), ["stat 1 and 2"]);
        assert_eq!(differences(&a, &[]), ["stat 1 and absent"]);
        assert_eq!(differences(&a, &[Row::failed("stat", "no")]), ["stat 1 and failed (no)"]);
    }

    #[test]
    fn json_has_the_figures() {
        let rows = [Row::new("getppid", 165.0, "t/op"), Row::failed("stat", "no")];
        let json = to_json(Arch::X86_64, &rows).unwrap();
        assert_eq!(
            json,
            json!({ "machine": "x86_64", "rows": [
                { "name": "getppid", "value": 165.0, "unit": "t/op", "failed": null,
                  "linux": 330.0, "waits_for_disk": false },
                { "name": "stat", "value": null, "unit": null, "failed": "no",
                  "linux": 2891.0, "waits_for_disk": false },
            ] })
        );
    }
}
