//! As much of HTTP/1.1 as two endpoints need that must cost little: blocking, a thread for each
//! connection, bodies of a told length.

use std::io::{self, BufRead as _, BufReader, IoSlice, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;

/// A request. Its buffers are those of its connection.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// `POST /_bulk?filter_path=… HTTP/1.1`
    pub(super) line: String,
    /// What `x-amz-target` says.
    pub(super) target: String,
    pub(super) is_gzip: bool,
    pub(super) body: Vec<u8>,
}

/// An answer with status 200, in pieces that may be shared among answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) content_type: &'static str,
    pub(super) body: Vec<Bytes>,
}

/// Says where it listens, on standard output, and answers until standard input ends: then whoever has
/// started this process is gone or needs it no more.
pub(super) fn serve<S: Send + Sync + 'static>(
    server: Arc<S>,
    answer: fn(&S, &Request) -> Answer,
    answered: fn(&S, &Request),
    told: fn(&S, &str),
) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("listening {}", listener.local_addr().unwrap());
    let accepting = Arc::clone(&server);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let server = Arc::clone(&accepting);
            thread::spawn(move || connection(stream.unwrap(), &*server, answer, answered));
        }
    });
    for line in io::stdin().lines() {
        told(&server, &line.unwrap());
    }
}

fn connection<S>(
    stream: TcpStream,
    server: &S,
    answer: fn(&S, &Request) -> Answer,
    answered: fn(&S, &Request),
) {
    stream.set_nodelay(true).unwrap();
    let mut from = BufReader::with_capacity(1 << 16, stream.try_clone().unwrap());
    let (mut to, mut request) = (stream, Request::default());
    // An error is the daemon's end.
    while let Ok(true) = read(&mut from, &mut request) {
        let Answer { content_type, body } = answer(server, &request);
        let length: usize = body.iter().map(Bytes::len).sum();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        if write(&mut to, head.into(), body).is_err() {
            return;
        }
        answered(server, &request);
    }
}

/// False when the other side has closed.
fn read(from: &mut BufReader<TcpStream>, request: &mut Request) -> io::Result<bool> {
    request.line.clear();
    if from.read_line(&mut request.line)? == 0 {
        return Ok(false);
    }
    let (mut length, mut header) = (0, String::new());
    request.target.clear();
    request.is_gzip = false;
    loop {
        header.clear();
        from.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(io::Error::other)?,
            "content-encoding" => request.is_gzip = value == "gzip",
            "x-amz-target" => request.target.push_str(value),
            "transfer-encoding" => panic!("a body without a length: {}", request.line),
            _ => {}
        }
    }
    request.body.resize(length, 0);
    from.read_exact(&mut request.body)?;
    Ok(true)
}

/// Many pieces by few calls.
fn write(to: &mut TcpStream, head: Bytes, body: Vec<Bytes>) -> io::Result<()> {
    let mut pieces = vec![head];
    pieces.extend(body);
    for some in pieces.chunks(512) {
        let mut slices: Vec<IoSlice<'_>> = some.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            let written = to.write_vectored(left)?;
            IoSlice::advance_slices(&mut left, written);
        }
    }
    Ok(())
}
