// What becomes of the request, for a person who wrote the rules.
import type { Answer, Explained, Forward, HeaderChange, Named, Report, RequestAnswer, Respond, Share } from "@portolan/control/web";
import { h, sentence } from "./dom";

type GoTo = (place: { line: number }) => void;

/** The first answer of `explained`. */
export function decision(explained: Explained, goTo: GoTo): HTMLElement {
  const report = explained.answers[0];
  if (!report) {
    const errors = `${explained.errors} ${explained.errors === 1 ? "error" : "errors"}`;
    return h("p", { className: "verdict error" }, h("strong", {}, "No decision"), ` — the YAML has ${errors}, see the diagnostics.`);
  }
  if ("error" in report) return h("p", { className: "verdict error" }, h("strong", {}, "No request"), " — ", sentence(report.error));
  const [first, other] = report.answers;
  return h(
    "div",
    {},
    first ? answer(first, goTo) : null,
    report.profilesAgree === false && other
      ? h("details", { className: "other" }, h("summary", {}, `Profile ${other.profile} decides otherwise`), answer(other, goTo))
      : null,
    report.profilesAgree ? h("p", { className: "hint" }, "Both profiles decide alike.") : null,
    inWords(report),
  );
}

function inWords(report: Report): HTMLElement {
  return h("details", { className: "words" }, h("summary", {}, "As config-gen explain says it"), h("pre", { tabIndex: 0 }, report.text));
}

function answer(answer: Answer, goTo: GoTo): HTMLElement {
  if ("errors" in answer) {
    const errors = answer.errors.map((error) => h("li", {}, h("code", {}, error.code), " ", sentence(error.message)));
    return h("div", {}, verdict("error", "Nothing is generated", `in profile ${answer.profile}`), h("ul", {}, ...errors));
  }
  const { decision } = answer;
  switch (decision.action) {
    case "forward":
      return h("div", {}, forwardVerdict(decision), forward(decision), "route" in answer ? why(answer, goTo) : null);
    case "respond":
      return h("div", {}, verdict(decision.status >= 400 ? "error" : "ok", `Answered ${decision.status}`, decision.reason), respond(decision), "route" in answer ? why(answer, goTo) : null);
    case "passThrough":
      return h(
        "div",
        {},
        verdict(decision.clusterExists ? "ok" : "error", "Passed through", decision.clusterExists ? decision.cluster : "to a cluster that isn't there"),
        facts([
          ["Dials", decision.dials],
          ["Server name", "chain" in answer ? answer.chain?.serverName : null],
          ["Shares", decision.destinations && decision.destinations.length > 1 ? shares(decision.destinations) : null],
          ["By", "chain" in answer && answer.chain ? named(answer.chain.rule ?? answer.chain.resource, goTo) : null],
        ]),
      );
    case "close":
      return h("div", {}, verdict("error", "Closed", decision.reason ?? "without an answer"), "route" in answer ? why(answer, goTo) : null);
    case "pass":
      return verdict("ok", "Left alone", "the sidecar's own routes go on");
  }
}

function verdict(kind: "ok" | "error", title: string, what: string): HTMLElement {
  return h("p", { className: `verdict ${kind}` }, h("strong", {}, title), " ", h("code", {}, what));
}

function forwardVerdict(decision: Forward): HTMLElement {
  if (!decision.clusterExists) return verdict("error", "Answered 503", `cluster ${decision.cluster} isn't there`);
  if (decision.abort) return verdict("error", `Aborted ${decision.abort}`, `by a fault, after ${decision.delayMs ?? 0} ms`);
  return verdict("ok", "Forwarded", decision.dedicatedCluster ?? decision.cluster ?? "where the sidecar chooses");
}

function forward(decision: Forward): HTMLElement {
  const { retries, faults } = decision;
  return facts([
    ["Shared cluster", decision.dedicatedCluster ? decision.cluster : null],
    ["Reported", decision.reported],
    ["Authority", decision.authority],
    ["Path", decision.path],
    ["TLS server name", decision.tlsServerName],
    ["Dials", decision.dials],
    ["Tunnel", decision.tunnel],
    ["Timeout", decision.timeoutMs === null ? null : `${decision.timeoutMs} ms`],
    ["Retries", retries ? `${retries.attempts} on ${retries.retryOn.join(", ")}${retries.isDefault ? " (default)" : ""}` : "none"],
    ["Held back", decision.delayMs === null ? null : `${decision.delayMs} ms`],
    ["Delay fault", faults.delay ? `${faults.delay.ms} ms for ${faults.delay.percent} %` : null],
    ["Abort fault", faults.abort ? `${faults.abort.status ?? `gRPC ${faults.abort.grpcStatus}`} for ${faults.abort.percent} %` : null],
    ["Destinations", decision.destinations.length > 1 ? shares(decision.destinations) : null],
    ["Copies to", decision.mirrors.length > 0 ? shares(decision.mirrors) : null],
    ["Hash of", decision.hash.join(", ") || null],
    ["Request headers", changes(decision.requestHeaders)],
    ["Response headers", changes(decision.responseHeaders)],
  ]);
}

function respond(decision: Respond): HTMLElement {
  const lines = decision.headers.map(([name, value]) => h("li", {}, h("code", {}, `${name}: ${value}`)));
  return facts([
    ["Note", decision.note],
    ["gRPC status", decision.grpcStatus === null ? null : String(decision.grpcStatus)],
    ["Headers", lines.length > 0 ? h("ul", { className: "plain" }, ...lines) : null],
    ["Body", decision.body ? h("pre", { tabIndex: 0 }, decision.body) : null],
  ]);
}

function shares(list: Share[]): HTMLElement {
  return h("ul", { className: "plain" }, ...list.map(({ cluster, percent }) => h("li", {}, `${percent} % `, h("code", {}, cluster))));
}

function changes(list: HeaderChange[]): HTMLElement | null {
  if (list.length === 0) return null;
  const text = (change: HeaderChange) => (change.change === "remove" ? change.name : `${change.name}: ${change.value}`);
  return h("ul", { className: "plain" }, ...list.map((change) => h("li", {}, `${change.change} `, h("code", {}, text(change)))));
}

/** Which virtual host and route it was, and why no earlier one. */
function why(answer: RequestAnswer, goTo: GoTo): HTMLElement {
  const { virtualHost, route, lost, bypassed } = answer;
  return h(
    "section",
    { className: "why" },
    h("h3", {}, "Why"),
    facts([
      ["Normalized path", answer.normalizedPath],
      ["Host", virtualHost ? `${answer.host} by ${virtualHost.domain}` : answer.host ? `${answer.host} is served by nothing here` : null],
      ["Virtual host", virtualHost ? named(virtualHost, goTo) : answer.onAnotherPort ? "on another port only" : null],
      ["Route", route ? named(route, goTo) : virtualHost ? "none matches" : null],
    ]),
    lost.length > 0 ? h("h4", {}, "Routes that don't match") : null,
    lost.length > 0
      ? h("ul", { className: "lost" }, ...lost.map((one) => h("li", {}, named(one, goTo), h("ul", {}, ...one.failed.map((failed) => h("li", {}, `${failed.condition}: wants `, h("code", {}, failed.wanted), ", got ", failed.got === null ? "none" : h("code", {}, failed.got)))))))
      : null,
    bypassed.length > 0 ? h("h4", {}, "What names the host and doesn't serve it") : null,
    bypassed.length > 0 ? h("ul", {}, ...bypassed.map((one) => h("li", {}, named(one, goTo), ": ", sentence(one.why)))) : null,
  );
}

function named({ name, line }: Named, goTo: GoTo): HTMLElement {
  if (line === undefined) return h("span", {}, name);
  const button = h("button", { type: "button", className: "place" }, `line ${line}`);
  button.addEventListener("click", () => goTo({ line }));
  return h("span", {}, name, " ", button);
}

function facts(list: [string, string | HTMLElement | null | undefined][]): HTMLElement {
  const rows = list.flatMap(([name, value]) =>
    value === null || value === undefined ? [] : [h("dt", {}, name), h("dd", {}, value)],
  );
  return h("dl", {}, ...rows);
}
