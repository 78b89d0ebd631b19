//! What a program is given to run on, as `BPF_PROG_TEST_RUN` of Linux does it.
//!
//! Packet programs get a packet and a context that points to it. An Ethernet header is part of
//! the packet where the hook sees one (XDP, the classifier), and taken off where the hook lies
//! above it. Programs about sockets, most of which Linux runs for sockets only, get the bytes as
//! the message, or the option's value, that their context points to. Every other program gets the
//! bytes as its context, filled up with zeros.

#![forbid(unsafe_code)]

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kernel_bpf::helper::KernelServices;
use kernel_bpf::interpreter::PacketContext;
use kernel_bpf::map::Map;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Proof, Verified};

use crate::engine::Ready;

/// Bytes of an Ethernet header; Linux refuses a test packet that has less.
const ETHERNET: usize = 14;
/// `struct __sk_buff`: offsets of fields that a test packet sets.
const SKB_PROTOCOL: usize = 16;
const SKB_IFINDEX: usize = 40;
/// `struct xdp_md`: the offset of `ingress_ifindex`.
const XDP_INGRESS_IFINDEX: usize = 12;
/// The loopback device, where test packets come from.
const LOOPBACK: u32 = 1;

const NO_TEST_RUN: &str = "there is no test run for this program type";

/// What a run gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input {
    /// The packet; the context of a program that takes none.
    pub(crate) data: Option<Vec<u8>>,
    /// The context; for a packet's program the fields of its structure that are to be set.
    pub(crate) fields: Option<Vec<u8>>,
}

/// Bytes of a packet that nobody gave.
const DEFAULT_PACKET: usize = 64;
/// Bytes before and behind a packet into which programs may let it grow (Linux:
/// `XDP_PACKET_HEADROOM`, and the page that a test packet has).
const ROOM: usize = 256;

/// Runs a verified program once and returns r0.
pub(crate) fn run_on(
    ready: &Ready,
    program: &Verified<Program<Arc<Map>>>,
    input: &mut Input,
    services: &dyn KernelServices,
) -> Result<u64> {
    let prog_type = program.prog_type;
    let plain = PacketContext::new(prog_type, &mut []).is_none();
    if plain || View::of(prog_type) == View::Fields {
        if input.fields.is_some() && input.data.is_some() {
            bail!("a program of type {} has its context, and no other memory", prog_type.name());
        }
        let fields = input.fields.get_or_insert_with(|| input.data.take().unwrap_or_default());
        if plain {
            return run_raw(ready, program.proof(), fields, services);
        }
        return run_fields(ready, prog_type, fields, services);
    }
    let data = input.data.get_or_insert_with(|| vec![0; DEFAULT_PACKET]);
    run_packet(ready, prog_type, data, input.fields.as_deref_mut().unwrap_or_default(), services)
}

/// What programs whose contexts have pointers see of the data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    /// All of a packet.
    Packet,
    /// What the packet's Ethernet header carries.
    AboveLink,
    /// A message, or the value of an option.
    Message,
    /// Nothing: there is only the context.
    Fields,
}

impl View {
    fn of(prog_type: ProgType) -> Self {
        match prog_type {
            ProgType::Xdp | ProgType::SchedCls | ProgType::SchedAct => Self::Packet,
            ProgType::SkSkb
            | ProgType::SkMsg
            | ProgType::SkReuseport
            | ProgType::SockOps
            | ProgType::CgroupSockopt => Self::Message,
            ProgType::CgroupSockAddr | ProgType::SkLookup => Self::Fields,
            _ => Self::AboveLink,
        }
    }

    /// Whether the data is a packet as it comes from a device.
    fn is_frame(self) -> bool {
        matches!(self, Self::Packet | Self::AboveLink)
    }
}

fn run_raw(
    ready: &Ready,
    proof: &Proof,
    context: &mut Vec<u8>,
    services: &dyn KernelServices,
) -> Result<u64> {
    let least = proof.max_ctx_offset as usize;
    if context.len() < least {
        context.resize(least, 0);
    }
    ready.run(context, services).context(NO_TEST_RUN)
}

/// Runs a program that has nothing but its context.
fn run_fields(
    ready: &Ready,
    prog_type: ProgType,
    fields: &mut [u8],
    services: &dyn KernelServices,
) -> Result<u64> {
    let nothing: &mut [u8] = &mut [];
    let mut context = PacketContext::new(prog_type, nothing).context(NO_TEST_RUN)?;
    set_fields(&mut context, fields);
    let result = ready.run_packet(&mut context, services);
    get_fields(&context, fields);
    result.context(NO_TEST_RUN)
}

/// Sets the fields of a context, from its first on.
fn set_fields(context: &mut PacketContext<'_>, fields: &[u8]) {
    for (index, bytes) in fields.chunks(4).enumerate() {
        let mut word = [0; 4];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        context.set_u32(index * 4, u32::from_ne_bytes(word));
    }
}

/// Puts the numbers that the program left into what they were set from; pointers are not to be seen.
fn get_fields(context: &PacketContext<'_>, fields: &mut [u8]) {
    for (index, bytes) in fields.chunks_mut(4).enumerate() {
        if let Some(field) = context.get_u32(index * 4) {
            bytes.iter_mut().zip(field.to_ne_bytes()).for_each(|(to, from)| *to = from);
        }
    }
}

fn run_packet(
    ready: &Ready,
    prog_type: ProgType,
    data: &mut Vec<u8>,
    fields: &mut [u8],
    services: &dyn KernelServices,
) -> Result<u64> {
    let view = View::of(prog_type);
    if view.is_frame() && data.len() < ETHERNET {
        bail!("a test packet has at least {ETHERNET} bytes");
    }
    let protocol = protocol(data);
    let mut memory = vec![0; ROOM];
    memory.extend_from_slice(data);
    let end = memory.len();
    memory.resize(end + ROOM, 0);
    let start = ROOM + if view == View::AboveLink { ETHERNET } else { 0 };
    let Some(mut context) = PacketContext::with_room(prog_type, &mut memory, start..end) else {
        bail!(NO_TEST_RUN);
    };
    if prog_type == ProgType::Xdp {
        context.set_u32(XDP_INGRESS_IFINDEX, LOOPBACK);
    } else if view.is_frame() {
        context.set_u32(SKB_PROTOCOL, u32::from(protocol));
        context.set_u32(SKB_IFINDEX, LOOPBACK);
    }
    set_fields(&mut context, fields);
    let result = ready.run_packet(&mut context, services);
    get_fields(&context, fields);
    let after = context.range();
    // What the program left, below the link layer's header where that was taken off.
    let left = memory.get(after).unwrap_or_default();
    data.truncate(start - ROOM);
    data.extend_from_slice(left);
    result.context(NO_TEST_RUN)
}

/// `skb->protocol`, in network order as programs see it: the type field of the header, or
/// what Linux makes of a length there (`eth_type_trans`).
fn protocol(packet: &[u8]) -> u16 {
    const ETH_P_802_3: u16 = 1;
    const ETH_P_802_2: u16 = 4;
    let word = |at: usize| {
        let bytes = packet.get(at..at + 2).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u16::from_be_bytes(*bytes))
    };
    let host = match word(12) {
        ethertype @ 0x600.. => ethertype,
        // Raw 802.3 begins with an empty checksum.
        _ if word(ETHERNET) == 0xffff => ETH_P_802_3,
        _ => ETH_P_802_2,
    };
    host.to_be()
}
