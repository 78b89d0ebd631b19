//! What a program is given to run on, as `BPF_PROG_TEST_RUN` of Linux does it.
//!
//! Packet programs get a packet and a context that points to it. An Ethernet header is part of
//! the packet where the hook sees one (XDP, the classifier), and taken off where the hook lies
//! above it. Every other program gets the bytes as its context, filled up with zeros.

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
    if PacketContext::new(prog_type, &mut []).is_none() {
        let context = input.fields.get_or_insert_with(|| input.data.take().unwrap_or_default());
        return run_raw(ready, program.proof(), context, services);
    }
    let data = input.data.get_or_insert_with(|| vec![0; DEFAULT_PACKET]);
    run_packet(ready, prog_type, data, input.fields.as_deref().unwrap_or_default(), services)
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
    ready.run(context, services).context("there is no test run for this program type")
}

fn run_packet(
    ready: &Ready,
    prog_type: ProgType,
    data: &mut Vec<u8>,
    fields: &[u8],
    services: &dyn KernelServices,
) -> Result<u64> {
    if data.len() < ETHERNET {
        bail!("a test packet has at least {ETHERNET} bytes");
    }
    let protocol = protocol(data);
    let link_layer = matches!(prog_type, ProgType::Xdp | ProgType::SchedCls | ProgType::SchedAct);
    let mut memory = vec![0; ROOM];
    memory.extend_from_slice(data);
    let end = memory.len();
    memory.resize(end + ROOM, 0);
    let start = ROOM + if link_layer { 0 } else { ETHERNET };
    let Some(mut context) = PacketContext::with_room(prog_type, &mut memory, start..end) else {
        bail!("there is no test run for this program type");
    };
    if prog_type == ProgType::Xdp {
        context.set_u32(XDP_INGRESS_IFINDEX, LOOPBACK);
    } else {
        context.set_u32(SKB_PROTOCOL, u32::from(protocol));
        context.set_u32(SKB_IFINDEX, LOOPBACK);
    }
    for (index, word) in fields.chunks_exact(4).enumerate() {
        if let Some(word) = word.first_chunk() {
            context.set_u32(index * 4, u32::from_ne_bytes(*word));
        }
    }
    let result = ready.run_packet(&mut context, services);
    let after = context.range();
    // What the program left, below the link layer's header where that was taken off.
    let left = memory.get(after).unwrap_or_default();
    data.truncate(start - ROOM);
    data.extend_from_slice(left);
    result.context("there is no test run for this program type")
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
