//! What the ops of [`super::execute`] do, by kind, as macros: each takes what differs, as the
//! operator or the type.
//!
//! They are written in terms of what `function` defines around its loop: `op!` (the op that is
//! run), `reg!` and `set!` (registers), `next!`, `jump!` and `branch!` (where to go on). So there
//! is one loop, and no call in it. Its contract is what makes the accesses sound.

// The second operand of arithmetic: a register has its number in `offset`.
macro_rules! second {
    (imm) => {
        op!().imm
    };
    (reg) => {
        reg!(op!().offset)
    };
}

macro_rules! alu {
    (64, $kind:ident, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().src), second!($kind));
        set!(op!().dst, $result);
        next!();
    }};
    (32, $kind:ident, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().src) as u32, second!($kind) as u32);
        set!(op!().dst, u64::from($result));
        next!();
    }};
}

macro_rules! unary {
    (|$a:ident| $result:expr) => {{
        let $a = reg!(op!().src);
        set!(op!().dst, $result);
        next!();
    }};
}

// The right side of a comparison: a register has its number in `src`.
macro_rules! right {
    (imm) => {
        op!().imm
    };
    (reg) => {
        reg!(op!().src)
    };
}

macro_rules! compare {
    (64, $kind:ident, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().dst), right!($kind));
        branch!($result)
    }};
    (32, $kind:ident, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().dst) as u32, right!($kind) as u32);
        branch!($result)
    }};
}

macro_rules! fused_alu {
    (64, $operation:tt, |$a:ident, $b:ident| $result:expr) => {{
        let $a = reg!(op!().src).$operation(low(op!().imm));
        let $b = high(op!().imm);
        set!(op!().dst, $a);
        branch!($result)
    }};
    (32, $operation:tt, |$a:ident, $b:ident| $result:expr) => {{
        let $a = (reg!(op!().src) as u32).$operation(op!().imm as u32);
        let $b = (op!().imm >> 32) as u32;
        set!(op!().dst, u64::from($a));
        branch!($result)
    }};
}

macro_rules! step {
    (|$a:ident, $b:ident| $result:expr) => {{
        let value = reg!(op!().dst).wrapping_add(low(op!().imm));
        let ($a, $b) = (reg!(op!().src), high(op!().imm));
        set!(op!().dst, value);
        branch!($result)
    }};
}

macro_rules! set_jump {
    ($type:ty, |$a:ident, $b:ident| $result:expr) => {{
        let ($a, $b) = (reg!(op!().src) as $type, high(op!().imm) as $type);
        set!(op!().dst, low(op!().imm));
        branch!($result)
    }};
}

macro_rules! shifts {
    ($type:ty, $first:ident, $second:ident) => {{
        let value = reg!(op!().src) as $type;
        let first = value.$first(op!().imm as u32);
        let second = value.$second((op!().imm >> 32) as u32);
        set!(op!().offset, u64::from(first));
        set!(op!().dst, u64::from(second));
        next!();
    }};
}

// The second operand is a register.
macro_rules! shifted {
    ($type:ty, $shift:ident, |$a:ident, $b:ident| $result:expr) => {{
        let $a = (reg!(op!().src) as $type).$shift(op!().imm as u32);
        let $b = reg!(op!().offset) as $type;
        set!(op!().dst, u64::from($result));
        next!();
    }};
}

macro_rules! address {
    ($register:expr) => {
        reg!($register).wrapping_add_signed(i64::from(op!().offset))
    };
    ($register:expr, at) => {
        address!($register).wrapping_add(reg!(op!().imm))
    };
    ($register:expr, far) => {
        reg!($register).wrapping_add(op!().imm)
    };
}

macro_rules! load {
    ($type:ty, $as:ty $(, $place:ident)?) => {{
        let address = address!(op!().src $(, $place)?);
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

macro_rules! load_alu {
    ($type:ty, $width:ty, |$a:ident, $b:ident| $result:expr) => {{
        let address = address!(op!().src, far);
        // SAFETY: as in `load`.
        let $b = <$width>::from(unsafe { load::<$type>(address) });
        let $a = reg!(op!().offset) as $width;
        set!(op!().dst, u64::from($result));
        next!();
    }};
}

macro_rules! store {
    ($type:ty, $value:expr $(, $place:ident)?) => {{
        let (address, value) = (address!(op!().dst $(, $place)?), $value as $type);
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
            // Beyond the packet the function ends (`Documentation/networking/filter`).
            None => {
                set!(0, 0);
                leave!();
            }
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
    acquire, address, alu, array_lookup, atomic, compare, fused_alu, fused_load, load, load_alu,
    packet, release, right, second, set_jump, shifted, shifts, step, store, unary,
};
