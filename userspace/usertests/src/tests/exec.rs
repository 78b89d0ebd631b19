//! execve: arguments, environment, auxiliary vector, what survives, what is refused.
//!
//! The program started is this one: `usertests --report WHAT` looks at how it was started.

use super::family;
use crate::calls::{self, in_child, make};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use alloc::ffi::CString;
use alloc::vec::Vec;
use lemma_rt::general::{O_CLOEXEC, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, SIGUSR1, SIGUSR2};
use lemma_rt::{Errno, arguments, auxiliary, environment, show, signal, sys};

family!("exec":
    arguments_arrive, many_arguments, auxiliary_vector, descriptors_survive, signals_reset,
    name_of_process, errors, same_process, bad_images, scripts, fresh_memory, too_much,
    segment_base_reset, text_busy, set_id
);

/// What the started program does: looks at one thing, exits with 0 if it is right.
pub(crate) fn report() -> i32 {
    let words: Vec<&[u8]> = arguments().skip(2).collect();
    let right = match words.as_slice() {
        [b"arguments", b"one", b"", b"three words", rest @ ..] => {
            let environment: Vec<&[u8]> = environment().collect();
            rest.is_empty() && environment == [&b"A=1"[..], b"B=two words", b"C="]
        }
        [b"count", count, rest @ ..] => {
            let sum: usize = rest.iter().map(|word| word.len()).sum();
            show(count) == alloc::format!("{}:{sum}", rest.len())
        }
        [b"auxiliary"] => auxiliary_is_right(),
        [b"descriptors", kept, closed] => {
            let number = |text: &[u8]| show(text).parse().unwrap_or(-1);
            calls::fstat(number(kept)).is_ok()
                && calls::fstat(number(closed)).is_err_and(|error| error == Errno::BADF)
        }
        [b"signals"] => signals_are_right(),
        [b"wait", reader, writer] => {
            // Until the other process has closed its end.
            let number = |text: &[u8]| show(text).parse().unwrap_or(-1);
            calls::close(number(writer)).is_ok()
                && calls::read(number(reader), &mut [0]) == Ok(1)
                && calls::read(number(reader), &mut [0]) == Ok(0)
        }
        [b"pid", pid] => show(pid) == alloc::format!("{}", calls::getpid()),
        [b"memory", address] => {
            let address = show(address).parse().unwrap_or(0);
            let resident =
                calls::raw(lemma_rt::general::__NR_mprotect as usize, [address, 4096, 1, 0, 0, 0]);
            resident == Err(Errno::NOMEM)
        }
        [b"environment"] => super::proc::environment_is_right(),
        [b"base"] => base_of_segment() == Ok(0),
        [b"ids", real, effective] => {
            let is = |found: lemma_rt::Result<u32>, text: &[u8]| {
                found.is_ok_and(|id| show(text) == alloc::format!("{id}"))
            };
            is(calls::getuid(), real) && is(calls::geteuid(), effective)
        }
        [b"name"] => {
            let mut name = [0u8; 16];
            // PR_GET_NAME
            let number = lemma_rt::general::__NR_prctl as usize;
            let got = calls::raw(number, [16, name.as_mut_ptr() as usize, 0, 0, 0, 0]);
            got.is_ok() && name.starts_with(b"program-with-a-\0")
        }
        _ => false,
    };
    i32::from(!right)
}

/// `arch_prctl(2)`, on the machine that has it.
fn arch_prctl(code: usize, address: usize) -> lemma_rt::Result<usize> {
    const NUMBER: usize = if cfg!(target_arch = "x86_64") { 158 } else { usize::MAX };
    calls::raw(NUMBER, [code, address, 0, 0, 0, 0])
}

/// `ARCH_GET_GS`.
fn base_of_segment() -> lemma_rt::Result<usize> {
    let mut base = 0_usize;
    arch_prctl(0x1004, (&raw mut base) as usize)?;
    Ok(base)
}

/// A new program does not find the segment base that the one before has set; until then it stays,
/// whoever runs between.
fn segment_base_reset() -> Outcome {
    const SET: usize = 0x1001;
    let start = arch_prctl(SET, 0x1234_5000);
    if matches!(start, Err(Errno::INVAL | Errno::NOSYS)) {
        skip!("this machine has no second segment base");
    }
    ok!(start);
    calls::pause_for(5);
    equal!(base_of_segment(), Ok(0x1234_5000));
    fails!(arch_prctl(SET, 1 << 63), PERM);
    equal!(ok!(self::start(&[b"base"], &[])), 0);
    Ok(())
}

fn auxiliary_is_right() -> bool {
    const AT_PHDR: usize = 3;
    const AT_PHENT: usize = 4;
    const AT_PHNUM: usize = 5;
    const AT_PAGESZ: usize = 6;
    const AT_ENTRY: usize = 9;
    const AT_UID: usize = 11;
    const AT_RANDOM: usize = 25;
    const AT_EXECFN: usize = 31;
    let (Some(headers), Some(count), Some(random)) =
        (auxiliary(AT_PHDR), auxiliary(AT_PHNUM), auxiliary(AT_RANDOM))
    else {
        return false;
    };
    // One program header covers the entry point, and is executable.
    let entry = auxiliary(AT_ENTRY).unwrap_or(0);
    let word = |address: usize| {
        (0..8).fold(0usize, |value, index| {
            value | usize::from(calls::peek(address + index)) << (8 * index)
        })
    };
    let covers = (0..count).any(|index| {
        let header = headers + index * 56;
        let (kind_and_flags, start, length) = (word(header), word(header + 16), word(header + 40));
        kind_and_flags & 0xffff_ffff == 1
            && kind_and_flags >> 32 & 1 == 1
            && (start..start + length).contains(&entry)
    });
    let random: Vec<u8> = (0..16).map(|index| calls::peek(random + index)).collect();
    covers
        && auxiliary(AT_PHENT) == Some(56)
        && auxiliary(AT_PAGESZ) == Some(4096)
        && auxiliary(AT_UID) == calls::getuid().ok().map(|uid| uid as usize)
        && random.iter().any(|&byte| byte != 0)
        && auxiliary(AT_EXECFN).is_some_and(|path| calls::peek(path) != 0)
        // The stack is aligned as the ABI wants it at entry: argc lies at a multiple of 16.
        && (lemma_rt::environment_pointers() as usize).is_multiple_of(8)
}

fn signals_are_right() -> bool {
    // Ignored stays ignored, handled becomes default; blocked stays blocked.
    let blocked = signal::set_mask(0, 0).unwrap_or(0);
    let ignored = sys::kill(calls::getpid(), SIGUSR2 as i32).is_ok();
    let dies = in_child(|| {
        let _ = sys::kill(calls::getpid(), SIGUSR1 as i32);
        0
    });
    ignored
        && blocked == 1 << (12 - 1) | 1 << 13
        && dies.is_ok_and(|status| status.signaled() == Some(SIGUSR1 as i32))
}

/// This program's own path.
fn program() -> CString {
    let path = lemma_rt::rustix::fs::readlink("/proc/self/exe", Vec::new());
    path.unwrap_or_else(|_| CString::from(c"/bin/usertests"))
}

/// Starts this program with `--report` and these words; its exit status.
fn start(words: &[&[u8]], variables: &[&[u8]]) -> lemma_rt::Result<i32> {
    let strings = |words: &[&[u8]]| -> Vec<CString> {
        words.iter().filter_map(|word| CString::new(*word).ok()).collect()
    };
    let words = strings(&[&[b"usertests".as_slice(), b"--report"], words].concat());
    let variables = strings(variables);
    in_child(|| {
        sys::execute(&program(), &words, &variables);
        99
    })
    .map(sys::Status::code)
}

fn arguments_arrive() -> Outcome {
    let words: [&[u8]; 4] = [b"arguments", b"one", b"", b"three words"];
    equal!(start(&words, &[b"A=1", b"B=two words", b"C="]), Ok(0));
    equal!(start(&words, &[b"A=1"]), Ok(1));
    Ok(())
}

fn many_arguments() -> Outcome {
    let long = alloc::vec![b'x'; 30_000];
    let mut words: Vec<&[u8]> = alloc::vec![b"count", b"502:30998"];
    words.resize(502, b"ab");
    words.push(b"");
    words.push(&long);
    words[2] = b"";
    equal!(start(&words, &[]), Ok(0));
    Ok(())
}

fn auxiliary_vector() -> Outcome {
    equal!(start(&[b"auxiliary"], &[]), Ok(0));
    Ok(())
}

fn descriptors_survive() -> Outcome {
    ok!(make(c"a", b"x"));
    let kept = ok!(calls::open(c"a", O_RDONLY, 0));
    let closed = ok!(calls::open(c"a", O_RDONLY | O_CLOEXEC, 0));
    let (kept, closed) = (alloc::format!("{kept}"), alloc::format!("{closed}"));
    equal!(start(&[b"descriptors", kept.as_bytes(), closed.as_bytes()], &[]), Ok(0));
    equal!(start(&[b"descriptors", closed.as_bytes(), kept.as_bytes()], &[]), Ok(1));
    Ok(())
}

fn signals_reset() -> Outcome {
    extern "C" fn handler(_: i32) {}
    let status = in_child(|| {
        // SAFETY: the handler does nothing.
        let _ = unsafe { signal::set_handler(SIGUSR1 as i32, handler as *const () as usize, 0, 0) };
        let _ = signal::ignore(SIGUSR2 as i32);
        let _ = signal::set_mask(2, 1 << (12 - 1) | 1 << 13);
        start(&[b"signals"], &[]).unwrap_or(98)
    });
    equal!(ok!(status).code(), 0);
    Ok(())
}

fn name_of_process() -> Outcome {
    ok!(lemma_rt::rustix::fs::symlink(program().as_c_str(), c"program-with-a-long-name"));
    let words = [c"x", c"--report", c"name"].map(CString::from);
    let status = ok!(in_child(|| {
        sys::execute(c"./program-with-a-long-name", &words, &[]);
        99
    }));
    equal!(status.code(), 0);
    Ok(())
}

fn same_process() -> Outcome {
    let status = ok!(in_child(|| {
        let pid = CString::new(alloc::format!("{}", calls::getpid())).unwrap_or_default();
        let words = [CString::from(c"x"), c"--report".into(), c"pid".into(), pid];
        sys::execute(&program(), &words, &[]);
        99
    }));
    equal!(status.code(), 0);
    Ok(())
}

fn execute(path: &core::ffi::CStr) -> lemma_rt::Result<()> {
    Err(sys::execute(path, &[CString::from(c"x")], &[]))
}

fn errors() -> Outcome {
    ok!(make(c"text", b"no program"));
    fails!(execute(c"missing"), NOENT);
    fails!(execute(c"text"), ACCESS);
    ok!(calls::chmod(c"text", 0o755));
    fails!(execute(c"text"), NOEXEC);
    fails!(execute(c"text/x"), NOTDIR);
    fails!(execute(c"."), ACCESS);
    fails!(execute(c""), NOENT);
    ok!(make(c"empty", b""));
    ok!(calls::chmod(c"empty", 0o755));
    fails!(execute(c"empty"), NOEXEC);
    let number = lemma_rt::general::__NR_execve as usize;
    fails!(calls::raw(number, [0, 0, 0, 0, 0, 0]), FAULT);
    let path = program();
    fails!(calls::raw(number, [path.as_ptr() as usize, 8, 0, 0, 0, 0]), FAULT);
    Ok(())
}

/// ELF files that are cut off or spoilt are refused, or their process dies; the rest lives on.
fn bad_images() -> Outcome {
    let image = ok!(lemma_rt::io::read_file(program().as_c_str()));
    check!(image.len() > 4096);
    let attempt = |image: &[u8]| -> lemma_rt::Result<sys::Status> {
        make(c"image", image)?;
        calls::chmod(c"image", 0o755)?;
        in_child(|| match execute(c"image") {
            Err(_) => 98,
            Ok(()) => 97,
        })
    };
    for length in [1, 3, 4, 16, 40, 63, 64, 100, 200] {
        check!(ok!(attempt(&image[..length])).code() != 0, " cut at {length}");
    }
    // The wrong magic, kind, machine, size of headers.
    for (offset, value) in [(0, 0), (16, 1), (18, 3), (54, 1)] {
        let mut spoilt = image[..4096].to_vec();
        spoilt[offset] = value;
        equal!(ok!(attempt(&spoilt)).exited(), Some(98));
    }
    Ok(())
}

fn scripts() -> Outcome {
    let path = program();
    // The interpreter gets its one argument, the script's path, and the script's arguments.
    let script = [b"#!", path.as_bytes(), b" --report \n"].concat();
    ok!(make(c"script", &script));
    ok!(calls::chmod(c"script", 0o755));
    let status = ok!(in_child(|| {
        let words = [c"x", c"arguments"].map(CString::from);
        sys::execute(c"./script", &words, &[]);
        99
    }));
    // Started, and what it reports is that `./script` is nothing it knows.
    equal!(status.exited(), Some(1));
    ok!(make(c"script", b"#!/nonexistent\n"));
    fails!(execute(c"./script"), NOENT);
    Ok(())
}

fn fresh_memory() -> Outcome {
    let address = ok!(calls::map(4096));
    let text = alloc::format!("{address}");
    equal!(start(&[b"memory", text.as_bytes()], &[]), Ok(0));
    Ok(())
}

fn too_much() -> Outcome {
    // A single string may have 128 KiB, everything together a part of the stack's limit.
    let huge = CString::new(alloc::vec![b'x'; 4 << 20]).unwrap_or_default();
    let error = sys::execute(&program(), &[huge], &[]);
    equal!(error, Errno::TOOBIG);
    Ok(())
}

/// A program that runs is not written, and a file that is open to be written is not run.
fn text_busy() -> Outcome {
    let image = ok!(calls::content(&program()));
    ok!(make(c"p", &image));
    ok!(calls::chmod(c"p", 0o755));
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let words: Vec<CString> = ["p", "--report", "wait"]
        .iter()
        .map(|word| alloc::string::String::from(*word))
        .chain(ends.iter().map(|end| alloc::format!("{end}")))
        .filter_map(|word| CString::new(word).ok())
        .collect();
    let execute =
        || in_child(|| if sys::execute(c"p", &words, &[]) == Errno::TXTBSY { 0 } else { 1 });

    let writer = ok!(calls::open(c"p", O_WRONLY, 0));
    equal!(ok!(execute()).code(), 0);
    ok!(calls::close(writer));
    let Some(pid) = ok!(sys::fork()) else {
        sys::execute(c"p", &words, &[]);
        sys::exit(99)
    };
    ok!(calls::close(ends[0]));
    // The pipe is full of one byte only: that it is read says that the program runs.
    ok!(calls::write(ends[1], b"x"));
    let mut left = 1u32;
    while left > 0 {
        ok!(calls::ioctl(ends[1], lemma_rt::ioctl::FIONREAD, (&raw mut left) as usize));
        calls::pause_for(1);
    }
    fails!(calls::open(c"p", O_WRONLY, 0), TXTBSY);
    fails!(calls::open(c"p", O_RDWR, 0), TXTBSY);
    fails!(calls::open(c"p", O_RDONLY | O_TRUNC, 0), TXTBSY);
    fails!(calls::truncate(c"p", 0), TXTBSY);
    ok!(calls::close(ok!(calls::open(c"p", O_RDONLY, 0))));
    ok!(calls::close(ends[1]));
    equal!(ok!(sys::wait_for(pid)).code(), 0);
    // It runs no more.
    equal!(ok!(calls::content(c"p")), image);
    ok!(calls::truncate(c"p", 0));
    Ok(())
}

/// Set-user-ID programs run as their owner; not from a mount with `nosuid`.
fn set_id() -> Outcome {
    const USER: u32 = 1000;
    const MS_NOSUID: usize = 2;
    if calls::geteuid() != Ok(0) {
        skip!("only the superuser mounts and becomes another user");
    }
    let image = ok!(calls::content(&program()));
    ok!(calls::mkdir(c"m", 0o755));
    let run = |effective: u32| {
        let words = ["p", "--report", "ids", "1000"].map(alloc::string::String::from);
        let words: Vec<CString> = words
            .into_iter()
            .chain([alloc::format!("{effective}")])
            .filter_map(|word| CString::new(word).ok())
            .collect();
        in_child(|| {
            if calls::setuid(USER).is_ok() {
                sys::execute(c"m/p", &words, &[]);
            }
            99
        })
        .map(sys::Status::code)
    };
    for (flags, effective) in [(0, 0), (MS_NOSUID, USER)] {
        let arguments = [
            c"none".as_ptr() as usize,
            c"m".as_ptr() as usize,
            c"tmpfs".as_ptr() as usize,
            flags,
            0,
            0,
        ];
        match calls::raw(lemma_rt::general::__NR_mount as usize, arguments) {
            Err(Errno::PERM) => skip!("this system lets nobody mount"),
            result => ok!(result),
        };
        let made = make(c"m/p", &image).and_then(|()| calls::chmod(c"m/p", 0o4755));
        let status = run(effective);
        let unmount = lemma_rt::general::__NR_umount2 as usize;
        let unmounted = calls::raw(unmount, [c"m".as_ptr() as usize, 0, 0, 0, 0, 0]);
        ok!(made);
        equal!(status, Ok(0));
        ok!(unmounted);
    }
    Ok(())
}
