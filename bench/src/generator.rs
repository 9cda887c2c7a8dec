//! The load generator: one thread, many connections, epoll. Nothing is allocated for a request once its connection has sent
//! one, and nothing is copied out of an answer's body.
//!
//! In a closed loop each connection sends its next request when the answer is there. In an open loop requests are due at
//! times that no answer moves, and latency counts from the time that a request was due: a server that stops for a second
//! has made all requests of that second late, not one. After the end of its time a run sends nothing new and waits for
//! what is on its way, so that every request that cost the server something is counted.

use crate::connection::Connection;
use crate::limits;
use crate::outcome::Outcome;
use crate::request::Requests;
use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::{ClockId, Timespec};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    Closed,
    Open { per_second: f64 },
}

pub struct Run<'a> {
    pub address: SocketAddr,
    pub connections: usize,
    pub pace: Pace,
    pub time: Duration,
    /// Ends the run before its time.
    pub bytes_out_max: u64,
    pub stop: Option<&'a AtomicBool>,
    pub payload: &'a [u8],
}

impl<'a> Run<'a> {
    /// A closed loop on one connection that ends when its load does.
    pub fn closed(address: SocketAddr, payload: &'a [u8]) -> Self {
        Self {
            address,
            connections: 1,
            pace: Pace::Closed,
            time: Duration::MAX,
            bytes_out_max: u64::MAX,
            stop: None,
            payload,
        }
    }

    pub fn execute(&self, requests: &mut dyn Requests) -> Result<Outcome> {
        Generator::new(self, requests)?.run()
    }
}

struct Generator<'a> {
    run: &'a Run<'a>,
    requests: &'a mut dyn Requests,
    poller: OwnedFd,
    connections: Vec<Connection>,
    /// Open loop: those that wait for a request to become due.
    idle: Vec<usize>,
    busy: usize,
    schedule: Option<Schedule>,
    ending: bool,
    outcome: Outcome,
    /// Also what is not answered yet.
    bytes_sent: u64,
    buffer: Vec<u8>,
}

/// Errors after which a run is broken off: it is worthless already.
const ERRORS_MAX: u64 = 100;

impl<'a> Generator<'a> {
    fn new(run: &'a Run<'a>, requests: &'a mut dyn Requests) -> Result<Self> {
        ensure!(run.connections > 0, "a load needs a connection");
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let now = Instant::now();
        let mut connections = Vec::with_capacity(run.connections);
        for index in 0..run.connections {
            let connection = Connection::open(run.address, now)?;
            epoll::add(&poller, &connection.socket, EventData::new_u64(index as u64), EventFlags::IN)?;
            connections.push(connection);
        }
        let schedule = match run.pace {
            Pace::Closed => None,
            Pace::Open { per_second } => Some(Schedule::new(per_second)?),
        };
        Ok(Self {
            run,
            requests,
            poller,
            connections,
            idle: Vec::new(),
            busy: 0,
            schedule,
            ending: false,
            outcome: Outcome::new(),
            bytes_sent: 0,
            buffer: vec![0; limits::READ_BYTES],
        })
    }

    fn run(mut self) -> Result<Outcome> {
        let mut events = Vec::with_capacity(limits::EVENTS_MAX);
        let (cpu, start) = (thread_cpu(), Instant::now());
        let mut progress = start;
        let all = 0..self.connections.len();
        if self.schedule.is_some() {
            self.idle = all.rev().collect();
        } else {
            for index in all {
                self.start(index, start);
            }
        }
        loop {
            let now = Instant::now();
            let elapsed = now - start;
            self.ending |= elapsed >= self.run.time
                || self.bytes_sent >= self.run.bytes_out_max
                || self.outcome.errors.count >= ERRORS_MAX
                || self.run.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
            let due = self.dispatch(start, elapsed)?;
            if self.busy == 0 && due.is_none() {
                break;
            }
            let timeout = due.map_or(Duration::from_secs(1), |due| due.saturating_sub(start.elapsed()));
            let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
            events.clear();
            match epoll::wait(&self.poller, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).context("waiting for answers"),
            }
            if !events.is_empty() {
                progress = Instant::now();
            } else if self.busy > 0 && progress.elapsed() > limits::STALL {
                let (busy, seconds) = (self.busy, limits::STALL.as_secs());
                self.outcome.errors.add(|| format!("{busy} requests without an answer for {seconds} s"));
                break;
            }
            for event in &events {
                let flags = event.flags;
                self.event(event.data.u64() as usize, flags)?;
            }
        }
        self.outcome.elapsed = start.elapsed();
        self.outcome.client_cpu = thread_cpu().saturating_sub(cpu);
        Ok(self.outcome)
    }

    /// Open loop: starts what is due, and says when the next one is, from the start.
    fn dispatch(&mut self, start: Instant, elapsed: Duration) -> Result<Option<Duration>> {
        let Some(schedule) = &mut self.schedule else { return Ok(None) };
        let until = if self.ending { elapsed.min(self.run.time) } else { elapsed };
        let late = schedule.late(until);
        if late > limits::LATE_REQUESTS_MAX as u64 {
            bail!("{late} requests are late: the server cannot hold the rate");
        }
        while let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.next_due(until)) {
            let Some(index) = self.idle.pop() else { break };
            self.schedule.as_mut().expect("an open loop").taken();
            self.start(index, start + due);
        }
        let schedule = self.schedule.as_ref().expect("an open loop");
        // With no idle connection an answer comes before the next start.
        let more = if self.ending { schedule.late(until) > 0 } else { true };
        Ok((more && !self.idle.is_empty()).then(|| schedule.next_at()))
    }

    /// Sends the connection's next request, if there is one.
    fn start(&mut self, index: usize, since: Instant) {
        let connection = &mut self.connections[index];
        if !connection.request.unfinished {
            connection.since = since;
        }
        connection.request.head.clear();
        connection.request.unfinished = false;
        if !self.requests.next(index, &mut connection.request) {
            // A list of requests that came to its end ends an open loop too.
            self.ending |= self.schedule.is_some();
            return;
        }
        self.busy += 1;
        connection.start();
        self.bytes_sent += connection.bytes_out();
        self.send(index);
    }

    fn send(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let outcome = connection.send(self.run.payload);
        let wants_room = match outcome {
            Ok(finished) => !finished,
            Err(error) => return self.fail(index, error.to_string()),
        };
        if wants_room != connection.waits_for_room {
            connection.waits_for_room = wants_room;
            let flags = if wants_room { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            let data = EventData::new_u64(index as u64);
            if let Err(error) = epoll::modify(&self.poller, &connection.socket, data, flags) {
                self.fail(index, error.to_string());
            }
        }
    }

    fn event(&mut self, index: usize, flags: EventFlags) -> Result<()> {
        if flags.contains(EventFlags::OUT) && self.connections[index].waits_for_room {
            self.send(index);
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return Ok(());
        }
        let connection = &mut self.connections[index];
        let answer = match connection.receive(&mut self.buffer) {
            Ok(None) => return Ok(()),
            Ok(Some(answer)) => answer,
            Err(error) if connection.busy => {
                self.fail(index, format!("{error:#}"));
                return Ok(());
            }
            // A server may close a connection that is idle.
            Err(_) => return self.reconnect(index),
        };
        connection.busy = false;
        self.busy -= 1;
        self.outcome.requests += 1;
        self.outcome.bytes_in += answer.body_bytes;
        *self.outcome.errors.statuses.entry(answer.status).or_insert(0) += 1;
        let expected = connection.request.expected;
        let mut wrong =
            answer.status != expected.status || expected.body_bytes.is_some_and(|bytes| bytes != answer.body_bytes);
        if wrong {
            let line = connection.request.head.split(|byte| *byte == b'?' || *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line).into_owned();
            self.outcome.errors.add(|| {
                let reason = String::from_utf8_lossy(&connection.reader.body);
                let (status, bytes) = (answer.status, answer.body_bytes);
                format!("{line}: status {status} with {bytes} bytes, expected {expected:?}: {reason}")
            });
        } else if connection.request.keep
            && let Err(error) = self.requests.answered(index, &connection.reader)
        {
            self.outcome.errors.add(|| error);
            wrong = true;
        }
        if !wrong {
            self.outcome.bytes_out += connection.bytes_out();
            if !connection.request.unfinished {
                self.outcome.record(connection.since.elapsed());
            }
        }
        if answer.last {
            self.reconnect(index)?;
        }
        self.free(index);
        Ok(())
    }

    /// What a connection does after an answer.
    fn free(&mut self, index: usize) {
        let unfinished = self.connections[index].request.unfinished;
        if unfinished || (self.schedule.is_none() && !self.ending) {
            self.start(index, Instant::now());
        } else if self.schedule.is_some() {
            self.idle.push(index);
        }
    }

    /// The request is lost. Its connection is opened anew, so that a load with errors still comes to its end.
    fn fail(&mut self, index: usize, error: String) {
        self.outcome.errors.add(|| error);
        if self.connections[index].busy {
            self.busy -= 1;
        }
        self.connections[index].request.unfinished = false;
        if let Err(error) = self.reconnect(index) {
            self.outcome.errors.add(|| format!("{error:#}"));
            self.ending = true;
            return;
        }
        if self.outcome.errors.count < ERRORS_MAX {
            self.free(index);
        }
    }

    fn reconnect(&mut self, index: usize) -> Result<()> {
        let mut fresh = Connection::open(self.run.address, Instant::now())?;
        let old = &mut self.connections[index];
        // An operation of several requests goes on.
        fresh.since = old.since;
        fresh.request.unfinished = old.request.unfinished;
        // Closing the old socket takes it out of the poller.
        *old = fresh;
        epoll::add(&self.poller, &old.socket, EventData::new_u64(index as u64), EventFlags::IN)?;
        Ok(())
    }
}

/// The times of an open loop.
struct Schedule {
    interval_ns: f64,
    taken: u64,
}

impl Schedule {
    fn new(per_second: f64) -> Result<Self> {
        ensure!(per_second > 0.0, "a rate of {per_second} requests/s");
        Ok(Self { interval_ns: 1e9 / per_second, taken: 0 })
    }

    fn at(&self, number: u64) -> Duration {
        Duration::from_nanos((number as f64 * self.interval_ns) as u64)
    }

    fn next_at(&self) -> Duration {
        self.at(self.taken)
    }

    fn next_due(&self, until: Duration) -> Option<Duration> {
        let at = self.next_at();
        (at <= until).then_some(at)
    }

    fn taken(&mut self) {
        self.taken += 1;
    }

    /// Requests that are due and not taken.
    fn late(&self, until: Duration) -> u64 {
        let due = (until.as_nanos() as f64 / self.interval_ns) as u64 + 1;
        due.saturating_sub(self.taken)
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loads::Prepared;
    use crate::request::Expected;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// Gives each request, which has no body, this answer; the one with this number comes late.
    fn server(answer: &'static str, late: Option<(usize, Duration)>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
                    for number in 0.. {
                        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                        if let Some((_, pause)) = late.filter(|(which, _)| *which == number) {
                            std::thread::sleep(pause);
                        }
                        if (&socket).write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn load(count: usize, expected: Expected) -> Prepared {
        Prepared::new(vec![b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(); count], expected).once()
    }

    const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn a_closed_loop_sends_each_request_once() {
        let run = Run { connections: 3, ..Run::closed(server(HELLO, None), &[]) };
        let expected = Expected { body_bytes: Some(5), ..Expected::default() };
        let outcome = run.execute(&mut load(50, expected)).unwrap();
        assert_eq!((outcome.operations, outcome.requests, outcome.bytes_in), (50, 50, 250));
        assert_eq!((outcome.errors.count, outcome.errors.statuses[&200]), (0, 50));
    }

    #[test]
    fn another_status_and_a_short_body_are_errors() {
        let run = Run::closed(server(HELLO, None), &[]);
        for expected in
            [Expected { status: 204, ..Expected::default() }, Expected { body_bytes: Some(6), ..Expected::default() }]
        {
            let outcome = run.execute(&mut load(4, expected)).unwrap();
            assert_eq!((outcome.operations, outcome.errors.count), (0, 4));
        }
        let cut = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\nmore";
        let outcome = Run::closed(server(cut, None), &[]).execute(&mut load(2, Expected::default())).unwrap();
        assert!(outcome.errors.count > 0);
    }

    #[test]
    fn an_open_loop_makes_a_pause_everybodys() {
        let pause = Duration::from_millis(300);
        let address = server(HELLO, Some((10, pause)));
        let run = Run { pace: Pace::Open { per_second: 1000.0 }, ..Run::closed(address, &[]) };
        let outcome = run.execute(&mut load(400, Expected::default())).unwrap();
        assert_eq!((outcome.operations, outcome.errors.count), (400, 0));
        // A closed loop would have one slow request of 400. Here about 300 were due during the pause.
        assert!(outcome.quantile_ms(0.5) > 50.0, "{} ms", outcome.quantile_ms(0.5));
    }

    #[test]
    fn a_schedule_does_not_wait_for_anybody() {
        let mut schedule = Schedule::new(1000.0).unwrap();
        assert_eq!(schedule.next_due(Duration::ZERO), Some(Duration::ZERO));
        schedule.taken();
        assert_eq!(schedule.next_due(Duration::from_micros(999)), None);
        assert_eq!(schedule.next_at(), Duration::from_millis(1));
        assert_eq!(schedule.late(Duration::from_millis(10)), 10);
        assert_eq!(schedule.next_due(Duration::from_millis(10)), Some(Duration::from_millis(1)));
        assert!(Schedule::new(0.0).is_err());
    }
}
