//! What kind of work a request is: who goes first, what it costs its identity's turn, and whose time to first byte it is
//! compared with.

/// Who goes first where there is not room for all. Health, the admin API, IAM and STS do not stand here: they need no place at
/// a target, and never wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Heads, listings, configurations.
    Metadata,
    /// Reads and writes of objects.
    Data,
    /// The appliance's own work: lifecycle rules, delivery of access logs.
    Background,
}

pub const CLASSES: [Class; 3] = [Class::Metadata, Class::Data, Class::Background];

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Data => "data",
            Self::Background => "background",
        }
    }
}

/// Requests whose times to first byte may be compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Metadata,
    List,
    Read(Size),
    Write(Size),
    /// Takes as long as what it is about is large, which nobody knows before: copies, many deletes, assembled uploads. Their times
    /// say nothing about load.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// What the log holds itself.
    UpTo64KiB,
    UpTo1MiB,
    UpTo16MiB,
    Larger,
}

/// How many paces are measured.
pub const PACES: usize = 9;

pub const PACE_NAMES: [&str; PACES] =
    ["metadata", "list", "read_64k", "read_1m", "read_16m", "read_larger", "write_64k", "write_1m", "write_16m"];

impl Pace {
    /// Where its samples are. A large write is as slow as its bytes, and has none.
    pub fn index(self) -> Option<usize> {
        Some(match self {
            Self::Metadata => 0,
            Self::List => 1,
            Self::Read(size) => 2 + size as usize,
            Self::Write(Size::Larger) | Self::Unknown => return None,
            Self::Write(size) => 6 + size as usize,
        })
    }
}

impl Size {
    pub fn of(bytes: u64) -> Self {
        match bytes {
            ..=0x1_0000 => Self::UpTo64KiB,
            0x1_0001..=0x10_0000 => Self::UpTo1MiB,
            0x10_0001..=0x100_0000 => Self::UpTo16MiB,
            _ => Self::Larger,
        }
    }
}

/// What a request takes of its identity's turn: a turn is `queue::QUANTUM`.
pub type Cost = u16;

/// More than a few turns nobody pays at once.
const COST_MAX: u64 = 8;

/// What is known of an operation before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    pub class: Class,
    pub pace: Pace,
    pub cost: Cost,
}

impl Work {
    pub const BACKGROUND: Self = Self { class: Class::Background, pace: Pace::Unknown, cost: 1 };

    /// `declared` are the bytes that its request says it has: asked where they say something.
    pub fn of(operation: &str, declared: impl FnOnce() -> Option<u64>) -> Self {
        let per_mebibyte = |bytes: u64| u16::try_from((1 + (bytes >> 20)).min(COST_MAX)).unwrap_or(1);
        let (class, pace, cost) = match operation {
            // Its size is that of the answer.
            "GetObject" => (Class::Data, Pace::Read(Size::UpTo64KiB), 1),
            "PutObject" | "UploadPart" | "PostObject" => {
                let bytes = declared().unwrap_or(u64::MAX);
                (Class::Data, Pace::Write(Size::of(bytes)), per_mebibyte(bytes))
            }
            "DeleteObject" => (Class::Data, Pace::Write(Size::UpTo64KiB), 1),
            "CopyObject" | "UploadPartCopy" | "RenameObject" => (Class::Data, Pace::Unknown, 2),
            "DeleteObjects" | "CompleteMultipartUpload" | "AbortMultipartUpload" => (Class::Data, Pace::Unknown, 4),
            _ if operation.starts_with("List") => (Class::Metadata, Pace::List, 2),
            _ if operation.starts_with("Get") || operation.starts_with("Head") => (Class::Metadata, Pace::Metadata, 1),
            // Changes of configurations and of an object's tags, hold or lists.
            _ => (Class::Metadata, Pace::Unknown, 1),
        };
        Self { class, pace, cost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pace_has_a_place_of_its_own() {
        let sizes = [Size::UpTo64KiB, Size::UpTo1MiB, Size::UpTo16MiB, Size::Larger];
        let paces = [Pace::Metadata, Pace::List].into_iter();
        let paces = paces.chain(sizes.map(Pace::Read)).chain(sizes.map(Pace::Write)).chain([Pace::Unknown]);
        let places: Vec<usize> = paces.filter_map(Pace::index).collect();
        assert_eq!(places, (0..PACES).collect::<Vec<_>>());
    }

    #[test]
    fn sizes_end_where_their_names_say() {
        assert_eq!([0, 65_536, 65_537].map(Size::of), [Size::UpTo64KiB, Size::UpTo64KiB, Size::UpTo1MiB]);
        assert_eq!([1 << 20, (1 << 24) + 1].map(Size::of), [Size::UpTo1MiB, Size::Larger]);
    }

    #[test]
    fn metadata_is_light_and_uploads_cost_by_their_length() {
        assert_eq!(Work::of("HeadObject", || None).class, Class::Metadata);
        assert_eq!(Work::of("GetObject", || None).class, Class::Data);
        assert_eq!(Work::of("PutObject", || Some(0)).cost, 1);
        assert_eq!(Work::of("PutObject", || Some(3 << 20)).cost, 4);
        assert_eq!(Work::of("UploadPart", || Some(5 << 30)).cost, 8);
        assert_eq!(Work::of("PutObject", || None).pace.index(), None);
    }
}
