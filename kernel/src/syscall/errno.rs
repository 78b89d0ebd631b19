//! Every conversion from a subsystem's failure to the error number that Linux returns.
//!
//! Subsystems have their own small error types and know nothing of `errno`; this file is the
//! only place where the two meet, so that the mapping can be read as one table.
