//! What our users entrust to us, with a real Postgres: it opens in its row alone, keys change while it is used, another
//! app's table is taken over, and nothing of it is printed.

#[allow(dead_code)] // Parts of these are there for other tests.
#[path = "../support"]
mod support {
    pub mod child;
    pub mod postgres;
}
mod custody;
mod import;
mod rotation;
mod rows;
mod world;
