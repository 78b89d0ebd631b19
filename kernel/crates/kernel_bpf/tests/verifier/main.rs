//! The verifier from outside: its rules one by one, its bounds, and its soundness on
//! random programs.

mod fuzz;
mod machine;
mod rules;
