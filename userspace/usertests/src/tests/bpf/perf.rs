//! Perf events and their buffers, where `bpf_perf_event_output` sends what programs say.

use super::{PERF_EVENT_ARRAY, RAW_TRACEPOINT, available, create, instruction, load};
use crate::calls::{self, raw};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use crate::tests::{cpus, epoll};
use ::bpf::calls as commands;
use ::bpf::calls::{Kind, Map, NewMap};
use ::bpf::info::MapInfo;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel_abi::perf::{ATTR_SIZE, COUNT_SW_BPF_OUTPUT, TYPE_SOFTWARE, attr, flag, ioctl, sample};
use lemma_rt::general::{__NR_perf_event_open, MAP_SHARED, O_RDONLY, PROT_READ, PROT_WRITE};
use lemma_rt::rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use lemma_rt::{Errno, Result};

const PAGE: usize = 4096;
const BOTH: u32 = PROT_READ | PROT_WRITE;
const IN: i16 = 1;
/// `BPF_F_CURRENT_CPU`, and what the helper returns.
const CURRENT_CPU: u32 = u32::MAX;
const NOENT: i32 = -2;
const NOSPC: i32 = -28;
const OPNOTSUPP: i32 = -95;

/// `struct perf_event_attr`, of an event that programs make.
struct Attr([u8; PAGE]);

impl Attr {
    fn new() -> Self {
        Self([0; PAGE])
            .with32(attr::TYPE, TYPE_SOFTWARE)
            .with32(attr::SIZE, ATTR_SIZE as u32)
            .with64(attr::CONFIG, COUNT_SW_BPF_OUTPUT)
            .with64(attr::SAMPLE_PERIOD, 1)
            .with64(attr::SAMPLE_TYPE, sample::RAW)
            .with32(attr::WAKEUP, 1)
    }

    fn with32(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn with64(mut self, offset: usize, value: u64) -> Self {
        self.0[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// `perf_event_open` as it is; a descriptor that comes of it is closed again.
    fn outcome(&mut self, pid: i32, cpu: i32, group: i32, flags: usize) -> Result<()> {
        let address = self.0.as_mut_ptr() as usize;
        let arguments = [address, pid as usize, cpu as usize, group as usize, flags, 0];
        let fd = raw(__NR_perf_event_open as usize, arguments)?;
        calls::close(fd as i32).map(|_| ())
    }

    /// An event on this CPU.
    fn open(&self, cpu: u32) -> Result<OwnedFd> {
        let arguments = [self.0.as_ptr() as usize, usize::MAX, cpu as usize, usize::MAX, 8, 0];
        let fd = raw(__NR_perf_event_open as usize, arguments)?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }
}

/// The CPU on which the rest of this test runs; the events are of it.
fn settle() -> Result<u32> {
    let cpu = cpus::allowed()?.first().copied().ok_or(Errno::INVAL)?;
    calls::sched_setaffinity(0, 128, &cpus::only(cpu))?;
    Ok(cpu)
}

/// The tests need a kernel with such events that this user may have.
fn events_available() -> Outcome {
    available()?;
    match Attr::new().outcome(-1, cpus::allowed().map_or(0, |all| all[0] as i32), -1, 0) {
        Err(Errno::NOSYS | Errno::ACCESS | Errno::PERM) => skip!("no perf events here"),
        _ => Ok(()),
    }
}

/// An array of perf events.
fn array() -> Result<Map> {
    create(PERF_EVENT_ARRAY, 4, 4, 4)
}

fn put(map: &Map, index: u32, event: &OwnedFd) -> Result<()> {
    map.update(&index.to_ne_bytes(), &event.as_raw_fd().to_ne_bytes(), 0)
}

/// A program that sends 16 bytes, or fewer, with these flags.
fn sender(map: &Map, flags: u32, size: i32) -> Result<OwnedFd> {
    let program = [
        instruction(0x7a, 10, -8, 0x1122_3344),
        instruction(0x7a, 10, -16, 0x5566_7788),
        instruction(0x18, 0x12, 0, map.fd.as_raw_fd()),
        0,
        instruction(0x18, 3, 0, flags as i32),
        0,
        instruction(0xbf, 0xa4, 0, 0),
        instruction(0x07, 4, 0, -16),
        instruction(0xb7, 5, 0, size),
        instruction(0x85, 0, 0, 25),
        super::EXIT,
    ];
    load(RAW_TRACEPOINT, &program)
}

/// Runs it; what the helper returned.
fn run(program: &OwnedFd) -> Result<i32> {
    commands::test(program.as_fd(), &[], &[0; 16], 0).map(|run| run.result as i32)
}

/// An event's buffer, mapped.
#[derive(Debug)]
struct Buffer {
    address: usize,
    pages: usize,
}

impl Buffer {
    fn map(event: &OwnedFd, pages: usize, protection: u32) -> Result<Self> {
        let length = (1 + pages) * PAGE;
        let address = calls::mmap(0, length, protection, MAP_SHARED, event.as_raw_fd(), 0)?;
        Ok(Self { address, pages })
    }

    fn unmap(self) -> Result<usize> {
        calls::munmap(self.address, (1 + self.pages) * PAGE)
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: it is mapped, aligned, and the kernel writes it atomically.
        unsafe { &*((self.address + offset) as *const AtomicU64) }
    }

    fn head(&self) -> u64 {
        self.word(1024).load(Ordering::Acquire)
    }

    fn tail(&self) -> &AtomicU64 {
        self.word(1032)
    }

    /// The bytes from one position to another.
    fn bytes(&self, from: u64, to: u64) -> Vec<u8> {
        let place = |at: u64| self.address + PAGE + at as usize % (self.pages * PAGE);
        (from..to).map(|at| calls::peek(place(at))).collect()
    }

    /// What has come, with its headers.
    fn read(&self) -> Vec<u8> {
        let (tail, head) = (self.tail().load(Ordering::Relaxed), self.head());
        let bytes = self.bytes(tail, head);
        self.tail().store(head, Ordering::Release);
        bytes
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Type, and size and mode (in the kernel) of a record.
const fn header(kind: u32, size: u32) -> [u32; 2] {
    let mode = if kind == 9 { 1 } else { 0 };
    [kind, size << 16 | mode]
}

/// What does not say what it wants is refused.
pub(super) fn event_errors() -> Outcome {
    events_available()?;
    let cpu = ok!(settle()) as i32;
    let event = Attr::new;
    ok!(event().outcome(-1, cpu, -1, 0));
    ok!(event().outcome(-1, cpu, -1, 8));
    fails!(event().outcome(-1, cpu, -1, 0x10), INVAL);
    fails!(raw(__NR_perf_event_open as usize, [8, usize::MAX, 0, usize::MAX, 0, 0]), FAULT);
    fails!(event().outcome(-1, -1, -1, 0), INVAL);
    fails!(event().outcome(-1, 99_999, -1, 0), INVAL);
    fails!(event().outcome(-1, cpu, -1, 4), INVAL);
    fails!(event().outcome(-1, cpu, 999, 0), BADF);
    let null = ok!(calls::open(c"/dev/null", O_RDONLY, 0));
    fails!(event().outcome(-1, cpu, null, 0), BADF);
    fails!(event().outcome(4_000_000, cpu, -1, 0), SRCH);
    // Other events.
    fails!(event().with64(attr::CONFIG, 99).outcome(-1, cpu, -1, 0), NOENT);
    fails!(event().with32(attr::TYPE, 77).outcome(-1, cpu, -1, 0), NOENT);
    // The structure's size: an older one, a newer one with nothing new in it.
    for size in [0, 64, 72, 136, 256, 4096] {
        ok!(event().with32(attr::SIZE, size).outcome(-1, cpu, -1, 0));
    }
    for size in [1, 63, 4097, u32::MAX] {
        let mut other = event().with32(attr::SIZE, size);
        fails!(other.outcome(-1, cpu, -1, 0), TOOBIG);
        let told = u32::from_ne_bytes([other.0[4], other.0[5], other.0[6], other.0[7]]);
        check!(told as usize >= ATTR_SIZE && told != size, ": {told}");
    }
    let mut newer = event().with32(attr::SIZE, 4096).with32(4000, 1);
    fails!(newer.outcome(-1, cpu, -1, 0), TOOBIG);
    // Bits that mean nothing.
    for (offset, value) in [
        (attr::SAMPLE_TYPE, 1 << 40),
        (attr::READ_FORMAT, 1 << 9),
        (attr::SAMPLE_PERIOD, 1 << 63),
        (attr::FLAGS, 1 << 60),
    ] {
        fails!(event().with64(offset, value).outcome(-1, cpu, -1, 0), INVAL);
    }
    fails!(event().with32(attr::RESERVED_2 - 2, 1 << 16).outcome(-1, cpu, -1, 0), INVAL);
    let status = ok!(calls::in_child(|| {
        let _ = (calls::setgid(1000), calls::setuid(1000));
        i32::from(Attr::new().outcome(-1, cpu, -1, 0) != Err(Errno::ACCESS))
    }));
    equal!(status.exited(), Some(0));
    Ok(())
}

/// What programs send is found in the buffer, as `perf_event_open(2)` says.
pub(super) fn event_records() -> Outcome {
    events_available()?;
    let all = ok!(cpus::allowed());
    let cpu = ok!(settle());
    let (map, event) = (ok!(array()), ok!(Attr::new().open(cpu)));
    ok!(put(&map, cpu % 4, &event));
    let eight = ok!(sender(&map, cpu % 4, 8));
    equal!(run(&eight), Ok(NOSPC));
    let buffer = ok!(Buffer::map(&event, 1, BOTH));
    equal!(run(&eight), Ok(0));
    for (offset, value) in [(40, 2), (1024, 24), (1032, 0), (1040, 4096), (1048, 4096)] {
        equal!((offset, buffer.word(offset).load(Ordering::Acquire)), (offset, value));
    }
    let [kind, size] = header(9, 24);
    let record = words(&[kind, size, 12, 0x5566_7788, 0, 0]);
    equal!(buffer.read()[..20], record[..20]);
    equal!(run(&ok!(sender(&map, cpu % 4, 16))), Ok(0));
    let [kind, size] = header(9, 32);
    let record = words(&[kind, size, 20, 0x5566_7788, 0, 0x1122_3344, 0, 0]);
    equal!(buffer.read()[..28], record[..28]);
    equal!(run(&ok!(sender(&map, cpu % 4, 0))), Ok(0));
    let [kind, size] = header(9, 16);
    equal!(buffer.read()[..12], words(&[kind, size, 4])[..]);
    // The slot of the CPU that it runs on; another slot, beyond the end.
    if cpu < 4 {
        equal!(run(&ok!(sender(&map, CURRENT_CPU, 8))), Ok(0));
        equal!(buffer.read().len(), 24);
    }
    equal!(run(&ok!(sender(&map, (cpu + 1) % 4, 8))), Ok(NOENT));
    equal!(run(&ok!(sender(&map, 4, 8))), Ok(-7));
    // An event of another CPU, and one that is not enabled.
    for other in all.into_iter().filter(|&other| other != cpu) {
        let event = ok!(Attr::new().open(other));
        ok!(put(&map, cpu % 4, &event));
        equal!(run(&eight), Ok(OPNOTSUPP));
    }
    ok!(put(&map, cpu % 4, &event));
    ok!(calls::ioctl(event.as_raw_fd(), ioctl::DISABLE, 0));
    equal!(run(&eight), Ok(OPNOTSUPP));
    ok!(calls::ioctl(event.as_raw_fd(), ioctl::ENABLE, 0));
    equal!(run(&eight), Ok(0));
    let disabled = ok!(Attr::new().with64(attr::FLAGS, flag::DISABLED).open(cpu));
    ok!(put(&map, cpu % 4, &disabled));
    equal!(run(&eight), Ok(OPNOTSUPP));
    Ok(())
}

/// What stands before the program's bytes, in the order of the bits but for the first.
pub(super) fn event_fields() -> Outcome {
    events_available()?;
    let cpu = ok!(settle());
    let map = ok!(array());
    let program = ok!(sender(&map, 0, 0));
    let identity =
        u64::from(calls::gettid().unwrap_or(0) as u32) << 32 | u64::from(calls::getpid() as u32);
    let wanted = sample::IDENTIFIER
        | sample::TID
        | sample::TIME
        | sample::ADDR
        | sample::ID
        | sample::STREAM_ID
        | sample::CPU
        | sample::PERIOD;
    let event = ok!(Attr::new().with64(attr::SAMPLE_TYPE, wanted | sample::RAW).open(cpu));
    let mut id = 0u64;
    ok!(calls::ioctl(event.as_raw_fd(), ioctl::ID, core::ptr::from_mut(&mut id) as usize));
    check!(id != 0);
    fails!(calls::ioctl(event.as_raw_fd(), ioctl::ID, 8), FAULT);
    ok!(put(&map, 0, &event));
    let buffer = ok!(Buffer::map(&event, 1, BOTH));
    let mut times = [0; 2];
    for time in &mut times {
        equal!(run(&program), Ok(0));
        let record = buffer.read();
        let fields: Vec<u64> = record.chunks(8).map(super::number).collect();
        *time = fields[3];
        let [kind, size] = header(9, 80);
        equal!(record[..8], words(&[kind, size])[..]);
        equal!(fields[1..3], [id, identity]);
        equal!(fields[4..7], [0, id, fields[6]]);
        equal!(fields[7..9], [u64::from(cpu), 0]);
        equal!(fields[9] as u32, 4);
    }
    check!(times[0] < times[1], ": {times:?}");
    // Without the program's bytes.
    let event = ok!(Attr::new().with64(attr::SAMPLE_TYPE, sample::CPU).open(cpu));
    ok!(put(&map, 0, &event));
    let buffer = ok!(Buffer::map(&event, 1, BOTH));
    equal!(run(&program), Ok(0));
    let [kind, size] = header(9, 16);
    equal!(buffer.read(), words(&[kind, size, cpu, 0]));
    Ok(())
}

/// What finds no room is counted, and told of before the next record.
pub(super) fn event_losses() -> Outcome {
    events_available()?;
    let cpu = ok!(settle());
    let (map, event) = (ok!(array()), ok!(Attr::new().open(cpu)));
    ok!(put(&map, 0, &event));
    let buffer = ok!(Buffer::map(&event, 1, BOTH));
    let (eight, sixteen) = (ok!(sender(&map, 0, 8)), ok!(sender(&map, 0, 16)));
    let mut taken = 0;
    while ok!(run(&sixteen)) == 0 {
        taken += 1;
        check!(taken < 128);
    }
    equal!((taken, buffer.head()), (127, 4064));
    equal!(run(&eight), Ok(NOSPC));
    // Room for the record, but not for what is to be told before it.
    buffer.tail().store(8, Ordering::Release);
    equal!(run(&eight), Ok(NOSPC));
    buffer.tail().store(4064, Ordering::Release);
    equal!(run(&eight), Ok(0));
    let mut id = 0u64;
    ok!(calls::ioctl(event.as_raw_fd(), ioctl::ID, core::ptr::from_mut(&mut id) as usize));
    let ([lost, lost_size], [kind, size]) = (header(2, 24), header(9, 24));
    let expected = [lost, lost_size, id as u32, 0, 3, 0, kind, size, 12, 0x5566_7788, 0];
    equal!(buffer.read()[..44], words(&expected)[..]);
    // While it is paused, too.
    ok!(calls::ioctl(event.as_raw_fd(), ioctl::PAUSE_OUTPUT, 1));
    equal!(run(&eight), Ok(NOSPC));
    ok!(calls::ioctl(event.as_raw_fd(), ioctl::PAUSE_OUTPUT, 0));
    equal!(run(&eight), Ok(0));
    equal!(buffer.read()[..24], words(&[lost, lost_size, id as u32, 0, 1, 0])[..]);
    // A reader that lies is as good as one that reads.
    for tail in [1, u64::MAX, 1 << 40] {
        buffer.tail().store(tail, Ordering::Release);
        for _ in 0..200 {
            check!(matches!(run(&sixteen), Ok(0 | NOSPC)));
        }
    }
    // Nobody says what has been read: the oldest is overwritten.
    ok!(buffer.unmap());
    let buffer = ok!(Buffer::map(&event, 1, PROT_READ));
    for _ in 0..300 {
        equal!(run(&sixteen), Ok(0));
    }
    equal!(buffer.head(), 300 * 32);
    Ok(())
}

/// Who waits is woken once in so many records, or bytes.
pub(super) fn event_wakes() -> Outcome {
    events_available()?;
    let cpu = ok!(settle());
    let map = ok!(array());
    let program = ok!(sender(&map, 0, 8));
    let watermark =
        |bytes| Attr::new().with64(attr::FLAGS, flag::WATERMARK).with32(attr::WAKEUP, bytes);
    let records = |count| Attr::new().with32(attr::WAKEUP, count);
    for (wanted, count, expected) in [
        (records(1), 3, vec![0, 1, 2]),
        (records(3), 9, vec![2, 5, 8]),
        (records(0), 90, vec![85]),
        (watermark(100), 21, vec![4, 8, 12, 16, 20]),
        (watermark(0), 90, vec![85]),
    ] {
        let event = ok!(wanted.open(cpu));
        let told = |wanted: i16| calls::poll(&mut [(event.as_raw_fd(), wanted)], 0);
        // Without a buffer it is hung up, which is told of without being asked for.
        equal!(told(0), Ok(1));
        let _buffer = ok!(Buffer::map(&event, 1, BOTH));
        equal!(told(IN), Ok(0));
        ok!(put(&map, 0, &event));
        let mut woken = Vec::new();
        for number in 0..count {
            equal!(run(&program), Ok(0));
            if ok!(told(IN)) == 1 {
                woken.push(number);
            }
        }
        equal!(woken, expected);
    }
    // The same by way of an event poll, and from another process.
    let event = ok!(Attr::new().open(cpu));
    let buffer = ok!(Buffer::map(&event, 1, BOTH));
    ok!(put(&map, 0, &event));
    let poll = ok!(epoll::create());
    ok!(epoll::add(poll, event.as_raw_fd(), IN as u32));
    equal!(epoll::look(poll).map(|events| events.len()), Ok(0));
    equal!(run(&program), Ok(0));
    equal!(epoll::look(poll).map(|events| events.len()), Ok(1));
    equal!(epoll::look(poll).map(|events| events.len()), Ok(0));
    let status = ok!(calls::in_child(|| {
        calls::pause_for(20);
        i32::from(run(&program) != Ok(0))
    }));
    equal!(status.exited(), Some(0));
    equal!(calls::poll(&mut [(event.as_raw_fd(), IN)], 10_000), Ok(1));
    equal!(buffer.read().len(), 48);
    Ok(())
}

/// A buffer is a page, which can be written, and a power of two of pages, which only look so.
pub(super) fn event_pages() -> Outcome {
    events_available()?;
    let cpu = ok!(settle());
    let (map, event) = (ok!(array()), ok!(Attr::new().open(cpu)));
    let fd = event.as_raw_fd();
    ok!(put(&map, 0, &event));
    let program = ok!(sender(&map, 0, 8));
    fails!(Buffer::map(&event, 3, BOTH), INVAL);
    fails!(calls::mmap(0, 2 * PAGE, BOTH, MAP_SHARED, fd, PAGE), INVAL);
    fails!(calls::ioctl(fd, ioctl::PAUSE_OUTPUT, 1), INVAL);
    let one = ok!(Buffer::map(&event, 2, BOTH));
    // A second mapping is of the same buffer, and has its size.
    fails!(Buffer::map(&event, 1, BOTH), INVAL);
    fails!(Buffer::map(&event, 0, BOTH), INVAL);
    let two = ok!(Buffer::map(&event, 2, BOTH));
    equal!(run(&program), Ok(0));
    equal!((one.head(), two.head()), (24, 24));
    equal!(one.bytes(0, 24), two.bytes(0, 24));
    // The records cannot be written, neither by the kernel on our behalf; not even when rights were
    // taken away and given back.
    let zeros = ok!(calls::open(c"/dev/zero", O_RDONLY, 0));
    let into = |address: usize| {
        raw(lemma_rt::general::__NR_read as usize, [zeros as usize, address, 8, 0, 0, 0])
    };
    for _ in 0..2 {
        for page in [PAGE, 2 * PAGE] {
            fails!(into(one.address + page), FAULT);
        }
        equal!(into(one.address + 1032), Ok(8));
        let head = calls::peek(one.address + PAGE);
        equal!(head, 9);
        ok!(calls::mprotect(one.address, 3 * PAGE, PROT_READ));
        fails!(into(one.address + 1032), FAULT);
        ok!(calls::mprotect(one.address, 3 * PAGE, BOTH));
    }
    // A buffer stays as long as a mapping does, and the next one is new.
    ok!(one.unmap());
    equal!(run(&program), Ok(0));
    equal!(two.head(), 48);
    ok!(two.unmap());
    equal!(run(&program), Ok(NOSPC));
    let three = ok!(Buffer::map(&event, 4, BOTH));
    equal!(three.head(), 0);
    equal!(three.bytes(0, 4 * PAGE as u64).iter().position(|&byte| byte != 0), None);
    equal!(run(&program), Ok(0));
    equal!(three.head(), 24);
    ok!(three.unmap());
    // One without pages for records has none.
    let none = ok!(Buffer::map(&event, 0, BOTH));
    equal!(none.word(1048).load(Ordering::Acquire), 0);
    equal!(run(&program), Ok(NOSPC));
    fails!(calls::ioctl(fd, ioctl::PAUSE_OUTPUT, 1), INVAL);
    // The rest of what a file does.
    let mut count = [1; 8];
    equal!(calls::read(fd, &mut count), Ok(8));
    equal!(count, [0; 8]);
    fails!(calls::read(fd, &mut count[..7]), NOSPC);
    fails!(calls::write(fd, &count), INVAL);
    fails!(calls::lseek(fd, 0, 0), SPIPE);
    ok!(calls::ioctl(fd, ioctl::RESET, 0));
    fails!(calls::ioctl(fd, ioctl::SET_FILTER, c"x".as_ptr() as usize), INVAL);
    fails!(calls::ioctl(fd, ioctl::SET_BPF, program.as_raw_fd() as usize), INVAL);
    fails!(calls::ioctl(fd, 0x2450, 0), NOTTY);
    Ok(())
}

/// An array keeps an event as long as the descriptor of the array by which it came is open, or the
/// map, if that was asked for.
pub(super) fn event_holders() -> Outcome {
    /// `BPF_F_PRESERVE_ELEMS`.
    const PRESERVE: u32 = 1 << 11;
    events_available()?;
    let cpu = ok!(settle());
    for (flags, left) in [(0, NOENT), (PRESERVE, 0)] {
        let new = NewMap { flags, ..super::new_map(PERF_EVENT_ARRAY, 4, 4, 4) };
        let fd = ok!(commands::create_map(&new));
        let map = Map { fd, key_size: 4, value_size: 4 };
        let number = ok!(MapInfo::of(map.fd.as_fd())).id;
        let again = Map { fd: ok!(commands::by_id(Kind::Map, number)), key_size: 4, value_size: 4 };
        let event = ok!(Attr::new().open(cpu));
        let _buffer = ok!(Buffer::map(&event, 1, BOTH));
        let program = ok!(sender(&map, 0, 8));
        fails!(map.update(&[0; 4], &map.fd.as_raw_fd().to_ne_bytes(), 0), BADF);
        fails!(map.update(&[0; 4], &999u32.to_ne_bytes(), 0), BADF);
        ok!(put(&again, 0, &event));
        // The map keeps it open.
        drop(event);
        equal!(run(&program), Ok(0));
        // Who has it by a copy of the descriptor has it by the same opening.
        let copy = ok!(again.fd.try_clone().map_err(|_| Errno::MFILE));
        drop(again);
        equal!(run(&program), Ok(0));
        drop(copy);
        equal!((flags, run(&program)), (flags, Ok(left)));
        let event = ok!(Attr::new().open(cpu));
        let other = ok!(Buffer::map(&event, 1, BOTH));
        ok!(put(&map, 0, &event));
        equal!(run(&program), Ok(0));
        equal!(other.head(), 24);
        ok!(map.delete(&[0; 4]));
        fails!(map.delete(&[0; 4]), NOENT);
        equal!(run(&program), Ok(NOENT));
    }
    Ok(())
}
