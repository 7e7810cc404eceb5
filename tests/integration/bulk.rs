//! Bulks from outside: how they are asked for, what becomes of them, how they are stopped.

use std::time::Duration;

use condorito::gateway::simulator::provider::{Faults, Outcome};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::provider::{Stage, json_of};

const FAST: &str =
    "[outbox]\nmessages_per_second = 1000\nrefused_pause_s = 1\n[bulk]\nin_doubt_wait_ms = 1000\n";

fn phone(number: usize) -> String {
    format!("+5491{number:08}")
}

fn people(count: usize) -> Vec<Value> {
    (0..count).map(|number| json!({"phone": phone(number)})).collect()
}

fn is(status: &'static str) -> impl Fn(&Value) -> bool {
    move |bulk| bulk["status"] == status
}

fn id_of(accepted: &Value) -> String {
    accepted["bulk"]["id"].as_str().expect("an id").to_owned()
}

async fn facts(stage: &Stage, head: &Value, types: &str) -> Vec<Value> {
    let head = head.as_str().expect("a cursor");
    let page = stage.get(&format!("/v1/events?cursor={head}&types={types}&limit=1000")).await;
    page["events"].as_array().expect("a list").iter().map(|event| event["data"].clone()).collect()
}

#[tokio::test]
async fn a_bulk_is_taken_in_sent_and_told() {
    let stage = Stage::start(Faults::default(), FAST).await;
    let head = stage.get("/v1/events").await["cursor"].clone();
    let order = json!({
        "name": "Rebajas", "rate_per_second": 500,
        "text": "Hola {{name}}, tu código es {{code}}",
        "recipients": [
            {"phone": "+54 9 11 5555-0001", "name": "Ana", "parameters": {"code": "a1"}},
            {"phone": "0054 9 11 5555 0001", "name": "Ana again", "parameters": {"code": "a2"}},
            {"phone": "12", "name": "Beto", "parameters": {"code": "b1"}},
            {"phone": "+5491155550003", "name": "Caro"},
            {"phone": "+5491155550004", "parameters": {"code": "d1"}},
            {"phone": "+5491155550005", "name": "Eva", "parameters": {"code": 7}},
            "nobody"
        ]
    });
    let (status, accepted) = stage.post("/v1/bulk", &order).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    assert_eq!((&accepted["duplicates"], &accepted["rejected_count"]), (&json!(1), &json!(4)));
    assert_eq!(
        accepted["rejected"],
        json!([
            {"row": 3, "detail": "an international phone number has at least 7 digits"},
            {"row": 4, "detail": "there is no value for {{code}}"},
            {"row": 5, "detail": "there is no value for {{name}}"},
            {"row": 7, "detail": "is not of the documented form"},
        ])
    );
    assert_eq!(accepted["bulk"]["total"], 2);
    let id = id_of(&accepted);
    let bulk = stage.bulk_until(&id, is("completed")).await;
    assert_eq!(
        (&bulk["sent"], &bulk["failed"], &bulk["waiting"]),
        (&json!(2), &json!(0), &json!(0))
    );

    let ledger = stage.told().await;
    let mut texts: Vec<_> =
        ledger.entries.iter().map(|entry| entry.text.clone().expect("a text")).collect();
    texts.sort();
    assert_eq!(texts, ["Hola Ana, tu código es a1", "Hola Eva, tu código es 7"]);
    assert_eq!(
        facts(&stage, &head, "bulk_message_completed").await,
        [json!({"successCount": 2, "errorCount": 0, "bulk_id": id})]
    );
    let progress = facts(&stage, &head, "bulk_message_progress").await;
    let [last] = progress.as_slice() else { panic!("one is left of the progress: {progress:?}") };
    assert_eq!((&last["progress"]["sent"], &last["progress"]["total"]), (&json!(2), &json!(2)));
    assert!(last["progress"]["currentConversation"].as_str().is_some_and(|id| !id.is_empty()));

    let snapshot = stage.get("/v1/snapshot").await;
    assert_eq!(snapshot["bulks"][0]["id"], json!(id));
    let rows = stage.recipients(&id, None).await;
    assert_eq!(rows[0]["phone"], "+5491155550001");
    assert_eq!((&rows[1]["name"], &rows[1]["number"]), (&json!("Eva"), &json!(2)));
    let messages = format!("/v1/conversations/{}/messages", rows[0]["conversation_id"]);
    let message = stage.get(&messages).await["messages"][0].clone();
    assert_eq!((&message["sender"], &message["bulk_id"]), (&json!("bulk"), &json!(id)));
}

#[tokio::test]
async fn csv_comes_as_a_body_or_as_a_file_and_goes_out_again() {
    let stage = Stage::start(Faults::default(), FAST).await;
    let csv = "\u{feff}Phone;Name;1;2\r\n+5491155550001;Ana;Lima;10%\r\n\
               x;Beto;Lima;10%\r\n+5491155550003;=1+1;Cusco;20%\r\n";
    let path = "/v1/bulk?name=Ofertas&template=sale&language=es&rate_per_second=500";
    let headers = [("content-type", "text/csv; charset=utf-8"), ("idempotency-key", "csv-1")];
    let send = |csv: &str| {
        let body = Some(csv.as_bytes().to_vec());
        stage.call(Method::POST, path, &headers, body)
    };
    let answer = send(csv).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let accepted = json_of(answer).await;
    assert_eq!(accepted["rejected"][0]["row"], 3);
    let again = send(csv).await;
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(json_of(again).await, accepted, "the same, and nothing more is sent");
    assert_eq!(send(&format!("{csv}+5491155550009;;;\r\n")).await.status(), 422, "another body");

    let id = id_of(&accepted);
    stage.bulk_until(&id, is("completed")).await;
    let rows = stage.recipients(&id, None).await;
    let messages = format!("/v1/conversations/{}/messages", rows[1]["conversation_id"]);
    let message = stage.get(&messages).await["messages"][0].clone();
    assert_eq!(
        message["payload"],
        json!({"name": "sale", "language": "es", "components": [{"type": "body", "parameters": [
            {"type": "text", "text": "Cusco"}, {"type": "text", "text": "20%"}]}]})
    );

    let export = stage
        .call(Method::GET, &format!("/v1/bulk/{id}/recipients"), &[("accept", "text/csv")], None)
        .await;
    assert_eq!(export.headers()["content-type"], "text/csv; charset=utf-8");
    let export = String::from_utf8(export.bytes().await.expect("a file").to_vec()).expect("UTF-8");
    let lines: Vec<&str> = export.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("number,phone,name,result,"), "{export}");
    assert!(lines[1].starts_with("1,+5491155550001,Ana,"), "{export}");
    assert!(lines[2].starts_with("2,+5491155550003,'=1+1,"), "no formula: {export}");

    let boundary = "a-boundary";
    let form = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"bulk\"\r\n\r\n\
         {{\"name\":\"file\",\"text\":\"Hola {{{{Name}}}}\",\"rate_per_second\":500}}\r\n\
         --{boundary}\r\ncontent-disposition: form-data; name=\"recipients\"; \
         filename=\"people.csv\"\r\ncontent-type: text/csv\r\n\r\n{csv}\r\n--{boundary}--\r\n"
    );
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let headers = [("content-type", content_type.as_str())];
    let answer = stage.call(Method::POST, "/v1/bulk", &headers, Some(form.into_bytes())).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let bulk = stage.bulk_until(&id_of(&json_of(answer).await), is("completed")).await;
    assert_eq!((&bulk["name"], &bulk["sent"]), (&json!("file"), &json!(2)));
}

#[tokio::test]
async fn what_can_not_be_a_bulk_is_refused_with_the_reason() {
    let stage = Stage::start(Faults::default(), FAST).await;
    let base = json!({"name": "x", "text": "hola", "recipients": people(1)});
    let but = |changes: Value| {
        let mut order = base.clone();
        for (name, value) in changes.as_object().expect("an object") {
            order[name.as_str()] = value.clone();
        }
        order
    };
    for (order, pointer) in [
        (but(json!({"text": null})), "/text"),
        (but(json!({"template": {"name": "a", "language": "es"}})), "/template"),
        (but(json!({"name": " "})), "/name"),
        (but(json!({"rate_per_second": 5000})), "/rate_per_second"),
        (but(json!({"scheduled_at": "tomorrow"})), "/scheduled_at"),
        (but(json!({"scheduled_at": "2099-01-01T00:00:00Z"})), "/scheduled_at"),
        (but(json!({"extra": 1})), "/extra"),
        (but(json!({"recipients": []})), "/recipients"),
        (but(json!({"recipients": {"phone": "+5491155550001"}})), "/recipients"),
        (but(json!({"recipients": [{"phone": "x"}]})), "/recipients"),
        (but(json!({"text": "{{a"})), "/text"),
        (but(json!({"recipients": null})), "/recipients"),
    ] {
        let (status, problem) = stage.post("/v1/bulk", &order).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{order} {problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let post = async |content_type: &str, body: &str| {
        let headers = [("content-type", content_type)];
        let body = Some(body.as_bytes().to_vec());
        stage.call(Method::POST, "/v1/bulk?name=x&text=y", &headers, body).await.status()
    };
    assert_eq!(post("application/json", "{\"recipients\":[").await, 400);
    assert_eq!(post("application/json", "[]").await, 400);
    assert_eq!(post("text/csv", "name\nAna\n").await, 422);
    assert_eq!(post("text/plain", "phone\n+5491155550001\n").await, 415);
    assert_eq!(post("multipart/form-data; boundary=x", "--x--\r\n").await, 422);
    assert_eq!(stage.get("/v1/bulk").await["bulks"], json!([]), "nothing of it is there");

    let nobodys = uuid::Uuid::from_u128(7 << 20);
    for path in [format!("/v1/bulk/{nobodys}"), format!("/v1/bulk/{nobodys}/recipients")] {
        assert_eq!(stage.call(Method::GET, &path, &[], None).await.status(), 404);
    }
    let pause = format!("/v1/bulk/{nobodys}/pause");
    assert_eq!(stage.call(Method::POST, &pause, &[], None).await.status(), 404);
}

#[tokio::test]
async fn a_bulk_is_scheduled_paused_resumed_and_cancelled() {
    let stage = Stage::start(Faults::default(), FAST).await;
    let later = crate::support::config::now().plus_ms(3_600_000).to_string();
    let order = json!({"name": "x", "text": "hola", "recipients": people(400),
        "rate_per_second": 40, "scheduled_at": later});
    let (_, accepted) = stage.post("/v1/bulk", &order).await;
    assert_eq!(accepted["bulk"]["status"], "scheduled");
    let control = async |id: &str, what: &str| {
        let answer = stage.call(Method::POST, &format!("/v1/bulk/{id}/{what}"), &[], None).await;
        (answer.status(), json_of(answer).await)
    };
    let (status, cancelled) = control(&id_of(&accepted), "cancel").await;
    assert_eq!((status, &cancelled["bulk"]["status"]), (StatusCode::OK, &json!("cancelled")));
    assert_eq!(control(&id_of(&accepted), "resume").await.0, StatusCode::CONFLICT);

    let order = json!({"name": "y", "text": "hola", "recipients": people(400),
        "rate_per_second": 100});
    let (_, accepted) = stage.post("/v1/bulk", &order).await;
    let id = id_of(&accepted);
    stage.bulk_until(&id, |bulk| bulk["sent"].as_i64() > Some(20)).await;
    let (_, paused) = control(&id, "pause").await;
    assert_eq!(paused["bulk"]["status"], "paused");
    let cursor = paused["cursor"].as_str().expect("a cursor");
    let seen = stage.get(&format!("/v1/bulk/{id}?at_least={cursor}")).await;
    assert_eq!(seen["status"], "paused", "a write is read");
    assert_eq!(control(&id, "pause").await.0, StatusCode::OK, "again is no error");
    // What is queued leaves; then it stands still.
    let mut sent = -1;
    let standing = stage
        .bulk_until(&id, |bulk| {
            let now = bulk["sent"].as_i64().expect("a count");
            let stands = now == sent && bulk["in_doubt"] == 0;
            sent = now;
            stands
        })
        .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let still = stage.get(&format!("/v1/bulk/{id}")).await;
    assert_eq!(still["sent"], standing["sent"]);
    assert!(still["waiting"].as_i64() > Some(0));

    let (_, resumed) = control(&id, "resume").await;
    assert_eq!(resumed["bulk"]["status"], "running");
    let before = still["sent"].as_i64();
    stage.bulk_until(&id, |bulk| bulk["sent"].as_i64() > before).await;
    let (_, cancelled) = control(&id, "cancel").await;
    assert_eq!(cancelled["bulk"]["status"], "cancelled");
    stage.bulk_until(&id, |bulk| bulk["in_doubt"] == 0).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let end = stage.get(&format!("/v1/bulk/{id}")).await;
    let of = |name: &str| end[name].as_i64().expect("a count");
    assert_eq!(of("sent") + of("failed") + of("waiting"), 400);
    let ledger = stage.told().await;
    assert_eq!(ledger.taken as i64, of("sent"), "what was taken back was not sent");
    assert!(of("waiting") > 0);
    let unsent = stage.recipients(&id, Some("waiting")).await;
    assert_eq!(unsent.len() as i64, of("waiting"));
    for row in stage.recipients(&id, Some("failed")).await {
        assert_eq!(row["error"]["title"], "Cancelled");
    }
}

#[tokio::test]
async fn a_bulk_stops_by_itself_when_the_template_is_refused() {
    let refused = Faults { error_permille: 1000, error_codes: vec![132_015], ..Faults::default() };
    let stage = Stage::start(refused, FAST).await;
    let head = stage.get("/v1/events").await["cursor"].clone();
    let order = json!({"name": "x", "template": {"name": "t", "language": "es"},
        "recipients": people(2000), "rate_per_second": 50});
    let (_, accepted) = stage.post("/v1/bulk", &order).await;
    let id = id_of(&accepted);
    let bulk = stage.bulk_until(&id, is("failed")).await;
    assert_eq!(bulk["error"]["code"], 132_015);
    assert!(bulk["waiting"].as_i64() > Some(1500), "{bulk}");
    let told = facts(&stage, &head, "bulk_message_error").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["bulk_id"], json!(id));
    assert!(told[0]["error"].as_str().is_some_and(|error| error.contains("132015")), "{told:?}");

    // A person mends the template and goes on.
    stage.provider.set_faults(Faults::default());
    let resume = format!("/v1/bulk/{id}/resume");
    assert_eq!(stage.call(Method::POST, &resume, &[], None).await.status(), 200);
    stage.bulk_until(&id, |bulk| bulk["sent"].as_i64() > Some(10)).await;
}

#[tokio::test]
async fn who_wrote_baja_is_left_out_and_said_so() {
    let stage = Stage::start(Faults::default(), FAST).await;
    let say = async |number: usize, text: &str| {
        let message = json!({"wa_message_id": format!("wamid.{number}.{text}"),
            "contact": {"phone": phone(number)}, "text": text,
            "timestamp": crate::support::config::now().to_string()});
        let body = json!({"messages": [message]});
        let (status, answer) = stage.post("/v1/ingest/messages", &body).await;
        assert_eq!((status, &answer["stored"]), (StatusCode::OK, &json!(1)), "{answer}");
        assert_eq!(answer["results"].as_array().map(Vec::len), Some(1));
        answer["cursor"].as_str().expect("a cursor").to_owned()
    };
    say(0, " baja. ").await;
    say(1, "STOP").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    say(1, "alta").await;
    let cursor = say(2, "no me den de baja").await;
    stage.get(&format!("/v1/snapshot?at_least={cursor}")).await;
    let order = json!({"name": "x", "text": "hola", "recipients": people(4),
        "rate_per_second": 500});
    let (_, accepted) = stage.post("/v1/bulk", &order).await;
    let id = id_of(&accepted);
    let bulk = stage.bulk_until(&id, is("completed")).await;
    let counts = ["total", "sent", "left_out", "waiting"].map(|name| bulk[name].as_i64());
    assert_eq!(counts, [Some(3), Some(3), Some(1), Some(0)]);
    let left_out = stage.recipients(&id, Some("opted_out")).await;
    assert_eq!(left_out.len(), 1);
    assert_eq!(left_out[0]["phone"], json!(phone(0)));
    let ledger = stage.told().await;
    assert_eq!(ledger.entries.len(), 3);
    assert!(ledger.entries.iter().all(|entry| entry.outcome != Outcome::Failed));
}

#[tokio::test]
async fn bulks_and_recipients_are_listed_page_by_page() {
    let stage = Stage::start(Faults::default(), FAST).await;
    let later = crate::support::config::now().plus_ms(3_600_000).to_string();
    let mut cursor = String::new();
    for name in ["a", "b", "c"] {
        let order = json!({"name": name, "text": "hola", "recipients": people(7),
            "scheduled_at": later});
        let (status, accepted) = stage.post("/v1/bulk", &order).await;
        assert_eq!(status, 202);
        cursor = accepted["cursor"].as_str().expect("a cursor").to_owned();
    }
    let first = stage.get(&format!("/v1/bulk?limit=2&at_least={cursor}")).await;
    let names = |page: &Value| -> Vec<String> {
        let bulks = page["bulks"].as_array().expect("a list").iter();
        bulks.map(|bulk| bulk["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&first), ["c", "b"]);
    let next = first["next"].as_str().expect("more");
    let second = stage.get(&format!("/v1/bulk?limit=2&after={next}")).await;
    assert_eq!((names(&second), &second["next"]), (vec!["a".to_owned()], &Value::Null));
    let wrong = stage.call(Method::GET, "/v1/bulk?after=x", &[], None).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);

    let id = first["bulks"][0]["id"].as_str().expect("an id");
    let page = stage.get(&format!("/v1/bulk/{id}/recipients?limit=3")).await;
    assert_eq!(page["recipients"].as_array().map(Vec::len), Some(3));
    let next = page["next"].as_str().expect("more");
    let page = stage.get(&format!("/v1/bulk/{id}/recipients?limit=10&after={next}")).await;
    assert_eq!(page["recipients"].as_array().map(Vec::len), Some(4));
    assert_eq!(page["recipients"][0]["number"], 4);
    assert_eq!(page["next"], Value::Null);
    assert_eq!(stage.recipients(id, Some("sent")).await, Vec::<Value>::new());
}
