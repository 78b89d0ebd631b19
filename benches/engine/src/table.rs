//! The figures beside what is asked of them, as text and as JSON.

#![forbid(unsafe_code)]

use std::fmt;

use serde_json::{Value, json};

use crate::emulated::Counts;
use crate::engine::{Compilation, Figures};
use crate::measure::{ProgramTimes, geometric_mean};

/// All contenders, in the order of the columns.
const CONTENDERS: [&str; 6] =
    ["interpreter", "jit", "rbpf interpreter", "rbpf jit", "sbpf jit", "linux"];

/// What a figure must be.
#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// One line of the table.
struct Row {
    what: String,
    limit: Limit,
    unit: &'static str,
    /// None: not measured.
    value: Option<f64>,
    /// Figures of peers, or why there is none.
    beside: String,
}

impl Row {
    fn verdict(&self) -> &'static str {
        match (self.value, self.limit) {
            (None, _) => "not measured",
            (Some(value), Limit::AtMost(limit)) if value <= limit => "met",
            (Some(value), Limit::AtLeast(limit)) if value >= limit => "met",
            _ => "missed",
        }
    }

    fn target(&self) -> String {
        match self.limit {
            Limit::AtMost(limit) => format!("≤ {limit}"),
            Limit::AtLeast(limit) => format!("≥ {limit}"),
        }
    }
}

/// Everything that was measured.
pub(crate) struct Report<'a> {
    programs: &'a [ProgramTimes],
    figures: &'a Figures,
    counts: &'a [Counts],
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        programs: &'a [ProgramTimes],
        figures: &'a Figures,
        counts: &'a [Counts],
        notes: Vec<String>,
    ) -> Self {
        let mut rows = execution(programs);
        rows.extend(engine(figures));
        rows.extend(elsewhere(counts));
        Self { programs, figures, counts, rows, notes }
    }

    /// The same for other programs to read.
    pub(crate) fn json(&self) -> Value {
        let programs = self.programs.iter().map(|program| {
            let times = program.times.iter().map(|(name, _)| {
                (
                    name.to_string(),
                    json!({
                        "nanoseconds": program.nanoseconds(name),
                        "ratio_to_native": program.ratio(name, "native"),
                    }),
                )
            });
            json!({
                "name": program.name,
                "insns": program.insns,
                "times": times.collect::<serde_json::Map<_, _>>(),
            })
        });
        let verifier = self.figures.verification.iter().map(|one| {
            json!({ "name": one.name, "processed": one.processed, "nanoseconds": one.nanoseconds })
        });
        let rows = self.rows.iter().map(|row| {
            json!({
                "what": row.what, "target": row.target(), "unit": row.unit, "value": row.value,
                "verdict": row.verdict(), "beside": row.beside,
            })
        });
        json!({
            "programs": programs.collect::<Vec<_>>(),
            "verifier": verifier.collect::<Vec<_>>(),
            "other_machines": self.counts.iter().map(|one| json!({
                "machine": one.machine, "program": one.program,
                "jit_instructions": one.jit, "native_instructions": one.native,
            })).collect::<Vec<_>>(),
            "rows": rows.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// One contender against another on all programs but the empty one.
fn ratios(programs: &[ProgramTimes], contender: &str, to: &str) -> Vec<f64> {
    let full = programs.iter().filter(|program| program.name != "empty");
    full.filter_map(|program| program.ratio(contender, to)).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| geometric_mean(values))
}

fn execution(programs: &[ProgramTimes]) -> Vec<Row> {
    let jit = ratios(programs, "jit", "native");
    let beside: Vec<String> = ["linux", "rbpf jit", "sbpf jit"]
        .into_iter()
        .filter_map(|name| {
            mean(&ratios(programs, name, "native")).map(|mean| format!("{name} {mean:.2}"))
        })
        .collect();
    let empty = |name: &str| {
        let program = programs.iter().find(|program| program.name == "empty")?;
        program.nanoseconds(name)
    };
    let empty_peers = |names: &[&'static str]| {
        let times = names.iter().filter_map(|name| Some((name, empty(name)?)));
        times.map(|(name, time)| format!("{name} {time:.1}")).collect::<Vec<_>>().join(", ")
    };
    // How many times as fast as the faster of the peers' JITs.
    let faster: Vec<f64> = programs
        .iter()
        .filter(|program| program.name != "empty")
        .filter_map(|program| {
            let peers = ["rbpf jit", "sbpf jit"];
            let best = peers.iter().filter_map(|peer| program.ratio(peer, "native"));
            Some(best.reduce(f64::min)? / program.ratio("jit", "native")?)
        })
        .collect();
    vec![
        Row {
            what: "JIT over native, geometric mean".into(),
            limit: Limit::AtMost(1.15),
            unit: "times",
            value: mean(&jit),
            beside: beside.join(", "),
        },
        Row {
            what: "JIT over native, the slowest program".into(),
            limit: Limit::AtMost(1.7),
            unit: "times",
            value: jit.iter().copied().reduce(f64::max),
            beside: String::new(),
        },
        Row {
            what: "speed of the JIT by that of the fastest peer, geometric mean".into(),
            limit: Limit::AtLeast(1.15),
            unit: "times",
            value: mean(&faster),
            beside: String::new(),
        },
        Row {
            what: "speed of the JIT by that of the fastest peer, the slowest program".into(),
            limit: Limit::AtLeast(0.95),
            unit: "times",
            value: faster.iter().copied().reduce(f64::min),
            beside: String::new(),
        },
        Row {
            what: "entering and leaving an empty program, JIT".into(),
            limit: Limit::AtMost(4.0),
            unit: "ns",
            value: empty("jit"),
            beside: empty_peers(&["rbpf jit", "sbpf jit", "linux"]),
        },
        Row {
            what: "entering and leaving an empty program, interpreter".into(),
            limit: Limit::AtMost(6.0),
            unit: "ns",
            value: empty("interpreter"),
            beside: empty_peers(&["rbpf interpreter"]),
        },
        Row {
            what: "speed of the interpreter by that of rbpf's, geometric mean".into(),
            limit: Limit::AtLeast(5.0),
            unit: "times",
            value: mean(&ratios(programs, "rbpf interpreter", "interpreter")),
            beside: "8 is the aim".into(),
        },
    ]
}

/// The JITs for other machines: instructions executed, by those of clang's code.
fn elsewhere(counts: &[Counts]) -> Vec<Row> {
    let row = |machine: &str| {
        let full = counts.iter().filter(|one| one.machine == machine && one.program != "empty");
        let ratios: Vec<(f64, &str)> =
            full.map(|one| (one.jit as f64 / one.native as f64, one.program)).collect();
        let each = ratios.iter().map(|(ratio, program)| format!("{program} {ratio:.2}"));
        Row {
            what: format!("{machine} JIT, instructions over clang -O2, geometric mean"),
            limit: Limit::AtMost(1.3),
            unit: "times",
            value: mean(&ratios.iter().map(|(ratio, _)| *ratio).collect::<Vec<_>>()),
            beside: each.collect::<Vec<_>>().join(", "),
        }
    };
    vec![row("AArch64"), row("RISC-V")]
}

/// What rbpf takes for an instruction, code installed, of the programs that it takes.
fn rbpf_compilation(compilation: &[Compilation]) -> String {
    let (insns, time) = compilation
        .iter()
        .filter_map(|one| Some((one.insns, one.rbpf_nanoseconds?)))
        .fold((0, 0.0), |(insns, time), one| (insns + one.0, time + one.1));
    if insns == 0 {
        return "rbpf 15 to 20 elsewhere".into();
    }
    format!("rbpf {:.1} here, 15 to 20 elsewhere", time / insns as f64)
}

fn engine(figures: &Figures) -> Vec<Row> {
    const MIB: f64 = 1024.0 * 1024.0;
    let explored: u64 = figures.verification.iter().map(|one| one.processed).sum();
    let time: f64 = figures.verification.iter().map(|one| one.nanoseconds).sum();
    let insns: usize = figures.compilation.iter().map(|one| one.insns).sum();
    let per_insn = |part: &dyn Fn(&Compilation) -> f64| {
        let sum: f64 = figures.compilation.iter().map(part).sum();
        (insns > 0).then(|| sum / insns as f64)
    };
    vec![
        Row {
            what: "verifier, per explored instruction of these programs".into(),
            limit: Limit::AtMost(150.0),
            unit: "ns",
            value: (explored > 0).then(|| time / explored as f64),
            beside: "Linux 550 to 850".into(),
        },
        Row {
            what: format!("verifier's memory, cloud, {} explored", figures.cloud_memory.0),
            limit: Limit::AtMost(64.0),
            unit: "MiB",
            value: Some(figures.cloud_memory.1 as f64 / MIB),
            beside: String::new(),
        },
        Row {
            what: format!("verifier's memory, embedded, {} explored", figures.embedded_memory.0),
            limit: Limit::AtMost(0.25),
            unit: "MiB",
            value: Some(figures.embedded_memory.1 as f64 / MIB),
            beside: String::new(),
        },
        Row {
            what: "JIT, time to compile one instruction".into(),
            limit: Limit::AtMost(25.0),
            unit: "ns",
            value: per_insn(&|one| one.nanoseconds),
            beside: rbpf_compilation(&figures.compilation)
                + ", its look for where jumps lead included; here that is the verifier's",
        },
        Row {
            what: "JIT, code for one instruction".into(),
            limit: Limit::AtMost(4.6),
            unit: "bytes",
            value: per_insn(&|one| one.bytes as f64),
            beside: "rbpf 4.6, Linux 4.4".into(),
        },
        Row {
            what: "load of a straight program of 100 instructions, JIT".into(),
            limit: Limit::AtMost(40.0),
            unit: "µs",
            value: Some(figures.load[1]),
            beside: format!("interpreter {:.1}, Linux about 60", figures.load[0]),
        },
        Row {
            what: "array lookup in a program, JIT".into(),
            limit: Limit::AtMost(1.0),
            unit: "ns",
            value: Some(figures.array_lookup[1]),
            beside: format!("interpreter {:.1}, Linux's JIT 0.5", figures.array_lookup[0]),
        },
        Row {
            what: "hash lookup of 8 bytes in a program, JIT".into(),
            limit: Limit::AtMost(15.0),
            unit: "ns",
            value: Some(figures.hash_lookup[1]),
            beside: format!("interpreter {:.1}, Linux's JIT 34", figures.hash_lookup[0]),
        },
    ]
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = CONTENDERS
            .into_iter()
            .filter(|name| {
                self.programs.iter().any(|program| program.ratio(name, "native").is_some())
            })
            .collect();
        writeln!(f, "Time by that of native code (clang -O2 without vectorisation), medians")?;
        write!(f, "{:10} {:>6} {:>12}", "program", "insns", "native ns")?;
        for name in &columns {
            write!(f, " {name:>17}")?;
        }
        writeln!(f)?;
        for program in self.programs {
            let native = program.nanoseconds("native").unwrap_or_default();
            write!(f, "{:10} {:6} {native:12.1}", program.name, program.insns)?;
            for name in &columns {
                match program.ratio(name, "native") {
                    Some(ratio) => write!(f, " {ratio:17.2}")?,
                    None => write!(f, " {:>17}", "-")?,
                }
            }
            writeln!(f)?;
        }
        write!(f, "{:10} {:6} {:12}", "mean", "", "")?;
        for name in &columns {
            match mean(&ratios(self.programs, name, "native")) {
                Some(mean) => write!(f, " {mean:17.2}")?,
                None => write!(f, " {:>17}", "-")?,
            }
        }
        writeln!(f, "\n")?;
        writeln!(f, "{:10} {:>10} {:>12} {:>10}", "verifier", "explored", "µs", "ns each")?;
        for one in &self.figures.verification {
            writeln!(
                f,
                "{:10} {:10} {:12.1} {:10.1}",
                one.name,
                one.processed,
                one.nanoseconds / 1000.0,
                one.nanoseconds / one.processed.max(1) as f64,
            )?;
        }
        writeln!(f)?;
        for row in &self.rows {
            let value = row.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            write!(
                f,
                "{:66} {:>9} {:5} {:>7}  {}",
                row.what,
                value,
                row.unit,
                row.target(),
                row.verdict(),
            )?;
            if row.beside.is_empty() { writeln!(f)? } else { writeln!(f, "  ({})", row.beside)? }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}
