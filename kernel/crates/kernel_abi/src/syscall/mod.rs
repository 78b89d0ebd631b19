//! System-call numbers: one table per architecture, because Linux numbers them differently.

pub mod x86_64;
