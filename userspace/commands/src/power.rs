//! `poweroff` and `reboot`: ask init, which ends things in order; with `-f`, the kernel.

use crate::Call;
use lemma_rt::general::{LINUX_REBOOT_CMD_POWER_OFF, LINUX_REBOOT_CMD_RESTART, SIGTERM, SIGUSR2};
use lemma_rt::rustix::fs::sync;
use lemma_rt::sys;

pub(crate) fn poweroff(call: &Call) -> i32 {
    end(call, SIGUSR2, LINUX_REBOOT_CMD_POWER_OFF)
}

pub(crate) fn reboot(call: &Call) -> i32 {
    end(call, SIGTERM, LINUX_REBOOT_CMD_RESTART)
}

fn end(call: &Call, signal: u32, command: u32) -> i32 {
    let options = match call.options("f") {
        Ok(options) if options.operands.is_empty() => options,
        Ok(_) => return call.usage(),
        Err(status) => return status,
    };
    if options.has(b'f') {
        sync();
        return call.fail(b"reboot(2)", sys::reboot(command, 0));
    }
    call.check(b"init", sys::kill(1, signal as i32))
}
