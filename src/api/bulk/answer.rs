//! The answer about bulks that is not plain JSON: recipients as CSV.
//!
//! The CSV is written page by page while it is sent, so that a hundred thousand rows are never
//! in memory. A cell that a spreadsheet would take for a formula gets an apostrophe in front.

use bytes::Bytes;
use futures_util::{Stream, stream};
use poem::{Body, IntoResponse, Response};
use poem_openapi::{
    ApiResponse,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
    types::Type,
};

use super::{
    super::answer::Answer,
    shapes::{BulkRecipient, BulkRecipientPage, BulkResult},
};
use crate::{
    domain::{
        bulk::RecipientResult,
        ids::{BulkId, ClientId},
    },
    projection::{
        queries::{BulkRecipientFilter, BulkRecipientRow, Queries},
        to_wire,
    },
};

/// Media type of the export.
pub const CSV: &str = "text/csv";
/// Recipients read at once for the export.
const EXPORT_PAGE: usize = 1000;
const EXPORT_HEADER: &str = "number,phone,name,result,error_code,error_title,error_detail,\
                             conversation_id,message_id,wa_message_id,status_at\r\n";

/// Recipients as a page, or all of them as CSV.
pub enum RecipientsAnswer {
    Page(BulkRecipientPage),
    Csv(Body),
}

impl RecipientsAnswer {
    /// All recipients with this result, as CSV. What can't be read on the way ends the answer in
    /// the middle, which the client sees.
    pub fn export(
        queries: Queries,
        client: ClientId,
        id: BulkId,
        result: Option<RecipientResult>,
    ) -> Self {
        let header = stream::once(async { Ok(Bytes::from_static(EXPORT_HEADER.as_bytes())) });
        let rows = export_rows(queries, client, id, result);
        let whole = futures_util::StreamExt::chain(header, rows);
        Self::Csv(Body::from_bytes_stream(whole))
    }
}

fn export_rows(
    queries: Queries,
    client: ClientId,
    id: BulkId,
    result: Option<RecipientResult>,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    /// Where the export stands: behind a number, or at the end.
    type Place = Option<Option<u32>>;
    stream::try_unfold(Some(None), move |place: Place| {
        let queries = queries.clone();
        async move {
            let Some(after) = place else { return Ok(None) };
            let filter = BulkRecipientFilter { result, after, limit: EXPORT_PAGE };
            let page = queries.bulk_recipients(client, id, filter).await;
            let page = page.map_err(|error| std::io::Error::other(error.to_string()))?;
            let Some(page) = page else { return Ok(None) };
            let next = page.next.and_then(|next| next.parse().ok()).map(Some);
            Ok(Some((csv_rows(&page.items)?, next)))
        }
    })
}

fn csv_rows(rows: &[BulkRecipientRow]) -> std::io::Result<Bytes> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        let BulkRecipient {
            number,
            phone,
            name,
            result,
            error,
            conversation_id,
            message_id,
            wa_message_id,
            status_at,
        } = shown(row);
        let (code, title, detail) = match error {
            Some(error) => (error.code.to_string(), error.title, error.detail),
            None => Default::default(),
        };
        writer.write_record([
            number.to_string(),
            phone.unwrap_or_default(),
            as_text(name.unwrap_or_default()),
            result.as_str().to_owned(),
            code,
            as_text(title),
            as_text(detail),
            conversation_id.map(|id| id.to_string()).unwrap_or_default(),
            message_id.unwrap_or_default(),
            wa_message_id.unwrap_or_default(),
            status_at.unwrap_or_default(),
        ])?;
    }
    writer.into_inner().map(Bytes::from).map_err(|error| std::io::Error::other(error.to_string()))
}

/// What a spreadsheet shows and does not calculate.
fn as_text(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}

/// A recipient as clients see it.
pub fn shown(row: &BulkRecipientRow) -> BulkRecipient {
    let recipient = row.recipient.as_ref();
    let message = row.message.as_ref();
    BulkRecipient {
        number: row.number.saturating_add(1),
        phone: recipient.map(|recipient| recipient.phone.clone()),
        name: recipient.and_then(|recipient| recipient.name.clone()),
        result: BulkResult::from(row.result),
        error: message.and_then(|message| message.error.as_ref()).map(to_wire::message_error),
        conversation_id: row.conversation_id.map(|id| id.0),
        message_id: message.map(|message| message.id.to_string()),
        wa_message_id: message.and_then(|message| message.wa_message_id.clone()),
        status_at: message.map(|message| message.status_at.to_string()),
    }
}

impl IntoResponse for RecipientsAnswer {
    fn into_response(self) -> Response {
        match self {
            Self::Page(page) => Answer(page).into_response(),
            Self::Csv(body) => Response::builder()
                .content_type("text/csv; charset=utf-8")
                .header("content-disposition", "attachment; filename=\"recipients.csv\"")
                .body(body),
        }
    }
}

impl ApiResponse for RecipientsAnswer {
    fn meta() -> MetaResponses {
        let csv = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Done.",
                status: Some(200),
                status_range: None,
                content: vec![
                    MetaMediaType {
                        content_type: "application/json",
                        schema: BulkRecipientPage::schema_ref(),
                    },
                    MetaMediaType { content_type: CSV, schema: csv },
                ],
                headers: Vec::new(),
            }],
        }
    }

    fn register(registry: &mut Registry) {
        BulkRecipientPage::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bulk::Recipient;

    #[test]
    fn no_cell_of_the_export_is_a_formula() {
        let row = BulkRecipientRow {
            number: 0,
            recipient: Some(Recipient {
                phone: "+34600000001".to_owned(),
                name: Some("=HYPERLINK(\"x\",\"a,b\")".to_owned()),
                values: Vec::new(),
            }),
            result: RecipientResult::OptedOut,
            conversation_id: None,
            message: None,
        };
        let rows = csv_rows(&[row]).unwrap();
        assert_eq!(
            rows,
            "1,+34600000001,\"'=HYPERLINK(\"\"x\"\",\"\"a,b\"\")\",opted_out,,,,,,,\r\n"
        );
        assert_eq!(EXPORT_HEADER.split(',').count(), 11);
    }

    #[test]
    fn results_are_named_as_they_are_filtered_by() {
        for result in [BulkResult::Waiting, BulkResult::InDoubt, BulkResult::Invalid] {
            assert_eq!(serde_json::to_value(result).unwrap(), result.as_str());
        }
    }
}
