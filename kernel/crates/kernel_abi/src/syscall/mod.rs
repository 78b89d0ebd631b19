//! System-call numbers: one table per numbering, because Linux numbers them differently.

/// The number of a call that an architecture does not have: no user can pass it, because no
/// table is that long.
pub const ABSENT: usize = usize::MAX;

macro_rules! numbers {
    ($($name:ident = $number:literal $text:literal,)*) => {
        $(#[doc = concat!("`", $text, "(2)`.")] pub const $name: usize = $number;)*

        /// The name of a system call, or `None` for a number that Linux does not assign.
        pub const fn name(number: usize) -> Option<&'static str> {
            match number {
                $($number => Some($text),)*
                _ => None,
            }
        }
    };
}
pub mod generic;
pub mod riscv64;
pub mod x86_64;
