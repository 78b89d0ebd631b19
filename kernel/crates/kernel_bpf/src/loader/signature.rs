//! Signed objects: who made a BPF object, and which version of it this is.
//!
//! A signed file is the ELF file exactly as it was built, followed by a trailer of
//! [`TRAILER_BYTES`] bytes, as Linux appends signatures to kernel modules. ELF readers ignore
//! what follows the last section, so every tool still takes the file, and a loader that has no
//! keys loads it unsigned:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | version, little-endian |
//! | 8 | [`KeyId`] of the key |
//! | 64 | Ed25519 signature (RFC 8032) |
//! | 16 | [`MAGIC`] |
//!
//! The signature is over a fixed text, the SHA-256 of the ELF file, and the version. So nobody
//! without the key can change a byte, or pass an old object off as a newer one: a loader that
//! knows the version which runs refuses an older one ([`Signed::verify`]).
//!
//! [`Authentic`] is an object whose signature was checked; only [`Signed::verify`] makes one.

#![forbid(unsafe_code)]

use core::fmt;

use ed25519_compact::{KeyPair, PublicKey as Ed25519Key, Seed, Signature};
use hmac_sha256::Hash;

/// Ends a signed file.
pub const MAGIC: [u8; 16] = *b"~Lemma signed 1~";
/// Bytes that signing adds to a file.
pub const TRAILER_BYTES: usize = 8 + 8 + SIGNATURE_BYTES + MAGIC.len();

const SIGNATURE_BYTES: usize = 64;
/// Keeps a signature of something else from being one of an object.
const CONTEXT: &[u8; 24] = b"Lemma BPF object, v1\0\0\0\0";
const MESSAGE_BYTES: usize = CONTEXT.len() + 32 + 8;

/// Tells keys apart: the first bytes of the key's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A key that objects may be signed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The key that 64 hexadecimal digits stand for; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = *pair else { return None };
            let digit = |byte: u8| char::from(byte).to_digit(16);
            *byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
        }
        Some(Self(key))
    }

    /// How signatures name the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let hash = Hash::hash(&self.0);
        KeyId(hash.first_chunk().copied().unwrap_or_default())
    }
}

/// The secret half of a key, for whoever signs.
pub struct SecretKey(KeyPair);

impl SecretKey {
    /// The key that belongs to 32 random bytes; `None` if they are all zero.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Option<Self> {
        if seed == [0; 32] {
            return None;
        }
        Some(Self(KeyPair::from_seed(Seed::new(seed))))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.pk)
    }

    /// The trailer that makes `object`, an ELF file as it was built, a signed file.
    #[must_use]
    pub fn sign(&self, object: &[u8], version: u64) -> [u8; TRAILER_BYTES] {
        let signature = self.0.sk.sign(message(object, version), None);
        let mut trailer = [0; TRAILER_BYTES];
        let parts: [&[u8]; 4] =
            [&version.to_le_bytes(), &self.public().id().0, &signature[..], &MAGIC];
        let mut rest = &mut trailer[..];
        for part in parts {
            // The parts are as long as the trailer.
            let Some((to, after)) = rest.split_at_mut_checked(part.len()) else { break };
            to.copy_from_slice(part);
            rest = after;
        }
        trailer
    }
}

fn message(object: &[u8], version: u64) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    let bytes = CONTEXT.iter().copied().chain(Hash::hash(object)).chain(version.to_le_bytes());
    for (to, from) in message.iter_mut().zip(bytes) {
        *to = from;
    }
    message
}

/// Why a file is not accepted as signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignatureError {
    /// There is no signature at its end.
    Unsigned,
    /// It is signed with a key that is not among those that are trusted.
    UnknownKey(KeyId),
    /// The signature is not that of this file: a byte was changed, or the key's number is
    /// right and the key is not.
    Wrong,
    /// A newer version runs.
    Older { signed: u64, running: u64 },
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str("the object is not signed"),
            Self::UnknownKey(id) => write!(f, "the object is signed with an unknown key, {id}"),
            Self::Wrong => f.write_str("the signature does not belong to this object"),
            Self::Older { signed, running } => {
                write!(f, "version {signed} is older than version {running}, which runs")
            }
        }
    }
}

impl core::error::Error for SignatureError {}

/// A file that says it is signed: an allegation until it is verified.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    object: &'a [u8],
    version: u64,
    key: KeyId,
    signature: [u8; SIGNATURE_BYTES],
}

impl<'a> Signed<'a> {
    /// Takes a file apart.
    ///
    /// # Errors
    /// [`SignatureError::Unsigned`] without a trailer.
    pub fn parse(file: &'a [u8]) -> Result<Self, SignatureError> {
        let parts = || {
            let (object, trailer) =
                file.split_at_checked(file.len().checked_sub(TRAILER_BYTES)?)?;
            let (version, rest) = trailer.split_first_chunk::<8>()?;
            let (key, rest) = rest.split_first_chunk::<8>()?;
            let (signature, magic) = rest.split_first_chunk::<SIGNATURE_BYTES>()?;
            let signed = Self {
                object,
                version: u64::from_le_bytes(*version),
                key: KeyId(*key),
                signature: *signature,
            };
            (magic == MAGIC).then_some(signed)
        };
        parts().ok_or(SignatureError::Unsigned)
    }

    /// The key that it claims to be signed with.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The version that it claims to be.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Checks the signature with the trusted key that it names, and that no newer version runs.
    ///
    /// # Errors
    /// An unknown key, a signature of something else, or a version below `running`.
    pub fn verify(
        &self,
        trusted: &[PublicKey],
        running: Option<u64>,
    ) -> Result<Authentic<'a>, SignatureError> {
        let known = trusted.iter().find(|key| key.id() == self.key);
        let key = Ed25519Key::new(known.ok_or(SignatureError::UnknownKey(self.key))?.0);
        key.verify(message(self.object, self.version), &Signature::new(self.signature))
            .map_err(|_| SignatureError::Wrong)?;
        if let Some(running) = running.filter(|running| self.version < *running) {
            return Err(SignatureError::Older { signed: self.version, running });
        }
        Ok(Authentic { object: self.object, version: self.version, key: self.key })
    }
}

/// The part of a file that is signed, or would be: all of it, without a trailer.
#[must_use]
pub fn unsigned_part(file: &[u8]) -> &[u8] {
    Signed::parse(file).map_or(file, |signed| signed.object)
}

/// An object that was signed with a trusted key, and is no older than what runs.
#[derive(Clone, Copy, Debug)]
pub struct Authentic<'a> {
    object: &'a [u8],
    version: u64,
    key: KeyId,
}

impl<'a> Authentic<'a> {
    /// The ELF file, as it was built.
    #[must_use]
    pub fn object(&self) -> &'a [u8] {
        self.object
    }

    /// What `running` is to be from now on.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The key that it was signed with.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const OBJECT: &[u8] = b"\x7fELF: any bytes, as they were built";

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_seed([byte; 32]).unwrap()
    }

    fn signed(version: u64) -> Vec<u8> {
        [OBJECT, &key(1).sign(OBJECT, version)].concat()
    }

    #[test]
    fn what_is_signed_is_the_file_as_built() {
        let file = signed(7);
        assert_eq!(file.len(), OBJECT.len() + TRAILER_BYTES);
        let trusted = [key(2).public(), key(1).public()];
        let authentic = Signed::parse(&file).unwrap().verify(&trusted, None).unwrap();
        assert_eq!((authentic.object(), authentic.version()), (OBJECT, 7));
        assert_eq!(authentic.key(), key(1).public().id());
        assert_eq!(unsigned_part(&file), OBJECT);
        assert_eq!(unsigned_part(OBJECT), OBJECT);
        // Nothing of the current time or of chance is in it.
        assert_eq!(file, signed(7));
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let file = signed(7);
        let trusted = [key(1).public()];
        for position in 0..file.len() {
            for bit in [1, 0x80] {
                let mut changed = file.clone();
                changed[position] ^= bit;
                let refused = Signed::parse(&changed)
                    .and_then(|signed| signed.verify(&trusted, None))
                    .unwrap_err();
                let end = file.len() - position;
                match refused {
                    SignatureError::Unsigned => assert!(end <= 16),
                    SignatureError::UnknownKey(_) => assert!((81..=88).contains(&end)),
                    SignatureError::Wrong => assert!(end > 16 && !(81..=88).contains(&end)),
                    SignatureError::Older { .. } => panic!("byte {position}"),
                }
            }
        }
        for length in 0..file.len() {
            let cut = Signed::parse(&file[..length]).unwrap_err();
            assert_eq!(cut, SignatureError::Unsigned);
        }
        // Bytes put in or left out before the trailer.
        for other in [[b"x", &file[..]].concat(), file[1..].to_vec()] {
            let refused = Signed::parse(&other).unwrap().verify(&trusted, None).unwrap_err();
            assert_eq!(refused, SignatureError::Wrong);
        }
    }

    #[test]
    fn other_keys_are_refused() {
        let file = signed(7);
        let parsed = Signed::parse(&file).unwrap();
        let unknown = SignatureError::UnknownKey(key(1).public().id());
        assert_eq!(parsed.verify(&[], None).unwrap_err(), unknown);
        assert_eq!(parsed.verify(&[key(2).public()], None).unwrap_err(), unknown);
        // A signature of another key under the name of a trusted one.
        let mut forged = [OBJECT, &key(2).sign(OBJECT, 7)].concat();
        let name = forged.len() - 88..forged.len() - 80;
        forged[name].copy_from_slice(&key(1).public().id().0);
        let refused = Signed::parse(&forged).unwrap().verify(&[key(1).public()], None);
        assert_eq!(refused.unwrap_err(), SignatureError::Wrong);
        // Keys of which anybody can make signatures.
        let mut identity = [0; 32];
        identity[0] = 1;
        for weak in [[0; 32], identity] {
            let mut forged = file.clone();
            let at = forged.len() - 88;
            forged[at..at + 8].copy_from_slice(&PublicKey(weak).id().0);
            forged[at + 8..at + 72].fill(0);
            let refused = Signed::parse(&forged).unwrap().verify(&[PublicKey(weak)], None);
            assert_eq!(refused.unwrap_err(), SignatureError::Wrong);
        }
        assert!(SecretKey::from_seed([0; 32]).is_none());
    }

    #[test]
    fn older_versions_are_refused() {
        let file = signed(7);
        let parsed = Signed::parse(&file).unwrap();
        let trusted = [key(1).public()];
        for running in [0, 6, 7] {
            assert_eq!(parsed.verify(&trusted, Some(running)).unwrap().version(), 7);
        }
        let refused = parsed.verify(&trusted, Some(8)).unwrap_err();
        assert_eq!(refused, SignatureError::Older { signed: 7, running: 8 });
        // The version is signed: nobody makes an old object a newer one.
        let mut raised = file.clone();
        let version = raised.len() - TRAILER_BYTES;
        raised[version..version + 8].copy_from_slice(&9u64.to_le_bytes());
        let refused = Signed::parse(&raised).unwrap().verify(&trusted, Some(8)).unwrap_err();
        assert_eq!(refused, SignatureError::Wrong);
    }

    /// RFC 8032, section 7.1, test 1: the library computes Ed25519.
    #[test]
    fn keys_are_those_of_the_standard() {
        let seed: [u8; 32] = core::array::from_fn(|index| {
            let hex = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
            u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).unwrap()
        });
        let public = SecretKey::from_seed(seed).unwrap().public();
        assert_eq!(public.0[..4], [0xd7, 0x5a, 0x98, 0x01]);
        assert_eq!(public.0[28..], [0xf7, 0x07, 0x51, 0x1a]);
        // As its file has it.
        let hex = "D75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(PublicKey::from_hex(hex), Some(public));
        for bad in
            ["", &hex[1..], &hex.replace('f', "g"), &format!("{hex}0"), "+1".repeat(32).as_str()]
        {
            assert_eq!(PublicKey::from_hex(bad), None, "{bad}");
        }
    }
}
