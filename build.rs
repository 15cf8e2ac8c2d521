//! `sqlx::migrate!` reads the folder at compile time, and cargo does not know that by itself: without this line a new
//! migration would be missing from an executable built after it was written.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
