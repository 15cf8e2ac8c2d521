//! Two environments on one relay, and every way by which what belongs to one could enter the other: each time no row, no
//! count, nothing told to anybody, and an entry in quarantine that says why. The mirror image: nothing that belongs is held
//! back.

#[allow(dead_code)] // Parts of these are there for other tests.
#[path = "../support"]
mod support {
    pub mod child;
    pub mod postgres;
    pub mod serve;
}

mod both;
mod leaks;
mod moves;
mod outage;
mod table;
mod two;
