//! What a program is given to run on, as `BPF_PROG_TEST_RUN` of Linux does it.
//!
//! Packet programs get a packet and a context that points to it. An Ethernet header is part of
//! the packet where the hook sees one (XDP, the classifier), and taken off where the hook lies
//! above it. Every other program gets the bytes as its context, filled up with zeros.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use kernel_bpf::helper::KernelServices;
use kernel_bpf::interpreter::PacketContext;
use kernel_bpf::prog_type::ProgType;

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

/// Runs once and returns r0.
pub(crate) fn run(
    ready: &Ready,
    prog_type: ProgType,
    context_bytes: usize,
    data: &mut Vec<u8>,
    services: &dyn KernelServices,
) -> Result<u64> {
    if PacketContext::new(prog_type, &mut []).is_none() {
        if data.len() < context_bytes {
            data.resize(context_bytes, 0);
        }
        return ready
            .run(data, services)
            .context("the engine has no test run for this program type");
    }
    if data.len() < ETHERNET {
        bail!("a test packet has at least {ETHERNET} bytes");
    }
    let protocol = protocol(data);
    let link_layer = matches!(prog_type, ProgType::Xdp | ProgType::SchedCls | ProgType::SchedAct);
    let packet = data.get_mut(if link_layer { 0 } else { ETHERNET }..).unwrap_or_default();
    let Some(mut context) = PacketContext::new(prog_type, packet) else {
        bail!("the engine has no packets for this program type");
    };
    if prog_type == ProgType::Xdp {
        context.set_u32(XDP_INGRESS_IFINDEX, LOOPBACK);
    } else {
        context.set_u32(SKB_PROTOCOL, u32::from(protocol));
        context.set_u32(SKB_IFINDEX, LOOPBACK);
    }
    Ok(ready.run_packet(&mut context, services))
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
