//! `bpf-lab jit-dump`: the machine code that the JIT makes, beside the instructions.

use anyhow::Result;
use clap::Args;
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use kernel_bpf::insn::Insn;
use kernel_bpf::jit::positions::Positions;
use serde_json::{Value, json};

use super::print_json;
use crate::engine::{compile, machine_code};
use crate::hex;
use crate::input::{ProgramArguments, VerifierArguments, refused};

/// The command line of `bpf-lab jit-dump`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    program: ProgramArguments,
    #[command(flatten)]
    verifier: VerifierArguments,
}

/// Machine instructions from one position to another.
struct Part {
    /// The slot of the BPF instruction that they are from; none for what surrounds a program.
    slot: Option<usize>,
    code: Vec<MachineInsn>,
}

struct MachineInsn {
    /// From the start of the code.
    offset: usize,
    bytes: Vec<u8>,
    text: String,
}

/// Compiles each program and prints its code.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let profile = arguments.program.profile;
    let mut values = Vec::new();
    for loaded in arguments.program.load()? {
        let name = loaded.program.name.clone();
        let verified = arguments
            .verifier
            .verify(loaded.program, profile)
            .map_err(|rejection| refused(&name, &rejection))?;
        let compiled = compile(&verified, profile)?;
        let code = machine_code(&compiled);
        let parts = parts(code, compiled.address(), compiled.positions());
        let insns = &verified.get().insns;
        if arguments.program.json {
            values.push(as_json(&name, code.len(), &parts, insns));
        } else {
            println!("; {name}: {} instructions, {} bytes of code", insns.len(), code.len());
            print!("{}", text(&parts, insns));
        }
    }
    if arguments.program.json {
        print_json(&Value::Array(values))?;
    }
    Ok(())
}

/// Cuts the code at the positions of the instructions.
fn parts(code: &[u8], address: usize, positions: &Positions) -> Vec<Part> {
    let pieces = positions.pieces();
    let first = pieces.first().map_or(code.len(), |(_, code)| code.start);
    let last = pieces.last().map_or(code.len(), |(_, code)| code.end);
    let mut parts = vec![Part { slot: None, code: decode(code, address, 0, first) }];
    parts.extend(pieces.into_iter().map(|(slot, piece)| Part {
        slot: Some(slot),
        code: decode(code, address, piece.start, piece.end),
    }));
    parts.push(Part { slot: None, code: decode(code, address, last, code.len()) });
    parts
}

fn decode(code: &[u8], address: usize, from: usize, to: usize) -> Vec<MachineInsn> {
    let Some(bytes) = code.get(from..to) else { return Vec::new() };
    let start = (address + from) as u64;
    let mut decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
    let mut formatter = IntelFormatter::new();
    let mut insns = Vec::new();
    for insn in &mut decoder {
        let offset = usize::try_from(insn.ip() - address as u64).unwrap_or_default();
        let mut text = String::new();
        formatter.format(&insn, &mut text);
        let bytes = code.get(offset..offset + insn.len()).unwrap_or_default().to_vec();
        insns.push(MachineInsn { offset, bytes, text });
    }
    insns
}

fn text(parts: &[Part], insns: &[Insn]) -> String {
    let mut out = String::new();
    for part in parts {
        let mut left = match part.slot.map(|slot| (slot, insns.get(slot))) {
            Some((_, Some(Insn::WideTail))) if part.code.is_empty() => continue,
            Some((slot, Some(insn))) => format!("{slot:4}  {insn}"),
            _ if part.code.is_empty() => continue,
            _ => String::new(),
        };
        if part.code.is_empty() {
            out.push_str(&format!("{left}\n"));
        }
        for machine in &part.code {
            let bytes = hex::encode(&machine.bytes);
            out.push_str(&format!(
                "{left:46}| {:4x}  {bytes:22} {}\n",
                machine.offset, machine.text
            ));
            left.clear();
        }
    }
    out
}

fn as_json(name: &str, bytes: usize, parts: &[Part], insns: &[Insn]) -> Value {
    let parts = parts.iter().map(|part| {
        let code = part.code.iter().map(|machine| {
            json!({
                "offset": machine.offset, "bytes": hex::encode(&machine.bytes),
                "text": machine.text,
            })
        });
        json!({
            "slot": part.slot,
            "text": part.slot.and_then(|slot| insns.get(slot)).map(ToString::to_string),
            "code": code.collect::<Vec<_>>(),
        })
    });
    json!({ "name": name, "code_bytes": bytes, "parts": parts.collect::<Vec<_>>() })
}
