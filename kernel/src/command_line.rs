//! The kernel command line: `name=value` and bare words, separated by spaces; what follows a
//! lone `--` belongs to init.
//!
//! | word | meaning | default |
//! |---|---|---|
//! | `init=PATH` | the first user program | `/sbin/init` |
//! | `root=NAME`, `root=/dev/NAME` | the block device that holds the root file system | `ram0` if the boot loader loaded one, else `vda` |
//! | `loglevel=N` | log messages up to this level go to the console: 0 none, 1 errors, 2 warnings, 3 information, 4 debugging, 5 all | 2 |
//! | `bpf_jit=0`, `bpf_jit=1` | whether BPF programs are compiled, or interpreted | 1 in the cloud profile |
//! | `clock=hpet` | x86_64: the HPET tells the time, even where the CPUs' counters could | |
//! | `no4lvl` | riscv64: users have Sv39's addresses, even where there are Sv48's | |
//! | `virtio_mmio.device=SIZE@ADDRESS:INTERRUPT` | a VirtIO device that firmware does not tell of (repeatable) | |
//! | `panic=SECONDS` | how long the last words of a panic stay before the machine is stopped; 0: for ever; below: not at all | -1 |
//! | `selftest=NAME` | runs a self-test instead of starting init: as `protection` or `panic` | |
//!
//! Words that nobody knows are left for init to read in `/proc/cmdline`.

use kernel_sync::OnceCell;

static COMMAND_LINE: OnceCell<CommandLine> = OnceCell::new();

/// The parsed command line. Borrows from what the boot protocol passed, which stays.
#[derive(Clone, Copy)]
pub struct CommandLine {
    text: &'static str,
}

impl CommandLine {
    /// Remembers the text that the boot protocol passed; later calls change nothing.
    pub fn install(text: &'static str) -> Self {
        let line = Self { text };
        let _ = COMMAND_LINE.set(line);
        line
    }

    /// The command line this kernel was started with; empty before [`install`](Self::install).
    pub fn get() -> Self {
        COMMAND_LINE.get().copied().unwrap_or(Self { text: "" })
    }

    /// As it was passed.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The words before `--`.
    fn words(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.text.split_ascii_whitespace().take_while(|&word| word != "--")
    }

    /// The values of every `name=value`, in order.
    pub fn values<'a>(&self, name: &'a str) -> impl Iterator<Item = &'static str> + use<'a> {
        self.words().filter_map(move |word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// The value of the last `name=value`.
    pub fn value(&self, name: &str) -> Option<&'static str> {
        self.values(name).last()
    }

    /// Whether BPF programs are compiled: as it says, or else what the profile prefers.
    pub fn compiles_programs(&self) -> bool {
        match self.value("bpf_jit") {
            Some("0") => false,
            Some("1") => true,
            _ => cfg!(feature = "profile-cloud"),
        }
    }

    /// The words after `--`: the arguments of init.
    pub fn init_arguments(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.text.split_ascii_whitespace().skip_while(|&word| word != "--").skip(1)
    }
}
