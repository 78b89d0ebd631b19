//! The orchestrator's command line.
fn main() {}
