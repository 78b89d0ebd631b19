//! Who called whom: the chain of frame pointers that every function of the kernel keeps, the
//! same on all machines here.

use super::copy_nofault::copy_nofault;
use super::machine::layout::DIRECT_MAP;
use super::machine::stack;

/// Follows the chain from `frame_pointer`, innermost first; returns how many addresses it
/// wrote. Ends at the first frame that is not in kernel memory or not above the last one.
pub(super) fn backtrace(frame_pointer: usize, out: &mut [usize]) -> usize {
    let mut current = frame_pointer;
    let mut count = 0;
    for slot in out {
        if current < DIRECT_MAP || !current.is_multiple_of(8) {
            break;
        }
        // The caller's frame pointer and the return address.
        let mut frame = [0usize; 2];
        let size = size_of_val(&frame);
        let start = current.wrapping_sub(stack::FRAME_BELOW);
        if copy_nofault(frame.as_mut_ptr() as usize, start, size) != 0 {
            break;
        }
        let [caller, address] = frame;
        if address < DIRECT_MAP {
            break;
        }
        *slot = address;
        count += 1;
        if caller <= current {
            break;
        }
        current = caller;
    }
    count
}
