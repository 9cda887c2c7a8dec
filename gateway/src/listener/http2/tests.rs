use super::*;
use h2::client::{self, SendRequest};
use http::StatusCode;
use http_body_util::BodyExt;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Answers with what it sees. `/wait` never answers, `/bytes/N` has so many.
struct Mirror;

#[async_trait::async_trait]
impl Handler for Mirror {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        if head.uri.path() == "/wait" {
            std::future::pending::<()>().await;
        }
        if let Some(count) = head.uri.path().strip_prefix("/bytes/") {
            return Response::new(Body::from(vec![b'x'; count.parse().expect("a number")]));
        }
        let body = match body.collect().await {
            Ok(body) => body.to_bytes().len().to_string(),
            Err(error) => format!("{:?}", super::super::body_fault(&*error)),
        };
        let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("-").to_owned();
        Response::new(Body::from(format!("{} {} {host} {body}", head.method, head.uri)))
    }

    async fn refuse(&self, _: &Head, error: Error) -> Response<Body> {
        let mut answer = Response::new(Body::from(error.answer().code.to_owned()));
        *answer.status_mut() = error.answer().status;
        answer
    }
}

struct Scene {
    stage: watch::Sender<Stage>,
    serving: tokio::task::JoinHandle<()>,
}

fn serve_with(http2: Http2) -> (DuplexStream, Scene) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (stage, watched) = watch::channel(Stage::Serving);
    let peer = Peer::plain(IpAddr::from([127, 0, 0, 1]));
    let serving = tokio::spawn(http2.serve(theirs, peer, Arc::new(Mirror), watched));
    (ours, Scene { stage, serving })
}

fn serve() -> (DuplexStream, Scene) {
    serve_with(Http2::new(1000, Proxies::default()))
}

async fn connect(stream: DuplexStream) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let (requests, connection) = client::handshake(stream).await.expect("a connection");
    (requests.ready().await.expect("settings"), tokio::spawn(connection))
}

async fn ask(requests: &mut SendRequest<Bytes>, request: Request<()>, body: &[u8]) -> (StatusCode, String) {
    *requests = requests.clone().ready().await.expect("open");
    let (answer, mut sending) = requests.send_request(request, body.is_empty()).expect("sent");
    if !body.is_empty() {
        sending.send_data(Bytes::copy_from_slice(body), true).expect("sent");
    }
    whole(answer.await.expect("an answer")).await
}

async fn whole(answer: Response<h2::RecvStream>) -> (StatusCode, String) {
    let (head, mut body) = answer.into_parts();
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("bytes");
        body.flow_control().release_capacity(data.len()).expect("open");
        text.extend_from_slice(&data);
    }
    (head.status, String::from_utf8(text).expect("text"))
}

fn get(uri: &str) -> Request<()> {
    Request::builder().uri(uri).body(()).expect("a request")
}

#[tokio::test]
async fn handlers_see_the_head_of_http_1() {
    let (stream, _scene) = serve();
    let (mut requests, _connection) = connect(stream).await;
    let told = ask(&mut requests, get("https://s3.test:9000/b/k%20?versions"), b"").await;
    assert_eq!(told, (StatusCode::OK, "GET /b/k%20?versions s3.test:9000 0".to_owned()));
    let same =
        Request::builder().method("PUT").uri("https://S3.test/b").header("host", "s3.test").body(()).expect("it");
    assert_eq!(ask(&mut requests, same, b"12345").await.1, "PUT /b s3.test 5");
    for (name, value) in [("host", "victim"), ("host", "")] {
        let other = Request::builder().uri("https://s3.test/").header(name, value).body(()).expect("a request");
        assert_eq!(ask(&mut requests, other, b"").await, (StatusCode::BAD_REQUEST, "BadRequest".to_owned()));
    }
    let twice = Request::builder().uri("https://a/").header("content-length", "0").header("content-length", "0");
    assert_eq!(ask(&mut requests, twice.body(()).expect("it"), b"").await.1, "BadRequest");
    let many =
        (0..=limits::HEADERS_MAX).fold(Request::builder().uri("https://a/"), |it, n| it.header(format!("x{n}"), "1"));
    assert_eq!(ask(&mut requests, many.body(()).expect("it"), b"").await.1, "RequestHeaderSectionTooLarge");
    let long = format!("https://a/{}", "k".repeat(limits::REQUEST_TARGET_BYTES_MAX));
    assert_eq!(ask(&mut requests, get(&long), b"").await.1, "RequestHeaderSectionTooLarge");
}

#[tokio::test]
async fn framing_of_http_1_is_an_error() {
    for (name, value) in [("transfer-encoding", "chunked"), ("connection", "close"), ("te", "gzip"), ("upgrade", "h2c")]
    {
        let (stream, _scene) = serve();
        let (mut requests, _connection) = connect(stream).await;
        let request = Request::builder().uri("https://a/").header(name, value).body(()).expect("a request");
        let (answer, _) =
            requests.send_request(request, true).map_or_else(|_| (None, None), |(a, b)| (Some(a), Some(b)));
        if let Some(answer) = answer {
            assert!(answer.await.is_err(), "{name}");
        }
    }
    // A body that is not as long as it says.
    let (stream, _scene) = serve();
    let (mut requests, _connection) = connect(stream).await;
    let request =
        Request::builder().method("PUT").uri("https://a/b/k").header("content-length", "3").body(()).expect("it");
    let (answer, mut sending) = requests.send_request(request, false).expect("sent");
    sending.send_data(Bytes::from_static(b"12345"), true).expect("sent");
    assert!(!matches!(answer.await, Ok(answer) if answer.status() == StatusCode::OK));
}

#[tokio::test]
async fn large_answers_come_whole() {
    let (stream, _scene) = serve();
    let (mut requests, _connection) = connect(stream).await;
    for count in [0, 1, 2, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1, 65_535, 1_000_000] {
        let (answer, _) = requests.send_request(get(&format!("https://a/bytes/{count}")), true).expect("sent");
        let answer = answer.await.expect("an answer");
        let length = answer.headers().get("content-length").map(|length| length.to_str().expect("digits").to_owned());
        assert_eq!(length, (count > 0).then(|| count.to_string()));
        assert_eq!(whole(answer).await.1.len(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_no_room_for_the_end_of_an_answer_is_cut() {
    let (mut stream, _scene) = serve();
    // SETTINGS_INITIAL_WINDOW_SIZE of one byte.
    let small = frame(4, 0, 0, b"\0\x04\0\0\0\x01");
    stream.write_all(&[PREFACE, &small, &headers(1, "/bytes/100")].concat()).await.expect("taken");
    let (mut began, mut came, mut is_reset) = (tokio::time::Instant::now(), 0, false);
    while !is_reset {
        let (kind, of, payload) = frames(&mut stream, |_, _| true).await.pop().expect("the connection goes on");
        match (kind, of) {
            (0, 1) => (came, began) = (came + payload.len(), tokio::time::Instant::now()),
            (3, 1) => is_reset = true,
            (6, 0) => stream.write_all(&frame(6, 1, 0, &payload)).await.expect("taken"),
            _ => {}
        }
    }
    assert_eq!(came, 1);
    assert!((1..3).contains(&(began.elapsed().as_secs() / limits::ANSWER_TIMEOUT.as_secs())), "{:?}", began.elapsed());
    // One that makes room gets it whole, with its length said before.
    stream.write_all(&headers(3, "/bytes/100")).await.expect("taken");
    stream.write_all(&frame(8, 0, 3, &99_u32.to_be_bytes())).await.expect("taken");
    let (mut came, mut has_ended) = (0, false);
    while !has_ended {
        let (kind, of, payload) = frames(&mut stream, |_, _| true).await.pop().expect("the connection goes on");
        if (kind, of) == (0, 3) {
            came += payload.len();
            has_ended = came == 100;
        }
    }
}

#[tokio::test]
async fn a_drain_lets_requests_end() {
    let (stream, scene) = serve();
    let (mut requests, connection) = connect(stream).await;
    let put = Request::builder().method("PUT").uri("https://a/").body(()).expect("a request");
    let (answer, mut sending) = requests.send_request(put, false).expect("sent");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    scene.stage.send_replace(Stage::Draining);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!scene.serving.is_finished());
    sending.send_data(Bytes::from_static(b"end"), true).expect("sent");
    assert_eq!(whole(answer.await.expect("an answer")).await.1, "PUT / a 3");
    drop(requests);
    scene.serving.await.expect("an end");
    connection.await.expect("ended").expect("GOAWAY without an error");
}

/// Reads frames until `until` is found, or the end of the connection.
async fn frames(stream: &mut DuplexStream, until: impl Fn(u8, u32) -> bool) -> Vec<(u8, u32, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return found;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.expect("a whole frame");
        let (kind, of) = (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        found.push((kind, of, payload));
        if until(kind, of) {
            return found;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_takes_no_requests_of_who_does_not_see_it() {
    let (mut stream, scene) = serve();
    stream.write_all(&[PREFACE, &headers(1, "/wait"), &headers(3, "/")].concat()).await.expect("taken");
    let came = frames(&mut stream, |kind, of| (kind, of) == (0, 3)).await;
    assert!(came.iter().any(|(_, of, payload)| *of == 3 && payload.starts_with(b"GET / a ")), "{came:?}");
    scene.stage.send_replace(Stage::Draining);
    // GOAWAY and a ping, which is not answered: h2 takes requests for as long as that.
    frames(&mut stream, |kind, _| kind == 7).await;
    stream.write_all(&headers(5, "/")).await.expect("taken");
    let came = frames(&mut stream, |kind, of| (kind, of) == (0, 5)).await;
    assert!(came.iter().any(|(_, of, payload)| *of == 5 && payload.starts_with(b"GET / a ")), "still on its way");
    tokio::time::sleep(limits::LINGER_SILENCE_TIMEOUT).await;
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    assert!(!scene.serving.is_finished(), "a request of before goes on");
    stream.write_all(&headers(7, "/")).await.expect("taken");
    let came = frames(&mut stream, |_, _| false).await;
    assert!(!came.iter().any(|(_, _, payload)| payload.starts_with(b"GET")), "{came:?}");
    scene.serving.await.expect("an end");
}

#[tokio::test]
async fn the_end_cuts_what_is_left() {
    let (stream, scene) = serve();
    let (mut requests, _connection) = connect(stream).await;
    let (answer, _) = requests.send_request(get("https://a/wait"), true).expect("sent");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    scene.stage.send_replace(Stage::Draining);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!scene.serving.is_finished());
    scene.stage.send_replace(Stage::Closing);
    scene.serving.await.expect("an end");
    assert!(answer.await.is_err());
}

#[tokio::test]
async fn streams_have_a_limit_over_all_connections() {
    let http2 = Http2::new(8, Proxies::default());
    let (stream, _one) = serve_with(http2.clone());
    let (mut requests, _connection) = connect(stream).await;
    let waiting: Vec<_> = (0..4).map(|_| requests.send_request(get("https://a/wait"), true).expect("sent")).collect();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    // Half of them for one address, on whatever connection.
    let (stream, _other) = serve_with(http2);
    let (mut others, _connection) = connect(stream).await;
    assert_eq!(
        ask(&mut others, get("https://a/"), b"").await,
        (StatusCode::SERVICE_UNAVAILABLE, "SlowDown".to_owned())
    );
    drop(waiting);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(ask(&mut others, get("https://a/"), b"").await.0, StatusCode::OK);
}

/// Bytes of frames over a bare stream, and how the connection ended: what came, within a while.
async fn raw(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut stream, _scene) = serve();
    // The server may be gone before it has taken everything.
    let _ = stream.write_all(bytes).await;
    let mut came = Vec::new();
    let read = tokio::time::timeout(std::time::Duration::from_secs(3), stream.read_to_end(&mut came)).await;
    read.ok().map(|_| came)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// GET / of https://a by HPACK's static table; with `path` GET of that.
fn headers(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("short");
    frame(1, 5, stream, &[b"\x82\x87\x41\x01a\x04".as_slice(), &[length], path.as_bytes()].concat())
}

/// The code in the last GOAWAY.
fn goaway(came: &[u8]) -> Option<u32> {
    let (mut rest, mut code) = (came, None);
    while rest.len() >= 9 {
        let length = usize::try_from(u32::from_be_bytes([0, rest[0], rest[1], rest[2]])).expect("short");
        if rest[3] == 7 {
            code = Some(u32::from_be_bytes(rest[13..17].try_into().expect("four bytes")));
        }
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    code
}

const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let resets =
        (0..1000).flat_map(|n| [headers(2 * n + 1, "/wait"), frame(3, 0, 2 * n + 1, &8u32.to_be_bytes())].concat());
    let came = raw(&[PREFACE, &resets.collect::<Vec<_>>()].concat()).await.expect("an end");
    assert_eq!(goaway(&came), Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn streams_that_are_made_to_be_reset_end_the_connection() {
    // A window that is too large is an error of its stream.
    let bad =
        (0..1000).flat_map(|n| [headers(2 * n + 1, "/wait"), frame(8, 0, 2 * n + 1, &i32::MAX.to_be_bytes())].concat());
    let came = raw(&[PREFACE, &bad.collect::<Vec<_>>()].concat()).await.expect("an end");
    assert_eq!(goaway(&came), Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn a_client_that_only_cancels_is_cut() {
    let (mut stream, scene) = serve();
    stream.write_all(PREFACE).await.expect("sent");
    let mut scratch = vec![0; 1 << 16];
    let mut count = 0;
    while !scene.serving.is_finished() && count < 5000 {
        // One after the other, so that each is seen before it is cancelled.
        let _ = stream.write_all(&headers(2 * count + 1, "/wait")).await;
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let _ = stream.write_all(&frame(3, 0, 2 * count + 1, &8u32.to_be_bytes())).await;
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let _ = tokio::time::timeout(std::time::Duration::ZERO, stream.read(&mut scratch)).await;
        count += 1;
    }
    assert!((limits::HTTP2_CANCELLED_MAX..=limits::HTTP2_CANCELLED_MAX + 50).contains(&count), "{count}");
}

#[tokio::test]
async fn who_cancels_some_is_served() {
    let (stream, _scene) = serve();
    let (mut requests, _connection) = connect(stream).await;
    for _ in 0..limits::HTTP2_CANCELLED_MAX {
        drop(requests.send_request(get("https://a/wait"), true).expect("sent"));
        assert_eq!(ask(&mut requests, get("https://a/"), b"").await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn floods_end_the_connection() {
    let begun = frame(1, 1, 1, b"\x82\x87\x41\x01a\x84");
    let continued = frame(9, 0, 1, b"").repeat(1000);
    let floods: [(&str, Vec<u8>); 4] = [
        ("continuations", [begun, continued].concat()),
        ("pings", frame(6, 0, 0, &[0; 8]).repeat(1100)),
        ("settings", frame(4, 0, 0, &[]).repeat(1100)),
        ("empty data", [frame(1, 4, 1, b"\x83\x87\x41\x01a\x84"), frame(0, 0, 1, b"").repeat(1100)].concat()),
    ];
    for (name, flood) in floods {
        assert!(raw(&[PREFACE, &flood].concat()).await.is_some(), "{name}");
    }
    // 40 KiB of header fields are more than is taken.
    let big =
        [b"\x82\x87\x41\x01a\x84".as_slice(), &[b"\0\x01x\x7f\x81\x3e".as_slice(), &[b'a'; 8000]].concat().repeat(2)]
            .concat();
    let big = [frame(1, 1, 1, &big), frame(9, 0, 1, &[0; 16_000]), frame(9, 4, 1, &[0; 16_000])].concat();
    let came = raw(&[PREFACE, &big].concat()).await;
    assert!(came.is_some(), "the block is no block");
}

/// With the clock stopped, times pass as soon as nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_cut() {
    let cases: [(&str, Vec<u8>); 5] = [
        ("nothing", Vec::new()),
        ("half of a preface", PREFACE[..10].to_vec()),
        ("half of a frame", [PREFACE, &[0, 0, 5, 1]].concat()),
        ("half of a header block", [PREFACE, &frame(1, 1, 1, b"\x82\x87")].concat()),
        ("half of headers", [PREFACE, &headers(1, "/wait")[..12]].concat()),
    ];
    for (name, bytes) in cases {
        let (mut stream, scene) = serve();
        let began = tokio::time::Instant::now();
        stream.write_all(&bytes).await.expect("sent");
        scene.serving.await.expect("an end");
        assert_eq!(began.elapsed().as_secs(), limits::HEADER_READ_TIMEOUT.as_secs(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends() {
    let (stream, scene) = serve();
    let (mut requests, connection) = connect(stream).await;
    let began = tokio::time::Instant::now();
    assert_eq!(ask(&mut requests, get("https://a/"), b"").await.0, StatusCode::OK);
    connection.await.expect("ended").expect("GOAWAY without an error");
    scene.serving.await.expect("an end");
    let idle = began.elapsed();
    assert!(idle >= limits::IDLE_TIMEOUT && idle < limits::IDLE_TIMEOUT * 3 / 2, "{idle:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_who_asks_nothing() {
    let (mut stream, scene) = serve();
    stream.write_all(PREFACE).await.expect("sent");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    scene.stage.send_replace(Stage::Draining);
    scene.serving.await.expect("an end");
    assert_eq!(began.elapsed().as_secs(), limits::LINGER_SILENCE_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_pings_is_gone() {
    let (mut stream, scene) = serve();
    let began = tokio::time::Instant::now();
    stream.write_all(&[PREFACE, &headers(1, "/wait")].concat()).await.expect("sent");
    scene.serving.await.expect("an end");
    let gone = began.elapsed();
    assert!(gone <= limits::HTTP2_PING_INTERVAL + limits::HTTP2_PING_TIMEOUT * 2, "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_ends_alone() {
    let (stream, _scene) = serve();
    let (mut requests, _connection) = connect(stream).await;
    let put = Request::builder().method("PUT").uri("https://a/").body(()).expect("a request");
    let (answer, mut sending) = requests.send_request(put, false).expect("sent");
    let drip = tokio::spawn(async move {
        while sending.send_data(Bytes::from_static(b"x"), false).is_ok() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    });
    let began = tokio::time::Instant::now();
    assert_eq!(whole(answer.await.expect("an answer")).await.1, "PUT / a Some(RequestTimeout)");
    assert_eq!(began.elapsed().as_secs(), limits::BODY_WINDOW.as_secs());
    drip.await.expect("an end");
    assert_eq!(ask(&mut requests, get("https://a/"), b"").await.0, StatusCode::OK, "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_its_stream_alone() {
    let (stream, _scene) = serve();
    let (mut requests, _connection) = connect(stream).await;
    let (answer, _) = requests.send_request(get("https://a/bytes/1000000"), true).expect("sent");
    let (_, mut body) = answer.await.expect("an answer").into_parts();
    // Nothing of it is taken, so that its window stays shut; the connection's other streams have their own.
    let began = tokio::time::Instant::now();
    let mut came = 0;
    let reset = loop {
        match body.data().await.expect("no end") {
            Ok(data) => came += data.len(),
            Err(error) => break error,
        }
    };
    assert!(reset.is_reset() && came < 100_000, "{reset} behind {came}");
    let stalled = began.elapsed();
    assert!(stalled >= limits::ANSWER_TIMEOUT && stalled <= limits::ANSWER_TIMEOUT * 2, "{stalled:?}");
    drop(body);
    assert_eq!(ask(&mut requests, get("https://a/"), b"").await.0, StatusCode::OK, "the connection goes on");
}
