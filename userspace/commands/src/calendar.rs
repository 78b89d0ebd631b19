//! Dates from seconds since 1970-01-01 UTC.

use alloc::format;
use alloc::string::String;

/// A moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 is Sunday.
    pub weekday: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    /// Seconds since 1970.
    pub epoch: i64,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

impl Moment {
    /// The moment `epoch` seconds after 1970.
    pub fn from_epoch(epoch: i64) -> Self {
        let (days, seconds) = (epoch.div_euclid(86_400), epoch.rem_euclid(86_400));
        // Years from 1 March, so that the leap day is a year's last; 146,097 days are 400 years.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
            weekday: (days + 4).rem_euclid(7) as u8,
            hour: (seconds / 3600) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
            epoch,
        }
    }

    /// As `date` prints it: `Sun Nov 22 08:17:38 UTC 2026`.
    pub fn text(&self) -> String {
        self.formatted(b"%a %b %e %H:%M:%S UTC %Y")
    }

    /// As `ls -l` prints it: `Nov 22 08:17`.
    pub fn short(&self) -> String {
        self.formatted(b"%b %e %H:%M")
    }

    /// By a format of strftime(3): a b d e F H j m M S s T y Y Z and %.
    pub fn formatted(&self, pattern: &[u8]) -> String {
        let month = MONTHS.get(usize::from(self.month).wrapping_sub(1)).copied().unwrap_or("?");
        let weekday = WEEKDAYS.get(usize::from(self.weekday)).copied().unwrap_or("?");
        let mut text = String::new();
        let mut letters = pattern.iter().map(|&byte| char::from(byte));
        while let Some(letter) = letters.next() {
            if letter != '%' {
                text.push(letter);
                continue;
            }
            match letters.next() {
                Some('a') => text.push_str(weekday),
                Some('b') => text.push_str(month),
                Some('d') => text += &format!("{:02}", self.day),
                Some('e') => text += &format!("{:2}", self.day),
                Some('F') => text += &self.formatted(b"%Y-%m-%d"),
                Some('H') => text += &format!("{:02}", self.hour),
                Some('m') => text += &format!("{:02}", self.month),
                Some('M') => text += &format!("{:02}", self.minute),
                Some('S') => text += &format!("{:02}", self.second),
                Some('s') => text += &format!("{}", self.epoch),
                Some('T') => text += &self.formatted(b"%H:%M:%S"),
                Some('y') => text += &format!("{:02}", self.year.rem_euclid(100)),
                Some('Y') => text += &format!("{}", self.year),
                Some('Z') => text.push_str("UTC"),
                Some('%') | None => text.push('%'),
                Some(other) => {
                    text.push('%');
                    text.push(other);
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn known_moments() {
        assert_eq!(Moment::from_epoch(0).text(), "Thu Jan  1 00:00:00 UTC 1970");
        assert_eq!(Moment::from_epoch(951_827_696).text(), "Tue Feb 29 12:34:56 UTC 2000");
        assert_eq!(
            Moment::from_epoch(1_767_225_600).formatted(b"%F %T %%"),
            "2026-01-01 00:00:00 %"
        );
        assert_eq!(Moment::from_epoch(-1).text(), "Wed Dec 31 23:59:59 UTC 1969");
        assert_eq!(Moment::from_epoch(4_107_542_399).text(), "Sun Feb 28 23:59:59 UTC 2100");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = Moment::from_epoch(0);
        for day in 1..200_000 {
            let next = Moment::from_epoch(day * 86_400);
            assert_eq!(next.weekday, (before.weekday + 1) % 7);
            assert!(next.day == before.day + 1 || (next.day == 1 && before.day >= 28));
            before = next;
        }
    }
}
