//! Changes of an Internet checksum (RFC 1624) as helpers make them, and the hash of a packet's
//! flow.

#![forbid(unsafe_code)]

/// Adds in one's complement.
const fn add(one: u32, other: u32) -> u32 {
    let (sum, carry) = one.overflowing_add(other);
    sum + carry as u32
}

/// A sum as 16 bits, not complemented.
const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The checksum field `old` after `from` in its data became `to`, each as it lies in memory.
pub(super) const fn replace(old: u16, from: u32, to: u32) -> u16 {
    !fold(add(add(!old as u32, !from), to))
}

/// A number that packets of one flow have in common: made of addresses, protocol and ports; 0
/// for what is neither IPv4 nor IPv6.
pub(super) fn flow_hash(packet: &[u8]) -> u32 {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    let byte = |at: usize| packet.get(at).copied().unwrap_or(0);
    let (addresses, protocol, transport) = match byte(0) >> 4 {
        4 if packet.len() >= 20 => (12..20, byte(9), usize::from(byte(0) & 15) * 4),
        6 if packet.len() >= 40 => (8..40, byte(6), 40),
        _ => return 0,
    };
    // Later fragments have no ports.
    let fragment = byte(0) >> 4 == 4 && (byte(6) & 0x3f, byte(7)) != (0, 0);
    let ports = if matches!(protocol, TCP | UDP) && !fragment { 4 } else { 0 };
    let key = packet.get(addresses).unwrap_or_default().iter();
    let ports = packet.get(transport..transport + ports).unwrap_or_default();
    // FNV-1a, then a last mixing.
    let hash = key
        .chain([&protocol])
        .chain(ports)
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::bytes::csum_diff;

    #[test]
    fn replacing_gives_what_summing_anew_gives() {
        let mut data = *b"0123456789abcdef";
        let sum = |data: &[u8]| csum_diff(&[], data, 0) as u16;
        let before = !sum(&data);
        let old = u32::from_ne_bytes(data[4..8].try_into().unwrap());
        data[4..8].copy_from_slice(&[1, 2, 0xff, 0xfe]);
        let new = u32::from_ne_bytes([1, 2, 0xff, 0xfe]);
        assert_eq!(replace(before, old, new), !sum(&data));
        let change = csum_diff(&old.to_ne_bytes(), &new.to_ne_bytes(), 0);
        assert_eq!(replace(before, 0, change as u32), !sum(&data));
    }

    #[test]
    fn a_flow_has_one_hash() {
        let mut packet = [0u8; 40];
        packet[0] = 0x45;
        packet[9] = 17;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[20..24].copy_from_slice(&[1, 2, 3, 4]);
        let hash = flow_hash(&packet);
        packet[30] = 9;
        packet[8] = 3;
        assert_eq!(flow_hash(&packet), hash);
        packet[23] = 5;
        assert_ne!(flow_hash(&packet), hash, "another port");
        // A later fragment: what lies there is no port.
        packet[7] = 1;
        let fragment = flow_hash(&packet);
        packet[23] = 6;
        assert_eq!(flow_hash(&packet), fragment);
        assert_eq!(flow_hash(&[0; 40]), 0);
    }
}
