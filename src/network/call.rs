//! The calls there are, and how large their answers may be.

/// What is asked of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A document from the directory of `did:plc`.
    PlcDocument,
    /// A document of a `did:web`.
    WebDocument,
    /// `/.well-known/atproto-did` of a handle.
    WellKnownDid,
    /// The TXT records of a handle.
    HandleTxt,
    /// `com.atproto.sync.getLatestCommit`.
    LatestCommit,
    /// `com.atproto.sync.getBlocks`.
    Blocks,
    /// `com.atproto.sync.getRecord`.
    RecordProof,
    /// `com.atproto.sync.getRepo`.
    Repo,
    /// `com.atproto.sync.getRepoStatus`.
    RepoStatus,
    /// `com.atproto.repo.listRecords`.
    ListRecords,
    /// `com.atproto.repo.describeRepo`.
    DescribeRepo,
    /// `com.atproto.sync.listRepos`.
    ListRepos,
    /// `com.atproto.sync.listReposByCollection`.
    ListReposByCollection,
    /// `com.atproto.repo.getRecord`.
    Record,
    /// `com.atproto.server.describeServer`.
    DescribeServer,
    /// `com.atproto.server.createAccount`.
    CreateAccount,
    /// `com.atproto.server.createSession`.
    CreateSession,
    /// `com.atproto.server.refreshSession`.
    RefreshSession,
    /// `com.atproto.server.deleteSession`.
    DeleteSession,
    /// `com.atproto.repo.putRecord`.
    PutRecord,
    /// `com.atproto.repo.deleteRecord`.
    DeleteRecord,
    /// `com.atproto.repo.applyWrites`.
    ApplyWrites,
    /// `com.atproto.server.createInviteCodes`.
    CreateInviteCodes,
    /// `com.atproto.admin.getInviteCodes`.
    InviteCodes,
}

/// The most CIDs that one `getBlocks` may ask for: each takes 65 bytes of the URL, and many proxies refuse URLs from
/// 8,192 bytes on.
pub const BLOCKS_PER_CALL_MAX: usize = 100;

impl Call {
    /// Every call.
    pub const ALL: &'static [Call] = &[
        Call::PlcDocument,
        Call::WebDocument,
        Call::WellKnownDid,
        Call::HandleTxt,
        Call::LatestCommit,
        Call::Blocks,
        Call::RecordProof,
        Call::Repo,
        Call::RepoStatus,
        Call::ListRecords,
        Call::DescribeRepo,
        Call::ListRepos,
        Call::ListReposByCollection,
        Call::Record,
        Call::DescribeServer,
        Call::CreateAccount,
        Call::CreateSession,
        Call::RefreshSession,
        Call::DeleteSession,
        Call::PutRecord,
        Call::DeleteRecord,
        Call::ApplyWrites,
        Call::CreateInviteCodes,
        Call::InviteCodes,
    ];

    /// Whether it changes something, or is asked with an account's rights: sent as POST to the account's own host and nowhere
    /// else, and never repeated by this room.
    pub fn is_procedure(self) -> bool {
        matches!(
            self,
            Call::CreateAccount
                | Call::CreateSession
                | Call::RefreshSession
                | Call::DeleteSession
                | Call::PutRecord
                | Call::DeleteRecord
                | Call::ApplyWrites
                | Call::CreateInviteCodes
        )
    }

    /// The word in metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Call::PlcDocument => "plc_document",
            Call::WebDocument => "web_document",
            Call::WellKnownDid => "well_known_did",
            Call::HandleTxt => "handle_txt",
            Call::LatestCommit => "latest_commit",
            Call::Blocks => "blocks",
            Call::RecordProof => "record_proof",
            Call::Repo => "repo",
            Call::RepoStatus => "repo_status",
            Call::ListRecords => "list_records",
            Call::DescribeRepo => "describe_repo",
            Call::ListRepos => "list_repos",
            Call::ListReposByCollection => "list_repos_by_collection",
            Call::Record => "record",
            Call::DescribeServer => "describe_server",
            Call::CreateAccount => "create_account",
            Call::CreateSession => "create_session",
            Call::RefreshSession => "refresh_session",
            Call::DeleteSession => "delete_session",
            Call::PutRecord => "put_record",
            Call::DeleteRecord => "delete_record",
            Call::ApplyWrites => "apply_writes",
            Call::CreateInviteCodes => "create_invite_codes",
            Call::InviteCodes => "invite_codes",
        }
    }

    /// The largest answer taken, in bytes after decompression. A repository's own limit is given with the call and
    /// counts instead.
    pub fn bytes_max(self) -> u64 {
        match self {
            Call::PlcDocument | Call::WebDocument => 64_000,
            // A DID has at most 2,048 characters; around it stand line ends.
            Call::WellKnownDid => 4_096,
            // Bounded by the name service itself.
            Call::HandleTxt => 64_000,
            Call::LatestCommit | Call::RepoStatus => 16_000,
            // One record of the largest size and a hundred tree nodes.
            Call::Blocks => 16_000_000,
            // One record of the largest size, and a path of nodes that are a few kilobytes each.
            Call::RecordProof => 2_000_000,
            Call::Repo => u64::MAX,
            // 100 records a page. They are few hundred bytes each; a page that holds several of the largest size is refused,
            // because its JSON takes many times its length in memory.
            Call::ListRecords => 8_000_000,
            Call::DescribeRepo => 256_000,
            // 1,000 or 2,000 entries of one or two hundred bytes.
            Call::ListRepos | Call::ListReposByCollection => 2_000_000,
            // JSON takes more than the record's 1,000,000 bytes of CBOR.
            Call::Record => 8_000_000,
            Call::DescribeServer
            | Call::CreateAccount
            | Call::CreateSession
            | Call::RefreshSession
            | Call::DeleteSession => 64_000,
            Call::PutRecord | Call::DeleteRecord => 64_000,
            // 200 results of two hundred bytes.
            Call::ApplyWrites | Call::CreateInviteCodes => 256_000,
            // 500 codes a page, each with its uses.
            Call::InviteCodes => 8_000_000,
        }
    }
}
