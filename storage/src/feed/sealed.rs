//! Where the events of sealed segments stand. A footer may name a few hundred thousand records, so the places of the last
//! segments that were read are kept, and of every other one only its first and last stamp.

use crate::disk::File;
use crate::format::batch::Entry;
use crate::format::name::SegmentName;
use crate::index::rows::Location;
use crate::log::{Segments, read_footer};
use common::{BucketId, Stamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Segments whose places are kept.
const SEGMENTS_KEPT_MAX: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub first: Stamp,
    pub last: Stamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub stamp: Stamp,
    pub bucket: BucketId,
    pub offset: u32,
    pub length: u32,
    pub is_member: bool,
}

impl Place {
    pub fn of(entry: &Entry) -> Self {
        let Entry { stamp, bucket, offset, length, is_member, .. } = entry;
        Self { stamp: *stamp, bucket: *bucket, offset: *offset, length: *length, is_member: *is_member }
    }

    pub fn location(&self, name: SegmentName) -> Location {
        Location { segment: name.first, generation: name.generation, offset: self.offset, length: self.length }
    }
}

#[derive(Default)]
pub struct Sealed(Mutex<Known>);

#[derive(Default)]
struct Known {
    spans: HashMap<SegmentName, Span>,
    /// The last one used stands last.
    places: Vec<(SegmentName, Arc<Vec<Place>>)>,
}

impl Sealed {
    /// The first and last stamp of a segment; `None` if it is not sealed, empty or unreadable.
    pub fn span(&self, segments: &Segments, name: SegmentName) -> Option<Span> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(span) = known.spans.get(&name) {
            return Some(*span);
        }
        known.load(segments, name)
    }

    /// The events of a segment, in their order.
    pub fn places(&self, segments: &Segments, name: SegmentName) -> Option<Arc<Vec<Place>>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = known.places.iter().position(|(of, _)| *of == name) {
            let kept = known.places.remove(at);
            let places = Arc::clone(&kept.1);
            known.places.push(kept);
            return Some(places);
        }
        known.load(segments, name)?;
        known.places.last().map(|(_, places)| Arc::clone(places))
    }

    pub fn forget(&self, name: SegmentName) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.spans.remove(&name);
        known.places.retain(|(of, _)| *of != name);
    }
}

impl Known {
    fn load(&mut self, segments: &Segments, name: SegmentName) -> Option<Span> {
        let file: Arc<dyn File> = segments.file(name.first, name.generation)?;
        let footer = match read_footer(file.as_ref()) {
            Ok(Some((footer, _))) => footer,
            Ok(None) => return None,
            Err(error) => {
                tracing::error!(%error, segment = %name, "a footer cannot be read: the feed goes on behind it");
                return None;
            }
        };
        let span = Span { first: footer.entries.first()?.stamp, last: footer.entries.last()?.stamp };
        let events = footer.entries.iter().filter(|entry| super::Event::is_of(&entry.subject));
        let places = Arc::new(events.map(Place::of).collect());
        self.spans.insert(name, span);
        if self.places.len() >= SEGMENTS_KEPT_MAX {
            self.places.remove(0);
        }
        self.places.push((name, places));
        Some(span)
    }
}
