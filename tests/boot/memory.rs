//! What happens when memory is used up: who asks is told, who takes too much is ended, and nobody
//! else notices.

use lemma::build::Options;
use lemma::machine::Arch;

use crate::guest::{boot_with, on_each_architecture};

on_each_architecture!(memory_that_is_used_up_hurts_nobody_else);

fn memory_that_is_used_up_hurts_nobody_else(arch: Arch) {
    for cpus in [1, 2] {
        let mut guest = boot_with(Options { arch, cpus, memory_mib: 64, ..Options::default() });
        guest.prompt();
        let report = guest.succeed("usertests exhaust");
        assert!(report.contains("out of memory: killed process"), "{report}");
        assert!(report.contains("and all else went on"), "{report}");
        // The shell and the programs at the hooks were there all the time.
        assert!(guest.succeed("bpf list").contains("syscount"), "{report}");
        guest.succeed("usertests memory_out_of_memory");
        guest.shut_down(0);
    }
}
