//! Bytes in, meaning or a named reason out.

mod reject;

pub use reject::{Layer, Reason, Reject};
