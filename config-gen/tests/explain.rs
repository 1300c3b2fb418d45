//! `explain` says what happens, for every case.

use std::path::Path;

use config_gen::cases::{self, EngineKind, Group, Request, Seen};
use config_gen::explain::{Explainer, Found, Outcome};
use config_gen::input::files;

/// What is wrong where they differ.
fn compare(outcome: &Outcome, seen: &Seen) -> Result<(), String> {
    let same = match (outcome, seen) {
        (Outcome::Forwarded(forwarded), Seen::Forwarded { cluster, authority, path, dials, .. }) => {
            (&forwarded.cluster, &forwarded.authority, &forwarded.path, &forwarded.dials)
                == (cluster, authority, path, dials)
        }
        (Outcome::Answered(local), Seen::Answered { status, reason, body, .. }) => {
            (local.status, &local.reason, &String::from_utf8_lossy(&local.body).into_owned())
                == (*status, reason, body)
        }
        // Envoy's fault filter ends it.
        (Outcome::Forwarded(forwarded), Seen::Answered { reason, .. }) => {
            forwarded.abort.is_some() && reason == "fault_filter_abort"
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("{outcome:?}\n{seen:?}")) }
}

/// Addresses are refused by Envoy's guard, and paths normalized; the native engine does neither. It
/// tells of answers to gRPC what the client sees of them.
fn differs_by_intent(request: &Request, seen: &Seen) -> bool {
    let path = config_gen::connection_manager::receive(request).map(|request| request.path);
    let dials_address = matches!(seen, Seen::Forwarded { dials: Some(dials), .. }
        if dials.parse::<std::net::SocketAddr>().is_ok());
    let grpc = request.headers.iter().any(|(_, value)| value.starts_with(b"application/grpc"));
    dials_address || grpc || path.as_ref() != Ok(&request.path)
}

#[test]
fn every_case_is_explained_as_it_is_decided() {
    let sources =
        files::collect(&[Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("testdata")]).unwrap();
    let (files, diagnostics) = cases::load(&sources);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(&sources));
    let mut explained = 0;
    for file in files {
        for &profile in &file.profiles {
            for group in file.groups(EngineKind::Native, profile) {
                explained += group_is_explained(&group);
            }
        }
    }
    assert!(explained > 600, "{explained}");
}

fn group_is_explained(group: &Group<'_>) -> usize {
    let Group { file, setup, profile, tests } = group;
    let prepared = cases::prepare(&file.path, setup, *profile).unwrap();
    let Ok(plan) = prepared.plan() else { return 0 };
    let mut explained = 0;
    for (test, _) in tests {
        let plain = test.tls.is_none() && test.by_proxy.is_none();
        let Some(request) = test.request.as_ref().filter(|_| plain) else { continue };
        let config = plan.proxy_config(&prepared.options);
        let explainer =
            Explainer::new(config, Some((plan, &prepared.options)), Some(request.random)).unwrap();
        let explanation = explainer.explain(request).unwrap();
        let seen = prepared.decide(test, request).unwrap().0;
        let at = format!("{}:{}", file.path, test.line);
        let closed = explanation.outcome == Outcome::Closed;
        if !closed && !differs_by_intent(request, &seen) {
            compare(&explanation.outcome, &seen).unwrap_or_else(|wrong| panic!("{at}: {wrong}"));
            explained += 1;
        }
        if let Found::VirtualHost { named, .. } = &explanation.virtual_host {
            assert!(named.span.is_some(), "{at}: {}", named.name);
            let routes = explanation.route.iter().chain(explanation.lost.iter().map(|lost| &lost.route));
            for route in routes.filter(|_| named.name.starts_with("VirtualService ")) {
                assert!(route.span.is_some(), "{at}: {}", route.name);
            }
        }
        for lost in &explanation.lost {
            let told = lost.failed.iter().all(|failed| !failed.wanted.is_empty());
            assert!(told && !lost.failed.is_empty(), "{at}: {lost:?}");
        }
    }
    explained
}
