//! The blocks of a CAR that need not have a root, as `getBlocks` answers it.

use std::ops::Range;

use super::car::section;
use super::{Reason, Reject};
use crate::event::Cid;

/// Where each block stands. Their bytes are not hash-checked: see [`check_hash`](super::check_hash). What the header says
/// is not looked at: blocks that were asked for by CID need no root.
///
/// # Errors
/// [`Reason::CarLength`], [`Reason::CarCid`].
pub fn car_blocks(bytes: &[u8]) -> Result<Vec<(Cid, Range<usize>)>, Reject> {
    let (header, start) = section(bytes, 0)?;
    let mut at = start + header;
    let mut blocks = Vec::new();
    while at < bytes.len() {
        let (len, start) = section(bytes, at)?;
        let end = start + len;
        let cid = Cid::from_prefix(&bytes[start..end]).ok_or_else(|| {
            Reject::new(Reason::CarCid, format!("block at byte {start} of the CAR has no blessed CIDv1"))
        })?;
        blocks.push((cid, start + Cid::LEN..end));
        at = end;
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"roots": [], "version": 1}` in DAG-CBOR, with its length before it.
    const ROOTLESS: &[u8] = b"\x11\xa2\x65roots\x80\x67version\x01";

    #[test]
    fn a_car_without_a_root_is_read() {
        let cid = Cid::new(crate::event::Codec::DagCbor, [7; 32]);
        let car = [ROOTLESS, &[37], &cid.to_bytes(), b"x", &[36], &cid.to_bytes()].concat();
        let end = car.len();
        assert_eq!(car_blocks(&car).unwrap(), [(cid, end - 38..end - 37), (cid, end..end)]);
        assert_eq!(car_blocks(ROOTLESS).unwrap(), []);
    }

    #[test]
    fn what_is_cut_off_or_no_car_is_refused() {
        let cid = Cid::new(crate::event::Codec::DagCbor, [7; 32]);
        let cut = [ROOTLESS, &[38], &cid.to_bytes(), b"x"].concat();
        assert_eq!(car_blocks(&cut).unwrap_err().reason, Reason::CarLength);
        assert_eq!(car_blocks(b"<!doctype html>").unwrap_err().reason, Reason::CarLength);
        assert_eq!(car_blocks(b"").unwrap_err().reason, Reason::CarLength);
        assert_eq!(car_blocks(&[ROOTLESS, &[3, 1, 2, 3]].concat()).unwrap_err().reason, Reason::CarCid);
    }
}
