//! The body of a request on its way in, as handlers get it: the same of both versions of HTTP.

use super::connection::Progress;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming as Inner;
use s3s::StdError;
use std::pin::Pin;
use std::task::{Context, Poll};

pub struct Incoming {
    inner: Inner,
    progress: Option<Progress>,
}

impl Incoming {
    /// Of HTTP/1.1, where the connection sees to it that its one body makes progress.
    pub fn of_connection(inner: Inner) -> Self {
        Self { inner, progress: None }
    }

    /// Of HTTP/2, where each stream has a body, and has to make progress for itself.
    pub fn of_stream(inner: Inner) -> Self {
        Self { inner, progress: Some(Progress::of_bodies()) }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        match (Pin::new(&mut this.inner).poll_frame(context), &mut this.progress) {
            (Poll::Pending, Some(progress)) => {
                progress.poll_wait(context).map(|slow| slow.err().map(|it| Err(it.into())))
            }
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Ready(frame), progress) => {
                if let (Some(progress), Some(Ok(frame))) = (progress, &frame) {
                    progress.came(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
