//! Bytes on their way.

use rustix::io::Result;

/// A bounded queue: filled at the end, taken from at the front.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub fn new(capacity: usize) -> Buffer {
        Buffer { bytes: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn is_full(&self) -> bool {
        self.end - self.start == self.bytes.len()
    }

    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Lets `read` put bytes behind the ones that are there, and gives their number: 0 is the end of the file, and no
    /// bytes at all are asked for when the buffer is full.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<usize> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let n = read(&mut self.bytes[self.end..])?;
        self.end += n;
        Ok(n)
    }

    /// Lets `write` take bytes until none is left or it takes no more.
    pub fn drain(&mut self, mut write: impl FnMut(&[u8]) -> Result<usize>) -> Result<()> {
        while !self.is_empty() {
            self.start += write(&self.bytes[self.start..self.end])?;
        }
        self.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::Buffer;

    fn put(buffer: &mut Buffer, text: &[u8]) -> usize {
        let fill = |spare: &mut [u8]| {
            let n = spare.len().min(text.len());
            spare[..n].copy_from_slice(&text[..n]);
            Ok(n)
        };
        buffer.fill(fill).unwrap_or_default()
    }

    #[test]
    fn what_goes_in_comes_out_in_order_whatever_the_pieces() {
        let mut buffer = Buffer::new(5);
        let (mut seen, mut sent) = (Vec::new(), 0);
        let text: Vec<u8> = (0..100).collect();
        while seen.len() < text.len() {
            sent += put(&mut buffer, &text[sent..]);
            let mut pieces = 0;
            let done = buffer.drain(|bytes| {
                pieces += 1;
                if pieces > 1 {
                    return Err(Errno::AGAIN);
                }
                let n = bytes.len().min(2);
                seen.extend_from_slice(&bytes[..n]);
                Ok(n)
            });
            assert!(done.is_ok() || done == Err(Errno::AGAIN));
        }
        assert_eq!(seen, text);
        assert!(buffer.is_empty());
    }

    #[test]
    fn it_takes_no_more_than_it_holds() {
        let mut buffer = Buffer::new(3);
        assert_eq!(put(&mut buffer, b"abcd"), 3);
        assert!(buffer.is_full());
        assert_eq!(put(&mut buffer, b"d"), 0);
    }
}
