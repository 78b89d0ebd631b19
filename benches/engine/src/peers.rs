//! The peers: rbpf and solana-sbpf, from crates.io, as their documentation says to use them.

use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use solana_sbpf::aligned_memory::AlignedMemory;
use solana_sbpf::ebpf;
use solana_sbpf::elf::Executable;
use solana_sbpf::memory_region::{MemoryMapping, MemoryRegion};
use solana_sbpf::program::{BuiltinProgram, FunctionRegistry, SBPFVersion};
use solana_sbpf::vm::{Config, ContextObject, EbpfVm, ExecutionMode};

use crate::measure::Contender;
use crate::programs::{Source, pattern};

/// Memory that stays until the process ends: rbpf ties the program's memory to the machine.
fn leaked(bytes: Vec<u8>) -> &'static mut [u8] {
    Box::leak(bytes.into_boxed_slice())
}

fn rbpf_machine(source: &Source) -> Result<rbpf::EbpfVmRaw<'static>> {
    let program: &'static [u8] = leaked(source.plain.insns.clone());
    rbpf::EbpfVmRaw::new(Some(program)).map_err(|error| anyhow!("{error}"))
}

/// rbpf's interpreter.
pub(crate) fn rbpf_interpreter(source: &Source) -> Result<Contender> {
    let machine = rbpf_machine(source)?;
    let memory = std::ptr::from_mut(leaked(pattern()));
    Ok(Contender::new("rbpf interpreter", move || {
        // SAFETY: the memory is leaked, and nothing else refers to it while the program runs.
        machine.execute_program(unsafe { &mut *memory }).unwrap_or(u64::MAX)
    }))
}

/// rbpf's JIT.
pub(crate) fn rbpf_jit(source: &Source) -> Result<Contender> {
    let mut machine = rbpf_machine(source)?;
    machine.jit_compile().map_err(|error| anyhow!("{error}"))?;
    let memory = std::ptr::from_mut(leaked(pattern()));
    Ok(Contender::new("rbpf jit", move || {
        // SAFETY: as above; the programs keep to their memory, as the other engines show.
        unsafe { machine.execute_program_jit(&mut *memory) }.unwrap_or(u64::MAX)
    }))
}

/// rbpf's compiler, code installed.
pub(crate) fn rbpf_compiler(source: &Source) -> Result<Contender> {
    let program: &'static [u8] = leaked(source.plain.insns.clone());
    let compile = move || -> Result<u64> {
        let machine = rbpf::EbpfVmRaw::new(Some(program));
        machine
            .and_then(|mut machine| machine.jit_compile())
            .map_err(|error| anyhow!("{error}"))?;
        Ok(0)
    };
    compile()?;
    Ok(Contender::new("rbpf compiler", move || compile().unwrap_or(u64::MAX)))
}

/// What solana-sbpf asks of its user: a meter, which is off, and the memory.
struct Context {
    mapping: MemoryMapping,
}

impl ContextObject for Context {
    fn consume(&mut self, _: u64) {}
    fn get_remaining(&self) -> u64 {
        u64::MAX
    }
    fn active_mapping_ptr(&mut self) -> NonNull<MemoryMapping> {
        NonNull::from(&mut self.mapping)
    }
}

/// solana-sbpf's JIT, without metering and hardening, which the others do not have.
pub(crate) fn sbpf_jit(source: &Source) -> Result<Contender> {
    let config = Config {
        enable_instruction_meter: false,
        noop_instruction_rate: 0,
        sanitize_user_provided_values: false,
        ..Config::default()
    };
    let loader = Arc::new(BuiltinProgram::<Context>::new_loader(config));
    let version = SBPFVersion::V3;
    let executable = Executable::from_text_bytes(
        &source.plain_64.insns,
        Arc::clone(&loader),
        version,
        FunctionRegistry::default(),
    )
    .map_err(|error| anyhow!("{error}"))?;
    executable.jit_compile().map_err(|error| anyhow!("{error}"))?;
    let memory = leaked(pattern());
    let stack = Box::leak(Box::new(AlignedMemory::<{ ebpf::HOST_ALIGN }>::zero_filled(
        executable.get_config().stack_size(),
    )));
    let stack_length = stack.len();
    let regions = vec![
        executable.get_ro_region(),
        MemoryRegion::new(stack, ebpf::MM_STACK_START),
        MemoryRegion::new(std::ptr::from_mut(memory), ebpf::MM_INPUT_START),
    ];
    // SAFETY: what the regions refer to is leaked.
    let mapping = unsafe { MemoryMapping::new(regions, executable.get_config(), version) };
    let mapping = mapping.map_err(|error| anyhow!("{error}"))?;
    let context = Box::leak(Box::new(Context { mapping }));
    let mut machine = EbpfVm::new(loader, version, context, stack_length);
    let registers = machine.registers;
    Ok(Contender::new("sbpf jit", move || {
        machine.registers = registers;
        machine.registers[1] = ebpf::MM_INPUT_START;
        let (_, result) = machine.execute_program(&executable, &mut ExecutionMode::Jit, &mut []);
        Result::from(result).unwrap_or(u64::MAX)
    }))
}
