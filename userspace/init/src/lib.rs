//! (skeleton; its owner replaces this)
#![no_std]
