//! The thread of one sink. It alone waits for the file or the pipe; what finds no room meanwhile is counted, and the count is a
//! line of its own.

use super::file::LogFile;
use authn::audit::{Chain, Checkpoint, Dropped, FILE, Head, Reason, STDOUT, time};
use common::{Clock, SigningKey};
use gateway::Queue;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

/// How long after an error the next attempt is.
const RETRY: Duration = Duration::from_millis(500);
/// Attempts after the server has ended.
const LAST_ATTEMPTS: u32 = 4;
/// An error that lasts is told again after so many attempts.
const ATTEMPTS_PER_COMPLAINT: u32 = 120;
/// What is collected before it is written.
const WRITE_BYTES: usize = 256 * 1024;
/// A checkpoint is made though nothing has happened.
const IDLE_CHECKPOINT_MS: u64 = 3_600_000;

pub enum Sink {
    File(LogFile),
    Stdout(File),
}

pub struct Writer {
    queue: Arc<Queue>,
    sink: Sink,
    key: Arc<SigningKey>,
    clock: Arc<dyn Clock>,
    checkpoint_ms: u64,
    chain: Chain,
    /// Lines that are chained and not yet written.
    pending: Vec<u8>,
    signed_ms: u64,
    has_unsigned: bool,
    attempts: u32,
}

/// The server has ended, and the sink still takes nothing.
struct GivenUp;

impl Writer {
    pub fn new(
        queue: Arc<Queue>,
        sink: Sink,
        key: Arc<SigningKey>,
        clock: Arc<dyn Clock>,
        checkpoint: Duration,
    ) -> Self {
        let chain = match &sink {
            Sink::File(file) => file.resumed.chain,
            Sink::Stdout(_) => Chain::EMPTY,
        };
        let checkpoint_ms = u64::try_from(checkpoint.as_millis()).unwrap_or(u64::MAX);
        Self {
            queue,
            sink,
            key,
            clock,
            checkpoint_ms,
            chain,
            pending: Vec::new(),
            signed_ms: 0,
            has_unsigned: false,
            attempts: 0,
        }
    }

    pub fn run(mut self) {
        if self.write_all().is_err() {
            let bytes = self.pending.len();
            tracing::error!(sink = self.sink_name(), bytes, "lines of the audit log could not be written and are lost");
        }
    }

    fn write_all(&mut self) -> Result<(), GivenUp> {
        self.checkpoint(Reason::Start)?;
        loop {
            let batch = self.queue.take(self.until_checkpoint());
            for object in batch.objects.split(|byte| *byte == b'\n').filter(|object| !object.is_empty()) {
                self.line(object)?;
            }
            if batch.dropped > 0 {
                let weir_audit_dropped_total = self.queue.dropped_total();
                tracing::error!(
                    sink = self.sink_name(),
                    dropped = batch.dropped,
                    weir_audit_dropped_total,
                    "lines of the audit log found no room and are lost"
                );
                let mut object = Vec::new();
                Dropped::new(self.clock.now_ms(), batch.dropped).write(&mut object);
                self.line(&object)?;
            }
            if batch.is_last {
                return self.checkpoint(Reason::End);
            }
            self.flush()?;
            if self.until_checkpoint().is_zero() {
                self.checkpoint(Reason::Time)?;
            }
        }
    }

    fn until_checkpoint(&self) -> Duration {
        let every_ms = if self.has_unsigned { self.checkpoint_ms } else { IDLE_CHECKPOINT_MS };
        // A clock that was set back makes none late.
        let since_ms = self.clock.now_ms().saturating_sub(self.signed_ms);
        Duration::from_millis(every_ms.saturating_sub(since_ms).min(every_ms))
    }

    fn line(&mut self, object: &[u8]) -> Result<(), GivenUp> {
        if matches!(&self.sink, Sink::File(file) if file.is_full(self.pending.len())) {
            self.rotate()?;
        }
        self.chain.append(object, &mut self.pending);
        self.has_unsigned = true;
        if self.pending.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn rotate(&mut self) -> Result<(), GivenUp> {
        self.checkpoint(Reason::Rotation)?;
        if let Sink::File(file) = &mut self.sink
            && let Err(error) = file.rotate()
        {
            tracing::error!(%error, "the audit log could not begin its next file in order");
        }
        self.checkpoint(Reason::File)
    }

    /// Signs what stands before it, and makes it durable.
    fn checkpoint(&mut self, reason: Reason) -> Result<(), GivenUp> {
        let now_ms = self.clock.now_ms();
        let is_start = reason == Reason::Start;
        let (mut oldest, mut cut_bytes, mut lost_to) = (1, None, None);
        if let Sink::File(file) = &mut self.sink {
            file.begins_with(self.chain.seq + 1);
            oldest = file.oldest;
            if is_start {
                cut_bytes = Some(file.cut_bytes).filter(|bytes| *bytes > 0);
                lost_to = file.resumed.lost_to;
            }
        }
        let (sink, key) = (self.sink_name(), self.key.public().to_string());
        let checkpoint =
            Checkpoint { kind: Checkpoint::KIND, time: time(now_ms), reason, sink, oldest, cut_bytes, lost_to, key };
        let mut object = Vec::new();
        checkpoint.write(&mut object);
        self.chain.append_signed(&object, &self.key, &mut self.pending);
        self.flush()?;
        (self.signed_ms, self.has_unsigned) = (now_ms, false);
        if let Sink::File(file) = &mut self.sink
            && let Err(error) = file.sync(Head(self.chain))
        {
            // What was written since the last checkpoint may be gone after a power cut; nothing here brings it back.
            tracing::error!(%error, "a checkpoint of the audit log could not be made durable");
        }
        Ok(())
    }

    /// Writes what is pending, however long it takes, unless the server has ended.
    fn flush(&mut self) -> Result<(), GivenUp> {
        let mut written = 0;
        let mut last_attempts = 0;
        while written < self.pending.len() {
            let bytes = &self.pending[written..];
            let wrote = match &mut self.sink {
                Sink::File(file) => file.write(bytes),
                Sink::Stdout(pipe) => pipe.write(bytes),
            };
            match wrote {
                Ok(0) => self.fails(&io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    written += bytes;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => self.fails(&error),
            }
            if self.queue.is_closed() {
                last_attempts += 1;
            }
            if last_attempts > LAST_ATTEMPTS {
                self.pending.drain(..written);
                return Err(GivenUp);
            }
            std::thread::sleep(RETRY);
        }
        self.pending.clear();
        if std::mem::take(&mut self.attempts) > 0 {
            self.queue.set_failing(false);
            tracing::warn!(sink = self.sink_name(), "the audit log is written again");
        }
        Ok(())
    }

    fn fails(&mut self, error: &io::Error) {
        self.queue.set_failing(true);
        if self.attempts.is_multiple_of(ATTEMPTS_PER_COMPLAINT) {
            tracing::error!(sink = self.sink_name(), %error, "the audit log cannot be written: lines wait, and will be lost");
        }
        self.attempts += 1;
    }

    fn sink_name(&self) -> &'static str {
        match self.sink {
            Sink::File(_) => FILE,
            Sink::Stdout(_) => STDOUT,
        }
    }
}

#[cfg(test)]
mod tests;
