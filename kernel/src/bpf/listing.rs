//! What `/proc/bpf` shows: the hooks as a table, and what programs have printed.

use alloc::string::String;
use core::fmt::{self, Write};

use kernel_bpf::hook::FailSafe;

use super::hooks::Hook;
use super::program::budget;
use super::trace;

/// `/proc/bpf/hooks`: one line per hook, columns separated by tabs, under a header.
pub fn hooks(out: &mut dyn Write) -> fmt::Result {
    out.write_str(
        "name\tattach_type\tbudget\tcontext_size\tdecisions\tdefault\tirq\truns\tprograms\n",
    )?;
    for hook in Hook::all() {
        let declaration = hook.declaration();
        let (least, most) = declaration.returns;
        write!(
            out,
            "{}\t{}\t{}\t{}\t",
            declaration.name,
            declaration.attach_type,
            budget(declaration),
            declaration.context.size,
        )?;
        if least == most {
            write!(out, "{least}")?
        } else {
            write!(out, "{least}..{most}")?
        }
        let default = match declaration.fail_safe {
            FailSafe::Ignore => "ignore",
            FailSafe::Pass => "pass",
        };
        let irq = if declaration.interrupt { "yes" } else { "no" };
        write!(out, "\t{default}\t{irq}\t{}\t", hook.runs())?;
        for (position, program) in hook.programs().iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(out, "{comma}{}", program.id)?;
        }
        out.write_str("\n")?;
    }
    Ok(())
}

/// `/proc/bpf/trace`: what programs have printed, as far as it is kept.
pub fn trace(out: &mut dyn Write) -> fmt::Result {
    let mut offset = 0;
    let mut piece = [0; 256];
    loop {
        let (count, next) = trace::read(offset, &mut piece);
        if count == 0 {
            return Ok(());
        }
        let bytes = piece.get(..count).unwrap_or(&[]);
        // A character that the piece cuts is left for the next one, unless there is none.
        let whole = match core::str::from_utf8(bytes) {
            Err(error) if error.error_len().is_none() && count == piece.len() => {
                error.valid_up_to()
            }
            _ => count,
        };
        out.write_str(&String::from_utf8_lossy(bytes.get(..whole).unwrap_or(&[])))?;
        offset = next - (count - whole) as u64;
    }
}
