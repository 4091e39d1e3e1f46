//! The socket in the data folder, over which commands order what is done about credentials.
//!
//! Only the owner of the data folder reaches it, and whoever does may do everything there: it asks for no credential.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};

use crate::credentials::{Desk, Fault, Order};
use crate::listener::{Accept, Stream};

/// The socket's name in the data folder.
const NAME: &str = "control.sock";
/// The path of an order.
pub const ORDERS: &str = "/v1/orders";

/// A folder that is open, and a path to it that is short enough for the address of a socket, however long its own is.
#[derive(Debug)]
pub struct Reached {
    _folder: fs::File,
    /// The socket.
    pub path: PathBuf,
}

/// Reaches the socket of a data folder.
///
/// # Errors
/// When the folder cannot be opened.
pub fn reach(data_dir: &Path) -> io::Result<Reached> {
    let folder = fs::File::open(data_dir)?;
    let path = format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd());
    Ok(Reached {
        path: path.into(),
        _folder: folder,
    })
}

/// Listens on the socket. The folder's lock is held: a socket that is there belongs to a process that has died.
pub(super) fn bind(data_dir: &Path) -> io::Result<Orders> {
    let reached = reach(data_dir)?;
    match fs::remove_file(data_dir.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&reached.path)?;
    fs::set_permissions(data_dir.join(NAME), fs::Permissions::from_mode(0o600))?;
    Ok(Orders(listener))
}

/// Connections with orders.
pub(super) struct Orders(UnixListener);

impl Accept for Orders {
    type Stream = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, _peer) = self.0.accept().await?;
        // The other end is a process of this machine.
        Ok((stream, SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)))
    }
}

impl Stream for UnixStream {
    fn give_up_unsent(&self) {
        // The kernel throws away what is not read when a socket of this kind is closed.
    }
}

/// Carries orders out.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new().route(ORDERS, post(order)).with_state(desk)
}

async fn order(State(desk): State<Arc<Desk>>, Json(order): Json<Order>) -> Response {
    // It is carried out even if the command goes away meanwhile.
    let done = tokio::task::spawn_blocking(move || desk.carry_out(&order, "socket"));
    match done.await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(fault)) => {
            let status = match fault {
                Fault::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let message = crate::logging::chain(&fault);
            let body = json!({"error": {"code": "not_carried_out", "message": message}});
            (status, Json(body)).into_response()
        }
        Err(_ended) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
