//! The first line of a script: `#!`, an interpreter, and at most one argument, with Linux's
//! rules (`execve(2)`, "Interpreter scripts"; `fs/binfmt_script.c` for the corner cases).

/// How much of a file is looked at: Linux's `BINPRM_BUF_SIZE`.
pub const LINE_BYTES: usize = 256;

/// What a `#!` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// The interpreter's path.
    pub interpreter: &'a [u8],
    /// The rest of the line, blanks at either end removed, as one argument.
    pub argument: Option<&'a [u8]>,
}

/// Why a `#!` line is of no use: no interpreter, or its path is longer than the line may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptError;

impl<'a> Script<'a> {
    /// Reads the start of a file. `Ok(None)` if it is not a script.
    ///
    /// # Errors
    /// If it is one without a usable interpreter.
    pub fn parse(start: &'a [u8]) -> Result<Option<Self>, ScriptError> {
        let looked_at = start.get(..LINE_BYTES).unwrap_or(start);
        let Some(line) = looked_at.strip_prefix(b"#!") else { return Ok(None) };
        let end = line.iter().position(|&byte| byte == b'\n');
        let complete = end.is_some() || start.len() < LINE_BYTES;
        let line = line.get(..end.unwrap_or(line.len())).unwrap_or(line);
        let line = trim(line);
        let blank = line.iter().position(|&byte| is_blank(byte) || byte == 0);
        if blank.is_none() && !complete {
            return Err(ScriptError);
        }
        let (interpreter, rest) =
            line.split_at_checked(blank.unwrap_or(line.len())).ok_or(ScriptError)?;
        if interpreter.is_empty() {
            return Err(ScriptError);
        }
        let rest = trim(rest);
        let rest = rest.split(|&byte| byte == 0).next().unwrap_or(rest);
        Ok(Some(Self { interpreter, argument: (!rest.is_empty()).then_some(rest) }))
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|&byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES, Script, ScriptError};
    use std::vec;

    #[test]
    fn interpreter_and_one_argument() {
        let parse = |line: &'static str| {
            let script = Script::parse(line.as_bytes()).unwrap().unwrap();
            let text = |bytes| core::str::from_utf8(bytes).unwrap();
            (text(script.interpreter), script.argument.map(text))
        };
        assert_eq!(parse("#!/bin/sh\necho"), ("/bin/sh", None));
        assert_eq!(parse("#! /bin/sh -e -x \t\nrest"), ("/bin/sh", Some("-e -x")));
        assert_eq!(parse("#!/bin/sh"), ("/bin/sh", None));
        assert_eq!(parse("#!\t/bin/sh\t-e"), ("/bin/sh", Some("-e")));
        assert_eq!(parse("#!/bin/sh\0 -e\n"), ("/bin/sh", None));
    }

    #[test]
    fn what_is_no_script_and_what_is_a_bad_one() {
        assert_eq!(Script::parse(b"\x7fELF"), Ok(None));
        assert_eq!(Script::parse(b"#"), Ok(None));
        assert_eq!(Script::parse(b""), Ok(None));
        assert_eq!(Script::parse(b"#!\n/bin/sh"), Err(ScriptError));
        assert_eq!(Script::parse(b"#!   "), Err(ScriptError));
        let mut long = vec![b'a'; LINE_BYTES + 10];
        long[..2].copy_from_slice(b"#!");
        assert_eq!(Script::parse(&long), Err(ScriptError));
        long[100] = b' ';
        let script = Script::parse(&long).unwrap().unwrap();
        assert_eq!(script.interpreter.len(), 98);
        assert_eq!(script.argument.unwrap().len(), LINE_BYTES - 101);
    }
}
