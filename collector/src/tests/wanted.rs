//! Asking nodes for their part of a flagged block.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

use super::*;
use crate::access::random;

/// A summary of a node that says its addresses.
async fn summary(server: &Server, node: &str, addresses: &[&str]) {
    let mut request = metrics_request(node, vec![metric("blocksift.lines_read", vec![point(5, None)])]);
    let text = |text: &&str| AnyValue { value: Some(Any::StringValue((*text).to_owned())) };
    let values = addresses.iter().map(text).collect();
    request.resource_metrics[0].resource.as_mut().unwrap().attributes.push(KeyValue {
        key: "host.ip".to_owned(),
        value: Some(AnyValue { value: Some(Any::ArrayValue(ArrayValue { values })) }),
        ..KeyValue::default()
    });
    let response = server.post("/v1/metrics", PROTOBUF, request.encode_to_vec()).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

fn naming(number: u64, line: &str) -> Report {
    let mut report = Report { block: format!("blk_{number}"), ..numbered(number) };
    report.events[0].line = Some(line.to_owned());
    report
}

async fn wanted(server: &Server, node: &str, after: u64) -> (Value, u64) {
    let (status, answer) = server.get(&format!("/v1/wanted?node={node}&after={after}")).await;
    assert_eq!(status, 200, "{answer}");
    (answer["blocks"].clone(), answer["next"].as_u64().unwrap())
}

#[tokio::test]
async fn a_node_that_a_flagged_session_names_is_asked_until_it_has_reported() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    summary(&server, "dn2", &["10.0.0.2", "dn2.example.org", "172.17.0.1"]).await;
    summary(&server, "dn3", &["10.0.0.3", "172.17.0.1"]).await;
    let flagged = [
        naming(1, "src: /10.0.0.9:1 dest: /10.0.0.2:9866"),
        naming(2, "mirror DN2.example.org:9866"),
        // Both nodes have this one, and nobody the other: nobody is asked.
        naming(3, "from /172.17.0.1:1 to /10.0.0.77:9866"),
    ];
    server.send(&flagged).await;
    let normal = Report { flagged: false, reasons: Vec::new(), ..naming(4, "to /10.0.0.2:9866") };
    server.send(&[normal]).await;
    let (blocks, next) = wanted(&server, "dn2", 0).await;
    assert_eq!(blocks, json!(["blk_1", "blk_2"]));
    assert_eq!(wanted(&server, "dn2", next).await, (json!([]), next));
    assert_eq!(wanted(&server, "dn3", 0).await.0, json!([]));
    let (_, incident) = server.get("/api/incidents/blk_1").await;
    assert_eq!(incident["incidents"][0]["nodes_asked"], json!(["dn2"]));

    let answer = Report {
        node: "dn2".to_owned(),
        flagged: false,
        reasons: vec!["asked".to_owned()],
        ..naming(1, "dest: /10.0.0.2:9866")
    };
    server.send(&[Report { id: "00000000000000aa".to_owned(), ..answer }]).await;
    assert_eq!(wanted(&server, "dn2", 0).await.0, json!(["blk_2"]));
    let (_, incident) = server.get("/api/incidents/blk_1").await;
    let incident = &incident["incidents"][0];
    assert_eq!((&incident["nodes"], &incident["nodes_asked"]), (&json!(2), &json!([])));
    // What has reported before is not asked.
    server.send(&[Report { revision: 9, ..naming(1, "dest: /10.0.0.2:9866") }]).await;
    assert_eq!(wanted(&server, "dn2", next).await.0, json!([]));
    // Another address of the node replaces the ones before.
    summary(&server, "dn2", &["10.0.0.22"]).await;
    server.send(&[naming(5, "to 10.0.0.2:9866"), naming(6, "to 10.0.0.22:9866")]).await;
    assert_eq!(wanted(&server, "dn2", next).await.0, json!(["blk_6"]));
    server.stop().await;
}

#[tokio::test]
async fn only_who_may_speak_for_a_node_hears_what_it_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let patterns = ["dn*"].map(|text| glob::Pattern::new(text).unwrap());
    let agents = Agents::new(HashMap::from([(random::hash(b"good token"), Arc::from(patterns))]), false);
    let access = Access { agents, users: Users::new(Vec::new(), false).unwrap(), proxy: None };
    let server = Server::start_as(directory.path(), Limits::default(), access, None).await;
    for (token, node, status) in [
        ("Bearer good token", "dn1", 200),
        ("Bearer good token", "nn1", 403),
        ("Bearer bad token", "dn1", 401),
        ("", "dn1", 401),
        ("Bearer good token", "a%0Ab", 400),
        ("Bearer good token", "dn1&after=x", 400),
    ] {
        let url = format!("{}/v1/wanted?node={node}", server.base);
        let response = server.client.get(url).header("authorization", token).send().await.unwrap();
        assert_eq!(response.status(), status, "{token} {node}");
    }
    server.stop().await;
}
