//! How the loop gets from one op to the next: [`dispatch!`].
//!
//! Ops are few instructions each, so what lies between them counts as much as what they do.
//! Compiled as one `match`, all of them go back to a single indirect jump, and those that end alike
//! share their ends as well: a direct jump more for each op, and the CPU has less to predict the
//! next op from. LLVM copies such a head into the blocks before it, but not where both these and
//! the head's targets are more than sixteen (`tail-dup-pred-size`). So the arms come in groups with
//! at most that many ways out, a branch having two; each group has an end of its own, and these are
//! grouped again. The head is copied to the outer ends, then to the inner ones, then to the arms.
//!
//! Only speed depends on it, by a third. What runs is the same without.

/// Keeps the compiler from sharing what lies before this with other places that do the same.
#[inline(always)]
pub(super) fn apart() {
    // Miri knows no assembly.
    #[cfg(not(miri))]
    // SAFETY: there is no instruction in it.
    unsafe {
        core::arch::asm!("", options(nomem, nostack, preserves_flags));
    }
}

/// A `match` on a code, with its arms in groups of groups. A group with more than 16 ways out still
/// does what it says, as slowly as one without groups.
macro_rules! dispatch {
    ($code:expr; $($groups:tt)+) => {
        'done: {
            dispatch!(@all $code, 'done [] $($groups)+);
        }
    };
    (@all $code:expr, $done:lifetime [$($arms:tt)*] [$($group:tt)+] $($others:tt)*) => {
        'end: {
            dispatch!(@group $code, $done, 'end [$($arms)*] $($group)+; $($others)*);
        }
        dispatch!(@end $done);
    };
    (@all $code:expr, $done:lifetime [$($arms:tt)*]) => {
        match $code { $($arms)* }
    };
    (@group $code:expr, $done:lifetime, $outer:lifetime [$($arms:tt)*]
        { $($pattern:pat => $body:expr,)+ } $($rest:tt)*) => {
        'end: {
            dispatch!(@group $code, $done, $outer
                [$($arms)* $($pattern => { $body; break 'end; })+] $($rest)*);
        }
        dispatch!(@end $outer);
    };
    (@group $code:expr, $done:lifetime, $outer:lifetime [$($arms:tt)*]; $($others:tt)*) => {
        dispatch!(@all $code, $done [$($arms)*] $($others)*)
    };
    // The end of a group: more than the two instructions that LLVM copies to where they are jumped
    // to from before it looks at the head.
    (@end $outer:lifetime) => {
        apart();
        apart();
        apart();
        break $outer;
    };
}

pub(super) use dispatch;
