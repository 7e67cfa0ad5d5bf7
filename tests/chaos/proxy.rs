//! A proxy on loopback, in front of Kinesis or of the destination, that breaks what it is told to.
//!
//! Requests go on one by one, each by a connection of its own, so that what the proxy does to one
//! touches no other. It keeps a log of what the engine has acknowledged to the daemon.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::bulk::{self, Name};
use crate::http::Message;

/// What is done to one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The request is carried out; the connection is reset when half of the answer is sent.
    ResetInAnswer,
    /// The same, by an orderly end of the connection.
    EndInAnswer,
    /// The request is carried out; the answer says that it is whole, and is only the first half.
    HalfAnswer,
    /// The request is carried out; its answer has one item too few.
    OneItemFewer,
    /// One bit of the body is another one when the server gets it.
    FlippedBit,
    /// The request goes on, this much later.
    Stalled(Duration),
    /// The request is carried out at once; the answer comes this much later.
    LateAnswer(Duration),
    /// The documents that contain one of these texts fail with its status; the others go on.
    Failed(&'static [(&'static str, u16)]),
    /// The proxy answers, and nothing goes on.
    Answered { status: u16, content_type: &'static str, body: String },
}

/// Says what becomes of a request; `None`: nothing bad.
type Plan = Box<dyn FnMut(&Message) -> Option<Fault> + Send>;

/// Says of a request whose body is still to come whether its connection is reset half way.
type Cut = Box<dyn FnMut(&Message) -> bool + Send>;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Orderly,
    Reset,
}

/// A running proxy. Dropping it ends it.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinSet<()>,
}

struct Shared {
    /// `host:port`
    server: String,
    plan: Mutex<Option<Plan>>,
    cut: Mutex<Option<Cut>>,
    /// Requests that something was done to.
    struck: AtomicU64,
    /// How often the engine has said of a document that it is there.
    acknowledged: Mutex<BTreeMap<Name, u64>>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
}

impl Proxy {
    /// In front of a server at `host:port`.
    pub(crate) async fn start(server: &str) -> Self {
        let shared = Shared {
            server: server.to_owned(),
            plan: Mutex::default(),
            cut: Mutex::default(),
            struck: AtomicU64::default(),
            acknowledged: Mutex::default(),
            tls: Mutex::default(),
        };
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let mut proxy = Self { address, shared: Arc::new(shared), accepting: JoinSet::new() };
        proxy.up().await;
        proxy
    }

    /// `host:port`
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Listens again, at the same address.
    pub(crate) async fn up(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("could not listen");
        self.address = listener.local_addr().unwrap();
        self.accepting.spawn(accept(listener, Arc::clone(&self.shared)));
    }

    /// Refuses connections, and drops those that there are.
    pub(crate) async fn down(&mut self) {
        self.accepting.shutdown().await;
    }

    /// Speaks TLS, or no longer, with those who connect from now on.
    pub(crate) fn speak_tls(&self, config: Option<ServerConfig>) {
        *self.shared.tls.lock().unwrap() = config.map(Arc::new);
    }

    /// From now on this is done to requests; the count of those that were struck starts at 0.
    pub(crate) fn plan(&self, plan: impl FnMut(&Message) -> Option<Fault> + Send + 'static) {
        self.calm();
        *self.shared.plan.lock().unwrap() = Some(Box::new(plan));
    }

    /// From now on, of some requests the server gets half of the body; then all is reset.
    pub(crate) fn cut(&self, cut: impl FnMut(&Message) -> bool + Send + 'static) {
        self.calm();
        *self.shared.cut.lock().unwrap() = Some(Box::new(cut));
    }

    /// Nothing is done any more. Returns how many requests were struck.
    pub(crate) fn calm(&self) -> u64 {
        *self.shared.plan.lock().unwrap() = None;
        *self.shared.cut.lock().unwrap() = None;
        self.shared.struck.swap(0, Ordering::SeqCst)
    }

    /// How many requests were struck since the plan was made.
    pub(crate) fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::SeqCst)
    }

    /// What the engine has said is there, and how often it has said so.
    pub(crate) fn acknowledged(&self) -> BTreeMap<Name, u64> {
        self.shared.acknowledged.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(serve(client, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Errors mean that one of the two sides has gone, which the other then sees.
async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let tls = shared.tls.lock().unwrap().clone();
    let Some(tls) = tls else {
        if let Ok(End::Reset) = shared.exchange(&mut client).await {
            reset(&client);
        }
        return;
    };
    if let Ok(mut client) = TlsAcceptor::from(tls).accept(client).await
        && let Ok(End::Reset) = shared.exchange(&mut client).await
    {
        reset(client.get_ref().0);
    }
}

/// What is closed without lingering is reset.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().expect("could not prepare a reset");
}

impl Shared {
    fn fault(&self, request: &Message) -> Option<Fault> {
        let fault = self.plan.lock().unwrap().as_mut().and_then(|plan| plan(request));
        self.struck.fetch_add(u64::from(fault.is_some()), Ordering::SeqCst);
        fault
    }

    fn is_cut(&self, head: &Message) -> bool {
        let is_cut = self.cut.lock().unwrap().as_mut().is_some_and(|cut| cut(head));
        self.struck.fetch_add(u64::from(is_cut), Ordering::SeqCst);
        is_cut
    }

    /// All requests of one connection.
    async fn exchange(
        &self,
        client: &mut (impl AsyncRead + AsyncWrite + Unpin + Send),
    ) -> io::Result<End> {
        let mut client = BufReader::new(client);
        while let Some(mut request) = Message::read_head(&mut client).await? {
            if self.is_cut(&request) {
                let mut half = vec![0; request.announced() / 2];
                client.read_exact(&mut half).await?;
                let mut server = self.connect().await?;
                server.write_all(&[request.head(request.announced()), half].concat()).await?;
                reset(&server);
                return Ok(End::Reset);
            }
            request.read_body(&mut client).await?;
            let fault = self.fault(&request);
            if let Some(end) = self.answer(&mut client, request, fault).await? {
                return Ok(end);
            }
        }
        Ok(End::Orderly)
    }

    /// Answers one request; some faults end the connection.
    async fn answer(
        &self,
        client: &mut (impl AsyncWrite + Unpin),
        mut request: Message,
        fault: Option<Fault>,
    ) -> io::Result<Option<End>> {
        let mut answer = match &fault {
            Some(Fault::Answered { status, content_type, body }) => {
                Message::answer(*status, content_type, body)
            }
            Some(Fault::Failed(texts)) => self.fail(&request, texts).await?,
            Some(Fault::FlippedBit) => {
                let middle = request.body.len() / 2;
                request.body[middle] ^= 1;
                self.carry_out(&request).await?
            }
            Some(Fault::Stalled(time)) => {
                sleep(*time).await;
                self.carry_out(&request).await?
            }
            _ => self.carry_out(&request).await?,
        };
        let whole = answer.body.len();
        let end = match fault {
            Some(Fault::ResetInAnswer) => Some(End::Reset),
            Some(Fault::EndInAnswer) => Some(End::Orderly),
            _ => None,
        };
        match fault {
            Some(Fault::ResetInAnswer | Fault::EndInAnswer | Fault::HalfAnswer) => {
                answer.body.truncate(whole / 2);
            }
            Some(Fault::OneItemFewer) => bulk::without_last_item(&mut answer),
            Some(Fault::LateAnswer(time)) => sleep(time).await,
            _ => {}
        }
        let announced = if end.is_some() { whole } else { answer.body.len() };
        client.write_all(&[answer.head(announced), answer.body.clone()].concat()).await?;
        client.flush().await?;
        self.note(&request, &answer);
        Ok(end)
    }

    async fn carry_out(&self, request: &Message) -> io::Result<Message> {
        let mut server = BufReader::new(self.connect().await?);
        server.write_all(&request.bytes()).await?;
        Message::read_answer(&mut server).await
    }

    async fn fail(&self, request: &Message, texts: &[(&str, u16)]) -> io::Result<Message> {
        let (rest, failed) = bulk::cut_out(request, texts);
        let mut answer = if rest.body.is_empty() {
            Message::answer(200, "application/json", "{}")
        } else {
            self.carry_out(&rest).await?
        };
        bulk::add_failed(&mut answer, &failed);
        Ok(answer)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(&self.server).await
    }

    /// Notes what this answer has told the daemon.
    fn note(&self, request: &Message, answer: &Message) {
        if !bulk::is_bulk(request) {
            return;
        }
        let mut acknowledged = self.acknowledged.lock().unwrap();
        for (name, status) in bulk::statuses(request, answer) {
            if matches!(status, 200..=299 | 409) {
                *acknowledged.entry(name).or_default() += 1;
            }
        }
    }
}
