//! What apps do over HTTP in their users' names, and the same on the command line: asked over real sockets, with real tokens and
//! grants in a real Postgres. Where every way in which a wish can end shall be seen, a stand-in carries it out; else the
//! publisher does, to a PDS that only keeps records.

mod commands;
mod document;
mod grants;
mod published;
mod schema;
#[allow(dead_code)] // Parts of these are there for other tests.
#[path = "../support"]
mod support {
    pub mod almanac;
    pub mod child;
    pub mod keeper;
    pub mod null_pds;
    pub mod postgres;
    pub mod serve;
}
mod tokens;
mod users;
mod world;
mod writes;
