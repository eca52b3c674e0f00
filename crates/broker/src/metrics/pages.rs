//! The pages of metrics that are being read, bounded in all: whoever asks in the same second gets the same page, and of two
//! pages only the newer is kept for long.
//!
//! ```text
//!   Pages: newest, the one before --weak--> PageBody, a piece at a time --> socket
//! ```
//!
//! A body does not keep its page: whoever reads so slowly that the page is gone meanwhile is cut off.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Whoever asks within this time gets the same page.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// A page is kept for so long, or until the second page after it is made.
pub const READ_WITHIN: Duration = Duration::from_secs(15);
/// What is copied out of a page at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The pages that are kept.
#[derive(Debug, Default)]
pub struct Pages {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    newest: Option<Page>,
    before: Option<Page>,
}

#[derive(Debug)]
struct Page {
    made: Instant,
    /// As it was made: it is too long to be copied.
    text: Arc<String>,
}

/// A page on its way to one reader.
#[derive(Debug)]
pub struct PageBody {
    text: Weak<String>,
    sent: usize,
    length: usize,
}

/// The page was forgotten before it was read.
#[derive(Debug)]
pub struct Forgotten;

impl Pages {
    /// The newest page, where that is new enough.
    pub fn newest(&self, now: Instant) -> Option<PageBody> {
        let kept = self.kept.lock().expect("nobody panics while holding this lock");
        let page = kept.newest.as_ref()?;
        (now.saturating_duration_since(page.made) < SHARED_FOR).then(|| PageBody::of(&page.text))
    }

    /// Before a page is made: forgets the one before the newest.
    pub fn make_room(&self) {
        let mut kept = self.kept.lock().expect("nobody panics while holding this lock");
        kept.before = kept.newest.take();
    }

    /// Keeps a new page.
    pub fn put(&self, now: Instant, text: String) -> PageBody {
        let text = Arc::new(text);
        let body = PageBody::of(&text);
        let mut kept = self.kept.lock().expect("nobody panics while holding this lock");
        kept.newest = Some(Page { made: now, text });
        body
    }

    /// Forgets the pages for which readers have had their time.
    pub fn forget_old(&self, now: Instant) {
        let mut kept = self.kept.lock().expect("nobody panics while holding this lock");
        let Kept { newest, before } = &mut *kept;
        for page in [newest, before] {
            drop(page.take_if(|page| now.saturating_duration_since(page.made) >= READ_WITHIN));
        }
    }
}

impl PageBody {
    fn of(text: &Arc<String>) -> Self {
        Self { text: Arc::downgrade(text), sent: 0, length: text.len() }
    }
}

impl Body for PageBody {
    type Data = Bytes;
    type Error = Forgotten;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Forgotten>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let Some(text) = self.text.upgrade() else { return Poll::Ready(Some(Err(Forgotten))) };
        let end = text.len().min(self.sent + PIECE_BYTES);
        let piece = Bytes::copy_from_slice(&text.as_bytes()[self.sent..end]);
        self.sent = end;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.length - self.sent) as u64)
    }
}

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the page was read too slowly")
    }
}

impl std::error::Error for Forgotten {}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn read(body: PageBody) -> Option<String> {
        let read = body.collect().await.ok()?.to_bytes();
        Some(String::from_utf8(read.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn whoever_asks_in_the_same_second_gets_the_same_page() {
        let (pages, start) = (Pages::default(), Instant::now());
        assert!(pages.newest(start).is_none());
        let long = "é".repeat(PIECE_BYTES);
        let first = pages.put(start, long.clone());
        let second = pages.newest(start + Duration::from_millis(999)).expect("it is new enough");
        assert!(pages.newest(start + SHARED_FOR).is_none());
        assert_eq!(first.size_hint().exact(), Some(long.len() as u64));
        assert_eq!([read(first).await, read(second).await], [Some(long.clone()), Some(long)]);
    }

    #[tokio::test]
    async fn no_more_than_two_pages_are_kept_however_many_read_them() {
        let (pages, start) = (Pages::default(), Instant::now());
        let bodies = ["a", "b", "c"].map(|text| {
            pages.make_room();
            pages.put(start, text.to_owned())
        });
        let mut read_all = Vec::new();
        for body in bodies {
            read_all.push(read(body).await);
        }
        assert_eq!(read_all, [None, Some("b".to_owned()), Some("c".to_owned())]);
        let body = pages.newest(start).expect("it is new");
        pages.forget_old(start + READ_WITHIN);
        assert_eq!(read(body).await, None, "nor is one kept for ever");
    }
}
