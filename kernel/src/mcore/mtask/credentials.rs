//! Who a process is: user and group, real, effective and saved (`credentials(7)`).

/// The identifiers of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
}

impl Credentials {
    /// The superuser.
    pub const ROOT: Self = Self { uid: 0, euid: 0, suid: 0, gid: 0, egid: 0, sgid: 0 };

    /// May do what only the superuser may.
    #[inline]
    pub const fn is_privileged(&self) -> bool {
        self.euid == 0
    }

    /// `setuid(2)`: all three for the superuser, else the effective one among the real and the
    /// saved. `None` if it is not allowed.
    #[must_use]
    pub fn with_uid(self, uid: u32) -> Option<Self> {
        if self.is_privileged() {
            Some(Self { uid, euid: uid, suid: uid, ..self })
        } else if uid == self.uid || uid == self.suid {
            Some(Self { euid: uid, ..self })
        } else {
            None
        }
    }

    /// `setgid(2)`, likewise.
    #[must_use]
    pub fn with_gid(self, gid: u32) -> Option<Self> {
        if self.is_privileged() {
            Some(Self { gid, egid: gid, sgid: gid, ..self })
        } else if gid == self.gid || gid == self.sgid {
            Some(Self { egid: gid, ..self })
        } else {
            None
        }
    }

    /// `setresuid(2)`: real, effective and saved, where one is given; without privilege each to one
    /// of the three that there are. `None` if it is not allowed.
    #[must_use]
    pub fn with_uids(self, wanted: [Option<u32>; 3]) -> Option<Self> {
        let now = [self.uid, self.euid, self.suid];
        let [uid, euid, suid] = exchange(now, wanted, self.is_privileged())?;
        Some(Self { uid, euid, suid, ..self })
    }

    /// `setresgid(2)`, likewise.
    #[must_use]
    pub fn with_gids(self, wanted: [Option<u32>; 3]) -> Option<Self> {
        let now = [self.gid, self.egid, self.sgid];
        let [gid, egid, sgid] = exchange(now, wanted, self.is_privileged())?;
        Some(Self { gid, egid, sgid, ..self })
    }

    /// Whether a process with these may send signals to one with `target` (`kill(2)`).
    pub fn may_signal(&self, target: &Self) -> bool {
        self.is_privileged()
            || [self.uid, self.euid].iter().any(|&id| id == target.uid || id == target.suid)
    }
}

/// The identifiers `now` with those that are `wanted`, which without privilege are among them.
fn exchange(now: [u32; 3], wanted: [Option<u32>; 3], privileged: bool) -> Option<[u32; 3]> {
    let allowed = |id: &u32| privileged || now.contains(id);
    if !wanted.iter().flatten().all(allowed) {
        return None;
    }
    let [real, effective, saved] = wanted;
    Some([real.unwrap_or(now[0]), effective.unwrap_or(now[1]), saved.unwrap_or(now[2])])
}
