//! What the log says, as tables that apps ask.

pub mod query;
