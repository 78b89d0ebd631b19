//! `usertests keys MIN TIME`: one read from the terminal without canonical mode (`termios(3)`). What
//! it gives depends on who types, so it is no test by itself: the tests at a terminal type.

use lemma_rt::general::{ECHO, ICANON, VMIN, VTIME};
use lemma_rt::rustix::io::read;
use lemma_rt::{eprintln, error_text, io, println, show, sys};

/// Reads and says what was read; the exit status, or `None` if the options are wrong.
pub(crate) fn main(options: &[&[u8]]) -> Option<i32> {
    let [minimum, time] = options else { return None };
    let (minimum, time) = (show(minimum).parse().ok()?, show(time).parse().ok()?);
    Some(match read_keys(minimum, time) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("usertests: keys: {}", error_text(error));
            1
        }
    })
}

fn read_keys(minimum: u8, time: u8) -> lemma_rt::Result<()> {
    let before = sys::terminal_settings(0)?;
    let mut settings = before;
    settings.c_lflag &= !(ICANON | ECHO);
    settings.c_cc[VMIN as usize] = minimum;
    settings.c_cc[VTIME as usize] = time;
    sys::set_terminal(0, settings)?;
    println!("type");
    let mut keys = [0; 16];
    let result = read(io::descriptor(0), &mut keys);
    sys::set_terminal(0, before)?;
    println!("read {}.", show(keys.get(..result?).unwrap_or(&[])));
    Ok(())
}
