//! Explanations as data; `docs/explain.md` describes the form.

use serde_json::{Value, json};

use super::outcome::{Forwarded, Local, Outcome, Retries, Share};
use super::text::bytes;
use super::{Answer, Asked, Bypassed, Chain, Change, Explanation, FailedCondition, Found, Lost, Named};
use crate::diagnostic::Diagnostic;
use crate::options::Profile;
use crate::source::Sources;

/// The question and all answers.
pub fn report(asked: &Asked, answers: &[Answer], sources: &Sources) -> Value {
    let agree = match answers {
        [first, others @ ..] if !others.is_empty() => Some(others.iter().all(|it| first.agrees_with(it))),
        _ => None,
    };
    json!({
        "request": question(asked),
        "profilesAgree": agree,
        "answers": answers.iter().map(|answer| answer.json(sources)).collect::<Value>(),
    })
}

fn question(asked: &Asked) -> Value {
    match asked {
        Asked::Http(request) => json!({
            "port": request.port,
            "method": request.method,
            "authority": bytes(&request.authority),
            "path": bytes(&request.path),
            "headers": request.headers.iter().map(|(name, value)| json!([name, bytes(value)])).collect::<Value>(),
        }),
        Asked::Tls { host, port, .. } => json!({"port": port, "serverName": host}),
        Asked::Tcp { target, port } => json!({"port": port, "address": target}),
    }
}

impl Answer {
    fn json(&self, sources: &Sources) -> Value {
        match self {
            Self::Http(explanation) => explanation.json(sources),
            Self::Connection(profile, chain) => chain.json(*profile, sources),
            Self::Errors(profile, errors) => {
                let error = |error: &Diagnostic| json!({"code": error.code, "message": error.message});
                json!({"profile": profile.to_string(), "errors": errors.iter().map(error).collect::<Value>()})
            }
        }
    }
}

impl Named {
    fn json(&self, sources: &Sources) -> Value {
        let mut value = json!({"name": self.name});
        if let Some(span) = self.span {
            value["file"] = json!(sources.name(span.file));
            value["line"] = json!(span.line);
        }
        value
    }
}

impl Explanation {
    fn json(&self, sources: &Sources) -> Value {
        let bypassed = |bypassed: &Bypassed| {
            let mut value = bypassed.resource.json(sources);
            value["why"] = json!(bypassed.why);
            value
        };
        let virtual_host = match &self.virtual_host {
            Found::VirtualHost { named, domain, unregistered } => {
                let mut value = named.json(sources);
                value["domain"] = json!(domain);
                value["unregistered"] = json!(unregistered);
                value
            }
            _ => Value::Null,
        };
        json!({
            "profile": self.profile.map(|profile| profile.to_string()),
            "decision": self.outcome.json(sources),
            "normalizedPath": self.normalized_path.as_deref().map(bytes),
            "host": self.host,
            "onAnotherPort": self.virtual_host == Found::Nothing { on_another_port: true },
            "virtualHost": virtual_host,
            "route": self.route.as_ref().map(|route| route.json(sources)),
            "bypassed": self.bypassed.iter().map(bypassed).collect::<Value>(),
            "lost": self.lost.iter().map(|lost| lost.json(sources)).collect::<Value>(),
        })
    }
}

impl Lost {
    fn json(&self, sources: &Sources) -> Value {
        let mut value = self.route.json(sources);
        let failed = |failed: &FailedCondition| json!({"condition": failed.condition, "wanted": failed.wanted, "got": failed.got});
        value["failed"] = self.failed.iter().map(failed).collect();
        value
    }
}

impl Outcome {
    fn json(&self, sources: &Sources) -> Value {
        match self {
            Self::Forwarded(forwarded) => forwarded.json(sources),
            Self::Answered(local) => local.json(),
            Self::Closed => json!({"action": "close"}),
            Self::LeftAlone => json!({"action": "pass"}),
        }
    }
}

impl Forwarded {
    fn json(&self, sources: &Sources) -> Value {
        let delay = self.delay_fault.as_ref();
        let abort = self.abort_fault.as_ref();
        json!({
            "action": "forward",
            "cluster": self.cluster,
            "clusterExists": !self.cluster_missing,
            "dedicatedCluster": self.dedicated_cluster,
            "registeredBy": self.service.as_ref().map(|service| service.json(sources)),
            "destinations": self.destinations.iter().map(Share::json).collect::<Value>(),
            "authority": bytes(&self.authority),
            "path": bytes(&self.path),
            "tlsServerName": self.server_name,
            "dials": self.dials,
            "reported": self.reported,
            "tunnel": self.tunnel,
            "requestHeaders": self.request_headers.iter().chain(&self.told).map(change).collect::<Value>(),
            "responseHeaders": self.response_headers.iter().map(change).collect::<Value>(),
            "timeoutMs": self.timeout_ms,
            "retries": self.retries.as_ref().map(Retries::json),
            "delayMs": self.delay_ms,
            "abort": self.abort,
            "faults": {
                "delay": delay.map(|delay| json!({"ms": delay.ms, "percent": percent(delay.per_million)})),
                "abort": abort.map(|abort| json!({
                    "status": abort.status,
                    "grpcStatus": abort.grpc_status,
                    "percent": percent(abort.per_million),
                })),
            },
            "mirrors": self.mirrors.iter().map(Share::json).collect::<Value>(),
            "hash": self.hash,
            "routeProfile": self.route_profile,
        })
    }
}

impl Retries {
    fn json(&self) -> Value {
        json!({
            "isDefault": self.is_default,
            "attempts": self.attempts,
            "retryOn": self.on,
            "statusCodes": self.status_codes,
            "perTryTimeoutMs": self.per_try_timeout_ms,
            "backoffMs": self.backoff_ms,
            "sameHosts": self.same_hosts,
            "remoteLocalities": self.remote_localities,
        })
    }
}

impl Share {
    fn json(&self) -> Value {
        json!({"cluster": self.cluster, "percent": percent(self.per_million)})
    }
}

impl Local {
    fn json(&self) -> Value {
        json!({
            "action": "respond",
            "status": self.status,
            "reason": self.reason,
            "headers": self.headers.iter().map(|(name, value)| json!([name, bytes(value)])).collect::<Value>(),
            "grpcStatus": self.grpc_status,
            "body": String::from_utf8_lossy(&self.body),
            "delayMs": self.delay_ms,
            "note": self.note,
        })
    }
}

fn percent(per_million: u32) -> f64 {
    f64::from(per_million) / 10_000.0
}

fn change(change: &Change) -> Value {
    match change {
        Change::Remove(name) => json!({"change": "remove", "name": name}),
        Change::Set(name, value) => json!({"change": "set", "name": name, "value": bytes(value)}),
        Change::Add(name, value) => json!({"change": "add", "name": name, "value": bytes(value)}),
    }
}

impl Chain {
    fn json(&self, profile: Profile, sources: &Sources) -> Value {
        let closed = |reason: &str| (json!({"action": "close", "reason": reason}), Value::Null);
        let (decision, chain) = match self {
            Self::Registered(chain) => (
                json!({
                    "action": "passThrough",
                    "cluster": chain.cluster,
                    "clusterExists": !chain.cluster_missing,
                    "destinations": chain.destinations.iter().map(Share::json).collect::<Value>(),
                    "dials": chain.dials,
                }),
                json!({
                    "serverName": chain.server_name,
                    "addresses": chain.addresses,
                    "resource": chain.resource.json(sources),
                    "rule": chain.rule.as_ref().map(|rule| rule.json(sources)),
                }),
            ),
            Self::Unregistered { cluster, dials, reported } => (
                json!({
                    "action": "passThrough",
                    "cluster": cluster,
                    "clusterExists": true,
                    "dials": dials,
                    "reported": reported.then_some("server_name_not_in_registry"),
                }),
                Value::Null,
            ),
            Self::Closed { no_name: false } => closed("unknown_server_name"),
            Self::Closed { no_name: true } => closed("no_server_name"),
            Self::NotTls => closed("no_tls_on_port"),
            Self::NotHttp => closed("not_http"),
            Self::NoHttp => closed("no_http_on_port"),
        };
        json!({"profile": profile.to_string(), "decision": decision, "chain": chain})
    }
}
