//! Columns that line up, and numbers with units.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Lays rows out in columns, the first row being the header. Columns whose header begins with
/// `>` are aligned to the right.
pub fn lay_out(header: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = header.iter().map(|title| title.starts_with('>')).collect();
    let titles: Vec<String> =
        header.iter().map(|title| String::from(title.trim_start_matches('>'))).collect();
    let all = || core::iter::once(&titles).chain(rows);
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        })
        .map(|width| width.unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for ((cell, &width), &right) in row.iter().zip(&widths).zip(&right) {
            line += &if right { format!("{cell:>width$}  ") } else { format!("{cell:width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Nanoseconds with a unit: `850 ns`, `2.9 us`, `212 us`, `1.2 s`.
pub fn time(nanoseconds: u64) -> String {
    let (divisor, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let whole = nanoseconds / divisor;
    if whole < 10 {
        format!("{whole}.{} {unit}", nanoseconds % divisor * 10 / divisor)
    } else {
        format!("{whole} {unit}")
    }
}

/// A number, or a dash where there is none.
pub fn or_dash(value: Option<impl core::fmt::Display>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value}"))
}

#[cfg(test)]
mod tests {
    use super::{lay_out, time};
    use alloc::string::ToString;
    use alloc::vec::Vec;

    #[test]
    fn columns() {
        let rows = [["1", "syscount", "5"], ["20", "x", "-"]];
        let rows: Vec<Vec<_>> =
            rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(
            lay_out(&[">ID", "NAME", ">RUNS"], &rows),
            "ID  NAME      RUNS\n 1  syscount     5\n20  x            -\n"
        );
    }

    #[test]
    fn times() {
        assert_eq!(time(850), "850 ns");
        assert_eq!(time(2_950), "2.9 us");
        assert_eq!(time(212_345), "212 us");
        assert_eq!(time(1_250_000_000), "1.2 s");
    }
}
