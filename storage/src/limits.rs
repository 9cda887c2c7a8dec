//! Every bound of the engine, with its unit. Relations between them are checked when this compiles.

/// Data files and inline payloads are verified in blocks of this size; the last one of a file is short.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// How much of a body is hashed and written in one step. An upload holds two such buffers at most, one that fills and one
/// on its way to the disk, and with encryption a third, which holds what is written.
pub const WRITE_STEP_BYTES: usize = 512 * 1024;

/// Buffers for such steps that are kept while nobody uses them: 16 MiB.
pub const WRITE_BUFFERS_KEPT_MAX: usize = 32;

/// Of a large body the disk gets so many bytes at a time before its sync.
pub const WRITEBACK_BYTES: u64 = 4 * 1024 * 1024;

/// Space for a body of known length is reserved in stretches of this many bytes, each when the one before is full: who declares
/// much and sends little keeps nobody else from writing (A18).
pub const RESERVED_AHEAD_BYTES: u64 = 16 * 1024 * 1024;

/// How much of a file is copied at a time.
pub const COPY_STEP_BYTES: usize = 1024 * 1024;

/// How much of a data file is read and verified in one step. With it the second-level cache of a core holds what was read
/// until the socket has taken it.
pub const READ_STEP_BYTES: usize = 256 * 1024;

/// Buffers for such steps that are kept while nobody uses them: 16 MiB.
pub const READ_BUFFERS_KEPT_MAX: usize = 64;

/// How far the disk is told to read ahead when a reader has to wait for it.
pub const READ_AHEAD_BYTES: u64 = 4 * 1024 * 1024;

/// Block checksums that a reader takes from a chunk table at once: those of 64 MiB.
pub const TABLE_BLOCKS_MAX: u64 = 1024;

/// Payloads up to this length are kept in the log unless configured otherwise; never above `INLINE_BYTES_LIMIT`.
pub const INLINE_BYTES_DEFAULT: u64 = 64 * 1024;
pub const INLINE_BYTES_LIMIT: u64 = 64 * 1024;

/// An encoded record is never longer (engine rule A11).
pub const RECORD_BYTES_MAX: usize = 192 * 1024;

/// Block tables and chunk lists up to this size stay in the record; larger ones are files of their own (A11).
pub const TABLE_IN_RECORD_BYTES_MAX: usize = 64 * 1024;

/// Checksums of an object's parts that stay in its record: those of 2048 parts with SHA-256, of all with CRC32. More are not
/// kept one by one.
pub const PART_CHECKSUMS_BYTES_MAX: usize = 64 * 1024;

/// What the gateway keeps with an encrypted object to find its key by.
pub const ENVELOPE_BYTES_MAX: usize = 4 * 1024;

/// An access control list with the owner's name.
pub const ACL_BYTES_MAX: usize = 16 * 1024;

/// A document in a disk's root, which is written as a whole.
pub const DOCUMENT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Attributes that storage accepts for one object, names and values together. The edge allows less.
pub const ATTRIBUTES_BYTES_MAX: usize = 32 * 1024;

pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
pub const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A compacted segment may grow to this many times the size of an ordinary one.
pub const COMPACTED_SEGMENTS_MAX: u64 = 4;

/// What compaction writes before it syncs it.
pub const COMPACTION_SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// Most bytes of members and records in one batch, and most mutations in it.
pub const BATCH_BYTES_MAX: u64 = 8 * 1024 * 1024;
pub const BATCH_MUTATIONS_MAX: usize = 1024;

/// Batches begin and end on multiples of this.
pub const ALIGNMENT_BYTES: u64 = 4096;

/// Mutations that may wait for the committer, and bytes of their payloads; more wait at the door.
pub const QUEUE_MUTATIONS_MAX: usize = 4096;
pub const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Steps of long bodies, `WRITE_STEP_BYTES` each, that may be on their way to the disk; more wait at the door. A step occupies two
/// of the runtime's 512 blocking threads, and reads need some too.
pub const STEPS_MAX: usize = 128;

/// How long a request waits at the door of a disk that is too slow, before it is refused.
pub const BACKLOG_WAIT_MS_MAX: u64 = 5_000;

/// The latest events of the change feed that are kept in memory.
pub const FEED_RING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Events that the feed gives at once.
pub const FEED_PAGE_EVENTS_MAX: usize = 512;

/// What the overlay may hold before the committer waits for the index (A8).
pub const OVERLAY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A durable checkpoint of the index is made after this many bytes of log, or this much time (A8).
pub const CHECKPOINT_LOG_BYTES: u64 = 256 * 1024 * 1024;
pub const CHECKPOINT_INTERVAL_MS: u64 = 30_000;
/// Or after this many records: what a start after a crash replays.
pub const CHECKPOINT_RECORDS: u64 = 65_536;

/// So long it is tried again to build an index that cannot be built; then the disk has failed.
pub const INDEX_FAILING_MS_MAX: u64 = 30_000;

/// Rows of one transaction of the index's thread.
pub const INDEX_TRANSACTION_ROWS: usize = 8192;

/// Rows, as they take memory, that replay gathers before it puts them into the index in the order of their keys.
pub const REPLAY_WINDOW_BYTES: usize = 64 * 1024 * 1024;
/// How much of the log replay reads and decodes in one step, and how many steps side by side.
pub const REPLAY_READ_BYTES: u64 = 4 * 1024 * 1024;
pub const REPLAY_THREADS: usize = 4;

/// The index's file gets its blocks in stretches of this many bytes, before they are written to (A18).
pub const INDEX_STRETCH_BYTES: u64 = 1024 * 1024;

/// Held back for the index and for what else must go on when the disk is full, beside one segment for compaction (A18).
pub const INDEX_RESERVE_BYTES: u64 = 64 * 1024 * 1024;

pub const INDEX_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The object of most bytes that S3 knows: 5 TiB; and the largest single PUT or part: 5 GiB.
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;
pub const PUT_BYTES_MAX: u64 = 5 << 30;

/// Every part but the last has at least this many bytes.
pub const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

/// Prepared segments that only deletes, aborts and housekeeping may use (A18).
pub const RESERVED_SEGMENTS: usize = 2;

/// How often a reader looks a key up again when compaction or an overwrite moved it under its hands.
pub const LOOKUPS_MAX: usize = 64;

const _: () = assert!(READ_STEP_BYTES.is_multiple_of(BLOCK_BYTES) && WRITE_STEP_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () =
    assert!(WRITEBACK_BYTES.is_multiple_of(WRITE_STEP_BYTES as u64) && WRITE_STEP_BYTES as u64 > INLINE_BYTES_LIMIT);
const _: () = assert!(QUEUE_BYTES_MAX >= 2 * BATCH_BYTES_MAX as usize && QUEUE_BYTES_MAX >= QUEUE_MUTATIONS_MAX);
const _: () = assert!(INLINE_BYTES_DEFAULT <= INLINE_BYTES_LIMIT && INLINE_BYTES_LIMIT as usize <= BLOCK_BYTES);
const _: () = assert!(
    TABLE_IN_RECORD_BYTES_MAX
        + ATTRIBUTES_BYTES_MAX
        + PART_CHECKSUMS_BYTES_MAX
        + ENVELOPE_BYTES_MAX
        + ACL_BYTES_MAX
        + 8 * 1024
        < RECORD_BYTES_MAX
);
const _: () = assert!(SEGMENT_BYTES_MAX * COMPACTED_SEGMENTS_MAX <= u32::MAX as u64 + 1);
// The largest mutation, framed, and its batch's commit member fit into the smallest segment with room for a footer.
const _: () = assert!((2 * RECORD_BYTES_MAX as u64 + INLINE_BYTES_LIMIT) * 2 < SEGMENT_BYTES_MIN);
