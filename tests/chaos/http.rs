//! Whole HTTP/1.1 messages, as far as a proxy must understand them to break them.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// A request or an answer.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The request line or the status line.
    pub(crate) start: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// How long the body of a message is.
#[derive(Clone, Copy, Debug)]
enum Length {
    Bytes(usize),
    Chunks,
    ToTheEnd,
}

impl Message {
    /// An answer of the proxy's own.
    pub(crate) fn answer(status: u16, content_type: &str, body: &str) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { start: format!("HTTP/1.1 {status} Fault"), headers, body: body.into() }
    }

    /// Reads all but the body; `None` when the other side has closed.
    pub(crate) async fn read_head(
        from: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<Option<Self>> {
        let Some(start) = line(from).await?.filter(|start| !start.is_empty()) else {
            return Ok(None);
        };
        let mut headers = Vec::new();
        while let Some(header) = line(from).await?.filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(Self { start, headers, body: Vec::new() }))
    }

    /// Reads the body of a request whose head was read.
    pub(crate) async fn read_body(
        &mut self,
        from: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<()> {
        match self.length() {
            // A request without a length has no body.
            Length::ToTheEnd => Ok(()),
            length @ (Length::Bytes(_) | Length::Chunks) => self.read_bytes(from, length).await,
        }
    }

    /// Reads an answer with its body.
    pub(crate) async fn read_answer(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Self> {
        let mut answer = Self::read_head(from).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = answer.length();
        answer.read_bytes(from, length).await?;
        Ok(answer)
    }

    async fn read_bytes(
        &mut self,
        from: &mut (impl AsyncBufRead + Unpin),
        length: Length,
    ) -> io::Result<()> {
        match length {
            Length::Bytes(bytes) => {
                self.body.resize(bytes, 0);
                from.read_exact(&mut self.body).await?;
            }
            Length::ToTheEnd => {
                from.read_to_end(&mut self.body).await?;
            }
            Length::Chunks => loop {
                let size = line(from).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let size = usize::from_str_radix(&size, 16);
                let size = size.map_err(|_| io::ErrorKind::InvalidData)?;
                let begin = self.body.len();
                self.body.resize(begin + size, 0);
                from.read_exact(&mut self.body[begin..]).await?;
                line(from).await?;
                if size == 0 {
                    break;
                }
            },
        }
        Ok(())
    }

    fn length(&self) -> Length {
        if self.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            return Length::Chunks;
        }
        let bytes = self.header("content-length").and_then(|bytes| bytes.parse().ok());
        bytes.map_or(Length::ToTheEnd, Length::Bytes)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// How many bytes the head of a request says that its body has.
    pub(crate) fn announced(&self) -> usize {
        match self.length() {
            Length::Bytes(bytes) => bytes,
            Length::Chunks | Length::ToTheEnd => 0,
        }
    }

    /// Whether this requests a path that begins so.
    pub(crate) fn asks_for(&self, path: &str) -> bool {
        self.start.split(' ').nth(1).is_some_and(|asked| asked.starts_with(path))
    }

    /// The Kinesis action that this calls; nothing, if it is no such call.
    pub(crate) fn action(&self) -> &str {
        let target = self.header("x-amz-target");
        target.and_then(|target| target.split('.').nth(1)).unwrap_or_default()
    }

    /// All but the body, which is said to have so many bytes.
    pub(crate) fn head(&self, bytes: usize) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            if !["content-length", "transfer-encoding"].contains(&name.as_str()) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head += &format!("content-length: {bytes}\r\n\r\n");
        head.into_bytes()
    }

    /// The whole.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head(self.body.len()), self.body.clone()].concat()
    }
}

/// Without what ends it; `None` at the end of the stream.
async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = from.read_line(&mut line).await?;
    Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}
