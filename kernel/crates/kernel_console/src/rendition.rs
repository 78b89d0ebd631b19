//! Select Graphic Rendition: colours and styles (ECMA-48, section 8.3.117; the colours above 8
//! as xterm has them).

use anstyle_parse::Params;

use crate::cell::{Cell, Colour, Style};

/// Sets the pen by the parameters of one sequence. Unknown ones are passed over.
pub(crate) fn select(pen: &mut Cell, params: &Params) {
    let mut params = params.iter();
    while let Some(group) = params.next() {
        let Some((&code, sub)) = group.split_first() else { continue };
        match code {
            0 => *pen = Cell::BLANK,
            1 => pen.style |= Style::BOLD,
            4 => pen.style |= Style::UNDERLINE,
            7 => pen.style |= Style::REVERSE,
            // Doubly underlined, as on a Linux console.
            21 => pen.style |= Style::UNDERLINE,
            22 => pen.style -= Style::BOLD,
            24 => pen.style -= Style::UNDERLINE,
            27 => pen.style -= Style::REVERSE,
            30..=37 => pen.foreground = Colour((code - 30) as u8),
            39 => pen.foreground = Cell::BLANK.foreground,
            40..=47 => pen.background = Colour((code - 40) as u8),
            49 => pen.background = Cell::BLANK.background,
            90..=97 => pen.foreground = Colour((code - 90 + 8) as u8),
            100..=107 => pen.background = Colour((code - 100 + 8) as u8),
            38 | 48 => {
                // Behind colons in the same group, or behind semicolons in the next ones.
                let colour = if sub.is_empty() {
                    extended(&mut params.by_ref().filter_map(|group| group.first().copied()))
                } else {
                    colons(sub)
                };
                match colour {
                    Some(colour) if code == 38 => pen.foreground = colour,
                    Some(colour) => pen.background = colour,
                    None => {}
                }
            }
            _ => {}
        }
    }
}

/// `5;N`, or `2;R;G;B`.
fn extended(values: &mut dyn Iterator<Item = u16>) -> Option<Colour> {
    let part = |value: u16| u8::try_from(value).ok();
    match values.next()? {
        5 => Some(Colour(part(values.next()?)?)),
        2 => Some(Colour::nearest([
            part(values.next()?)?,
            part(values.next()?)?,
            part(values.next()?)?,
        ])),
        _ => None,
    }
}

/// The same with colons, where a colour space may stand before the parts (ITU-T T.416).
fn colons(sub: &[u16]) -> Option<Colour> {
    match sub {
        &[2, _, red, green, blue, ..] => extended(&mut [2, red, green, blue].into_iter()),
        _ => extended(&mut sub.iter().copied()),
    }
}
