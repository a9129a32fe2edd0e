//! The API beyond the lists of sessions and nodes: incidents, overview, templates, marks, exports, live events, and that it
//! is what its document says.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::metrics::v1::Metric;

use super::*;
use crate::access::CSRF_HEADER;

fn named(node: &str, number: u64) -> Report {
    Report { node: node.to_owned(), ..numbered(number) }
}

async fn text(server: &Server, path: &str) -> (u16, String, String) {
    let response = server.client.get(format!("{}{path}", server.base)).send().await.unwrap();
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    (response.status().as_u16(), content_type, response.text().await.unwrap())
}

/// A summary of which templates occurred.
fn templates(name: &str, events: i64, time_s: u64) -> Metric {
    let mut point = point(events, None);
    point.time_unix_nano = time_s * 1_000_000_000;
    point.start_time_unix_nano = 1_000_000_000;
    for (key, value) in [("template", "00000000000000ff"), ("text", "disk <path> is <b>bad</b>")] {
        let mut attribute = super::point(0, Some(value)).attributes.remove(0);
        attribute.key = key.to_owned();
        point.attributes.push(attribute);
    }
    metric(name, vec![point])
}

#[tokio::test]
async fn reports_of_two_nodes_are_one_incident_with_one_timeline() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let mut later = named("dn2", 2);
    later.events[0].time = "2008-11-09T20:35:17.5Z".to_owned();
    server.send(&[named("dn1", 1)]).await;
    server.send(&[later]).await;
    for path in
        ["blk_-1608999687919862906", "BP-1-10.0.0.1-2:blk_-1608999687919862906_1001", "-1608999687919862906"]
    {
        let (status, body) = server.get(&format!("/api/incidents/{path}")).await;
        assert_eq!((status, body["incidents"].as_array().unwrap().len()), (200, 1), "{body}");
        let incident = &body["incidents"][0];
        assert_eq!((&incident["nodes"], &incident["sessions_flagged"]), (&json!(2), &json!(2)));
        let events = incident["events"].as_array().unwrap();
        let node = |event: &Value| {
            let session = usize::try_from(event["session"].as_u64().unwrap()).unwrap();
            incident["sessions"][session]["node"].as_str().unwrap().to_owned()
        };
        let nodes: Vec<String> = events.iter().map(node).collect();
        assert_eq!(nodes, ["dn2", "dn1", "dn1", "dn2"]);
        assert_eq!(incident["culprits"][0]["incidents_around"], 1, "{}", incident["culprits"]);
    }
    let (_, list) = server.get("/api/incidents").await;
    assert_eq!((list["incidents"].as_array().unwrap().len(), &list["next"]), (1, &Value::Null));
    let (_, none) = server.get("/api/incidents?culprit_kind=node&culprit=dn9").await;
    assert!(none["incidents"].as_array().unwrap().is_empty());
    let (_, one) = server.get("/api/incidents?culprit_kind=node&culprit=dn1&min_nodes=2").await;
    assert_eq!(one["incidents"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/api/incidents/blk_5").await.0, 404);
    assert_eq!(server.get("/api/incidents/BP-other:blk_-1608999687919862906").await.0, 404);
    server.stop().await;
}

#[tokio::test]
async fn the_overview_adds_up() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    server
        .send(&[named("dn1", 1), named("dn2", 2), Report { block: "blk_5".to_owned(), ..named("dn1", 3) }])
        .await;
    let range = "from=2008-11-09T00:00:00Z&to=2008-11-10T00:00:00Z";
    let (status, body) = server.get(&format!("/api/overview?{range}")).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["sessions_flagged"], 3);
    assert_eq!(body["points"], json!([{ "time": "2008-11-09T20:30:00Z", "flagged": 3, "scored": 0 }]));
    assert_eq!(body["incidents"].as_array().unwrap().len(), 2);
    assert_eq!(body["culprits"][0], json!({ "kind": "node", "name": "dn1", "incidents": 2 }));
    assert_eq!(
        (&body["threshold"], &body["nodes"]["reporting"]),
        (&json!(0.5), &json!(2)),
        "{}",
        body["nodes"]
    );
    assert_eq!(body["extent"], json!({ "from": "2008-11-09T20:35:00Z", "to": "2008-11-09T20:36:00Z" }));
    // A flag taken back leaves it.
    server.send(&[Report { flagged: false, revision: 9, ..named("dn2", 2) }]).await;
    let (_, body) = server.get(&format!("/api/overview?{range}")).await;
    assert_eq!(body["sessions_flagged"], 2);
    let (_, today) = server.get("/api/overview").await;
    assert_eq!((&today["sessions_flagged"], today["points"].as_array().unwrap().len()), (&json!(0), 0));
    server.stop().await;
}

#[tokio::test]
async fn templates_are_counted_by_the_hour() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    for (node, events, time_s) in [("dn1", 5, 60), ("dn1", 8, 4_000), ("dn2", 2, 4_100)] {
        let metrics = vec![templates("blocksift.unknown_template_events", events, time_s)];
        let body = metrics_request(node, metrics).encode_to_vec();
        assert_eq!(server.post("/v1/metrics", PROTOBUF, body).send().await.unwrap().status(), 200);
    }
    let range = "from=1970-01-01T00:00:00Z&to=1970-01-01T03:00:00Z";
    let (_, body) = server.get(&format!("/api/templates?{range}&known=false")).await;
    let template = &body["templates"][0];
    assert_eq!((&template["template"], &template["events"]), (&json!("00000000000000ff"), &json!(10)));
    assert_eq!((&template["known"], &template["first_node"]), (&json!(false), &json!("dn1")));
    assert_eq!(
        template["hours"],
        json!([{ "time": "1970-01-01T00:00:00Z", "events": 5 }, { "time": "1970-01-01T01:00:00Z", "events": 5 }])
    );
    let (_, known) = server.get(&format!("/api/templates?{range}&known=true")).await;
    assert!(known["templates"].as_array().unwrap().is_empty());
    let (_, overview) = server.get(&format!("/api/overview?{range}")).await;
    assert_eq!(overview["new_templates"][0]["text"], "disk <path> is <b>bad</b>");
    let (_, models) = server.get("/api/models").await;
    assert_eq!(
        (&models["models"][0]["nodes"], &models["models"][0]["model"]),
        (&json!(2), &json!("hdfs-v1-0123456789ab"))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_mark_needs_the_token_and_is_exported_with_its_report() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    server.send(&[report()]).await;
    let (_, me) = server.get("/api/me").await;
    assert_eq!((&me["role"], &me["users"]), (&json!("operate"), &json!(false)));
    let url = format!("{}/api/sessions/0123456789abcdef/mark", server.base);
    let put = |csrf: &str, body: &str| {
        let request = server.client.put(&url).header("content-type", JSON).header(CSRF_HEADER, csrf);
        request.body(body.to_owned()).send()
    };
    let csrf = me["csrf"].as_str().unwrap();
    let mark = r#"{"mark":"false alarm","comment":"<b>planned</b>"}"#;
    assert_eq!(put("", mark).await.unwrap().status(), 403);
    assert_eq!(put("wrong", mark).await.unwrap().status(), 403);
    for wrong in [r#"{"mark":"perhaps"}"#, "{}", r#"{"mark":"real","more":1}"#] {
        assert_eq!(put(csrf, wrong).await.unwrap().status(), 422, "{wrong}");
    }
    assert_eq!(put(csrf, mark).await.unwrap().status(), 200);
    let (_, session) = server.get("/api/sessions/0123456789abcdef").await;
    assert_eq!(
        (&session["mark"]["mark"], &session["mark"]["comment"]),
        (&json!("false alarm"), &json!("<b>planned</b>"))
    );
    let (_, content_type, lines) = text(&server, "/api/marks").await;
    assert_eq!(content_type, "application/x-ndjson");
    let line: Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!((&line["mark"], &line["report"]["id"]), (&json!("false alarm"), &json!(report().id)));
    let delete = server.client.delete(&url).header(CSRF_HEADER, csrf).send().await.unwrap();
    assert_eq!(delete.status(), 204);
    assert_eq!(text(&server, "/api/marks").await.2, "");
    server.stop().await;
}

#[tokio::test]
async fn exports_hold_all_pages() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let reports: Vec<Report> = (0..1_003).map(numbered).collect();
    server.send(&reports).await;
    server.send(&[Report { node: "=1+1".to_owned(), ..numbered(5_000) }]).await;
    let (status, content_type, lines) = text(&server, "/api/sessions?format=ndjson&node=dn1").await;
    assert_eq!((status, content_type.as_str(), lines.lines().count()), (200, "application/x-ndjson", 1_003));
    let ids: BTreeSet<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 1_003);
    let (_, content_type, csv) = text(&server, "/api/sessions?format=csv").await;
    assert!(content_type.starts_with("text/csv"));
    assert_eq!(csv.lines().count(), 1_005);
    assert!(csv.starts_with("id,revision,node,") && csv.contains(",'=1+1,"), "{csv}");
    server.stop().await;
}

#[tokio::test]
async fn a_page_hears_of_what_was_stored() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let mut stream = server.client.get(format!("{}/api/live", server.base)).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut heard = String::new();
    while heard.matches("event: stored").count() < 1 {
        heard += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
    }
    server.send(&[report()]).await;
    while heard.matches("event: stored").count() < 2 {
        heard += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
    }
    assert!(!heard.contains("blk_"), "{heard}");
    let (_, _, metrics) = text(&server, "/metrics").await;
    assert!(metrics.contains("\nblocksift_collector_live_listeners 1\n"), "{metrics}");
    assert!(metrics.contains("\nblocksift_collector_reports_stored_total 1\n"), "{metrics}");
    // The open stream does not hold up the end.
    server.stop().await;
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_what_there_is() {
    const PREFIX: &str = "blocksift_collector_";
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let (_, _, metrics) = text(&server, "/metrics").await;
    let alerts = include_str!("../../../deploy/prometheus/blocksift.rules.yml");
    let dashboard = include_str!("../../../deploy/grafana/blocksift-collectors.json");
    for used in [alerts, dashboard] {
        let names: BTreeSet<&str> = used
            .match_indices(PREFIX)
            .filter_map(|(at, _)| used.get(at..))
            .map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap())
            .collect();
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            assert!(
                metrics.lines().any(|line| line.starts_with(&format!("{name} "))),
                "{name} is not measured"
            );
        }
    }
    server.stop().await;
}

fn document() -> Value {
    serde_json::from_str(include_str!("../api/openapi.json")).unwrap()
}

#[test]
fn the_document_has_every_route() {
    let source = include_str!("../api.rs");
    let routes: BTreeSet<&str> =
        source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")?.split('"').next()).collect();
    let document = document();
    let documented: BTreeSet<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(routes, documented);
}

#[tokio::test]
async fn no_parameter_of_the_document_makes_the_server_fail() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    server.send(&[report()]).await;
    let values = [
        "",
        "0",
        "-1",
        "1",
        "9223372036854775807",
        "9223372036854775808",
        "x",
        "%00",
        "%FF",
        "true",
        "0.5",
        "NaN",
        "csv",
        "-271821-04-20T00:00:00Z",
        "-009999-01-02T00:00:00Z",
        "9999-12-30T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "%27%22%3B--",
        "5:0.5:1",
    ];
    for (path, methods) in document()["paths"].as_object().unwrap() {
        let Some(get) = methods.get("get").filter(|_| path != "/api/live") else { continue };
        let names = get["parameters"].as_array().into_iter().flatten().map(|parameter| {
            let name = parameter["$ref"].as_str().map(|name| name.rsplit('/').next().unwrap());
            name.or(parameter["name"].as_str()).unwrap().to_owned()
        });
        for name in names.chain(["unknown".to_owned()]) {
            for value in values {
                let in_path = path.replace("{id}", value).replace("{block}", value);
                let url = if in_path == *path { format!("{path}?{name}={value}") } else { in_path };
                let status =
                    server.client.get(format!("{}{url}", server.base)).send().await.unwrap().status();
                assert!(status.as_u16() < 500, "{url}: {status}");
            }
        }
    }
    server.stop().await;
}
