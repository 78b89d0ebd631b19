//! Pins, tracepoints, and Lemma's hooks: programs at work.

use super::{
    ARRAY, EXIT, HASH, HOOK, RAW_TRACEPOINT, SOCKET_FILTER, available, command_with, counting,
    create, hooks_available, instruction, load, load_hook, load_with, number, pin_path, set,
};
use crate::calls;
use crate::check::{Outcome, check, equal, fails, ok};
use ::bpf::attributes::Attributes;
use ::bpf::calls as commands;
use ::bpf::calls::Map;
use ::bpf::info::ProgramInfo;
use kernel_abi::bpf::{
    F_REPLACE, attach_type, command, link_create, link_update, prog_attach, raw_tracepoint,
};
use lemma_rt::rustix::fd::{AsFd, AsRawFd, OwnedFd};

pub(super) fn pins() -> Outcome {
    available()?;
    let path = pin_path()?;
    let fd = ok!(load(SOCKET_FILTER, &[set(0, 5), EXIT]));
    let id = ok!(ProgramInfo::of(fd.as_fd())).id;
    ok!(commands::pin(&path, fd.as_fd()));
    fails!(commands::pin(&path, fd.as_fd()), EXIST);
    drop(fd);
    let again = ok!(commands::pinned(&path));
    equal!(ok!(ProgramInfo::of(again.as_fd())).id, id);
    equal!(ok!(commands::test(again.as_fd(), &[0; 64], &[], 1)).result, 5);
    ok!(calls::unlink(&path));
    fails!(commands::pinned(&path), NOENT);
    let map = ok!(create(ARRAY, 4, 8, 1));
    ok!(commands::pin(&path, map.fd.as_fd()));
    ok!(calls::unlink(&path));
    // Elsewhere nothing can be pinned, and what is no pin cannot be got.
    fails!(commands::pin(c"pin", map.fd.as_fd()), PERM);
    ok!(calls::make(c"file", b""));
    fails!(commands::pinned(c"file"), ACCESS);
    fails!(commands::pinned(c"missing"), NOENT);
    Ok(())
}

pub(super) fn raw_tracepoint() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let program = ok!(load(RAW_TRACEPOINT, &counting(map.fd.as_raw_fd())));
    let open = |name: &core::ffi::CStr, program: &OwnedFd| {
        let attributes = Attributes::new()
            .with_pointer(raw_tracepoint::NAME, name.as_ptr())
            .with_fd(raw_tracepoint::PROG_FD, program.as_raw_fd());
        command_with(command::RAW_TRACEPOINT_OPEN, attributes, 16)
    };
    let link = ok!(open(c"sys_enter", &program));
    for _ in 0..100 {
        ok!(calls::getppid());
    }
    let counted = number(&ok!(map.lookup(&[0; 4])));
    check!(counted >= 100, " {counted} calls were counted");
    ok!(calls::close(link as i32));
    let before = number(&ok!(map.lookup(&[0; 4])));
    for _ in 0..100 {
        ok!(calls::getppid());
    }
    // Others may still be on their way; nothing counts for long.
    calls::pause_for(20);
    let after = number(&ok!(map.lookup(&[0; 4])));
    check!(after < before + 100, " {before} became {after}");
    // The link has its program for life.
    let link = ok!(open(c"sys_enter", &program)) as u32;
    let new = ok!(load(RAW_TRACEPOINT, &counting(map.fd.as_raw_fd())));
    fails!(update_link(link, &new, None), INVAL);
    fails!(detach_link(link), OPNOTSUPP);
    ok!(calls::close(link as i32));
    fails!(open(c"no_such_tracepoint", &program), NOENT);
    let other = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    fails!(open(c"sys_enter", &other), INVAL);
    Ok(())
}

/// A program that takes a hash map's only value out and puts another in at every call: elements
/// that were taken out have to come back, though nobody calls `bpf(2)` meanwhile.
pub(super) fn value_replaced_often() -> Outcome {
    available()?;
    let map = ok!(create(HASH, 4, 8, 1));
    let program = ok!(load(
        RAW_TRACEPOINT,
        &[
            // The time is the value.
            instruction(0x85, 0, 0, 5),
            instruction(0x7b, 0x0a, -16, 0),
            instruction(0x62, 10, -4, 0),
            instruction(0x18, 0x11, 0, map.fd.as_raw_fd()),
            0,
            instruction(0xbf, 0xa2, 0, 0),
            instruction(0x07, 2, 0, -4),
            instruction(0x85, 0, 0, 3),
            instruction(0x18, 0x11, 0, map.fd.as_raw_fd()),
            0,
            instruction(0xbf, 0xa2, 0, 0),
            instruction(0x07, 2, 0, -4),
            instruction(0xbf, 0xa3, 0, 0),
            instruction(0x07, 3, 0, -16),
            set(4, 0),
            instruction(0x85, 0, 0, 2),
            set(0, 0),
            EXIT,
        ]
    ));
    let attributes = Attributes::new()
        .with_pointer(raw_tracepoint::NAME, c"sys_enter".as_ptr())
        .with_fd(raw_tracepoint::PROG_FD, program.as_raw_fd());
    let link = ok!(command_with(command::RAW_TRACEPOINT_OPEN, attributes, 16));
    for _ in 0..5000 {
        ok!(calls::getppid());
    }
    let late = calls::monotonic();
    // Looked up after the link is closed only: the look itself is a call of bpf(2).
    ok!(calls::close(link as i32));
    let value = number(&ok!(map.lookup(&[0; 4])));
    check!(value >= late, " the value is of {value}, before {late}");
    Ok(())
}

/// A program may ask for any address of the kernel, such as those around its stack, where there
/// are pages that are not there.
pub(super) fn reads_around_the_stack() -> Outcome {
    available()?;
    for offset in (-40_960..=40_960).step_by(2048) {
        let program = ok!(load(
            RAW_TRACEPOINT,
            &[
                // The registers of the call lie on the stack.
                instruction(0x79, 0x13, 0, 0),
                instruction(0x07, 3, 0, offset),
                instruction(0xbf, 0xa1, 0, 0),
                instruction(0x07, 1, 0, -8),
                set(2, 8),
                instruction(0x85, 0, 0, 113),
                set(0, 0),
                EXIT,
            ]
        ));
        let attributes = Attributes::new()
            .with_pointer(raw_tracepoint::NAME, c"sys_enter".as_ptr())
            .with_fd(raw_tracepoint::PROG_FD, program.as_raw_fd());
        let link = ok!(command_with(command::RAW_TRACEPOINT_OPEN, attributes, 16));
        ok!(calls::getppid());
        ok!(calls::close(link as i32));
    }
    Ok(())
}

fn attach(fd: &OwnedFd) -> lemma_rt::Result<()> {
    commands::attach(fd.as_fd(), attach_type::SYS_ENTER, None)
}

fn detach(fd: &OwnedFd) -> lemma_rt::Result<()> {
    commands::detach(fd.as_fd(), attach_type::SYS_ENTER)
}

fn create_link(program: &OwnedFd) -> lemma_rt::Result<usize> {
    let attributes = Attributes::new()
        .with_fd(link_create::PROG_FD, program.as_raw_fd())
        .with(link_create::ATTACH_TYPE, attach_type::SYS_ENTER);
    command_with(command::LINK_CREATE, attributes, link_create::END)
}

/// Gives a link another program, with `old` only in place of that one.
fn update_link(link: u32, new: &OwnedFd, old: Option<&OwnedFd>) -> lemma_rt::Result<usize> {
    let attributes = Attributes::new()
        .with(link_update::LINK_FD, link)
        .with_fd(link_update::NEW_PROG_FD, new.as_raw_fd())
        .with(link_update::FLAGS, if old.is_some() { F_REPLACE } else { 0 })
        .with_fd(link_update::OLD_PROG_FD, old.map_or(0, AsRawFd::as_raw_fd));
    command_with(command::LINK_UPDATE, attributes, link_update::END)
}

fn detach_link(link: u32) -> lemma_rt::Result<usize> {
    let attributes = Attributes::new().with(link_update::LINK_FD, link);
    command_with(command::LINK_DETACH, attributes, link_update::DETACH_END)
}

/// How many calls a program that counts has seen while we made a hundred.
fn counted(map: &Map) -> lemma_rt::Result<u64> {
    let before = number(&map.lookup(&[0; 4])?);
    for _ in 0..100 {
        calls::getppid()?;
    }
    Ok(number(&map.lookup(&[0; 4])?) - before)
}

pub(super) fn hook_attach() -> Outcome {
    hooks_available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let program = ok!(load_hook(&counting(map.fd.as_raw_fd())));
    equal!(counted(&map), Ok(0));
    ok!(attach(&program));
    check!(ok!(counted(&map)) >= 100);
    fails!(attach(&program), EXIST);
    let info = ok!(ProgramInfo::of(program.as_fd()));
    check!(info.runs >= 100 && info.worst_case.is_some());
    equal!(info.hooks, ["sys_enter"]);
    ok!(detach(&program));
    equal!(counted(&map), Ok(0));
    fails!(detach(&program), NOENT);
    // A program that is not pinned goes with its last descriptor.
    ok!(attach(&program));
    drop(program);
    equal!(counted(&map), Ok(0));
    Ok(())
}

/// In a replacement no event is lost: the two programs' counts add up.
pub(super) fn hook_replace() -> Outcome {
    hooks_available()?;
    let maps = [ok!(create(ARRAY, 4, 8, 1)), ok!(create(ARRAY, 4, 8, 1))];
    let [one, other] = &maps;
    let old = ok!(load_hook(&counting(one.fd.as_raw_fd())));
    let new = ok!(load_hook(&counting(other.fd.as_raw_fd())));
    ok!(attach(&old));
    let attach_new = || commands::attach(new.as_fd(), attach_type::SYS_ENTER, Some(old.as_fd()));
    ok!(attach_new());
    equal!(counted(one), Ok(0));
    check!(ok!(counted(other)) >= 100);
    fails!(attach_new(), EXIST);
    ok!(detach(&new));
    // What is not attached cannot be replaced.
    fails!(attach_new(), NOENT);
    Ok(())
}

/// A program answers one chosen call of this process with an error; everything else passes.
pub(super) fn hook_decides() -> Outcome {
    hooks_available()?;
    let me = calls::getpid();
    let getsid = lemma_rt::general::__NR_getsid as i32;
    // r0 = 0; if (nr == getsid && pid == me) r0 = -EDOM
    let deciding = [
        set(0, 0),
        instruction(0x79, 0x12, 0, 0),
        instruction(0x55, 2, 3, getsid),
        instruction(0x61, 0x12, 56, 0),
        instruction(0x55, 2, 1, me),
        set(0, -33),
        EXIT,
    ];
    let program = ok!(load_hook(&deciding));
    ok!(calls::getsid(0));
    ok!(attach(&program));
    fails!(calls::getsid(0), DOM);
    ok!(calls::getpgid(0));
    // A child is another process.
    let status = ok!(calls::in_child(|| i32::from(calls::getsid(0).is_err())));
    equal!(status.code(), 0);
    ok!(detach(&program));
    ok!(calls::getsid(0));
    // An answer that is no error number is not even loaded.
    check!(load_hook(&[set(0, 5), EXIT]).is_err());
    check!(load_hook(&[set(0, -5000), EXIT]).is_err());
    Ok(())
}

pub(super) fn hook_errors() -> Outcome {
    hooks_available()?;
    let program = ok!(load_hook(&[set(0, 0), EXIT]));
    for wrong in [attach_type::TIMER, attach_type::SYS_EXIT, 0, 77] {
        fails!(commands::attach(program.as_fd(), wrong, None), INVAL);
    }
    let filter = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    fails!(attach(&filter), INVAL);
    let attributes = Attributes::new()
        .with_fd(prog_attach::ATTACH_BPF_FD, program.as_raw_fd())
        .with(prog_attach::ATTACH_TYPE, attach_type::SYS_ENTER)
        .with(prog_attach::ATTACH_FLAGS, 1 << 20);
    fails!(command_with(command::PROG_ATTACH, attributes, prog_attach::END), INVAL);
    // A worst case over the hook's budget is refused when it is attached.
    let long =
        [set(0, 0), set(1, 40_000), instruction(0x07, 1, 0, -1), instruction(0x55, 1, -2, 0), EXIT];
    if let Ok(long) = load_hook(&long) {
        fails!(attach(&long), TOOBIG);
    }
    Ok(())
}

pub(super) fn links() -> Outcome {
    hooks_available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let program = ok!(load_hook(&counting(map.fd.as_raw_fd())));
    let link = ok!(create_link(&program)) as u32;
    drop(program);
    check!(ok!(counted(&map)) >= 100);
    let other = ok!(create(ARRAY, 4, 8, 1));
    let new = ok!(load_hook(&counting(other.fd.as_raw_fd())));
    // A program of another type that may run at the hook, and of the same type that may not.
    let tracing = ok!(load(RAW_TRACEPOINT, &[set(0, 0), EXIT]));
    fails!(update_link(link, &tracing, None), INVAL);
    let elsewhere = ok!(load_with(HOOK, attach_type::SYS_EXIT, &[set(0, 0), EXIT], &mut []));
    fails!(update_link(link, &elsewhere, None), INVAL);
    fails!(update_link(link, &new, Some(&tracing)), PERM);
    check!(ok!(counted(&map)) >= 100);
    ok!(update_link(link, &new, None));
    equal!(counted(&map), Ok(0));
    check!(ok!(counted(&other)) >= 100);
    ok!(detach_link(link));
    ok!(detach_link(link));
    equal!(counted(&other), Ok(0));
    fails!(update_link(link, &new, None), NOLINK);
    ok!(calls::close(link as i32));
    // Without a program, or with one, it goes with its last descriptor.
    let link = ok!(create_link(&new)) as i32;
    check!(ok!(counted(&other)) >= 100);
    ok!(calls::close(link));
    equal!(counted(&other), Ok(0));
    Ok(())
}

/// Attached and pinned, a program outlives its loader.
pub(super) fn hook_pinned() -> Outcome {
    hooks_available()?;
    let path = pin_path()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let status = ok!(calls::in_child(|| {
        let work = || -> lemma_rt::Result<()> {
            let program = load_hook(&counting(map.fd.as_raw_fd()))?;
            attach(&program)?;
            commands::pin(&path, program.as_fd())
        };
        i32::from(work().is_err())
    }));
    equal!(status.code(), 0);
    check!(ok!(counted(&map)) >= 100);
    ok!(calls::unlink(&path));
    equal!(counted(&map), Ok(0));
    Ok(())
}
