//! Groups, and who may give files away.

use super::family;
use crate::calls::{self, in_child, make, open, raw, stat_of};
use crate::check::{Outcome, equal, fails, ok, skip};
use lemma_rt::general::{
    __NR_fchown, __NR_getgroups, __NR_getresgid, __NR_setgroups, __NR_setregid, __NR_setresgid,
    AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_RDWR,
};

family!("identity": groups, no_groups, owners, owners_kept);

/// Leaves an identifier as it is.
const KEEP: usize = u32::MAX as usize;

/// The three identifiers of the group.
fn ids() -> lemma_rt::Result<[u32; 3]> {
    let mut ids = [0u32; 3];
    let at = ids.as_mut_ptr() as usize;
    raw(__NR_getresgid as usize, [at, at + 4, at + 8, 0, 0, 0])?;
    // SAFETY: the array lives; the kernel has written into it.
    Ok(unsafe { ids.as_ptr().cast::<[u32; 3]>().read_volatile() })
}

fn groups() -> Outcome {
    if calls::getuid() != Ok(0) {
        skip!("needs the superuser");
    }
    let set = |ids: [usize; 3]| raw(__NR_setresgid as usize, [ids[0], ids[1], ids[2], 0, 0, 0]);
    let exchange =
        |real: usize, effective: usize| raw(__NR_setregid as usize, [real, effective, 0, 0, 0, 0]);
    ok!(set([10, 20, 30]));
    equal!(ids(), Ok([10, 20, 30]));
    equal!((calls::getgid(), calls::getegid()), (Ok(10), Ok(20)));
    // Without privilege, each may be one of the three.
    ok!(calls::setuid(1000));
    fails!(set([11, KEEP, KEEP]), PERM);
    ok!(set([KEEP, 30, KEEP]));
    equal!(ids(), Ok([10, 30, 30]));
    ok!(set([30, 10, KEEP]));
    equal!(ids(), Ok([30, 10, 30]));
    fails!(exchange(KEEP, 20), PERM);
    // The real one may not changed the saved one.
    ok!(set([10, 10, 30]));
    fails!(exchange(30, KEEP), PERM);
    ok!(exchange(KEEP, 30));
    equal!(ids(), Ok([10, 30, 30]));
    ok!(exchange(30, 10));
    equal!(ids(), Ok([30, 10, 10]));
    fails!(raw(__NR_getresgid as usize, [8, 8, 8, 0, 0, 0]), FAULT);
    Ok(())
}

fn no_groups() -> Outcome {
    let mut room = [0u32; 64];
    let mut get =
        |size: usize| raw(__NR_getgroups as usize, [size, room.as_mut_ptr() as usize, 0, 0, 0, 0]);
    let count = ok!(get(0));
    equal!(get(64.max(count)), Ok(count));
    fails!(get(usize::MAX), INVAL);
    if calls::getuid() == Ok(0) {
        ok!(raw(__NR_setgroups as usize, [0; 6]));
        equal!(get(0), Ok(0));
    }
    Ok(())
}

fn owner() -> lemma_rt::Result<(u32, u32)> {
    stat_of(c"a").map(|stat| (stat.st_uid, stat.st_gid))
}

fn owners() -> Outcome {
    if calls::getuid() != Ok(0) {
        skip!("needs the superuser");
    }
    ok!(make(c"a", b""));
    let fd = ok!(open(c"a", O_RDWR, 0)) as usize;
    let give = |uid: usize, gid: usize| raw(__NR_fchown as usize, [fd, uid, gid, 0, 0, 0]);
    ok!(give(1000, 1001));
    equal!(owner(), Ok((1000, 1001)));
    ok!(give(KEEP, 1002));
    equal!(owner(), Ok((1000, 1002)));
    ok!(give(1003, KEEP));
    equal!(owner(), Ok((1003, 1002)));
    fails!(raw(__NR_fchown as usize, [999, 0, 0, 0, 0, 0]), BADF);
    // A link itself, or what it leads to.
    ok!(calls::symlink(c"a", c"l"));
    ok!(calls::fchownat(AT_FDCWD, c"l", 7, 8, AT_SYMLINK_NOFOLLOW));
    equal!(owner(), Ok((1003, 1002)));
    let link = ok!(calls::lstat(c"l"));
    equal!((link.st_uid, link.st_gid), (7, 8));
    ok!(calls::fchownat(AT_FDCWD, c"l", 9, 10, 0));
    equal!(owner(), Ok((9, 10)));
    Ok(())
}

/// Nobody but the superuser gives a file away; its owner may give it to his own group.
fn owners_kept() -> Outcome {
    if calls::getuid() != Ok(0) {
        skip!("needs the superuser");
    }
    ok!(make(c"a", b""));
    let fd = ok!(open(c"a", O_RDWR, 0)) as usize;
    ok!(raw(__NR_fchown as usize, [fd, 1000, 1000, 0, 0, 0]));
    let status = ok!(in_child(|| {
        let give = |uid: usize, gid: usize| raw(__NR_fchown as usize, [fd, uid, gid, 0, 0, 0]);
        let changed = raw(__NR_setgroups as usize, [0; 6]).is_ok()
            && calls::setgid(1000).is_ok()
            && calls::setuid(1000).is_ok();
        let refused = Err(lemma_rt::Errno::PERM);
        let kept = give(1001, KEEP) == refused && give(KEEP, 1001) == refused;
        i32::from(!changed || !kept || give(1000, 1000) != Ok(0))
    }));
    equal!(status.exited(), Some(0));
    equal!(owner(), Ok((1000, 1000)));
    Ok(())
}
