//! A worker: what it has open, which arguments it may not use, and how it makes the calls.

use super::arguments::{self, Arguments};
use super::table::Call;
use super::{OTHER_USER, Progress, attributes, has_attributes, prepare};
use crate::calls;
use alloc::ffi::CString;
use core::ffi::CStr;
use core::sync::atomic::Ordering;
use lemma_rt::general::{
    __NR_epoll_create1, __NR_eventfd2, __NR_socketpair, AT_FDCWD, O_CREAT, O_DIRECTORY, O_NONBLOCK,
    O_RDWR, O_TRUNC,
};
use lemma_rt::{Errno, Result, sys};

/// The number at which a worker has its own file open.
const OWN_FILE: i32 = 4;

/// The directory of its own on which it mounts.
pub(super) const MOUNT_POINT: &CStr = c"m";

/// Makes calls up to `until` and ends.
pub(super) fn work(
    progress: &Progress,
    directory: &CString,
    until: u64,
    seed: u64,
    other_user: bool,
) -> ! {
    let Ok(own) = set_up(directory, other_user) else { sys::exit(1) };
    let (me, user) = (calls::getpid(), calls::geteuid());
    loop {
        let index = progress.begun();
        if index >= until {
            sys::exit(0);
        }
        let (call, mut arguments) = prepare(index, seed, Some(&own));
        let command = has_attributes(index, seed).then(|| {
            let mut random = arguments::Random::new(index, seed);
            attributes::Command::new(&mut random, &own)
        });
        if let Some(command) = &command {
            arguments = command.arguments();
        }
        progress.begun.store(index + 1, Ordering::Release);
        let result = match call.name {
            "vfork" => vfork(call.number, arguments),
            _ => calls::raw(call.number, arguments),
        };
        // A copy of this process ends at once.
        if result == Ok(0) && calls::getpid() != me {
            sys::exit(0);
        }
        progress.returned.fetch_add(1, Ordering::Relaxed);
        if let Some(command) = command {
            command.finish(result);
        }
        // Who has become somebody else would be refused most of what follows.
        if call.name.starts_with("set") && calls::geteuid() != user {
            sys::exit(0);
        }
    }
}

/// Opens what the numbers among the arguments are to find, and becomes who the worker is to be.
fn set_up(directory: &CString, other_user: bool) -> Result<Arguments> {
    let _ = calls::setsid();
    calls::chdir(directory)?;
    if other_user {
        calls::setgid(OTHER_USER)?;
        calls::setuid(OTHER_USER)?;
    }
    let null = calls::open(c"/dev/null", O_RDWR, 0)?;
    for number in 0..3 {
        lemma_rt::fd::duplicate(null, number)?;
    }
    // Where earlier workers have left something else under such a name, that stays.
    for path in [c"d", c"d/e", MOUNT_POINT] {
        let _ = calls::mkdir(path, 0o700);
    }
    let flags = O_RDWR | O_CREAT | O_TRUNC | O_NONBLOCK;
    if let Ok(fd) = calls::open(c"a", flags, 0o644) {
        let _ = calls::write(fd, b"#!/nonexistent\n");
        calls::close(fd)?;
    }
    let _ = calls::symlink(c"l", c"l");
    // Under a name that no argument has. What stands for it must be no device.
    let _ = calls::unlink(c"own");
    let own = calls::open(c"own", O_RDWR | O_CREAT, 0o600)?;
    lemma_rt::fd::duplicate(own, OWN_FILE)?;
    let _ = calls::open(c".", O_DIRECTORY, 0);
    calls::open(c"/dev/zero", O_RDWR, 0)?;
    let mut ends = [0; 2];
    calls::pipe2(&mut ends, O_NONBLOCK)?;
    let flags = O_NONBLOCK as usize;
    let (family, stream, ends) = (1, 1 | flags, ends.as_mut_ptr() as usize);
    for (number, arguments) in [
        (__NR_socketpair, [family, stream, 0, ends, 0, 0]),
        (__NR_epoll_create1, [0; 6]),
        (__NR_eventfd2, [1, flags, 0, 0, 0, 0]),
    ] {
        calls::raw(number as usize, arguments)?;
    }
    // Only the superuser may have one.
    let _ = calls::program_event();
    Arguments::new().ok_or(Errno::NOMEM)
}

/// Takes from the arguments what would hurt bystanders.
pub(super) fn tame(call: &Call, mut arguments: [usize; 6]) -> [usize; 6] {
    const CLONE_VM: usize = 0x100;
    const NAMESPACES: usize = 0x7e02_0080;
    const POPULATE_OR_LOCK: usize = 0x8000 | 0x2000;
    let hostile = |number: usize| arguments::HOSTILE[number % arguments::HOSTILE.len()];
    let text = |text: &'static CStr| text.as_ptr() as usize;
    match call.name {
        // Only itself, its own group, or no one.
        "kill" | "tgkill" | "tkill" | "rt_sigqueueinfo" | "rt_tgsigqueueinfo" => {
            let own = calls::getpid() as usize;
            arguments[0] = [own, 0, i32::MAX as usize, -i32::MAX as usize][arguments[0] % 4];
            if call.name == "tgkill" && arguments[0] == 0 {
                arguments[0] = own;
            }
        }
        // The device files that are open belong to everyone.
        "fchmod" | "fchown" | "fchmodat" | "fchownat" | "utimensat" => {
            // A descriptor is the lower half.
            arguments[0] = match arguments[0] as u32 {
                0..0x10_0000 if call.name.ends_with("at") => AT_FDCWD as usize,
                0..0x10_0000 => OWN_FILE as usize,
                _ => arguments[0],
            };
        }
        // Files and pipes, no devices.
        "mknod" => arguments[1] &= !0o060_000,
        "mknodat" => arguments[2] &= !0o060_000,
        // The right words half of the time, and never a command that there is.
        "reboot" => {
            const COMMANDS: [u32; 8] = [
                0x0123_4567,
                0xcdef_0123,
                0x89ab_cdef,
                0,
                0x4321_fedc,
                0xa1b2_c3d4,
                0xd000_fce2,
                0x4558_4543,
            ];
            if arguments[0].is_multiple_of(2) {
                let second = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
                arguments[0] = 0xfee1_dead;
                arguments[1] = second[arguments[1] % second.len()];
            }
            if COMMANDS.contains(&(arguments[2] as u32)) {
                arguments[2] ^= 0x100;
            }
        }
        "prlimit64" => arguments[0] = 0,
        // A second process on the same stack would do anything.
        "clone" => {
            arguments[0] &= !NAMESPACES;
            if arguments[1] == 0 {
                arguments[0] &= !CLONE_VM;
            }
        }
        // In the worker's own directory, under a name that nothing else there has.
        "mount" => {
            let [source, target, kind, ..] = arguments;
            arguments[0] = [text(c"none"), text(c"d"), 0, hostile(source)][source % 4];
            arguments[1] =
                [text(MOUNT_POINT), text(MOUNT_POINT), text(c"missing"), hostile(target)]
                    [target % 4];
            arguments[2] = [text(c"tmpfs"), text(c"proc"), text(c"bpf"), hostile(kind)][kind % 4];
            if source.is_multiple_of(2) {
                arguments[3] &= 0xf;
                arguments[4] = 0;
            }
        }
        "umount2" => {
            let target = arguments[0];
            arguments[0] =
                [text(MOUNT_POINT), text(MOUNT_POINT), text(c"d"), hostile(target)][target % 4];
            if arguments[1].is_multiple_of(2) {
                arguments[1] = 0;
            }
        }
        // Much memory only as a reservation.
        "mmap" => {
            if arguments[1] < 1 << 46 {
                arguments[1] &= 0xf_ffff;
            }
            arguments[3] &= !POPULATE_OR_LOCK;
        }
        "brk" => arguments[0] &= !0xff_ffff_0000,
        // Reading waits for more; clearing and the console's level are not ours.
        "syslog" => arguments[0] = [3, 9, 10, 11, usize::MAX][arguments[0] % 5],
        // The machine's clock and name stay, if the kernel looks at what it is given.
        "clock_settime" if arguments[0] as i32 == 0 => {
            static NO_TIMES: [[i64; 2]; 2] = [[0, 1_000_000_000], [i64::MIN, -1]];
            let wrong = NO_TIMES[arguments[1] / 2 % 2].as_ptr() as usize;
            arguments[1] =
                if arguments[1].is_multiple_of(2) { wrong } else { hostile(arguments[1]) };
        }
        "sethostname" if arguments[1] as i32 <= 64 => {
            arguments[0] = hostile(arguments[0]);
            arguments[1] |= 1;
        }
        // Its few commands, and one more.
        "arch_prctl" => arguments[0] = 0x1000 + arguments[0] % 6,
        _ => {}
    }
    arguments
}

/// `vfork`, whose child has the stack of its parent, and ends before it changes that.
#[inline(never)]
fn vfork(number: usize, arguments: [usize; 6]) -> Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the child touches no memory.
    match unsafe { lemma_rt::syscall!(number, a, b, c, d, e, f) } {
        Ok(0) => sys::exit(0),
        result => result,
    }
}
