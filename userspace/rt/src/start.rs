//! The way from `_start` to `main`, and what the kernel left on the stack: arguments,
//! environment and auxiliary vector, as the System V ABI lays them out.

use crate::sys;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static ARGUMENT_COUNT: AtomicUsize = AtomicUsize::new(0);
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(core::ptr::null_mut());
static ENVIRONMENT: AtomicPtr<*const c_char> = AtomicPtr::new(core::ptr::null_mut());

/// Remembers what is on the stack, runs `main` and exits with its result.
///
/// # Safety
/// `stack` is the stack pointer at the program's first instruction; called once.
pub unsafe fn start(stack: *const usize, main: fn() -> i32) -> ! {
    // SAFETY: the ABI puts argc there, then argv with its null, then envp.
    unsafe {
        let count = stack.read();
        let arguments = stack.add(1).cast::<*const c_char>();
        let environment = arguments.add(count + 1);
        ARGUMENT_COUNT.store(count, Ordering::Relaxed);
        ARGUMENTS.store(arguments.cast_mut(), Ordering::Relaxed);
        ENVIRONMENT.store(environment.cast_mut(), Ordering::Relaxed);
        rustix::param::init(environment.cast_mut().cast());
    }
    sys::exit(main())
}

/// The strings of a null-terminated array of pointers, without their NUL.
struct Strings(*const *const c_char);

impl Iterator for Strings {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: made only for argv and envp, which end with a null and live for ever.
        unsafe {
            let string = self.0.read();
            if string.is_null() {
                return None;
            }
            self.0 = self.0.add(1);
            Some(CStr::from_ptr(string).to_bytes())
        }
    }
}

/// The program's arguments, its own name first.
pub fn arguments() -> impl Iterator<Item = &'static [u8]> {
    Strings(ARGUMENTS.load(Ordering::Relaxed))
}

/// The environment's `NAME=value` strings.
pub fn environment() -> impl Iterator<Item = &'static [u8]> {
    Strings(ENVIRONMENT.load(Ordering::Relaxed))
}

/// The environment as `execve` wants it.
pub fn environment_pointers() -> *const *const c_char {
    ENVIRONMENT.load(Ordering::Relaxed)
}

/// The value of an environment variable.
pub fn variable(name: &[u8]) -> Option<&'static [u8]> {
    environment()
        .find_map(|entry| entry.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"=")))
}

/// An entry of the auxiliary vector (`AT_*` of `getauxval(3)`).
pub fn auxiliary(kind: usize) -> Option<usize> {
    let mut entry = ENVIRONMENT.load(Ordering::Relaxed).cast_const();
    if entry.is_null() {
        return None;
    }
    // SAFETY: the vector follows the null that ends the environment, and ends with AT_NULL (0).
    unsafe {
        while !entry.read().is_null() {
            entry = entry.add(1);
        }
        let mut pair = entry.add(1).cast::<usize>();
        while pair.read() != 0 {
            if pair.read() == kind {
                return Some(pair.add(1).read());
            }
            pair = pair.add(2);
        }
    }
    None
}
