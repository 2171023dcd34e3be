//! TCP listeners for clients that ask without a key: HAProxy's agent checks and scrapes of metrics.
//!
//! A listener never blocks the control task: tasks of their own serve the clients, few at a time,
//! and each for a limited time.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::logging::rate_limit::RateLimit;

/// The number of clients served at the same time; others wait for their turn.
const MAX_CLIENTS: usize = 32;
/// The time between two attempts to listen.
const RETRY: Duration = Duration::from_secs(5);
/// The pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// The answers to the clients of a listener.
pub(super) trait Service: Clone + Send + Sync + 'static {
    /// The questions that the listener answers, for the log: `HAProxy's agent checks`.
    const SUBJECT: &'static str;
    /// The longest time that one client is served.
    const TIME_LIMIT: Duration;

    /// Serves one client. A client that has disconnected needs no answer.
    fn serve(self, stream: TcpStream) -> impl Future<Output = ()> + Send;
}

/// A listener, if the configuration has one. It ends with this value.
#[derive(Debug, Default)]
pub(super) struct Listener(Option<(SocketAddr, AbortHandle)>);

impl Listener {
    /// Listens on `address` from now on, and nowhere else. Must be called inside a tokio runtime.
    pub(super) fn listen(&mut self, address: Option<SocketAddr>, service: impl Service) {
        if self.0.as_ref().map(|(now, _)| *now) == address {
            return;
        }
        self.stop();
        self.0 = address.map(|address| {
            let task = tokio::spawn(serve(address, service));
            (address, task.abort_handle())
        });
    }

    fn stop(&mut self) {
        if let Some((_, task)) = self.0.take() {
            task.abort();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Listens and serves clients. A failed attempt is repeated: the address may appear later.
async fn serve<S: Service>(address: SocketAddr, service: S) {
    let rate_limit = RateLimit::default();
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => rate_limit.warn((), || {
                format!(
                    "could not listen on {address} for {}: {error}; trying again every {RETRY:?}",
                    S::SUBJECT
                )
            }),
        }
        sleep(RETRY).await;
    };
    log::info!("answering {} on {address}", S::SUBJECT);
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = service.clone();
                tokio::spawn(async move {
                    // A client that is too slow is disconnected.
                    let _ = timeout(S::TIME_LIMIT, service.serve(stream)).await;
                    drop(place);
                });
            }
            Err(error) => {
                rate_limit.warn((), || {
                    format!("could not accept a client of {address}: {error}")
                });
                sleep(PAUSE).await;
            }
        }
    }
}
