//! From a case to its verdict.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use kernel_bpf::btf::Btf;
use kernel_bpf::btf::ext;
use kernel_bpf::insn::decode;
use kernel_bpf::loader::is_gpl_compatible;
use kernel_bpf::map::Map;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::{Program, ProgramError};
use kernel_bpf::trusted::Trust;
use kernel_bpf::verifier::{VerifyOptions, load_flags, verify};

use super::case::{Argument, Case, MapKind, Run, TypeOf};
use super::maps::{self, CaseMap, Purpose};
use super::verdict::{Decision, Verdict};
use crate::conformance;
use crate::engine::{EngineKind, Profile, Ready, Trusted};
use crate::host::Host;
use crate::test_run::{self, Input};

/// The descriptor that stands for a case's first map. Test programs name descriptors that do
/// not exist on purpose, but not such.
const FIRST_FD: i32 = 0x4c00_0000;
/// What a run gets when the case does not say: a packet of zeros.
const DEFAULT_DATA: usize = 64;

/// What all cases share.
pub(crate) struct Setting {
    pub(crate) kinds: HashMap<String, MapKind>,
    pub(crate) profile: Profile,
    /// For cases that name none.
    pub(crate) engine: EngineKind,
}

/// Judges the case on one line.
pub(crate) fn judge_line(line: &str, setting: &Setting) -> Verdict {
    let case: Case = match serde_json::from_str(line) {
        Ok(case) => case,
        Err(error) => {
            // The name, if that much can be read.
            let name = serde_json::from_str::<serde_json::Value>(line)
                .ok()
                .and_then(|value| value.get("name").cloned())
                .unwrap_or_default();
            return Verdict::error(name, format_args!("not a case: {error}"));
        }
    };
    let outcome = if case.trusted { run_trusted(&case, setting) } else { judge(&case, setting) };
    outcome.unwrap_or_else(|error| Verdict::error(case.name.clone(), format_args!("{error:#}")))
}

fn judge(case: &Case, setting: &Setting) -> Result<Verdict> {
    let prog_type = prog_type(case)?;
    let maps = case_maps(case, prog_type, setting)?;
    let mut bytes = case.insns.0.clone();
    for fixup in &case.fixups {
        let at = maps.iter().position(|map| map.kind == fixup.map_kind).unwrap_or_default();
        let fd = FIRST_FD + i32::try_from(at)?;
        let start = fixup.insn_index.checked_mul(8).and_then(|start| start.checked_add(4));
        let field = start.and_then(|start| bytes.get_mut(start..start.checked_add(4)?));
        field.context("a fixup beyond the program")?.copy_from_slice(&fd.to_le_bytes());
    }

    let start = Instant::now();
    let program = Program::from_bytes(
        &bytes,
        prog_type,
        |fd| {
            let index = usize::try_from(fd.checked_sub(FIRST_FD)?).ok()?;
            maps.get(index).cloned()
        },
        |_| None,
        |one, other| one.kind == other.kind,
    );
    let mut program = match program {
        Ok(program) => program,
        Err(error) => return Ok(undecodable(case, error, start)),
    };
    program.expected_attach_type = case.expected_attach_type;
    program.gpl_compatible = is_gpl_compatible(&case.license);
    program.sleepable = case.load_flags & load_flags::SLEEPABLE != 0;
    program.name = case.name.as_str().unwrap_or_default().to_owned();
    if let Err(error) = add_btf(case, &mut program) {
        let mut verdict = Verdict::new(case.name.clone(), Decision::Reject);
        verdict.reason = Some(format!("{error:#}"));
        verdict.micros = micros(start);
        return Ok(verdict);
    }

    let again = case.run.then(|| program.clone());
    let outcome = verify(program, &options(case, setting));
    let micros = micros(start);
    match outcome {
        Err(rejection) => {
            let mut verdict = Verdict::new(case.name.clone(), Decision::Reject);
            verdict.reason = Some(rejection.message.clone());
            verdict.insn = rejection.insn.map(u64::from);
            verdict.processed = Some(rejection.processed);
            verdict.micros = micros;
            Ok(verdict)
        }
        Ok(verified) => {
            let proof = verified.proof();
            let mut verdict = Verdict::new(case.name.clone(), Decision::Accept);
            verdict.worst_case = Some(proof.worst_case);
            verdict.processed = Some(proof.processed);
            verdict.micros = micros;
            if let Some(program) = again
                && let Err(error) = run(case, program, setting, &mut verdict)
            {
                verdict.reason = Some(format!("not run: {error:#}"));
            }
            Ok(verdict)
        }
    }
}

/// How the verifier is to judge the case.
fn options(case: &Case, setting: &Setting) -> VerifyOptions {
    let mut options = setting.profile.verify_options();
    if case.unprivileged {
        options = options.for_unprivileged();
    }
    options.with_load_flags(case.load_flags)
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A program that is refused before the verifier sees it.
fn undecodable(case: &Case, error: ProgramError, start: Instant) -> Verdict {
    let mut verdict = Verdict::new(case.name.clone(), Decision::Reject);
    verdict.reason = Some(error.to_string());
    verdict.insn = Some(match error {
        ProgramError::Decode(error) => error.slot,
        ProgramError::NotAMap { slot, .. } | ProgramError::NoSuchMap { slot, .. } => slot,
    } as u64);
    verdict.micros = micros(start);
    verdict
}

fn prog_type(case: &Case) -> Result<ProgType> {
    match (&case.prog_type, &case.prog_type_name) {
        (Some(TypeOf::Number(number)), name) => ProgType::from_number(*number).with_context(|| {
            format!("program type {number} ({}) is not known", name.as_deref().unwrap_or("?"))
        }),
        (Some(TypeOf::Name(name)), _) | (None, Some(name)) => type_by_name(name),
        (None, None) => bail!("the case has no program type"),
    }
}

/// The type that is named as bpftool does (`xdp`) or as Linux's header does
/// (`BPF_PROG_TYPE_XDP`).
fn type_by_name(name: &str) -> Result<ProgType> {
    let plain = name.strip_prefix("BPF_PROG_TYPE_").unwrap_or(name);
    ProgType::ALL
        .into_iter()
        .find(|known| known.name().eq_ignore_ascii_case(plain))
        .with_context(|| format!("program type {name} is not known"))
}

/// One map for each kind that the case's fixups name, in the order of their first use.
fn case_maps(case: &Case, prog_type: ProgType, setting: &Setting) -> Result<Vec<CaseMap>> {
    let purpose = Purpose {
        prog_type,
        expected_attach_type: case.expected_attach_type,
        engine: case.engine.unwrap_or(setting.engine),
        profile: setting.profile,
    };
    let mut maps: Vec<CaseMap> = Vec::new();
    for fixup in &case.fixups {
        let name = &fixup.map_kind;
        if maps.iter().any(|map| map.kind == *name) {
            continue;
        }
        let kind = case.maps.get(name).or_else(|| setting.kinds.get(name));
        let kind = kind.with_context(|| format!("there is no map kind `{name}`"))?;
        let map =
            maps::create(name, kind, purpose).with_context(|| format!("map kind `{name}`"))?;
        maps.push(map);
    }
    Ok(maps)
}

/// Checks and attaches the program's own BTF, as `BPF_PROG_LOAD` does.
fn add_btf(case: &Case, program: &mut Program<CaseMap>) -> Result<()> {
    if case.btf.0.is_empty() {
        return Ok(());
    }
    let btf = Btf::parse(&case.btf.0).map_err(|error| anyhow::anyhow!("BTF: {error}"))?;
    let slots = program.insns.len();
    if let Some(size) = record_size(&case.func_info.0, case.func_info_cnt) {
        program.func_info = ext::func_records(&case.func_info.0, size)
            .and_then(|records| ext::func_info(&btf, &records, slots))
            .map_err(|error| anyhow::anyhow!("func_info: {error}"))?;
    }
    if let Some(size) = record_size(&case.line_info.0, case.line_info_cnt) {
        program.line_info = ext::line_records(&case.line_info.0, size)
            .and_then(|records| ext::line_info(&btf, &records, slots))
            .map_err(|error| anyhow::anyhow!("line_info: {error}"))?;
    }
    program.btf = Some(Arc::from(case.btf.0.as_slice()));
    Ok(())
}

fn record_size(records: &[u8], count: u32) -> Option<u32> {
    u32::try_from(records.len()).ok()?.checked_div(count).filter(|size| *size > 0)
}

/// Runs an accepted program on each of the case's inputs.
fn run(
    case: &Case,
    program: Program<CaseMap>,
    setting: &Setting,
    verdict: &mut Verdict,
) -> Result<()> {
    let maps: Result<Vec<Arc<Map>>, String> =
        program.maps.iter().map(|map| map.map.clone()).collect();
    let program = program.with_maps(maps.map_err(anyhow::Error::msg)?);
    let verified = verify(program, &options(case, setting)).map_err(|rejection| {
        anyhow::anyhow!("refused with its real maps: {}", rejection.message)
    })?;
    let ready = Ready::new(&verified, case.engine.unwrap_or(setting.engine), setting.profile)?;
    let inputs: Vec<Vec<u8>> = match (&case.runs, &case.mem) {
        (Some(runs), None) => runs.iter().map(|run| run.data.0.clone()).collect(),
        (Some(runs), Some(_)) if !runs.is_empty() => {
            runs.iter().map(|run| run.data.0.clone()).collect()
        }
        (_, Some(mem)) => vec![mem.0.clone()],
        (None, None) => vec![vec![0; DEFAULT_DATA]],
    };
    let host = Host::default();
    let mut failure = Ok(());
    for data in inputs {
        let mut input = Input { data: Some(data), fields: None };
        match test_run::run_on(&ready, &verified, &mut input, &host) {
            // As BPF_PROG_TEST_RUN reports it: 32 bits.
            Ok(result) => verdict.retvals.push(Some(result & 0xffff_ffff)),
            Err(error) => {
                verdict.retvals.push(None);
                failure = Err(error);
            }
        }
    }
    failure
}

/// Runs a program that need not be verified.
fn run_trusted(case: &Case, setting: &Setting) -> Result<Verdict> {
    let engine = case.engine.unwrap_or(setting.engine);
    let start = Instant::now();
    let insns = decode(&case.insns.0)?;
    let mut verdict = Verdict::new(case.name.clone(), Decision::Accept);
    let Some(r1) = case.r1 else {
        // A conformance test: memory, its length in r2, and the suite's helpers.
        let mut memory = case.mem.clone().unwrap_or_default().0;
        verdict.retvals.push(Some(conformance::run(insns, &mut memory, engine)?));
        verdict.micros = micros(start);
        return Ok(verdict);
    };
    let prog_type =
        if r1 == Argument::Skb { ProgType::SocketFilter } else { ProgType::RawTracepoint };
    let program: Program<Arc<Map>> = Program::new(insns, prog_type, Vec::new());
    let default = Trust::default();
    let frame = case.stack_depth.next_multiple_of(8).max(default.frame);
    let ready = Trusted::new(&program, engine, &Trust { frame, ..default })?;
    verdict.micros = micros(start);
    let host = Host::default();
    let times = case.nr_testruns.unwrap_or(1).max(1);
    // Without a list of runs there is one, on all of the data.
    let whole = [Run { data_size: case.data.0.len(), ..Run::default() }];
    for run in case.runs.as_deref().unwrap_or(&whole) {
        let mut data = case.data.0.clone();
        data.resize(run.data_size, 0);
        if r1 == Argument::Skb {
            data.extend_from_slice(&case.frag_data.0);
        }
        // Atomics want the buffer aligned as programs expect it.
        let mut words = vec![0u64; data.len().div_ceil(8)];
        let bytes = bytemuck::cast_slice_mut(&mut words);
        let bytes = bytes.get_mut(..data.len()).unwrap_or_default();
        bytes.copy_from_slice(&data);
        let result = match r1 {
            Argument::Skb => ready.run_packet(prog_type, bytes, times, &host)?,
            Argument::Buffer => ready.run(Some(bytes), times, &host)?,
            Argument::Null => ready.run(None, times, &host)?,
        };
        verdict.retvals.push(Some(result & 0xffff_ffff));
    }
    Ok(verdict)
}
