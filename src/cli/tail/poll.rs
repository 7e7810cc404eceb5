//! Following by long polling.

use http::header;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{Ended, Failure, Target, printer::Printer, refused, unreachable};

/// Seconds that the server may wait for something new.
const WAIT_S: &str = "25";
/// Events in one answer.
const LIMIT: &str = "1000";

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    cursor: String,
}

pub async fn follow(
    client: &reqwest::Client,
    target: &Target,
    printer: &mut Printer,
) -> Result<Ended, Failure> {
    loop {
        let mut url = target.url("/v1/events", printer.cursor());
        url.query_pairs_mut().append_pair("wait", WAIT_S).append_pair("limit", LIMIT);
        let request = client.get(url).header(header::AUTHORIZATION, target.authorization());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(unreachable(&error)),
        };
        let status = response.status().as_u16();
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Ok(unreachable(&error)),
        };
        match status {
            200 => {
                if let Some(ended) = take_in(&body, printer) {
                    return Ok(ended);
                }
            }
            410 => {
                let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
                printer.reset(&problem["code"], &problem["cursor"]);
            }
            _ => return refused(status, &body),
        }
    }
}

fn take_in(body: &[u8], printer: &mut Printer) -> Option<Ended> {
    let Ok(page) = serde_json::from_slice::<Page<'_>>(body) else {
        return Some(Ended::Lost("the answer is no page of events".to_owned()));
    };
    if !printer.was_connected() {
        if printer.cursor().is_none() {
            printer.set_cursor(&page.cursor);
        }
        printer.connected();
    }
    for event in page.events {
        if let Some(ended) = printer.frame(event.get()) {
            return Some(ended);
        }
    }
    // Also past what the filter hid.
    printer.set_cursor(&page.cursor);
    None
}
