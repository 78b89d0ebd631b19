//! The kernel's `struct sigaction`, as `rt_sigaction(2)` passes it: with a member for the code
//! that returns from a handler on the machines whose headers define `SA_RESTORER`
//! (`asm-generic/signal.h`), without it on the others.

/// `SA_RESTORER`.
const RESTORER: u64 = 0x0400_0000;

/// What a structure says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalAction {
    pub handler: u64,
    pub flags: u64,
    /// The code that a handler returns to; 0 where the machine has no such member.
    pub restorer: u64,
    pub mask: u64,
}

/// x86_64 and AArch64.
pub mod with_restorer {
    use super::SignalAction;

    /// The structure in words.
    pub type SignalActionWords = [u64; 4];

    #[inline]
    pub const fn signal_action(
        [handler, flags, restorer, mask]: SignalActionWords,
    ) -> SignalAction {
        SignalAction { handler, flags, restorer, mask }
    }

    #[inline]
    pub const fn signal_action_words(action: &SignalAction) -> SignalActionWords {
        [action.handler, action.flags, action.restorer, action.mask]
    }
}

/// RISC-V.
pub mod without_restorer {
    use super::{RESTORER, SignalAction};

    /// The structure in words.
    pub type SignalActionWords = [u64; 3];

    /// The flag that would say that there is a restorer means nothing, and is not kept.
    #[inline]
    pub const fn signal_action([handler, flags, mask]: SignalActionWords) -> SignalAction {
        SignalAction { handler, flags: flags & !RESTORER, restorer: 0, mask }
    }

    #[inline]
    pub const fn signal_action_words(action: &SignalAction) -> SignalActionWords {
        [action.handler, action.flags, action.mask]
    }
}

#[cfg(test)]
mod tests {
    use super::{SignalAction, with_restorer, without_restorer};

    #[test]
    fn both_layouts_bring_everything_back() {
        let action = SignalAction { handler: 1, flags: 4, restorer: 3, mask: 2 };
        let words = with_restorer::signal_action_words(&action);
        assert_eq!((words, with_restorer::signal_action(words)), ([1, 4, 3, 2], action));
        let words = without_restorer::signal_action_words(&action);
        assert_eq!(words, [1, 4, 2]);
        assert_eq!(without_restorer::signal_action(words), SignalAction { restorer: 0, ..action });
    }

    #[test]
    fn a_restorer_that_cannot_be_is_not_claimed() {
        assert_eq!(without_restorer::signal_action([1, 0x0400_0004, 2]).flags, 4);
    }
}
