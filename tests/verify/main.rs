//! Commits judged by `decode` with keys: what a real PDS signed passes, and whatever is changed in it does not.
//!
//! What is signed here comes from the generator, whose encoder, tree and keys share no code with `decode`.

#[allow(dead_code, reason = "what other tests need beside it")]
#[path = "../malformed/build.rs"]
mod build;
mod capture;
mod car_stream;
mod chain;
mod hostile;
mod made;
mod random;
mod trees;
mod walk;
