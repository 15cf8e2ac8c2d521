//! Why bytes from the network are refused: one closed set of names.

use std::fmt;

/// Which layer of a frame broke its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Bytes that are not what their encoding allows.
    Decode,
    /// Fields of a frame that contradict the protocol or each other.
    Envelope,
    /// The CAR that carries the blocks.
    Car,
    /// A block that is not what its CID says.
    Cid,
    /// The Merkle search tree.
    Mst,
    /// The commit's signature.
    Sig,
    /// Refused by a rule of this environment.
    Policy,
}

impl Layer {
    /// The name in reports and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::Decode => "decode",
            Layer::Envelope => "envelope",
            Layer::Car => "car",
            Layer::Cid => "cid",
            Layer::Mst => "mst",
            Layer::Sig => "sig",
            Layer::Policy => "policy",
        }
    }
}

macro_rules! rejects {
    ($($(#[$doc:meta])* $name:ident = $layer:ident $reason:literal;)*) => {
        /// The limit or rule that refused bytes. A closed set: every one is a metric series from the start.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The name in reports and metric labels, in `snake_case`.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $reason,)* }
            }

            /// Which layer the rule belongs to.
            pub fn layer(self) -> Layer {
                match self { $(Reason::$name => Layer::$layer,)* }
            }
        }
    };
}

rejects! {
    /// A frame of more than 5,000,000 bytes.
    FrameTooLarge = Decode "frame_too_large";
    /// The bytes end in the middle of a value.
    Truncated = Decode "truncated";
    /// Bytes follow where the value should have ended.
    TrailingBytes = Decode "trailing_bytes";
    /// More than 64 values nested in each other.
    TooDeep = Decode "too_deep";
    /// An indefinite length, which DAG-CBOR forbids.
    IndefiniteLength = Decode "indefinite_length";
    /// A number or length that is not written in its shortest form.
    NotShortest = Decode "not_shortest";
    /// A floating-point number, which the data model forbids.
    Float = Decode "float";
    /// A number outside the signed 64-bit range of the data model.
    IntegerRange = Decode "integer_range";
    /// A simple value other than false, true and null.
    SimpleValue = Decode "simple_value";
    /// A reserved or malformed initial byte.
    ReservedByte = Decode "reserved_byte";
    /// A tag other than 42.
    ForeignTag = Decode "foreign_tag";
    /// Tag 42 over something that is not a CIDv1 with SHA-256 and codec dag-cbor or raw.
    BadLink = Decode "bad_link";
    /// A text string that is not UTF-8.
    NotUtf8 = Decode "not_utf8";
    /// A map key that is not a text string.
    KeyNotText = Decode "key_not_text";
    /// A key that occurs twice in one map: any key where canonical form is required, else one that is read.
    DuplicateKey = Decode "duplicate_key";
    /// Map keys out of order (shorter first, then bytewise), where canonical form is required.
    KeyOrder = Decode "key_order";
    /// A value of another type than its place requires.
    UnexpectedType = Decode "unexpected_type";

    /// A frame without a header of `op` and `t`.
    BadHeader = Envelope "bad_header";
    /// A field that this kind of frame must have is absent.
    MissingField = Envelope "missing_field";
    /// A field whose text is not a valid identifier or time.
    BadField = Envelope "bad_field";
    /// More than 200 operations in one commit.
    TooManyOps = Envelope "too_many_ops";
    /// An operation whose action, `cid` and `prev` do not fit together.
    OpShape = Envelope "op_shape";
    /// The same path twice in one commit.
    DuplicatePath = Envelope "duplicate_path";
    /// The frame's `repo` or `did` is not the DID in the signed commit.
    RepoMismatch = Envelope "repo_mismatch";
    /// The frame's `rev` is not the rev in the signed commit.
    RevMismatch = Envelope "rev_mismatch";
    /// A commit object whose `version` is not 3.
    CommitVersion = Envelope "commit_version";
    /// A rev of more than 5 minutes ahead of the clock.
    FutureRev = Envelope "future_rev";
    /// Another commit than the last known one, under a rev that is not newer than its.
    RevNotNewer = Envelope "rev_not_newer";
    /// `since` or `prevData` are not the rev and tree of the last known commit: something between is missing.
    ChainBroken = Envelope "chain_broken";

    /// `blocks` of more than 2,000,000 bytes in a commit, or 10,000 in a sync.
    BlocksTooLarge = Car "blocks_too_large";
    /// A CAR header that is not `{version: 1, roots: [CID …]}`.
    CarHeader = Car "car_header";
    /// A CAR without a root, or whose first root is not the frame's commit.
    CarRoot = Car "car_root";
    /// A length in the CAR that runs past its end or is no valid varint.
    CarLength = Car "car_length";
    /// A block under a CID of a form that repositories do not use.
    CarCid = Car "car_cid";
    /// A block that the frame speaks of is not in the CAR.
    MissingBlock = Car "missing_block";
    /// A record of more than 1,000,000 bytes.
    RecordTooLarge = Car "record_too_large";

    /// A block whose bytes do not have the hash that its CID states.
    HashMismatch = Cid "hash_mismatch";
    /// A commit object or record that is not shaped as one.
    BlockShape = Cid "block_shape";

    /// A tree node that must be read is not among the blocks.
    MissingNode = Mst "missing_node";
    /// A tree node that is not `{l, e: [{p, k, v, t}]}` in canonical form, or one that holds nothing.
    NodeShape = Mst "node_shape";
    /// A key in a tree node that is no `collection/rkey`, is cut wrongly, or stands where its order does not put it.
    NodeKey = Mst "node_key";
    /// A key or a child on a layer of the tree that is not its own.
    NodeLayer = Mst "node_layer";
    /// More of a tree is asked for than is read of one account.
    TreeTooLarge = Mst "tree_too_large";
    /// The signed tree does not hold, under an operation's path, the record that the operation says it wrote.
    LeafMismatch = Mst "leaf_mismatch";
    /// The signed tree still holds a record that an operation says it removed.
    LeafPresent = Mst "leaf_present";
    /// Undoing the operations does not lead to the tree that `prevData` names.
    PrevDataMismatch = Mst "prev_data_mismatch";
    /// No `prevData`, though undoing the operations does not lead to the empty tree: not a repository's first commit.
    PrevDataMissing = Mst "prev_data_missing";

    /// No key is known to check the signature with.
    NoKey = Sig "no_key";
    /// The account's key is written in a way that cannot be read.
    BadKey = Sig "bad_key";
    /// A signature that is not 64 bytes long.
    SignatureLength = Sig "signature_length";
    /// A signature whose `s` is in the upper half of the curve's order: anybody can make it out of a good one.
    HighS = Sig "high_s";
    /// A signature that the account's key did not make over this commit.
    BadSignature = Sig "bad_signature";

    /// A frame of an account that its own DID document places on another host than the one that sent it.
    WrongHost = Policy "wrong_host";
    /// An account whose DID leads to no document.
    IdentityUnknown = Policy "identity_unknown";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: the reason, and one line for a person about what was found and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Reject {
    /// Which rule refused.
    pub reason: Reason,
    /// What was found. Bounded: at most 300 characters.
    pub detail: Box<str>,
}

impl Reject {
    /// A refusal; `detail` is cut to 300 characters, because it may quote what a stranger sent.
    #[cold]
    pub fn new(reason: Reason, detail: impl AsRef<str>) -> Self {
        let detail: String = detail.as_ref().chars().take(300).collect();
        Reject { reason, detail: detail.into() }
    }

    /// Which layer refused.
    pub fn layer(&self) -> Layer {
        self.reason.layer()
    }
}
