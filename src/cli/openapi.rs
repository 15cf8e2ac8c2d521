//! `almanac openapi`: what apps can do over HTTP, described for programs.

use super::table::print_json;
use crate::api::v1::openapi;

pub(super) fn run() -> anyhow::Result<()> {
    print_json(&openapi())
}
