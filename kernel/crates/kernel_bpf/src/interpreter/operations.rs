//! What the ops of [`super::execute`] do, by kind, as macros: each takes what differs, as the operator
//! or the type.
//!
//! They are written in terms of what `function` defines around its loop: `op!` (the op that is run),
//! `reg!` and `set!` (registers), `next!`, `jump!` and `branch!` (where to go on). So there is one loop,
//! and no call in it. Its contract is what makes the accesses sound.

macro_rules! second {
    (imm) => {
        op!().imm
    };
    (reg) => {
        reg!(op!().src)
    };
}

macro_rules! alu {
    (64, $kind:ident, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().dst), second!($kind));
        set!(op!().dst, $result);
        next!();
    }};
    (32, $kind:ident, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().dst) as u32, second!($kind) as u32);
        set!(op!().dst, u64::from($result));
        next!();
    }};
}

macro_rules! unary {
    (|$a:ident| $result:expr) => {{
        let $a = reg!(op!().dst);
        set!(op!().dst, $result);
        next!();
    }};
}

macro_rules! extend {
    (|$a:ident| $result:expr) => {{
        let $a = reg!(op!().src);
        set!(op!().dst, $result);
        next!();
    }};
}

macro_rules! compare {
    (64, $kind:ident, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().dst), second!($kind));
        branch!($result)
    }};
    (32, $kind:ident, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().dst) as u32, second!($kind) as u32);
        branch!($result)
    }};
}

macro_rules! fused_alu {
    ($operation:tt, |$a:ident, $b:ident| $result:expr) => {{
        let $a = reg!(op!().dst).$operation(low(op!().imm));
        let $b = high(op!().imm);
        set!(op!().dst, $a);
        branch!($result)
    }};
}

// Fused ops name a third register in `offset` or `imm`, also below 11.
macro_rules! to {
    (64, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().src), reg!(op!().offset));
        set!(op!().dst, $result);
        next!();
    }};
    (32, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().src) as u32, reg!(op!().offset) as u32);
        set!(op!().dst, u64::from($result));
        next!();
    }};
}

macro_rules! shifts {
    ($type:ty, $first:ident, $second:ident, |$a:ident, $b:ident| $result:expr) => {{
        let value = reg!(op!().src) as $type;
        let $a = value.$first(op!().imm as u32);
        let $b = value.$second((op!().imm >> 32) as u32);
        set!(op!().offset, u64::from($a));
        set!(op!().dst, u64::from($result));
        next!();
    }};
}

macro_rules! shift_xor {
    ($shift:ident) => {{
        let shifted = reg!(op!().src).$shift(op!().imm as u32);
        let value = reg!(op!().dst) ^ shifted;
        set!(op!().offset, shifted);
        set!(op!().dst, value);
        next!();
    }};
}

macro_rules! address {
    ($register:expr) => {
        reg!($register).wrapping_add_signed(i64::from(op!().offset))
    };
}

macro_rules! load {
    ($type:ty, $as:ty) => {{
        let address = address!(op!().src);
        // SAFETY: the verifier proved that the access is to memory of the program.
        let value = unsafe { load::<$type>(address) };
        set!(op!().dst, value as $as as u64);
        next!();
    }};
}

macro_rules! fused_load {
    ($type:ty, |$a:ident, $b:ident| $result:expr) => {{
        let address = reg!(op!().src).wrapping_add(low(op!().imm));
        // SAFETY: as in `load`.
        let $a = u64::from(unsafe { load::<$type>(address) });
        let $b = high(op!().imm);
        set!(op!().dst, $a);
        branch!($result)
    }};
}

macro_rules! load_at {
    ($type:ty) => {{
        let address = address!(op!().src).wrapping_add(reg!(op!().imm));
        // SAFETY: as in `load`.
        let value = unsafe { load::<$type>(address) };
        set!(op!().dst, u64::from(value));
        next!();
    }};
}

macro_rules! load_alu {
    ($type:ty, |$a:ident, $b:ident| $result:expr) => {{
        let address = address!(op!().src);
        // SAFETY: as in `load`.
        let $b = unsafe { load::<$type>(address) };
        set!(op!().imm, u64::from($b));
        let $a = reg!(op!().dst) as $type;
        set!(op!().dst, u64::from($result));
        next!();
    }};
}

macro_rules! store {
    ($type:ty, $value:expr) => {{
        let (address, value) = (address!(op!().dst), $value as $type);
        // SAFETY: as in `load`.
        unsafe { store::<$type>(address, value) };
        next!();
    }};
}

macro_rules! atomic {
    ($type:ty, $int:ty, $method:ident) => {{
        let address = address!(op!().dst);
        // SAFETY: as in `load`; the verifier refuses misaligned atomics.
        let cell = unsafe { atomic::<$type>(address) };
        cell.$method(reg!(op!().src) as $int, Relaxed);
        next!();
    }};
    ($type:ty, $int:ty, $method:ident, fetch) => {{
        let address = address!(op!().dst);
        // SAFETY: as above.
        let cell = unsafe { atomic::<$type>(address) };
        let old = cell.$method(reg!(op!().src) as $int, SeqCst);
        set!(op!().src, u64::from(old));
        next!();
    }};
    ($type:ty, $int:ty, compare and exchange) => {{
        let address = address!(op!().dst);
        // SAFETY: as above.
        let cell = unsafe { atomic::<$type>(address) };
        let new = reg!(op!().src) as $int;
        let old = match cell.compare_exchange(reg!(0) as $int, new, SeqCst, SeqCst) {
            Ok(old) | Err(old) => old,
        };
        set!(0, u64::from(old));
        next!();
    }};
}

macro_rules! acquire {
    ($type:ty) => {{
        let address = address!(op!().src);
        // SAFETY: as in `atomic`.
        let value = unsafe { atomic::<$type>(address) }.load(Acquire);
        set!(op!().dst, u64::from(value));
        next!();
    }};
}

macro_rules! release {
    ($type:ty, $int:ty) => {{
        let address = address!(op!().dst);
        // SAFETY: as in `atomic`.
        let cell = unsafe { atomic::<$type>(address) };
        cell.store(reg!(op!().src) as $int, Release);
        next!();
    }};
}

macro_rules! packet {
    ($type:ty, $index:expr) => {{
        let (context, index) = (reg!(6), $index as u32);
        // SAFETY: `lower` emits these only where r6 holds a packet's context.
        match unsafe { packet::<$type>(context, op!().offset, index) } {
            Some(value) => {
                set!(0, u64::from(<$type>::from_be(value)));
                next!();
            }
            // Beyond the packet the program ends (`Documentation/networking/filter`).
            None => return 0,
        }
    }};
}

macro_rules! array_lookup {
    ($cpu:expr) => {{
        let key = reg!(2);
        // SAFETY: `lower` put the address of a table entry that the code owns; the
        // verifier proved that r2 points to a key of four bytes.
        let value = unsafe { array_value(op!().imm, key, || $cpu) };
        set!(0, value);
        value
    }};
}

pub(super) use {
    acquire, address, alu, array_lookup, atomic, compare, extend, fused_alu, fused_load, load,
    load_alu, load_at, packet, release, second, shift_xor, shifts, store, to, unary,
};
