//! Lemma's hooks, each declared once.
//!
//! From one [`HookDecl`] come the verifier's rules for programs of
//! [`crate::prog_type::ProgType::LemmaHook`], the call site's behaviour, the
//! listing in tools, and the hook's page in the book.

use crate::helper::proto::id;
use crate::prog_type::context::{Context, ContextRule, Field};
use crate::prog_type::helpers;

/// What the kernel does when a hook's program gives no usable answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailSafe {
    /// The answer is not used at all: the hook only observes.
    Ignore,
    /// The event goes on as if there were no program.
    Pass,
}

/// One hook.
#[derive(Clone, Copy, Debug)]
pub struct HookDecl {
    pub name: &'static str,
    /// Lemma's number: `expected_attach_type` at load, `attach_type` at attach.
    pub attach_type: u32,
    /// One sentence for listings.
    pub summary: &'static str,
    pub context: Context,
    /// What a program may return, both ends included. The kernel reads the low half of
    /// r0 as a signed 32-bit number, as C's `int` has it.
    pub returns: (i64, i64),
    /// Lists of helper numbers that programs may call.
    pub helpers: &'static [&'static [i32]],
    /// Greatest worst-case bound of one program, in instructions.
    pub budget_cloud: u64,
    /// The same in the embedded profile.
    pub budget_embedded: u64,
    pub fail_safe: FailSafe,
    /// Whether programs may run while an interrupt is handled.
    pub interrupt: bool,
}

/// The timer interrupt of each CPU.
pub const TIMER: u32 = 1;
/// Entry of a system call.
pub const SYS_ENTER: u32 = 2;
/// Return of a system call.
pub const SYS_EXIT: u32 = 3;

/// All hooks, by attach type.
pub static HOOKS: &[HookDecl] = &[
    HookDecl {
        name: "timer",
        attach_type: TIMER,
        summary: "each timer interrupt, with the time it was due",
        context: Context {
            name: "struct lemma_timer",
            size: 32,
            rule: ContextRule::Fields(&[
                Field::scalar("now_ns", 0, 8),
                Field::scalar("deadline_ns", 8, 8),
                Field::scalar("period_ns", 16, 8),
                Field::scalar("cpu", 24, 4),
                Field::scalar("user_mode", 28, 4),
            ]),
        },
        returns: (0, 0),
        helpers: &[helpers::BASE, helpers::TRACE],
        budget_cloud: 16_384,
        budget_embedded: 4_096,
        fail_safe: FailSafe::Ignore,
        interrupt: true,
    },
    HookDecl {
        name: "sys_enter",
        attach_type: SYS_ENTER,
        summary: "each system call before it runs; may answer it with an error",
        context: Context {
            name: "struct lemma_sys_enter",
            size: 64,
            rule: ContextRule::Fields(&[
                Field::scalar("nr", 0, 8),
                Field::scalar("args[0]", 8, 8),
                Field::scalar("args[1]", 16, 8),
                Field::scalar("args[2]", 24, 8),
                Field::scalar("args[3]", 32, 8),
                Field::scalar("args[4]", 40, 8),
                Field::scalar("args[5]", 48, 8),
                Field::scalar("pid", 56, 4),
                Field::scalar("tid", 60, 4),
            ]),
        },
        returns: (-4095, 0),
        helpers: &[
            helpers::BASE,
            helpers::TRACE,
            helpers::TASK,
            helpers::TASK_STORAGE,
            helpers::USER_MEMORY,
        ],
        budget_cloud: 65_536,
        budget_embedded: 16_384,
        fail_safe: FailSafe::Pass,
        interrupt: false,
    },
    HookDecl {
        name: "sys_exit",
        attach_type: SYS_EXIT,
        summary: "each system call after it ran, with its result",
        context: Context {
            name: "struct lemma_sys_exit",
            size: 24,
            rule: ContextRule::Fields(&[
                Field::scalar("nr", 0, 8),
                Field::scalar("ret", 8, 8),
                Field::scalar("pid", 16, 4),
                Field::scalar("tid", 20, 4),
            ]),
        },
        returns: (0, 0),
        helpers: &[
            helpers::BASE,
            helpers::TRACE,
            helpers::TASK,
            helpers::TASK_STORAGE,
            helpers::USER_MEMORY,
        ],
        budget_cloud: 65_536,
        budget_embedded: 16_384,
        fail_safe: FailSafe::Ignore,
        interrupt: false,
    },
];

impl HookDecl {
    /// Whether programs at this hook may call the helper with Linux's number.
    #[must_use]
    pub fn allows(&self, helper: i32) -> bool {
        // Signals and user memory need a task that may sleep or fault.
        let never_in_interrupt =
            [id::PROBE_READ_USER, id::PROBE_READ_USER_STR, id::PROBE_WRITE_USER];
        !(self.interrupt && never_in_interrupt.contains(&helper))
            && self.helpers.iter().any(|list| list.contains(&helper))
    }
}

/// The hook with this attach type.
#[must_use]
pub fn by_attach_type(attach_type: u32) -> Option<&'static HookDecl> {
    HOOKS.iter().find(|hook| hook.attach_type == attach_type)
}

/// The hook with this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static HookDecl> {
    HOOKS.iter().find(|hook| hook.name == name)
}
