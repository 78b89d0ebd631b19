//! QEMU's monitor, by its machine protocol (QMP), as far as screenshots and keys need it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How long QEMU may take to open its socket, and to answer. It ends a hung QEMU.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a monitor.
pub struct Monitor {
    input: UnixStream,
    output: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects, and says what the protocol wants said first.
    pub fn connect(socket: &Path) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= deadline => {
                    return Err(error)
                        .with_context(|| format!("no monitor at {}", socket.display()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Self { input: stream.try_clone()?, output: BufReader::new(stream) };
        monitor.receive()?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line).context("QEMU's monitor does not answer")? == 0 {
            bail!("QEMU's monitor has ended");
        }
        serde_json::from_str(&line).with_context(|| format!("QEMU's monitor says {line:?}"))
    }

    /// Executes a command, and returns its answer.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let message = json!({ "execute": command, "arguments": arguments });
        writeln!(self.input, "{message}")?;
        loop {
            let answer = self.receive()?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU's monitor refuses {command}: {error}");
            }
            // Anything else is an event that happens beside it.
        }
    }

    /// Presses the keys of an American keyboard that type this text.
    pub fn press(&mut self, text: &str) -> Result<()> {
        for character in text.chars() {
            let (shift, key) = key(character)
                .with_context(|| format!("{character:?} is on no key that is known here"))?;
            let keys: Vec<Value> = ["shift".to_owned()]
                .into_iter()
                .filter(|_| shift)
                .chain([key])
                .map(|key| json!({ "type": "qcode", "data": key }))
                .collect();
            // Held for a moment, of which QEMU keeps account.
            self.execute("send-key", &json!({ "keys": keys, "hold-time": 10 }))?;
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    }

    /// What the first display shows now; `file` is where QEMU may put it.
    pub fn screenshot(&mut self, file: &Path) -> Result<Screenshot> {
        let name = file.to_str().context("a path that is not UTF-8")?;
        self.execute("screendump", &json!({ "filename": name }))?;
        Screenshot::read_ppm(&std::fs::read(file)?)
    }
}

/// QEMU's name of the key of a character, and whether shift goes with it.
fn key(character: char) -> Option<(bool, String)> {
    let name = match character {
        'a'..='z' | '0'..='9' => return Some((false, character.to_string())),
        'A'..='Z' => return Some((true, character.to_ascii_lowercase().to_string())),
        ' ' => "spc",
        '\n' => "ret",
        '-' => "minus",
        '.' => "dot",
        '/' => "slash",
        _ => return None,
    };
    Some((false, name.to_owned()))
}

/// A picture, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screenshot {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    pixels: Vec<[u8; 3]>,
}

impl Screenshot {
    /// Reads the format that QEMU writes: `P6`, width, height, the largest value, then bytes
    /// (netpbm's ppm(5)).
    pub fn read_ppm(bytes: &[u8]) -> Result<Self> {
        let mut rest = bytes;
        let mut word = || {
            let blank = |byte: &u8| byte.is_ascii_whitespace();
            let start = rest.iter().position(|byte| !blank(byte))?;
            let (_, tail) = rest.split_at(start);
            let (word, tail) = tail.split_at_checked(tail.iter().position(blank)?)?;
            rest = tail.get(1..)?;
            String::from_utf8(word.to_vec()).ok()
        };
        let mut header = || Some((word()?, word()?.parse().ok()?, word()?.parse().ok()?, word()?));
        let (magic, width, height, largest): (String, u32, u32, String) =
            header().context("not a picture")?;
        if magic != "P6" || largest != "255" {
            bail!("a picture in a format that is not known: {magic} {largest}");
        }
        let pixels = rest.as_chunks().0.to_vec();
        if pixels.len() as u64 != u64::from(width) * u64::from(height) {
            bail!("a picture of {width} x {height} has {} pixels", pixels.len());
        }
        Ok(Self { width, height, pixels })
    }

    /// Red, green and blue at a place; black outside.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = y as usize * self.width as usize + x as usize;
        let inside = x < self.width && y < self.height;
        self.pixels.get(at).filter(|_| inside).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Screenshot;

    #[test]
    fn pictures_are_read() {
        let picture = Screenshot::read_ppm(b"P6\n2 1\n255\n\x01\x02\x03\x0a\x0b\x0c").unwrap();
        assert_eq!((picture.width, picture.height), (2, 1));
        assert_eq!(picture.pixel(0, 0), [1, 2, 3]);
        assert_eq!(picture.pixel(1, 0), [10, 11, 12]);
        assert_eq!(picture.pixel(2, 0), [0; 3]);
        assert_eq!(picture.pixel(0, 1), [0; 3]);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for wrong in
            [&b""[..], b"P6\n", b"P5\n1 1\n255\n123", b"P6\n2 2\n255\n123", b"P6\nx 1\n255\n123"]
        {
            assert!(Screenshot::read_ppm(wrong).is_err(), "{wrong:?}");
        }
    }
}
