//! What came of a case, held against what is expected.

use portolan_e2e::raw::Response;
use portolan_engine::Reason;
use serde_json::Value;

use crate::catalogue::{Case, Outcome, bytes};
use crate::client::Answer;
use crate::native::Native;
use crate::upstream::Arrival;

/// Details of answers that are the filter's, besides its refusals.
const FILTERS_OWN: [&str; 5] =
    ["redirected", "direct_response", "fault_abort", "cors_preflight", "fault_filter_abort"];

#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) allowed: usize,
    pub(crate) by_filter: usize,
    pub(crate) by_envoy: usize,
    pub(crate) closed: usize,
    pub(crate) tunnels: usize,
    /// Requests that arrived where none was expected.
    pub(crate) elsewhere: usize,
    /// What `explain` says was compared, and is the same.
    pub(crate) explained: bool,
    pub(crate) problems: Vec<String>,
}

impl Verdict {
    pub(crate) fn failed(problem: String) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }

    pub(crate) fn of(
        outcomes: &[Outcome],
        answers: &[Answer],
        arrivals: &[Arrival],
        lines: &[Value],
    ) -> Self {
        let mut verdict = Self::default();
        let mut rest: Vec<&Arrival> = arrivals.iter().collect();
        let mut lines: Vec<&Value> = lines.iter().collect();
        for (index, outcome) in outcomes.iter().enumerate() {
            let Some(answer) = answers.get(index) else {
                verdict.problems.push(format!("no answer {index}"));
                break;
            };
            let before = verdict.problems.len();
            verdict.one(outcome, answer, &mut rest, &mut lines);
            for problem in verdict.problems.iter_mut().skip(before).filter(|_| outcomes.len() > 1) {
                *problem = format!("answer {index}: {problem}");
            }
        }
        if let Some(more) = answers.get(outcomes.len()) {
            verdict.problems.push(format!("one answer more: {}", told(more)));
        }
        verdict.elsewhere += rest.len();
        verdict.problems.extend(
            rest.iter()
                .map(|arrival| format!("arrived at {}: {}", arrival.upstream, shortened(&arrival.bytes))),
        );
        if !verdict.problems.is_empty() {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            verdict
                .problems
                .push(format!("access log: {}", lines.join("; ").chars().take(600).collect::<String>()));
        }
        verdict
    }

    fn one(&mut self, outcome: &Outcome, answer: &Answer, rest: &mut Vec<&Arrival>, lines: &mut Vec<&Value>) {
        if let Some(name) = &outcome.begun {
            rest.retain(|arrival| arrival.upstream != *name);
        }
        let Outcome { upstream, filter, envoy, closed, tunnel, .. } = outcome;
        match (upstream, filter, envoy, answer) {
            (Some(name), _, _, answer) => {
                let status = outcome.status.unwrap_or(200);
                match answer {
                    Answer::Response(response) if response.status == status => {
                        self.response(outcome, response);
                    }
                    Answer::Tunnel if status == 101 => {}
                    other => {
                        self.problems.push(format!("expected {status} from {name}, got {}", told(other)));
                    }
                }
                let path = outcome.path.as_deref().and_then(|path| bytes(path).ok()).unwrap_or_default();
                let here = |arrival: &&Arrival| arrival.upstream == *name && arrival.path == path;
                let found =
                    rest.iter().position(here).or_else(|| rest.iter().position(|one| one.upstream == *name));
                match found {
                    Some(at) => {
                        let arrival = rest.remove(at);
                        self.allowed += 1;
                        self.arrival(outcome, arrival);
                    }
                    None => self.problems.push(format!("nothing arrived at {name}")),
                }
            }
            (_, Some(reason), _, Answer::Response(response)) if Some(response.status) == outcome.status => {
                self.by_filter += 1;
                self.response(outcome, response);
                self.reason(lines, response.status, |known| known == reason, reason, false);
            }
            (_, _, Some(status), Answer::Response(response)) if response.status == *status => {
                self.by_envoy += 1;
                self.response(outcome, response);
                let begun = outcome.begun.is_some();
                self.reason(lines, *status, |known| !is_filters(known, *status), "one of Envoy's own", begun);
            }
            (_, _, _, Answer::Closed) if *closed => self.closed += 1,
            (_, _, _, Answer::Tunnel) if *tunnel => self.tunnels += 1,
            _ => {
                let wanted = match (filter, envoy) {
                    (Some(reason), _) => format!("{} by the filter ({reason})", outcome.status.unwrap_or(0)),
                    (_, Some(status)) => format!("{status} by Envoy"),
                    _ if *closed => "closed".to_owned(),
                    _ => "a tunnel".to_owned(),
                };
                self.problems.push(format!("expected {wanted}, got {}", told(answer)));
            }
        }
    }

    /// Whether the access log has a line of this status with such a reason.
    fn reason(
        &mut self,
        lines: &mut Vec<&Value>,
        status: u16,
        wanted: impl Fn(&str) -> bool,
        what: &str,
        begun: bool,
    ) {
        let of_status =
            |line: &&Value| line["response_code"] == status && (begun || line["upstream"].is_null());
        let known = |line: &&Value| {
            let reason = line["reason"].as_str().unwrap_or_default();
            of_status(line) && wanted(reason.split('{').next().unwrap_or_default())
        };
        match lines.iter().position(known) {
            Some(at) => drop(lines.remove(at)),
            None => self.problems.push(format!("no line of the access log with {status} and {what}")),
        }
    }

    fn response(&mut self, outcome: &Outcome, response: &Response) {
        for (name, wanted) in &outcome.response_headers {
            let lines =
                response.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
            let lines: Vec<Vec<u8>> = lines.map(|(_, value)| value.clone()).collect();
            self.lines(&format!("the answer's {name}"), wanted.as_ref(), &lines);
        }
        if let Some(body) = &outcome.response_body {
            self.same("the answer's body", body, &response.body);
        }
    }

    fn arrival(&mut self, outcome: &Outcome, arrival: &Arrival) {
        if !arrival.whole {
            self.problems.push(format!("only a part arrived: {}", shortened(&arrival.bytes)));
        }
        let hosts = arrival.lines("host");
        if hosts.len() > 1 {
            self.problems.push("it arrived with several Host lines".to_owned());
        }
        let host = hosts.first().map(Vec::as_slice).unwrap_or_default();
        self.same("the Host header", outcome.authority.as_deref().unwrap_or_default(), host);
        self.same("the path", outcome.path.as_deref().unwrap_or_default(), &arrival.path);
        if outcome.sni != arrival.sni {
            self.problems.push(format!("server name: expected {:?}, got {:?}", outcome.sni, arrival.sni));
        }
        if let Some(method) = &outcome.method {
            self.same("the method", method, arrival.method.as_bytes());
        }
        if let Some(body) = &outcome.body {
            self.same("the body", body, &arrival.body);
        }
        for (name, wanted) in &outcome.headers {
            self.lines(&format!("the header {name}"), wanted.as_ref(), &arrival.lines(name));
        }
        // Nothing that filter and Envoy say between each other goes out.
        for (name, _) in arrival.headers.iter().filter(|(name, _)| name.starts_with("x-portolan-")) {
            self.problems.push(format!("{name} went out"));
        }
    }

    fn same(&mut self, what: &str, wanted: &str, seen: &[u8]) {
        match bytes(wanted) {
            Ok(wanted) if wanted == seen => {}
            Ok(wanted) => {
                let problem = format!("{what}: expected {}, got {}", shortened(&wanted), shortened(seen));
                self.problems.push(problem);
            }
            Err(error) => self.problems.push(format!("{error:#}")),
        }
    }

    fn lines(&mut self, what: &str, wanted: Option<&crate::catalogue::OneValue>, seen: &[Vec<u8>]) {
        let wanted = match wanted.map(crate::catalogue::OneValue::lines).transpose() {
            Ok(wanted) => wanted.unwrap_or_default(),
            Err(error) => return self.problems.push(format!("{error:#}")),
        };
        if wanted != seen {
            let text =
                |lines: &[Vec<u8>]| lines.iter().map(|line| shortened(line)).collect::<Vec<_>>().join(" | ");
            self.problems.push(format!("{what}: expected {}, got {}", text(&wanted), text(seen)));
        }
    }

    /// Asks `explain` for its opinion of a case that held.
    pub(crate) fn explain(&mut self, native: &Native, case: &Case, port: Option<u16>, oldest: bool) {
        let (Some(request), [outcome]) = (case.plain_request(), case.outcomes(oldest)) else { return };
        // It answers for the newest Envoy.
        let differs = oldest && case.outcomes(true).as_ptr() != case.outcomes(false).as_ptr();
        if !self.problems.is_empty() || case.answer.is_some() || differs {
            return;
        }
        match (native.contradicts(port, &request, outcome), &case.explain_differs) {
            (Some(None), None) => self.explained = true,
            (Some(None), Some(_)) => {
                self.problems.push("explain agrees: `explain_differs` can go".to_owned());
            }
            (Some(Some(said)), None) => self.problems.push(format!("explain: {said}")),
            _ => {}
        }
    }
}

/// Whether the access log has a line for each answer of the filter's and of Envoy's own.
pub(crate) fn are_logged(outcomes: &[Outcome], lines: &[Value]) -> bool {
    let statuses = outcomes.iter().filter_map(|outcome| match (&outcome.filter, outcome.envoy) {
        (Some(_), _) => outcome.status,
        (None, own) => own,
    });
    let statuses: Vec<u16> = statuses.collect();
    statuses.iter().all(|status| {
        let wanted = statuses.iter().filter(|other| *other == status).count();
        lines.iter().filter(|line| line["response_code"] == *status).count() >= wanted
    })
}

fn is_filters(reason: &str, status: u16) -> bool {
    // The last route's 503 has the same details as a direct response of the filter.
    if reason == "direct_response" && status == 503 {
        return false;
    }
    FILTERS_OWN.contains(&reason) || Reason::ALL.iter().any(|known| known.as_str() == reason)
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Response(response) => format!("{} {}", response.status, shortened(&response.body)),
        Answer::Tunnel => "a tunnel".to_owned(),
        Answer::Closed => "closed".to_owned(),
    }
}

fn shortened(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() <= 300 {
        text
    } else {
        format!("{}... ({} bytes)", text.get(..300).unwrap_or_default(), bytes.len())
    }
}
