//! From a request to an answer: reads the request and its statement, and sends it on its way.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};

use super::answer::{self, Answer};
use super::body::BodyReader;
use super::context::{Context, whole_answer};
use super::encode::Coding;
use super::insert::insert_answer;
use super::job::{Job, outcome_of, take_turn};
use super::multipart;
use super::read::read_answer;
use super::request::{Call, header_text};
use super::shared::Front;
use crate::confine;
use crate::engine::Canceller;
use crate::error::{Exception, code};
use crate::sql::{self, Head, Statement};

/// The longest head of an `INSERT`; ClickHouse's own limit for a statement.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// The longest statement without data, and the longest form. Far above what a person or Grafana
/// writes, far below what hurts.
const QUERY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Answers a request for a statement.
pub(super) async fn answer(front: Arc<Front>, request: Request<Incoming>) -> Answer {
    let started = Instant::now();
    let (parts, incoming) = request.into_parts();
    let mut context = Context {
        front,
        query_id: uuid::Uuid::new_v4().to_string(),
        coding: Coding::Identity,
        wait_end: false,
        started,
    };
    match serve(&mut context, &parts, incoming).await {
        Ok(answer) => answer,
        Err(exception) => answer::failed(&context.front.engine, &context.query_id, &exception),
    }
}

async fn serve(
    context: &mut Context,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Answer, Exception> {
    let front = Arc::clone(&context.front);
    let engine = &front.engine;
    let mut call = Call::from_parts(parts, engine)?;
    check_host(&front, parts)?;
    call.authenticate(front.settings.password.as_deref())?;
    if parts.headers.contains_key("origin") {
        return Err(Exception::new(
            code::AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
            "Requests of web pages are refused: any page could send them to a loopback address",
        ));
    }
    let encoding = header_text(&parts.headers, "content-encoding");
    let mut body = BodyReader::new(
        incoming,
        encoding.as_deref(),
        call.has_blocks,
        front.settings.body_timeout,
    )?;
    let form = header_text(&parts.headers, "content-type").and_then(|v| multipart::boundary(&v));
    let is_form = form.is_some();
    if let Some(boundary) = form {
        let mut text = Vec::new();
        if !body.read_into(&mut text, QUERY_BYTES_MAX).await? {
            return Err(too_large());
        }
        call.add(multipart::fields(text.into(), boundary).await?, engine)?;
    }
    if let Some(id) = &call.query_id {
        context.query_id.clone_from(id);
    }
    context.coding = call.coding(&parts.headers);
    context.wait_end = call.wait_end_of_query;

    let mut text = std::mem::take(&mut call.query).into_bytes();
    if !text.is_empty() && !is_form {
        text.push(b'\n');
    }
    let head = read_head(&mut text, &mut body).await?;
    if let Head::Insert(insert) = head {
        confine::check_words(&insert.sql)?;
        let job = take_turn(&front, call, None).await?;
        return insert_answer(context, job, insert, Bytes::from(text), body).await;
    }
    if !body.read_into(&mut text, QUERY_BYTES_MAX).await? {
        return Err(too_large());
    }
    if text.iter().all(u8::is_ascii_whitespace) && call.is_get {
        return Ok(answer::text(StatusCode::OK, "Ok.\n"));
    }
    let text = String::from_utf8(text).map_err(|_bytes| {
        Exception::new(
            code::SYNTAX_ERROR,
            "SYNTAX_ERROR",
            "The statement is not UTF-8",
        )
    })?;
    let statement = sql::parse(&text)?;
    let job = take_turn(&front, call, Some(&statement)).await?;
    match statement {
        Statement::Read(read) => read_answer(context, job, read).await,
        Statement::Run { sql } => run_answer(context, job, sql).await,
    }
}

/// On loopback a name may be that of a page's site, led here by its DNS. Elsewhere there is a
/// password, and the name is that of this machine.
fn check_host(front: &Front, parts: &Parts) -> Result<(), Exception> {
    let settings = &front.settings;
    if !settings.listen.ip().is_loopback() || (settings.is_meant_for_loopback)(parts) {
        return Ok(());
    }
    Err(Exception::new(
        code::AUTHENTICATION_FAILED,
        "AUTHENTICATION_FAILED",
        "Ask by an address or by localhost: Host names another machine",
    ))
}

async fn read_head(text: &mut Vec<u8>, body: &mut BodyReader) -> Result<Head, Exception> {
    let mut is_whole = false;
    loop {
        match sql::insert_head(text, is_whole) {
            Head::Incomplete if text.len() > HEAD_BYTES_MAX => return Err(too_large()),
            Head::Incomplete => match body.next_piece().await? {
                Some(piece) => text.extend_from_slice(&piece),
                None => is_whole = true,
            },
            head => return Ok(head),
        }
    }
}

fn too_large() -> Exception {
    Exception::new(
        code::QUERY_IS_TOO_LARGE,
        "QUERY_IS_TOO_LARGE",
        format!(
            "A statement may have {QUERY_BYTES_MAX} bytes, the head of an INSERT {HEAD_BYTES_MAX}"
        ),
    )
}

/// Runs a statement without an answer worth streaming.
async fn run_answer(
    context: &Context,
    (job, _canceller): (Job, Canceller),
    sql: String,
) -> Result<Answer, Exception> {
    let format = job.format.clone();
    let receiver = job.spawn(move |connection, details| {
        connection.run(&sql, &details.format, &details.parameters)
    })?;
    let (bytes, counts) = outcome_of(receiver).await?;
    whole_answer(context, &format, bytes.into(), &counts)
}
