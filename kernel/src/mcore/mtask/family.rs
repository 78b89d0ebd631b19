//! The table of all processes, and how they are related: parents and children, process groups
//! and sessions, threads by number.
//!
//! One spin lock guards the table, including each process's parent, group and session (which
//! may be read without it). A process is in the table from its fork until its parent has
//! waited for it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use kernel_sync::SpinLock;

use super::process::{CONTINUED, Pid, Process};
use super::signal::{self, SIGCHLD, SignalInfo};
use super::task::{Task, Tid};
use crate::mem::AddressSpace;

/// One more than the highest number: Linux's `PID_MAX_LIMIT`.
const PID_LIMIT: u32 = 4_194_304;
/// Numbers below this are not used a second time, as in Linux.
const PID_RESERVED: u32 = 300;
/// The first process, which inherits orphans.
pub const INIT_PID: Pid = 1;

struct Member {
    process: Arc<Process>,
    children: Vec<Pid>,
    /// It has ended, and waits for its parent.
    zombie: bool,
}

struct Family {
    members: BTreeMap<Pid, Member>,
    /// Threads other than the first of each process.
    threads: BTreeMap<Tid, Pid>,
    last: u32,
    wrapped: bool,
}

static FAMILY: SpinLock<Family> = SpinLock::new(Family {
    members: BTreeMap::new(),
    threads: BTreeMap::new(),
    // 1 is the first process's.
    last: 1,
    wrapped: false,
});

/// Threads of all kinds that exist.
static TASKS: AtomicUsize = AtomicUsize::new(0);

/// The most threads at a time.
pub const TASK_LIMIT: usize = 16_384;

/// Threads that exist.
pub fn task_count() -> usize {
    TASKS.load(Ordering::Relaxed)
}

/// Counts a thread in; `false` if there are too many.
pub(super) fn count_task() -> bool {
    if TASKS.fetch_add(1, Ordering::Relaxed) >= TASK_LIMIT {
        uncount_task();
        return false;
    }
    true
}

pub(super) fn uncount_task() {
    TASKS.fetch_sub(1, Ordering::Relaxed);
}

/// Which children a `wait` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Any,
    One(Pid),
    Group(Pid),
}

/// What a `wait` found.
pub enum Found {
    /// There is no such child at all.
    NoChild,
    /// There is one, and it has not ended.
    NotYet,
    /// This one has changed, with this wait status. If it has ended, it is out of the table,
    /// unless it was to be left there.
    Changed(Arc<Process>, u32),
}

/// Which changes of children a `wait` is for, and how it is done.
#[derive(Clone, Copy, Debug)]
pub struct WaitRequest {
    pub which: Which,
    /// Children that have ended, been stopped, been continued.
    pub ended: bool,
    pub stopped: bool,
    pub continued: bool,
    /// Do not wait.
    pub no_hang: bool,
    /// Leave the child to be waited for again (`WNOWAIT`).
    pub keep: bool,
    /// Children whose end another signal than `SIGCHLD` tells, too (`__WALL`).
    pub all: bool,
}

/// Why a process group or session was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupError {
    NotPermitted,
    NoProcess,
    /// The child has called `execve` already.
    Executed,
}

impl Family {
    fn is_free(&self, number: u32) -> bool {
        let used = |member: &Member| {
            member.process.group() == number || member.process.session() == number
        };
        let taken = self.members.contains_key(&number) || self.threads.contains_key(&number);
        !taken && (!self.wrapped || !self.members.values().any(used))
    }

    fn allocate(&mut self) -> u32 {
        loop {
            self.last += 1;
            if self.last >= PID_LIMIT {
                self.last = PID_RESERVED;
                self.wrapped = true;
            }
            if self.is_free(self.last) {
                return self.last;
            }
        }
    }
}

/// A number for a new thread or process. There are more numbers than tasks can be.
pub(super) fn allocate_tid() -> Tid {
    FAMILY.lock().allocate()
}

/// Enters a new process under its parent, or the first process, if its parent has ended.
pub(super) fn insert(process: Arc<Process>) {
    let (pid, parent) = (process.pid(), process.parent());
    let mut family = FAMILY.lock();
    let lives = family.members.get(&parent).is_some_and(|parent| !parent.zombie);
    let parent = if lives || pid == INIT_PID { parent } else { INIT_PID };
    process.parent.store(parent, Ordering::Relaxed);
    if let Some(parent) = family.members.get_mut(&parent) {
        parent.children.push(pid);
    }
    family.members.insert(pid, Member { process, children: Vec::new(), zombie: false });
}

/// Takes back a process that was entered and has not run.
pub(super) fn forget(process: &Process) {
    let mut family = FAMILY.lock();
    let out = family.members.remove(&process.pid());
    if let Some(parent) = family.members.get_mut(&process.parent()) {
        parent.children.retain(|&child| child != process.pid());
    }
    drop(family);
    drop(out);
}

/// Enters a thread that is not the first of its process.
pub(super) fn insert_thread(tid: Tid, pid: Pid) {
    FAMILY.lock().threads.insert(tid, pid);
}

/// Forgets such a thread.
pub(super) fn remove_thread(tid: Tid) {
    FAMILY.lock().threads.remove(&tid);
}

/// The process with this number, ended ones included while nobody has waited for them.
pub fn process(pid: Pid) -> Option<Arc<Process>> {
    FAMILY.lock().members.get(&pid).map(|member| Arc::clone(&member.process))
}

/// The thread with this number.
pub fn thread(tid: Tid) -> Option<Arc<Task>> {
    let process = {
        let family = FAMILY.lock();
        let pid = family.threads.get(&tid).copied().unwrap_or(tid);
        Arc::clone(&family.members.get(&pid)?.process)
    };
    let threads = process.threads.lock();
    threads.iter().find(|thread| thread.tid() == tid).cloned()
}

/// All processes, in order of their numbers.
pub fn list() -> Vec<Arc<Process>> {
    FAMILY.lock().members.values().map(|member| Arc::clone(&member.process)).collect()
}

/// Calls `each` with the address space of each process that has one.
pub fn each_space(each: &mut dyn FnMut(&AddressSpace)) {
    for process in list() {
        if let Some(space) = process.space() {
            each(&space);
        }
    }
}

/// Whether the process has ended and waits for its parent.
pub fn is_zombie(pid: Pid) -> bool {
    FAMILY.lock().members.get(&pid).is_some_and(|member| member.zombie)
}

/// How many processes there are.
pub fn count() -> usize {
    FAMILY.lock().members.len()
}

/// The status of a stop or a continuation that `request` asks for and nobody was told.
fn unreported(process: &Process, request: &WaitRequest) -> Option<u32> {
    let status = match process.report.load(Ordering::Acquire) {
        CONTINUED if request.continued => CONTINUED,
        signal if signal != 0 && signal != CONTINUED && request.stopped => signal << 8 | 0x7f,
        _ => return None,
    };
    if !request.keep {
        process.report.store(0, Ordering::Relaxed);
    }
    Some(status)
}

/// Looks for a child of `parent` that has changed. Unless it is to be kept, one that has ended
/// is taken out of the table.
pub(super) fn find_changed(parent: Pid, request: &WaitRequest) -> Found {
    let mut family = FAMILY.lock();
    let Some(member) = family.members.get(&parent) else { return Found::NoChild };
    let mut matching = false;
    let mut ended = None;
    for (index, pid) in member.children.iter().enumerate().rev() {
        if matches!(request.which, Which::One(one) if one != *pid) {
            continue;
        }
        let Some(Member { process: child, zombie, .. }) = family.members.get(pid) else { continue };
        if matches!(request.which, Which::Group(group) if group != child.group())
            || (!request.all && child.exit_signal.load(Ordering::Relaxed) != SIGCHLD)
        {
            continue;
        }
        matching = true;
        // The oldest first, as Linux does.
        if *zombie && request.ended {
            ended = Some((index, *pid, Arc::clone(child)));
        } else if let Some(status) = unreported(child, request) {
            return Found::Changed(Arc::clone(child), status);
        }
    }
    let Some((index, pid, process)) = ended else {
        return if matching { Found::NotYet } else { Found::NoChild };
    };
    let mut out = None;
    if !request.keep {
        if let Some(parent) = family.members.get_mut(&parent) {
            parent.children.remove(index);
        }
        out = family.members.remove(&pid);
    }
    drop(family);
    drop(out);
    let status = process.exit_status().unwrap_or(0);
    Found::Changed(process, status)
}

/// The end of a process: its children go to the first process, and its parent is told. If the
/// parent does not care for the status, the process is gone at once.
pub(super) fn end(process: &Arc<Process>) {
    let pid = process.pid();
    let mut family = FAMILY.lock();
    let children = family.members.get_mut(&pid).map(|member| core::mem::take(&mut member.children));
    let children = children.unwrap_or_default();
    let mut orphan_ended = false;
    for child in &children {
        if let Some(member) = family.members.get_mut(child) {
            member.process.parent.store(INIT_PID, Ordering::Relaxed);
            member.process.exit_signal.store(SIGCHLD, Ordering::Relaxed);
            orphan_ended |= member.zombie;
        }
    }
    let init = family.members.get_mut(&INIT_PID).map(|init| {
        init.children.extend(&children);
        Arc::clone(&init.process)
    });
    let parent = family.members.get(&process.parent()).map(|parent| Arc::clone(&parent.process));
    let signal = process.exit_signal.load(Ordering::Relaxed);
    let reaped =
        parent.as_ref().is_none_or(|parent| signal == SIGCHLD && signal::reaps_children(parent));
    let mut out = None;
    if reaped {
        out = family.members.remove(&pid);
        if let Some(parent) = family.members.get_mut(&process.parent()) {
            parent.children.retain(|&child| child != pid);
        }
    } else if let Some(member) = family.members.get_mut(&pid) {
        member.zombie = true;
    }
    drop(family);
    drop(out);
    if orphan_ended && let Some(init) = init {
        signal::send(&init, SIGCHLD, SignalInfo::KERNEL, None);
        init.child_event.wake_all();
    }
    if let Some(parent) = parent {
        if signal != 0 {
            signal::send(&parent, signal, SignalInfo::child(process), None);
        }
        parent.child_event.wake_all();
    }
}

/// Sends a signal to every process of a group, in the name of the kernel; `false` if there is
/// none in it.
pub fn signal_process_group(group: Pid, number: u32) -> bool {
    let members: Vec<_> = list().into_iter().filter(|process| process.group() == group).collect();
    for process in &members {
        signal::send(process, number, SignalInfo::KERNEL, None);
    }
    !members.is_empty()
}

/// Whether there is a process of the group in the session.
pub fn is_group_of(group: Pid, session: Pid) -> bool {
    let is_member =
        |member: &Member| member.process.group() == group && member.process.session() == session;
    FAMILY.lock().members.values().any(is_member)
}

/// Whether the process that made the session still leads it.
pub fn is_led(session: Pid) -> bool {
    let family = FAMILY.lock();
    let leader = family.members.get(&session).filter(|member| !member.zombie);
    leader.is_some_and(|member| member.process.session() == session)
}

/// Whether no process of the group has a parent that could continue it: in the same session
/// and another group (POSIX, 3.264).
pub(super) fn is_orphaned(group: Pid) -> bool {
    let family = FAMILY.lock();
    !family.members.values().any(|member| {
        let process = &member.process;
        process.group() == group
            && !member.zombie
            && family.members.get(&process.parent()).is_some_and(|parent| {
                parent.process.group() != group && parent.process.session() == process.session()
            })
    })
}

/// `setpgid(2)`: puts `pid` into `group`. The caller has replaced zeros.
///
/// # Errors
/// As [`GroupError`] says.
pub fn set_group(caller: &Process, pid: Pid, group: Pid) -> Result<(), GroupError> {
    let family = FAMILY.lock();
    let target = &family.members.get(&pid).ok_or(GroupError::NoProcess)?.process;
    if pid != caller.pid() {
        if target.parent() != caller.pid() {
            return Err(GroupError::NoProcess);
        }
        if target.session() != caller.session() {
            return Err(GroupError::NotPermitted);
        }
        if target.has_execed.load(Ordering::Relaxed) != 0 {
            return Err(GroupError::Executed);
        }
    }
    let leads_session = target.session() == pid;
    let exists = group == pid
        || family.members.values().any(|member| {
            member.process.group() == group && member.process.session() == caller.session()
        });
    if leads_session || !exists {
        return Err(GroupError::NotPermitted);
    }
    target.group.store(group, Ordering::Relaxed);
    Ok(())
}

/// `setsid(2)`: a new session and group for a process that leads no group.
///
/// # Errors
/// If it leads one.
pub fn new_session(process: &Process) -> Result<Pid, GroupError> {
    let family = FAMILY.lock();
    let pid = process.pid();
    if family.members.values().any(|member| member.process.group() == pid) {
        return Err(GroupError::NotPermitted);
    }
    process.session.store(pid, Ordering::Relaxed);
    process.group.store(pid, Ordering::Relaxed);
    Ok(pid)
}
