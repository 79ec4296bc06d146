//! Listens: TLS, limits on connections, time and size, and an end that lets requests finish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::identity::Client;
use super::problem::{Reason, Refusal};
use super::store::change::Event;
use super::{Service, compatibility, operations, page, revocation, routes, tls};

/// How long a handshake, or the head of a request, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long requests may take that are still there when the service stops.
const LAST_REQUESTS: Duration = Duration::from_secs(20);

/// The addresses where it listens, as they turned out.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For clients.
    pub main: SocketAddr,
    /// For metrics and health.
    pub operations: Option<SocketAddr>,
    /// For browsers.
    pub page: Option<SocketAddr>,
    /// For devices of old.
    pub compatibility: Option<SocketAddr>,
}

/// A running service.
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    service: Arc<Service>,
}

impl Running {
    /// Starts listening.
    pub async fn start(service: Arc<Service>) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let config = service.config().clone();
        let mut tasks = vec![tokio::spawn(revocation::deliver(Arc::clone(&service), stopped.clone()))];
        let mut listen = async |address: SocketAddr, tls, router| -> Result<SocketAddr> {
            let listener =
                TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
            let bound = listener.local_addr()?;
            let door = Door { service: Arc::clone(&service), router, tls };
            tasks.push(tokio::spawn(door.serve(listener, stopped.clone())));
            Ok(bound)
        };
        let acceptor = TlsAcceptor::from(tls::mutual(&config.tls)?);
        let main = listen(config.listen, Some(acceptor), routes::router(&service)).await?;
        let mut addresses = Addresses { main, operations: None, page: None, compatibility: None };
        if let Some(address) = config.operations {
            addresses.operations = Some(listen(address, None, operations::router(&service)).await?);
        }
        if let Some(own) = &config.page {
            let acceptor = TlsAcceptor::from(tls::optional(&config.tls)?);
            addresses.page = Some(listen(own.listen, Some(acceptor), page::router(&service, own)).await?);
        }
        if let Some(old) = &config.compatibility {
            let tls = old.tls.then(|| tls::one_sided(&config.tls)).transpose()?.map(TlsAcceptor::from);
            tracing::warn!(
                path = old.path,
                "compatibility endpoint: keys go, with PKCS#1 v1.5, to whoever asks"
            );
            addresses.compatibility =
                Some(listen(old.listen, tls, compatibility::router(&service, old)).await?);
        }
        Ok(Self { addresses, stop, tasks, service })
    }

    /// Takes no more connections, lets requests finish, closes the database.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
        self.service.store.close().await;
    }
}

/// One address.
struct Door {
    service: Arc<Service>,
    router: Router,
    tls: Option<TlsAcceptor>,
}

impl Door {
    async fn serve(self, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
        let door = Arc::new(self);
        let limit = Arc::new(Semaphore::new(door.service.config.limits.connections));
        let open = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopped.changed() => break,
            };
            let Ok((stream, peer)) = accepted else {
                // Out of file descriptors, for example: others will be closed.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&limit).try_acquire_owned() else { continue };
            let (door, watcher) = (Arc::clone(&door), open.watcher());
            tokio::spawn(async move {
                door.connection(stream, peer, watcher).await;
                drop(permit);
            });
        }
        let _ = tokio::time::timeout(LAST_REQUESTS, open.shutdown()).await;
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.http(stream, peer, None, watcher).await };
        match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let client = certificate.map(|certificate| Client::of_certificate(certificate));
                self.http(stream, peer, client, watcher).await;
            }
            Ok(Err(error)) => self.handshake_failed(peer, &error.to_string()).await,
            Err(_) => self.handshake_failed(peer, "it took too long").await,
        }
    }

    /// A wrong certificate is written down, but not as often as somebody likes to show one.
    async fn handshake_failed(&self, peer: SocketAddr, reason: &str) {
        self.service.metrics.handshake_failed();
        tracing::info!(peer = %peer, reason, "tls");
        if routes::may_record() {
            let (actor, reason) = (format!("anybody:{}", peer.ip()), reason.to_owned());
            let event = Event { actor, action: "tls", object: String::new(), outcome: "denied", reason };
            let _ = self.service.writer.note(event).await;
        }
    }

    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        peer: SocketAddr,
        client: Option<Client>,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        let limit = Duration::from_secs(self.service.config.limits.request_seconds);
        let answer = service_fn(|request: Request<Incoming>| {
            let (router, client) = (self.router.clone(), client.clone());
            async move { Ok::<_, std::convert::Infallible>(answer(router, request, peer, client, limit).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(64 << 10);
        let connection = builder.serve_connection(TokioIo::new(stream), answer);
        // Clients that hang up in the middle are their own matter.
        let _ = watcher.watch(connection).await;
    }
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
    client: Option<Client>,
    limit: Duration,
) -> Response {
    let mut request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    if let Some(client) = client {
        request.extensions_mut().insert(client);
    }
    match tokio::time::timeout(limit, router.oneshot(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => {
            let seconds = limit.as_secs();
            let mut response =
                Refusal::new(Reason::Timeout, format!("more than {seconds} seconds")).into_response();
            // What is left of a slow body is not waited for.
            response.headers_mut().insert("connection", axum::http::HeaderValue::from_static("close"));
            response
        }
    }
}
