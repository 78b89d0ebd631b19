//! x86_64.

/// The x86_64 machine.
pub struct X86_64;
