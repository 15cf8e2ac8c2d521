//! The simulated network judged from outside: over HTTP and websockets, by other people's decoders.

#[path = "../devnet_judge/mod.rs"]
mod judge;

mod client;
mod command;
mod faults;
mod hosts;
mod scripts;
mod streams;
mod verdict;
