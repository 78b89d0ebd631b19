//! The output of `bpf-lab batch`: one verdict a line, as JSON.

#![forbid(unsafe_code)]

use serde::Serialize;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Decision {
    Accept,
    Reject,
    /// The tool could not judge.
    Error,
}

/// What became of one case.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) name: Value,
    #[serde(rename = "verdict")]
    pub(crate) decision: Decision,
    /// Why it was refused, not judged, or accepted but not run.
    pub(crate) reason: Option<String>,
    /// The refused instruction.
    pub(crate) insn: Option<u64>,
    /// Greatest number of instructions that any run executes.
    pub(crate) worst_case: Option<u64>,
    /// Instructions that the verifier explored.
    pub(crate) processed: Option<u64>,
    /// What decoding and verifying took.
    pub(crate) micros: u64,
    /// r0 of each run, null for a run that was not possible.
    pub(crate) retvals: Vec<Option<u64>>,
}

impl Verdict {
    pub(crate) fn new(name: Value, decision: Decision) -> Self {
        Self {
            name,
            decision,
            reason: None,
            insn: None,
            worst_case: None,
            processed: None,
            micros: 0,
            retvals: Vec::new(),
        }
    }

    /// A case that could not be judged.
    pub(crate) fn error(name: Value, reason: impl std::fmt::Display) -> Self {
        Self { reason: Some(reason.to_string()), ..Self::new(name, Decision::Error) }
    }

    /// The line, without its end.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            // Names come from JSON and numbers always fit: there is nothing else to fail.
            format!("{{\"name\":null,\"verdict\":\"error\",\"reason\":\"{error}\"}}")
        })
    }
}
