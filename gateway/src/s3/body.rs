//! Bodies on their way in and out.

use crate::error::{Error, Result};
use crate::guard::Trailers;
use crate::limits;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http::{Extensions, HeaderMap};
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{StdError, TrailingHeaders};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use storage::{ObjectReader, ObjectWriter, Staged};

/// Feeds a request's body to a writer, to its end. s3s verifies payload hashes and chunk signatures as the bytes pass and
/// reports a mismatch as the stream's last item, so nothing may be committed before this has returned.
pub async fn receive(body: Option<StreamingBlob>, mut writer: ObjectWriter) -> Result<Staged> {
    if let Some(mut body) = body {
        while let Some(bytes) = body.next().await {
            writer.write(bytes.map_err(Error::body)?).await?;
        }
    }
    Ok(writer.finish().await?)
}

/// What came behind a body in `aws-chunked` framing, whoever took that off.
pub fn trailers(of_s3s: Option<TrailingHeaders>, extensions: &Extensions) -> Option<HeaderMap> {
    let ours = || extensions.get::<Trailers>()?.0.get().cloned();
    of_s3s.and_then(|trailers| trailers.take()).or_else(ours)
}

/// The length of an upload's bytes as its client declared it: that of the decoded body for `aws-chunked`. `None` for a body
/// in HTTP chunks of unknown sum.
pub fn declared_length(headers: &HeaderMap, content_length: Option<i64>) -> Result<Option<u64>> {
    let number = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let decoded = number("x-amz-decoded-content-length");
    let length = decoded.or_else(|| content_length.and_then(|length| u64::try_from(length).ok()));
    match length {
        Some(length) if length > limits::PUT_BYTES_MAX => {
            Err(Error::EntityTooLarge { limit_bytes: limits::PUT_BYTES_MAX })
        }
        Some(length) => Ok(Some(length)),
        None if headers.contains_key(http::header::TRANSFER_ENCODING) => Ok(None),
        None => Err(Error::MissingContentLength),
    }
}

/// The bytes of a range as an answer's body.
pub fn send(reader: ObjectReader, range: Range<u64>) -> StreamingBlob {
    let remaining = range.end - range.start;
    StreamingBlob::new(ObjectBody { stream: Mutex::new(reader.stream(range)), remaining, broken: false })
}

/// An answer's body with its exact length. When storage fails in the middle, so does this: hyper then breaks the connection,
/// and no client takes the beginning of an object for the whole.
struct ObjectBody {
    /// The mutex is never locked; it makes the stream `Sync`, which s3s wants.
    stream: Mutex<BoxStream<'static, storage::Result<Bytes>>>,
    remaining: u64,
    broken: bool,
}

impl Stream for ObjectBody {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.broken {
            return Poll::Ready(None);
        }
        let stream = self.stream.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = std::task::ready!(stream.as_mut().poll_next(context));
        let fault = match next {
            Some(Ok(bytes)) if bytes.len() as u64 <= self.remaining => {
                self.remaining -= bytes.len() as u64;
                return Poll::Ready(Some(Ok(bytes)));
            }
            None if self.remaining == 0 => return Poll::Ready(None),
            Some(Ok(_)) => "storage gave more bytes than the range has".to_owned(),
            None => format!("storage ended {} bytes before the range", self.remaining),
            Some(Err(error)) => error.to_string(),
        };
        tracing::error!(error = %fault, "a read failed after its answer had begun: the connection is broken");
        self.broken = true;
        Poll::Ready(Some(Err(fault.into())))
    }
}

impl ByteStream for ObjectBody {
    fn remaining_length(&self) -> RemainingLength {
        match usize::try_from(self.remaining) {
            Ok(remaining) => RemainingLength::new_exact(remaining),
            Err(_) => RemainingLength::unknown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    fn body(items: Vec<storage::Result<Bytes>>, remaining: u64) -> ObjectBody {
        ObjectBody { stream: Mutex::new(stream::iter(items).boxed()), remaining, broken: false }
    }

    async fn outcome(body: ObjectBody) -> (u64, bool) {
        let items = body.collect::<Vec<_>>().await;
        let bytes = items.iter().flatten().map(|bytes| bytes.len() as u64).sum();
        (bytes, items.iter().any(Result::is_err))
    }

    #[tokio::test]
    async fn a_body_never_ends_early_without_an_error() {
        let abc = || Ok(Bytes::from_static(b"abc"));
        assert_eq!(outcome(body(vec![abc(), abc()], 6)).await, (6, false));
        assert_eq!(outcome(body(vec![], 0)).await, (0, false));
        assert_eq!(outcome(body(vec![abc()], 6)).await, (3, true));
        assert_eq!(outcome(body(vec![abc(), Err(storage::Error::Damaged("x".into()))], 6)).await, (3, true));
        assert_eq!(outcome(body(vec![abc(), abc(), abc()], 6)).await, (6, true));
    }

    #[test]
    fn lengths_are_what_the_client_declared() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let header = http::HeaderName::from_static;
            pairs.iter().map(|&(name, value)| (header(name), http::HeaderValue::from_static(value))).collect()
        };
        assert_eq!(declared_length(&headers(&[]), Some(5)).expect("five"), Some(5));
        assert_eq!(declared_length(&headers(&[("x-amz-decoded-content-length", "3")]), Some(50)).expect("3"), Some(3));
        assert_eq!(declared_length(&headers(&[("transfer-encoding", "chunked")]), None).expect("unknown"), None);
        assert_eq!(declared_length(&headers(&[]), None).expect_err("refused").answer().status, 411);
        let large = i64::try_from(limits::PUT_BYTES_MAX).expect("fits") + 1;
        assert_eq!(declared_length(&headers(&[]), Some(large)).expect_err("refused").answer().code, "EntityTooLarge");
    }
}
