//! A [`Rejection`] as JSON (RFC 8259), for tools.
//!
//! The same facts as its `Display`, one member each; what is not known is `null`.

use alloc::string::String;
use core::fmt::{self, Write};

use super::rejection::Rejection;

impl Rejection {
    /// One JSON object on one line, for instance
    /// `{"cause":"out_of_bounds","message":"…","insn":13,…}`.
    ///
    /// | member | |
    /// |---|---|
    /// | `cause` | [`super::Cause::name`] |
    /// | `message` | one sentence |
    /// | `insn`, `disassembly` | slot and text of the refused instruction, or null |
    /// | `register`, `register_state` | the register to blame, in words, or null |
    /// | `source` | `{"file", "line", "column", "text"}`, or null |
    /// | `path`, `path_shortened` | the last branches, `{"insn", "taken"}` each |
    /// | `hint` | what usually helps, or null |
    /// | `processed` | instructions explored |
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write_json(&mut out);
        out
    }

    /// Writes what [`Rejection::to_json`] returns.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut impl Write) -> fmt::Result {
        out.write_str("{\"cause\":")?;
        string(out, self.cause.name())?;
        out.write_str(",\"message\":")?;
        string(out, &self.message)?;
        out.write_str(",\"insn\":")?;
        match self.insn {
            Some(insn) => write!(out, "{insn}")?,
            None => out.write_str("null")?,
        }
        out.write_str(",\"disassembly\":")?;
        optional(out, self.disassembly.as_deref())?;
        out.write_str(",\"register\":")?;
        match self.register {
            Some(register) => write!(out, "\"{register}\"")?,
            None => out.write_str("null")?,
        }
        out.write_str(",\"register_state\":")?;
        optional(out, self.register_state.as_deref())?;
        out.write_str(",\"source\":")?;
        match &self.source {
            Some(source) => {
                out.write_str("{\"file\":")?;
                string(out, &source.file)?;
                write!(out, ",\"line\":{},\"column\":{},\"text\":", source.line, source.column)?;
                string(out, source.text.trim())?;
                out.write_char('}')?;
            }
            None => out.write_str("null")?,
        }
        out.write_str(",\"path\":[")?;
        for (position, step) in self.path.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(out, "{comma}{{\"insn\":{},\"taken\":{}}}", step.insn, step.taken)?;
        }
        write!(out, "],\"path_shortened\":{},\"hint\":", self.path_shortened)?;
        optional(out, self.hint)?;
        write!(out, ",\"processed\":{}}}", self.processed)
    }
}

fn optional(out: &mut impl Write, text: Option<&str>) -> fmt::Result {
    match text {
        Some(text) => string(out, text),
        None => out.write_str("null"),
    }
}

/// A string with its quotes (RFC 8259, section 7).
fn string(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\0'..='\x1f' => write!(out, "\\u{:04x}", u32::from(character))?,
            _ => out.write_char(character)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verifier::{Cause, PathStep, SourceLine};

    #[test]
    fn every_member_is_there_and_text_is_escaped() {
        let mut rejection = Rejection {
            cause: Cause::OutOfBounds,
            insn: Some(13),
            disassembly: Some("r1 = *(u64 *)(r0 + 0)".into()),
            register: Some(crate::insn::Reg::R0),
            register_state: Some("a \"pointer\"".into()),
            message: "line\nbreak \\ \u{1}".into(),
            hint: None,
            source: Some(SourceLine {
                file: "a.c".into(),
                line: 3,
                column: 5,
                text: "\tx = y[\"ä\"];".into(),
            }),
            path: vec![PathStep { insn: 8, taken: false }, PathStep { insn: 10, taken: true }],
            path_shortened: true,
            processed: 13,
        };
        assert_eq!(
            rejection.to_json(),
            "{\"cause\":\"out_of_bounds\",\"message\":\"line\\nbreak \\\\ \\u0001\",\"insn\":13,\
             \"disassembly\":\"r1 = *(u64 *)(r0 + 0)\",\"register\":\"r0\",\
             \"register_state\":\"a \\\"pointer\\\"\",\
             \"source\":{\"file\":\"a.c\",\"line\":3,\"column\":5,\"text\":\"x = y[\\\"ä\\\"];\"},\
             \"path\":[{\"insn\":8,\"taken\":false},{\"insn\":10,\"taken\":true}],\
             \"path_shortened\":true,\"hint\":null,\"processed\":13}"
        );
        rejection.insn = None;
        rejection.source = None;
        rejection.register = None;
        rejection.path.clear();
        let json = rejection.to_json();
        assert!(json.contains("\"insn\":null") && json.contains("\"source\":null"));
        assert!(json.contains("\"register\":null") && json.contains("\"path\":[]"));
    }
}
