//! Perf events, of the one kind there is: what programs send with `bpf_perf_event_output`, on one
//! CPU each. A perf event array holds them; user space maps their buffers
//! ([`kernel_bpf::perf_ring`]) and waits for records.
//!
//! A buffer is made when the event is mapped while no mapping of it is left, and stays, unused,
//! until the next one or the end of the event.
//!
//! **Locks.** Programs on the event's CPU and system calls meet in `state` (interrupts off while it
//! is held); `mapping` is taken before it. Nothing is allocated or freed under `state`.

use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel_abi::perf::{ioctl, sample};
use kernel_bpf::map::{EventSink, MapError};
use kernel_bpf::memory::HeapMemory;
use kernel_bpf::perf_ring::{PerfRing, RingUse, Sample};
use kernel_sync::{Mutex, SpinLock};
use kernel_vfs::{File, FsError, OpenFile, OpenFlags, Readiness, SharedFrame, Sink};

use super::host::current_ids;
use crate::arch::{Arch, Architecture, PAGE_SIZE};
use crate::file::poll;
use crate::mem::memapi::may_allocate;
use crate::mem::user::write_user;

/// What may stand before a program's bytes (`sample_type`), and the bytes themselves.
pub const SAMPLES: u64 = sample::IDENTIFIER
    | sample::TID
    | sample::TIME
    | sample::ADDR
    | sample::ID
    | sample::STREAM_ID
    | sample::CPU
    | sample::PERIOD
    | sample::RAW;
/// The most words before them.
const FIELDS: usize = 8;

/// What an event is to be.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub cpu: usize,
    /// A part of [`SAMPLES`].
    pub sample_type: u64,
    pub enabled: bool,
    /// Wakes its reader once in so many bytes, and once in so many records; 0 as in [`RingUse`].
    pub wake_bytes: u32,
    pub wake_records: u32,
}

/// An event.
pub struct PerfEvent {
    /// Never another's.
    id: u64,
    request: Request,
    /// Makes one mapping after the other.
    mapping: Mutex<()>,
    state: SpinLock<State>,
}

struct State {
    enabled: bool,
    ring: Option<PerfRing>,
    /// Held by what maps the ring.
    mapped: Weak<Mapped>,
    /// The reader is to be woken, and has not been told yet.
    woken: bool,
    /// How often it was to be woken.
    wakeups: u64,
}

/// A mapping of an event's buffer.
struct Mapped;

impl State {
    /// The buffer, if it is mapped.
    fn ring(&mut self) -> Option<&mut PerfRing> {
        let mapped = self.mapped.strong_count() > 0;
        self.ring.as_mut().filter(|_| mapped)
    }
}

/// A new event.
///
/// # Errors
/// `OutOfMemory`.
pub fn new(request: Request) -> Result<Arc<OpenFile>, FsError> {
    static IDS: AtomicU64 = AtomicU64::new(0);
    may_allocate(size_of::<PerfEvent>()).map_err(|_| FsError::OutOfMemory)?;
    let state = State {
        enabled: request.enabled,
        ring: None,
        mapped: Weak::new(),
        woken: false,
        wakeups: 0,
    };
    let event = PerfEvent {
        id: IDS.fetch_add(1, Ordering::Relaxed) + 1,
        request,
        mapping: Mutex::new(()),
        state: SpinLock::new(state),
    };
    Ok(OpenFile::new(Arc::new(event), None, OpenFlags::READ_WRITE))
}

impl PerfEvent {
    /// What stands before a program's bytes, in Linux's order; how many words.
    fn fields(&self, words: &mut [u64; FIELDS]) -> usize {
        let (pid, tid) = current_ids();
        let [a, b, c, d] = pid.to_ne_bytes();
        let [e, f, g, h] = tid.to_ne_bytes();
        let all = [
            (sample::IDENTIFIER, self.id),
            (sample::TID, u64::from_ne_bytes([a, b, c, d, e, f, g, h])),
            (sample::TIME, Arch::now_ns()),
            (sample::ADDR, 0),
            (sample::ID, self.id),
            (sample::STREAM_ID, self.id),
            (sample::CPU, u64::from(self.request.cpu as u32)),
            (sample::PERIOD, 0),
        ];
        let wanted = all.iter().filter(|(bit, _)| self.request.sample_type & bit != 0);
        words.iter_mut().zip(wanted).map(|(word, (_, value))| *word = *value).count()
    }

    /// Takes what a program sends on `cpu`.
    fn record(&self, cpu: usize, data: &[u8]) -> Result<(), MapError> {
        let mut words = [0; FIELDS];
        let count = self.fields(&mut words);
        let fields = words.get(..count).unwrap_or_default();
        let raw = (self.request.sample_type & sample::RAW != 0).then_some(data);
        let wakes = {
            let mut state = self.state.lock();
            if !state.enabled || self.request.cpu != cpu {
                return Err(MapError::Impossible);
            }
            let ring = state.ring().ok_or(MapError::NoSpace)?;
            let wakes = ring.push(self.id, &Sample { fields, raw })?;
            if wakes {
                state.woken = true;
                state.wakeups += 1;
            }
            wakes
        };
        if wakes {
            poll::changed();
        }
        Ok(())
    }
}

impl File for PerfEvent {
    /// The count, which is none: a program's record is no occurrence of the event.
    fn read(
        &self,
        _offset: &mut u64,
        sink: &mut dyn Sink,
        _flags: OpenFlags,
    ) -> Result<usize, FsError> {
        let count = 0u64.to_ne_bytes();
        if sink.remaining() < count.len() {
            return Err(FsError::NoSpace);
        }
        if sink.put(&count) == count.len() { Ok(count.len()) } else { Err(FsError::Fault) }
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, FsError> {
        match command {
            ioctl::ENABLE => self.state.lock().enabled = true,
            ioctl::DISABLE => self.state.lock().enabled = false,
            // The count is always zero.
            ioctl::RESET => {}
            ioctl::ID => write_user(argument, self.id).map_err(|_| FsError::Fault)?,
            ioctl::PAUSE_OUTPUT => {
                let mut state = self.state.lock();
                let ring = state.ring().ok_or(FsError::InvalidArgument)?;
                ring.pause(argument as u32 != 0).map_err(|_| FsError::InvalidArgument)?;
            }
            // No program runs at this event, and nothing of it can be filtered.
            ioctl::SET_BPF | ioctl::SET_FILTER => return Err(FsError::InvalidArgument),
            ioctl::REFRESH
            | ioctl::PERIOD
            | ioctl::SET_OUTPUT
            | ioctl::QUERY_BPF
            | ioctl::MODIFY_ATTRIBUTES => return Err(FsError::NotSupported),
            _ => return Err(FsError::NotTerminal),
        }
        Ok(0)
    }

    /// As on Linux, who is told of records is not told of them again.
    fn readiness(&self) -> Readiness {
        let mut state = self.state.lock();
        if state.ring().is_none() {
            Readiness::HANG_UP
        } else if core::mem::take(&mut state.woken) {
            Readiness::READ
        } else {
            Readiness::empty()
        }
    }

    fn activity(&self, _what: Readiness) -> Option<u64> {
        Some(self.state.lock().wakeups)
    }

    /// The first mapping makes the buffer; who can only read it does not say what it has read.
    fn mapped(
        &self,
        offset: u64,
        length: usize,
        writable: bool,
    ) -> Result<Option<Arc<dyn Any + Send + Sync>>, FsError> {
        let pages = length.div_ceil(PAGE_SIZE).checked_sub(1).filter(|_| offset == 0);
        let pages = pages.ok_or(FsError::InvalidArgument)?;
        let _one_at_a_time = self.mapping.lock();
        let old = {
            let state = self.state.lock();
            let pages = state.ring.as_ref().map(PerfRing::pages);
            state.mapped.upgrade().zip(pages)
        };
        if let Some((mapped, now)) = old {
            return if now == pages { Ok(Some(mapped)) } else { Err(FsError::InvalidArgument) };
        }
        let Request { wake_bytes, wake_records, .. } = self.request;
        let how = RingUse { pages, wake_bytes, wake_records, overwrites: !writable };
        let ring = PerfRing::new(&HeapMemory, how).map_err(|error| match error {
            MapError::OutOfMemory => FsError::OutOfMemory,
            _ => FsError::InvalidArgument,
        })?;
        let mapped = Arc::new(Mapped);
        let unused = {
            let mut state = self.state.lock();
            state.woken = false;
            (
                core::mem::replace(&mut state.mapped, Arc::downgrade(&mapped)),
                state.ring.replace(ring),
            )
        };
        drop(unused);
        Ok(Some(mapped))
    }

    /// The pages with records are only read, however they are mapped.
    fn shared_frame(&self, offset: u64, _writable: bool) -> Result<SharedFrame, FsError> {
        let index = usize::try_from(offset / PAGE_SIZE as u64);
        let index = index.map_err(|_| FsError::InvalidArgument)?;
        let mut state = self.state.lock();
        let page = state.ring().and_then(|ring| ring.page_address(index));
        let frame = Arch::dma_address(page.ok_or(FsError::InvalidArgument)?);
        let address = frame.ok_or(FsError::NoDevice)?.0;
        Ok(SharedFrame { address, read_only: index > 0 })
    }

    fn label(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("anon_inode:[perf_event]")
    }
}

/// An event in a perf event array, which keeps it open.
pub struct Held {
    open: Arc<OpenFile>,
    origin: usize,
}

impl Held {
    /// The event behind `open`, if it is one, for an array that is open as `origin`.
    pub fn new(open: Arc<OpenFile>, origin: usize) -> Option<Self> {
        open.file().downcast_ref::<PerfEvent>()?;
        Some(Self { open, origin })
    }
}

impl EventSink for Held {
    fn record(&self, cpu: usize, data: &[u8]) -> Result<(), MapError> {
        let event = self.open.file().downcast_ref::<PerfEvent>();
        event.ok_or(MapError::Invalid)?.record(cpu, data)
    }

    fn origin(&self) -> usize {
        self.origin
    }
}
