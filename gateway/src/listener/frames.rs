//! The frames of HTTP/2 as far as their times and their number are judged (RFC 9113, section 4.1), beside hyper, which reads
//! what they mean. Pure; `http2.rs` feeds it.

/// What a client begins with, before its first frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Follows the bytes of a connection.
#[derive(Debug)]
pub struct Frames {
    state: State,
    /// A header block has begun: only its continuations may follow.
    in_block: bool,
}

#[derive(Debug)]
enum State {
    Preface { seen: usize },
    Header { bytes: [u8; HEADER_BYTES], seen: usize },
    Payload { left: u32, is_data: bool },
}

/// What was in some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Something ended for which the client has a time.
    pub ended: bool,
    /// Frames that cost work and bring nothing.
    pub idle_frames: u32,
}

impl Default for Frames {
    fn default() -> Self {
        Self { state: State::Preface { seen: 0 }, in_block: false }
    }
}

const BETWEEN: State = State::Header { bytes: [0; HEADER_BYTES], seen: 0 };

impl Frames {
    pub fn take(&mut self, mut bytes: &[u8]) -> Taken {
        let mut taken = Taken::default();
        while let [first, rest @ ..] = bytes {
            match &mut self.state {
                State::Preface { seen } => {
                    *seen += 1;
                    bytes = rest;
                    if *seen == PREFACE.len() {
                        self.state = BETWEEN;
                        taken.ended = true;
                    }
                }
                State::Header { bytes: header, seen } => {
                    header[*seen] = *first;
                    *seen += 1;
                    bytes = rest;
                    if *seen == HEADER_BYTES {
                        let header = *header;
                        self.begins(header, &mut taken);
                    }
                }
                State::Payload { left, is_data } => {
                    let here = bytes.len().min(*left as usize);
                    *left -= u32::try_from(here).unwrap_or(*left);
                    bytes = &bytes[here..];
                    if *left == 0 {
                        taken.ended |= !*is_data && !self.in_block;
                        self.state = BETWEEN;
                    }
                }
            }
        }
        taken
    }

    fn begins(&mut self, header: [u8; HEADER_BYTES], taken: &mut Taken) {
        let [high, middle, low, kind, flags, ..] = header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        match kind {
            HEADERS | CONTINUATION => self.in_block = flags & END_HEADERS == 0,
            // An empty one that ends a body is how many clients end it.
            DATA if length > 0 || flags & END_STREAM != 0 => {}
            // Those are in step with bytes and requests, which have limits of their own.
            RST_STREAM | WINDOW_UPDATE => {}
            _ => taken.idle_frames += 1,
        }
        self.state = State::Payload { left: length, is_data: kind == DATA };
        if length == 0 {
            taken.ended |= !self.in_block;
            self.state = BETWEEN;
        }
    }

    /// Whether the client is in the middle of something that has to end in `HEADER_READ_TIMEOUT`: all but a body's bytes.
    pub fn is_awaited(&self) -> bool {
        match self.state {
            State::Preface { .. } => true,
            State::Header { seen, .. } => seen > 0 || self.in_block,
            State::Payload { is_data, .. } => !is_data || self.in_block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("short").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER_BYTES + payload, 0);
        frame
    }

    #[test]
    fn a_client_has_a_time_for_everything_but_bodies() {
        let mut frames = Frames::default();
        assert!(frames.is_awaited(), "the preface");
        assert!(!frames.take(&PREFACE[..23]).ended);
        assert!(frames.take(&PREFACE[23..]).ended && !frames.is_awaited());
        let headers = frame(HEADERS, 0, 20);
        for byte in &headers {
            assert!(!frames.take(&[*byte]).ended && frames.is_awaited(), "its block goes on");
        }
        let end = frame(CONTINUATION, END_HEADERS, 5);
        let (last, before) = end.split_last().expect("bytes");
        assert!(!frames.take(before).ended && frames.is_awaited());
        assert!(frames.take(&[*last]).ended && !frames.is_awaited());
        let data = frame(DATA, 0, 1000);
        assert_eq!(frames.take(&data[..500]), Taken::default());
        assert!(!frames.is_awaited(), "a body has another time");
        frames.take(&data[500..]);
        frames.take(&[0]);
        assert!(frames.is_awaited(), "a frame's header");
    }

    #[test]
    fn frames_that_bring_nothing_are_counted() {
        let count = |frame: Vec<u8>| {
            let mut frames = Frames::default();
            frames.take(PREFACE);
            frames.take(&frame.repeat(3)).idle_frames
        };
        for (kind, flags, payload) in [(6, 0, 8), (6, 1, 8), (4, 0, 0), (2, 0, 5), (DATA, 0, 0), (77, 0, 100)] {
            assert_eq!(count(frame(kind, flags, payload)), 3, "{kind} {flags} {payload}");
        }
        for (kind, flags, payload) in [(DATA, 0, 1), (DATA, END_STREAM, 0), (HEADERS, 5, 10), (3, 0, 4), (8, 0, 4)] {
            assert_eq!(count(frame(kind, flags, payload)), 0, "{kind} {flags} {payload}");
        }
    }

    #[test]
    fn pieces_make_no_difference() {
        let bytes = [PREFACE, &frame(4, 0, 12), &frame(HEADERS, 4, 300), &frame(DATA, 0, 70), &frame(6, 0, 8)].concat();
        let mut whole = Frames::default();
        let expected = whole.take(&bytes).idle_frames;
        for size in 1..40 {
            let mut frames = Frames::default();
            let idle: u32 = bytes.chunks(size).map(|piece| frames.take(piece).idle_frames).sum();
            assert_eq!((idle, frames.is_awaited()), (expected, whole.is_awaited()), "{size}");
        }
    }
}
