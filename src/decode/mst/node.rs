//! One node of a tree, read from its block: `{l, e: [{p, k, v, t}]}`, each key cut by what it shares with the one before.
//!
//! Strict, because every block that is read was signed for: canonical form, no field more or less, prefixes exactly as long
//! as what is shared, keys that rise and lie between the keys around the node, one layer for all of them.

use crate::decode::cbor::{self, Reader, put_head, put_link_or_null};
use crate::decode::hash::sha256;
use crate::decode::{Reason, Reject};
use crate::event::{Cid, Codec};

/// A key may have at most this many bytes. `collection/rkey` stays below 831.
pub const MAX_KEY_BYTES: usize = 1024;

/// A leaf takes at least this many bytes of its node's block: five heads, four names, a link, a null, a byte of key.
const ENTRY_BYTES_MIN: usize = 54;

/// With its key and two links an entry rarely takes more.
const ENTRY_BYTES_USUAL: usize = 136;

/// A key in [`Keys`].
#[derive(Clone, Copy, Debug)]
pub struct Key {
    start: u32,
    len: u16,
}

/// The text of all keys seen, in one piece.
#[derive(Debug, Default)]
pub struct Keys(Vec<u8>);

impl Keys {
    pub fn with_capacity(bytes: usize) -> Self {
        Keys(Vec::with_capacity(bytes))
    }

    pub fn get(&self, key: Key) -> &[u8] {
        &self.0[key.start as usize..][..usize::from(key.len)]
    }

    /// Adds a key made of the first bytes of another and a rest. `None` when it is too long.
    pub fn add(&mut self, prefix: Option<(Key, usize)>, rest: &[u8]) -> Option<Key> {
        let start = self.0.len();
        let shared = prefix.map_or(0, |(_, len)| len);
        if shared + rest.len() > MAX_KEY_BYTES {
            return None;
        }
        if let Some((key, len)) = prefix {
            let from = key.start as usize;
            self.0.extend_from_within(from..from + len);
        }
        self.0.extend_from_slice(rest);
        Some(Key { start: u32::try_from(start).ok()?, len: (shared + rest.len()) as u16 })
    }
}

/// What hangs between two leaves.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    /// Nothing.
    None,
    /// A node that has not been read.
    Unread(Cid),
    /// A node that has, by its number.
    Node(u32),
}

/// A leaf, and what hangs between it and the next one.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Key,
    pub value: Cid,
    pub right: Link,
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Counted from the leaves' end of the tree.
    pub layer: u8,
    /// What hangs before the first leaf.
    pub left: Link,
    pub entries: Vec<Entry>,
    /// Known as long as nothing below changed.
    pub cid: Option<Cid>,
}

/// Where a node stands: between which keys, and on which layer. The root knows none of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    pub after: Option<Key>,
    pub before: Option<Key>,
    pub layer: Option<u8>,
}

impl Node {
    /// What hangs before leaf `gap`, or after the last one.
    pub fn child(&self, gap: usize) -> Link {
        if gap == 0 { self.left } else { self.entries[gap - 1].right }
    }

    pub fn set_child(&mut self, gap: usize, child: Link) {
        match gap {
            0 => self.left = child,
            _ => self.entries[gap - 1].right = child,
        }
    }

    /// Where the child in `gap` stands, in a node that stands at `place`.
    pub fn place_of(&self, gap: usize, place: Place) -> Place {
        Place {
            after: if gap > 0 { Some(self.entries[gap - 1].key) } else { place.after },
            before: self.entries.get(gap).map(|entry| entry.key).or(place.before),
            layer: self.layer.checked_sub(1),
        }
    }

    /// Reads the node of this CID from its block, whose hash has been checked.
    pub fn parse(cid: Cid, block: &[u8], keys: &mut Keys, place: Place) -> Result<Self, Reject> {
        let shape = |what: &str| Reject::new(Reason::NodeShape, format!("tree node {cid}: {what}"));
        let broken = |r: Reject| Reject::new(Reason::NodeShape, format!("tree node {cid}: {r}"));
        let mut reader = Reader::new(block);
        let field = |reader: &mut Reader<'_>, name: &[u8]| match reader.take_if(name) {
            true => Ok(()),
            false => Err(shape(&format!("{} expected at byte {}", name.escape_ascii(), reader.offset()))),
        };
        let child = |reader: &mut Reader<'_>| match reader.link_or_null().map_err(broken)? {
            None => Ok(Link::None),
            Some(child) if child.codec() == Codec::DagCbor => Ok(Link::Unread(child)),
            Some(_) => Err(shape("a child under a raw CID")),
        };
        field(&mut reader, b"\xa2\x61e")?;
        let count = reader.array().map_err(broken)?;
        let mut entries: Vec<Entry> = Vec::with_capacity((count as usize).min(block.len() / ENTRY_BYTES_MIN));
        let mut layer = place.layer;
        for _ in 0..count {
            field(&mut reader, b"\xa4\x61k")?;
            let rest = reader.bytes().map_err(broken)?;
            field(&mut reader, b"\x61p")?;
            let shared = reader.int().map_err(broken)?;
            field(&mut reader, b"\x61t")?;
            let right = child(&mut reader)?;
            field(&mut reader, b"\x61v")?;
            let value = reader.link().map_err(broken)?;
            let key = add_key(keys, entries.last().map(|entry| entry.key), shared, rest)
                .map_err(|what| Reject::new(Reason::NodeKey, format!("tree node {cid}: {what}")))?;
            let own_layer = layer_of(keys.get(key));
            if *layer.get_or_insert(own_layer) != own_layer {
                let text = keys.get(key).escape_ascii();
                let detail = format!("tree node {cid}: {text} of layer {own_layer} on layer {layer:?}");
                return Err(Reject::new(Reason::NodeLayer, detail));
            }
            entries.push(Entry { key, value, right });
        }
        field(&mut reader, b"\x61l")?;
        let left = child(&mut reader)?;
        reader.finish().map_err(broken)?;
        // Only the tree that holds nothing has a node that holds nothing, and only a node below the root may hold
        // nothing but a child.
        let is_root = place.layer.is_none();
        if entries.is_empty() && is_root != matches!(left, Link::None) {
            return Err(shape(if is_root { "a root without leaves over a child" } else { "neither leaf nor child" }));
        }
        let node = Node { layer: layer.unwrap_or(0), left, entries, cid: Some(cid) };
        node.check_place(keys, place)?;
        Ok(node)
    }

    /// Whether its keys lie where its parent has a place for them, and its children have a layer to stand on.
    fn check_place(&self, keys: &Keys, place: Place) -> Result<(), Reject> {
        let is_parent = (0..=self.entries.len()).any(|gap| !matches!(self.child(gap), Link::None));
        if self.layer == 0 && is_parent {
            return Err(Reject::new(Reason::NodeLayer, "a tree node below the lowest layer"));
        }
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return Ok(()) };
        let is_after = place.after.is_none_or(|key| keys.get(key) < keys.get(first.key));
        let is_before = place.before.is_none_or(|key| keys.get(last.key) < keys.get(key));
        if is_after && is_before {
            return Ok(());
        }
        let key = if is_after { last.key } else { first.key };
        let detail = format!("{} in a part of the tree where it does not belong", keys.get(key).escape_ascii());
        Err(Reject::new(Reason::NodeKey, detail))
    }

    /// Where `key` is, or before which leaf it would be.
    pub fn find(&self, keys: &Keys, key: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| keys.get(entry.key).cmp(key))
    }

    /// Writes the node's block. `cid_of` tells the CIDs of children that have been read.
    pub fn encode(&self, keys: &Keys, cid_of: impl Fn(u32) -> Option<Cid>, out: &mut Vec<u8>) {
        out.reserve(self.entries.len() * ENTRY_BYTES_USUAL + ENTRY_BYTES_USUAL);
        let put_child = |out: &mut Vec<u8>, child: Link| match child {
            Link::None => put_link_or_null(out, None),
            Link::Unread(cid) => put_link_or_null(out, Some(&cid)),
            Link::Node(number) => put_link_or_null(out, cid_of(number).as_ref()),
        };
        out.extend_from_slice(b"\xa2\x61e");
        put_head(out, cbor::ARRAY, self.entries.len() as u64);
        let mut before: &[u8] = &[];
        for entry in &self.entries {
            let key = keys.get(entry.key);
            let shared = common_prefix_len(before, key);
            out.extend_from_slice(b"\xa4\x61k");
            put_head(out, cbor::BYTES, (key.len() - shared) as u64);
            out.extend_from_slice(&key[shared..]);
            out.extend_from_slice(b"\x61p");
            put_head(out, cbor::UINT, shared as u64);
            out.extend_from_slice(b"\x61t");
            put_child(out, entry.right);
            out.extend_from_slice(b"\x61v");
            put_link_or_null(out, Some(&entry.value));
            before = key;
        }
        out.extend_from_slice(b"\x61l");
        put_child(out, self.left);
    }
}

/// The layer of a key: the number of leading zero bits of its SHA-256, counted in pairs.
pub fn layer_of(key: &[u8]) -> u8 {
    let digest = sha256(key);
    let zeros = digest.iter().take_while(|byte| **byte == 0).count();
    let next = digest.get(zeros).map_or(0, |byte| byte.leading_zeros());
    (zeros as u32 * 4 + next / 2) as u8
}

/// Whether this is a key as trees hold them: two parts with a slash between, of the characters that names and record
/// keys may have. Whether the parts are a collection and a record key that anybody would use is not asked: one odd record
/// of another app must not cost an account its repository.
pub fn is_key(key: &[u8]) -> bool {
    key.len() <= MAX_KEY_BYTES && key.iter().all(|byte| may_stand_in_key(*byte)) && has_two_parts(key)
}

#[inline]
fn may_stand_in_key(byte: u8) -> bool {
    /// Every byte of every key is looked up.
    const MAY: [bool; 256] = {
        let (mut may, mut byte) = ([false; 256], 0u8);
        while byte < 0x80 {
            may[byte as usize] =
                byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b':' | b'~');
            byte += 1;
        }
        may
    };
    MAY[usize::from(byte)]
}

/// How many bytes two keys share from their start, eight at a time.
fn common_prefix_len(a: &[u8], b: &[u8]) -> usize {
    let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let mut shared = 0;
    for (a, b) in words {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return shared + differing.trailing_zeros() as usize / 8;
        }
        shared += 8;
    }
    shared + a[shared..].iter().zip(&b[shared..]).take_while(|(a, b)| a == b).count()
}

fn has_two_parts(key: &[u8]) -> bool {
    memchr::memchr(b'/', key)
        .is_some_and(|at| at > 0 && at + 1 < key.len() && memchr::memchr(b'/', &key[at + 1..]).is_none())
}

/// Puts the next key of a node together. It must be greater than the one before and cut exactly where they differ.
fn add_key(keys: &mut Keys, last: Option<Key>, shared: i64, rest: &[u8]) -> Result<Key, &'static str> {
    let shared = usize::try_from(shared).map_err(|_| "a key with a negative prefix")?;
    let last_text = last.map_or(&[][..], |last| keys.get(last));
    if shared > last_text.len() {
        return Err("a key that shares more than the one before it has");
    }
    match (last_text.get(shared), rest.first()) {
        (_, None) => return Err("keys that do not rise"),
        (Some(before), Some(first)) if before == first => return Err("a key cut shorter than what it shares"),
        (Some(before), Some(first)) if before > first => return Err("keys that do not rise"),
        _ => {}
    }
    let key = keys.add(last.map(|last| (last, shared)), rest).ok_or("a key that is too long")?;
    match rest.iter().all(|byte| may_stand_in_key(*byte)) && has_two_parts(keys.get(key)) {
        true => Ok(key),
        false => Err("a key that is no collection/rkey"),
    }
}
