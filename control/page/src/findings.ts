// The list of findings.
import type { Finding } from "@portolan/control/web";
import { h, sentence } from "./dom";

/** All findings, each with a button that leads to its place. */
export function list(findings: Finding[], goTo: (place: { from: number }) => void): HTMLElement {
  if (findings.length === 0) return h("p", { className: "empty" }, "Nothing to complain about.");
  return h("ul", { className: "findings" }, ...findings.map((finding) => item(finding, goTo)));
}

function item(finding: Finding, goTo: (place: { from: number }) => void): HTMLElement {
  const { from } = finding;
  const place = finding.line === undefined ? null : h("button", { type: "button", className: "place" }, `line ${finding.line}`);
  if (place && from !== undefined) place.addEventListener("click", () => goTo({ from }));
  const about = [finding.resource, finding.path].filter(Boolean).join(" · ");
  return h(
    "li",
    { className: finding.severity },
    h("div", { className: "head" }, h("span", { className: `badge ${finding.severity}` }, finding.severity), h("code", {}, finding.code), place),
    h("p", {}, sentence(finding.message)),
    finding.help ? h("p", { className: "help" }, "→ ", sentence(finding.help)) : null,
    about ? h("p", { className: "about" }, about) : null,
  );
}
