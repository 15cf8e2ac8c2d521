//! What apps do over HTTP in their users' names: asked over real sockets, with real tokens and grants in a real Postgres. Whoever
//! carries out wishes is a stand-in here, so that every way in which a wish can end is seen.

mod audit;
mod document;
mod grants;
mod schema;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod users;
mod world;
mod writes;
