//! Who may do what, over the wire: tokens, certificates, logins, roles.

use std::collections::HashMap;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::{Certificate, Identity};

use super::*;
use crate::access::users::{User, hash};
use crate::access::{CSRF_HEADER, Role, random};
use crate::config::{Config, Overrides};
use crate::tls::{Files, Tls};

fn agents(by_certificate: bool) -> Agents {
    let patterns = ["dn*"].map(|text| glob::Pattern::new(text).unwrap());
    Agents::new(HashMap::from([(random::hash(b"good token"), Arc::from(patterns))]), by_certificate)
}

fn users() -> Vec<User> {
    let user = |name: &str, role| User {
        name: name.to_owned(),
        password_hash: hash("correct horse").unwrap(),
        role,
    };
    vec![user("vera", Role::View), user("otto", Role::Operate)]
}

async fn log_in(server: &Server, name: &str, password: &str) -> Response {
    let body = json!({ "name": name, "password": password }).to_string().into_bytes();
    server.post("/api/login", JSON, body).send().await.unwrap()
}

fn cookie(response: &Response) -> String {
    let set = response.headers()["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn agents_need_a_token_and_speak_for_their_nodes_alone() {
    let directory = tempfile::tempdir().unwrap();
    let access = Access { agents: agents(false), users: Users::new(Vec::new(), false).unwrap(), proxy: None };
    let server = Server::start_as(directory.path(), Limits::default(), access, None).await;
    let other = Report { node: "nn1".to_owned(), ..numbered(2) };
    let body = logs_request("dn1", vec![to_record(&report()), to_record(&other)]).encode_to_vec();
    let send =
        |token: &str| server.post("/v1/logs", PROTOBUF, body.clone()).header("authorization", token).send();
    for wrong in ["Bearer bad token", "good token", ""] {
        assert_eq!(send(wrong).await.unwrap().status(), 401, "{wrong}");
    }
    let answer = send("Bearer good token").await.unwrap();
    assert_eq!(answer.status(), 200);
    let partial =
        ExportLogsServiceResponse::decode(answer.bytes().await.unwrap()).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 1);
    assert!(partial.error_message.contains("may not speak for the node"), "{}", partial.error_message);
    let metrics =
        metrics_request("nn1", vec![metric("blocksift.lines_read", vec![point(5, None)])]).encode_to_vec();
    let answer = server.post("/v1/metrics", PROTOBUF, metrics).header("authorization", "Bearer good token");
    let answer = answer.send().await.unwrap();
    let partial = ExportMetricsServiceResponse::decode(answer.bytes().await.unwrap()).unwrap();
    assert_eq!(partial.partial_success.unwrap().rejected_data_points, 1);
    assert_eq!(server.ids("").await, [report().id]);
    server.stop().await;
}

#[tokio::test]
async fn people_log_in_and_viewers_do_not_mark() {
    let directory = tempfile::tempdir().unwrap();
    let access =
        Access { agents: Agents::default(), users: Users::new(users(), false).unwrap(), proxy: None };
    let server = Server::start_as(directory.path(), Limits::default(), access, None).await;
    server.send(&[report()]).await;
    for path in ["/api/sessions", "/api/me", "/api/overview", "/api/marks", "/api/live"] {
        assert_eq!(server.get(path).await.0, 401, "{path}");
    }
    // The page itself, and what watches the collector, hold nothing of a log.
    for path in ["/", "/healthz", "/metrics", "/api/openapi.json"] {
        assert_eq!(
            server.client.get(format!("{}{path}", server.base)).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
    let put = |cookie: String, csrf: String| {
        let request = server.client.put(format!("{}/api/sessions/0123456789abcdef/mark", server.base));
        let request = request.header("cookie", cookie).header(CSRF_HEADER, csrf).header("content-type", JSON);
        request.body(r#"{"mark":"real"}"#).send()
    };
    let me = |cookie: String| {
        let request = server.client.get(format!("{}/api/me", server.base)).header("cookie", cookie);
        async move { json_body(request.send().await.unwrap()).await }
    };
    assert_eq!(log_in(&server, "vera", "wrong").await.status(), 401);
    for (name, status) in [("vera", 403), ("otto", 200)] {
        let cookie = cookie(&log_in(&server, name, "correct horse").await);
        let who = me(cookie.clone()).await;
        assert_eq!(who["name"], name);
        let csrf = who["csrf"].as_str().unwrap().to_owned();
        assert_eq!(put(cookie.clone(), String::new()).await.unwrap().status(), 403);
        assert_eq!(put(cookie.clone(), csrf.clone()).await.unwrap().status(), status, "{name}");
        let out = server.client.post(format!("{}/api/logout", server.base)).header("cookie", &cookie);
        assert_eq!(out.header(CSRF_HEADER, csrf).send().await.unwrap().status(), 204);
        let request = server.client.get(format!("{}/api/me", server.base)).header("cookie", cookie);
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
    let foreign = server.post("/api/login", JSON, br#"{"name":"otto","password":"correct horse"}"#.to_vec());
    assert_eq!(foreign.header("sec-fetch-site", "cross-site").send().await.unwrap().status(), 403);
    for _ in 0..5 {
        log_in(&server, "otto", "wrong").await;
    }
    let waits = log_in(&server, "otto", "correct horse").await;
    assert_eq!(waits.status(), 429);
    assert!(waits.headers().contains_key("retry-after"));
    server.stop().await;
}

#[tokio::test]
async fn a_client_certificate_speaks_for_its_node_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let (certificate, key) = issue("127.0.0.1");
    for (name, text) in [("ca", &authority_certificate.pem()), ("certificate", &certificate), ("key", &key)] {
        std::fs::write(path(name), text).unwrap();
    }
    let files = Files { certificate: path("certificate"), key: path("key"), client_ca: Some(path("ca")) };
    let access = Access { agents: agents(true), users: Users::new(Vec::new(), true).unwrap(), proxy: None };
    let server =
        Server::start_as(directory.path(), Limits::default(), access, Some(Tls::watch(files).unwrap())).await;
    let client = |identity: Option<(String, String)>| {
        let root = Certificate::from_pem(authority_certificate.pem().as_bytes()).unwrap();
        let builder = Client::builder().no_proxy().tls_certs_only([root]);
        match identity {
            Some((certificate, key)) => {
                builder.identity(Identity::from_pem((certificate + &key).as_bytes()).unwrap())
            }
            None => builder,
        }
        .build()
        .unwrap()
    };
    let send = async |client: Client, node: &str| {
        let body = logs_request(node, vec![to_record(&Report { node: node.to_owned(), ..report() })]);
        let request = client.post(format!("{}/v1/logs", server.base)).header("content-type", JSON);
        let response = request.body(serde_json::to_vec(&body).unwrap()).send().await.unwrap();
        (response.status().as_u16(), json_body(response).await)
    };
    assert_eq!(send(client(None), "dn1").await.0, 401);
    let (status, answer) = send(client(Some(issue("dn1"))), "dn2").await;
    assert_eq!((status, &answer["partialSuccess"]["rejectedLogRecords"]), (200, &json!("1")));
    assert_eq!(send(client(Some(issue("dn1"))), "dn1").await, (200, json!({})));
    // A certificate of nobody that is known ends the handshake.
    let own = KeyPair::generate().unwrap();
    let stranger = CertificateParams::new(["dn1".to_owned()]).unwrap().self_signed(&own).unwrap();
    let stranger = client(Some((stranger.pem(), own.serialize_pem())));
    assert!(stranger.get(format!("{}/healthz", server.base)).send().await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn changed_certificates_are_used_and_unusable_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let write = || {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(path("certificate"), made.cert.pem()).unwrap();
        made.cert.pem()
    };
    let first = write();
    let tls =
        Tls::watch(Files { certificate: path("certificate"), key: path("key"), client_ca: None }).unwrap();
    let access = Access { agents: agents(false), users: Users::new(Vec::new(), true).unwrap(), proxy: None };
    let server = Server::start_as(directory.path(), Limits::default(), access, Some(tls.clone())).await;
    let trusts = async |certificate: &str| {
        let root = Certificate::from_pem(certificate.as_bytes()).unwrap();
        let client = Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
        client.get(format!("{}/healthz", server.base)).send().await.is_ok()
    };
    assert!(trusts(&first).await);
    let second = write();
    tls.look();
    assert!(trusts(&second).await && !trusts(&first).await);
    // Half of a renewal: a key that is not the certificate's.
    std::fs::write(path("key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    tls.look();
    assert!(trusts(&second).await);
    let third = write();
    tls.look();
    assert!(trusts(&third).await);
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_names_people_and_nobody_else_does() {
    let directory = tempfile::tempdir().unwrap();
    for (peers, status) in [("\"127.0.0.0/8\"", 200), ("\"192.0.2.7\"", 401)] {
        let text = format!("[proxy]\npeers = [{peers}]\nheader = \"x-user\"\noperators = [\"otto\"]\n");
        let config = directory.path().join("c.toml");
        std::fs::write(&config, text).unwrap();
        let config = Config::load(Some(&config), Overrides::default()).unwrap();
        assert!(config.any_host() && config.proxy.is_some());
        let users = Users::new(Vec::new(), false).unwrap();
        let access = Access { agents: Agents::default(), users, proxy: config.proxy };
        let server = Server::start_as(directory.path(), Limits::default(), access, None).await;
        server.send(&[report()]).await;
        let me = async |names: &[&str]| {
            let request = server.client.get(format!("{}/api/me", server.base));
            let request = names.iter().fold(request, |request, name| request.header("x-user", *name));
            let response = request.send().await.unwrap();
            (response.status().as_u16(), json_body(response).await)
        };
        assert_eq!(me(&[]).await.0, 401);
        assert_eq!(me(&["otto", "eve"]).await.0, 401);
        for (name, role, may) in [("otto", "operate", 200), ("vera", "view", 403)] {
            let (found, who) = me(&[name]).await;
            assert_eq!(found, status);
            if status == 200 {
                assert_eq!(
                    (&who["name"], &who["role"], &who["users"]),
                    (&json!(name), &json!(role), &json!(false))
                );
                let put = async |csrf: &str| {
                    let request =
                        server.client.put(format!("{}/api/sessions/0123456789abcdef/mark", server.base));
                    let request =
                        request.header("x-user", name).header(CSRF_HEADER, csrf).header("content-type", JSON);
                    request.body(r#"{"mark":"real"}"#).send().await.unwrap().status().as_u16()
                };
                assert_eq!(put("").await, 403);
                assert_eq!(put(who["csrf"].as_str().unwrap()).await, may, "{name}");
            }
        }
        server.stop().await;
    }
}
