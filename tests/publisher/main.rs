//! Wishes on their way to a PDS, on good days and bad ones: what is stored, what is written, and that it is written once.

#[allow(dead_code)] // Parts of these are there for other tests.
#[path = "../support"]
mod support {
    pub mod almanac;
    pub mod child;
    pub mod keeper;
    pub mod lossy;
    pub mod null_pds;
    pub mod postgres;
    pub mod real_parts;
    pub mod serve;
}
mod away;
mod batches;
mod budgets;
mod desk;
mod edits;
mod kills;
mod lost;
mod real;
mod rsvps;
mod stand;
