//! Requests of cases for `explain`, and its answers as what a case's expectation is held against.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use config_gen::cases::{
    ByProxy, Effects, Headers, Lines, Request, Retries, RetryPolicy, Seen, Test, answered,
};
use config_gen::connection_manager::receive;
use portolan_engine::HeaderChange;
use portolan_engine::config::Mode;
use portolan_engine::headers::is_forbidden;
use portolan_engine::host::addressed_port;
use serde_json::{Value, json};

/// What is asked for `test`: of a request that goes through a tunnel, about the tunnel first.
pub(crate) fn questions(test: &Test) -> Vec<Value> {
    let Some(request) = &test.request else { return Vec::new() };
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let headers = request.headers.iter().map(|(name, value)| json!([name, text(value)]));
    let mut question = json!({
        "url": test.tls.as_ref().map_or("http://url/".to_owned(), |host| format!("https://{host}/")),
        "method": request.method,
        "authority": text(&request.authority),
        "path": text(&request.path),
        "headers": headers.collect::<Value>(),
        "port": request.port,
        "escaped": true,
    });
    // The port that clients of a proxy mean stands in what they address.
    let port =
        |method: &str, authority: &[u8]| addressed_port(method.as_bytes(), b"http", authority).unwrap_or(0);
    question["proxy"] = json!(test.by_proxy.is_some());
    match &test.by_proxy {
        None => vec![question],
        Some(ByProxy::Absolute(host)) => {
            question["port"] = json!(port(&request.method, host));
            question["authority"] = json!(text(host));
            vec![question]
        }
        Some(ByProxy::Tunnel(target)) => {
            question["port"] = json!(port("CONNECT", target));
            let connect = json!({
                "url": format!("connect://target:{}", port("CONNECT", target).max(1)),
                "authority": text(target),
                "escaped": true,
            });
            vec![connect, question]
        }
    }
}

/// The answer that counts: that to what is inside the tunnel, where it is looked at and is what the tunnel
/// is for.
pub(crate) fn through(test: &Test, tunnel: &Value, inside: &Value) -> Value {
    let decision = &tunnel["answers"][0]["decision"];
    match (decision["tunnel"].as_str(), &test.tls) {
        // Its bytes are none of the proxy's business.
        (None, _) if decision["action"] == "forward" => {
            let mut passed = tunnel.clone();
            passed["answers"][0]["decision"]["action"] = json!("passThrough");
            passed
        }
        (None, _) => tunnel.clone(),
        (Some(wanted), Some(name)) if wanted.contains(&format!("server name {name} is")) => inside.clone(),
        (Some(wanted), None) if wanted.starts_with("HTTP") => inside.clone(),
        _ => json!({"answers": [{"decision": {"action": "close"}}], "text": tunnel["text"]}),
    }
}

/// How many of ten thousand requests go where, by the shares that are told.
pub(crate) fn shares(answer: &Value) -> BTreeMap<String, usize> {
    let decision = &answer["decision"];
    let mut counts = BTreeMap::new();
    let mut left = 10_000.0;
    let part = |value: &Value| value.as_f64().unwrap_or_default() / 100.0;
    let abort = &decision["faults"]["abort"];
    if let Some(status) = abort["status"].as_u64() {
        counts.insert(status.to_string(), (left * part(&abort["percent"])) as usize);
        left *= 1.0 - part(&abort["percent"]);
    }
    let destinations = decision["destinations"].as_array().filter(|list| !list.is_empty());
    let only = vec![json!({"cluster": decision["cluster"], "percent": 100})];
    for share in destinations.unwrap_or(&only) {
        let cluster = share["cluster"].as_str().unwrap_or_default().to_owned();
        *counts.entry(cluster).or_default() += (left * part(&share["percent"])) as usize;
    }
    counts.retain(|_, count| *count > 0);
    counts
}

/// What became of the request.
pub(crate) fn seen(test: &Test, request: &Request, answer: &Value) -> Seen {
    let decision = &answer["decision"];
    match decision["action"].as_str() {
        Some("forward") => forwarded(test, request, decision),
        Some("passThrough") if decision["clusterExists"] == true => passed_through(request, decision),
        Some("respond") => {
            let grpc = decision["grpcStatus"].as_u64().map(|status| status as u8);
            let mut seen = answered(
                request,
                number(decision, "status").unwrap_or_default() as u16,
                grpc,
                &text(decision, "reason"),
                &text(decision, "body"),
                lines(&decision["headers"]),
            );
            if let Seen::Answered { effects, .. } = &mut seen {
                effects.delay = Some(duration(decision, "delayMs"));
            }
            seen
        }
        _ => Seen::Closed,
    }
}

fn passed_through(request: &Request, decision: &Value) -> Seen {
    // The service's own, where clusters are shared.
    let destinations = decision["destinations"].as_array().into_iter().flatten();
    let share = |share: &&Value| (share["percent"].as_f64().unwrap_or_default() * 1e4) as u64;
    // Of equal ones the first.
    let largest = destinations.rev().max_by_key(share);
    let cluster = largest.map_or_else(|| text(decision, "cluster"), |share| text(share, "cluster"));
    Seen::Forwarded {
        cluster: Some(cluster),
        authority: request.authority.clone(),
        path: request.path.clone(),
        dials: decision["dials"].as_str().map(str::to_owned),
        status: None,
        headers: Some(Headers { lines: request.headers.clone(), all: true }),
        effects: Box::new(Effects { reported: Some(reported(decision)), ..Effects::default() }),
    }
}

fn forwarded(test: &Test, request: &Request, decision: &Value) -> Seen {
    let effects = effects(test, decision);
    if let Some(status) = decision["abort"].as_str().and_then(|status| status.parse().ok()) {
        // Envoy's fault filter answers after the delay (VS-FAULT-06).
        return Seen::Answered {
            status,
            reason: "fault_filter_abort".to_owned(),
            body: "fault filter abort".to_owned(),
            effects: Box::new(effects),
        };
    }
    // Envoy says itself how the request came.
    let came = Request { by_tls: test.tls.is_some(), ..request.clone() };
    let received = receive(&came).map_or(came.headers, |received| received.headers);
    let mut sent = changed(&received, &decision["requestHeaders"]);
    sent.retain(|(name, _)| !is_forbidden(name.as_bytes(), Mode::Proxy));
    let cluster = decision["dedicatedCluster"].as_str().or(decision["cluster"].as_str());
    Seen::Forwarded {
        cluster: cluster.map(str::to_owned),
        authority: bytes(&text(decision, "authority")),
        path: bytes(&text(decision, "path")),
        dials: decision["dials"].as_str().map(str::to_owned),
        status: None,
        headers: Some(Headers { lines: sent, all: false }),
        effects: Box::new(effects),
    }
}

/// Why it would be refused if the registry were enforced.
fn reported(decision: &Value) -> Option<String> {
    decision["reported"].as_str().map(str::to_owned)
}

fn effects(test: &Test, decision: &Value) -> Effects {
    let retries = &decision["retries"];
    let words = |name: &str| {
        let words = retries[name].as_array().into_iter().flatten();
        let words = words.map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned));
        words.collect::<Vec<_>>().join(",")
    };
    let strings = |list: &Value, name: Option<&str>| {
        let list = list.as_array().into_iter().flatten();
        list.map(|one| text_of(name.map_or(one, |name| &one[name]))).collect::<Vec<_>>()
    };
    let lines = changed(&test.upstream.headers, &decision["responseHeaders"]);
    Effects {
        response_headers: Some(Headers { lines, all: false }),
        grpc_status: None,
        delay: Some(duration(decision, "delayMs")),
        timeout: Some(duration(decision, "timeoutMs")),
        route_profile: decision["routeProfile"].as_str().map(str::to_owned),
        retries: Some(if retries.is_null() {
            Retries::Off
        } else if retries["isDefault"] == true {
            Retries::Default
        } else {
            Retries::These(RetryPolicy {
                attempts: number(retries, "attempts").unwrap_or_default(),
                on: words("retryOn"),
                status_codes: words("statusCodes"),
                per_try_timeout: duration(retries, "perTryTimeoutMs"),
                previous_hosts: retries["sameHosts"] == true,
                remote_localities: retries["remoteLocalities"] == true,
                backoff: duration(retries, "backoffMs"),
            })
        }),
        attempts: None,
        mirrors: Some(strings(&decision["mirrors"], Some("cluster"))),
        hash: Some(strings(&decision["hash"], None)),
        reported: Some(reported(decision)),
        elapsed: None,
    }
}

/// `lines` after these changes.
fn changed(lines: &Lines, changes: &Value) -> Lines {
    let mut lines: Vec<(&str, Cow<'_, [u8]>)> =
        lines.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_slice()))).collect();
    let changes = changes.as_array().into_iter().flatten().map(|change| {
        let name = change["name"].as_str().unwrap_or_default();
        let value = Cow::Owned(bytes(&text(change, "value")));
        match change["change"].as_str() {
            Some("remove") => HeaderChange::Remove(name),
            Some("set") => HeaderChange::Set(name, value),
            _ => HeaderChange::Add(name, value),
        }
    });
    HeaderChange::apply_all(changes, &mut lines);
    lines.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
}

fn lines(list: &Value) -> Lines {
    let list = list.as_array().into_iter().flatten();
    list.map(|line| (text_of(&line[0]), bytes(&text_of(&line[1])))).collect()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn text(value: &Value, name: &str) -> String {
    text_of(&value[name])
}

fn number(value: &Value, name: &str) -> Option<u64> {
    value[name].as_u64()
}

fn duration(value: &Value, name: &str) -> Option<Duration> {
    number(value, name).map(Duration::from_millis)
}

/// The bytes that a text of an answer stands for.
fn bytes(escaped: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = escaped.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let kind = rest[0];
        rest = &rest[1..];
        bytes.push(match kind {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).unwrap();
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).unwrap()
            }
            other => other,
        });
    }
    bytes
}
