// The page: what is typed goes to the module, and what it answers is shown.
import type { Options, Output, Request } from "@portolan/control/web";
import { decision } from "./decision";
import { byId, h } from "./dom";
import { Editor, Viewer } from "./editor";
import { Engine } from "./engine";
import { list } from "./findings";
import { type State, fromFragment, initial, toFragment } from "./state";
import { Tabs } from "./tabs";
import { themeButton } from "./theme";

const NAME = "resources.yaml";
/** How long after a key the module is asked. */
const PAUSE = 150;

const outputs = {
  plugin: { output: "plugin-config", file: "plugin-config.json", label: "Plugin config", language: "json" },
  envoy: { output: "envoy", file: "envoy.yaml", label: "Envoy configuration", language: "yaml" },
  wasmplugin: { output: "wasmplugin", file: "wasm-plugin.yaml", label: "WasmPlugin", language: "yaml" },
} as const satisfies Record<string, { output: Output; file: string; label: string; language: "json" | "yaml" }>;

const engine = new Engine();
const state = initial();
const editor = new Editor(byId("editor"), () => ask(PAUSE));
const tabs = new Tabs(
  byId("tabs"),
  [["decision", "Decision"], ["diagnostics", "Diagnostics"], ["routes", "Routes"], ["plugin", "Plugin config"], ["envoy", "Envoy"], ["wasmplugin", "WasmPlugin"]],
  (id) => {
    state.tab = id;
    ask(0);
  },
);
const viewers = new Map(Object.entries(outputs).map(([id, output]) => [id, viewer(id, output)]));

const form = {
  method: byId<HTMLInputElement>("method"),
  url: byId<HTMLInputElement>("url"),
  headers: byId<HTMLTextAreaElement>("headers"),
  authority: byId<HTMLInputElement>("authority"),
  port: byId<HTMLInputElement>("port"),
};
const tls = byId<HTMLInputElement>("tls");
const profile = byId<HTMLSelectElement>("profile");
const policy = byId<HTMLSelectElement>("policy");

// --- asking -----------------------------------------------------------------

let timer = 0;
let asking = false;
let again = false;

/** Asks the module about what is there now, once the last answer has come. */
function ask(pause: number) {
  clearTimeout(timer);
  timer = window.setTimeout(async () => {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    document.body.setAttribute("aria-busy", "true");
    do {
      again = false;
      try {
        await refresh();
      } catch (error) {
        byId("decision").replaceChildren(h("p", { className: "verdict error" }, `The module failed: ${error instanceof Error ? error.message : error}`));
      }
    } while (again);
    asking = false;
    document.body.setAttribute("aria-busy", "false");
  }, pause);
}

async function refresh() {
  state.text = editor.text;
  const texts = [{ name: NAME, text: state.text }];
  const options: Options = { profile: state.profile, ...(state.policy && { outboundPolicy: state.policy }) };
  const asked = state.text;

  const [found, explained] = await Promise.all([
    engine.call({ call: "validate", values: [texts, options] }),
    state.tab === "decision" ? engine.call({ call: "explain", values: [texts, [request()], options] }) : undefined,
  ]);
  // What was typed meanwhile has other places.
  if (editor.text === asked) editor.mark(found.findings);
  tabs.count("diagnostics", found.findings.length, found.errors > 0 ? "error" : found.warnings > 0 ? "warning" : "note");
  byId("counts").textContent = counts(found.errors, found.warnings, found.notes);
  byId("diagnostics").replaceChildren(list(found.findings, (place) => editor.goTo(place)));
  if (explained) {
    const box = byId("decision");
    const open = [...box.querySelectorAll("details")].map((details) => details.open);
    box.replaceChildren(decision(explained, (place) => editor.goTo(place)));
    // What was unfolded stays so while one types.
    [...box.querySelectorAll("details")].forEach((details, index) => (details.open = open[index] ?? false));
    box.setAttribute("aria-busy", "false");
  }
  if (state.tab === "routes") {
    const { picture } = await engine.call({ call: "graph", values: [texts, options] });
    byId("routes").replaceChildren(picture ? drawn(picture) : h("p", { className: "empty" }, "Nothing is drawn where there are errors: see the diagnostics."));
  }
  if (state.tab in outputs) {
    const { output } = outputs[state.tab as keyof typeof outputs];
    const { files } = await engine.call({ call: "generate", values: [texts, { ...options, emit: [output] }] });
    viewers.get(state.tab)?.setText(files[0]?.content ?? "# Nothing is written where there are errors: see the diagnostics.\n");
  }
}

/** A picture as an image: its style is its own then. Its text says how much there is. */
function drawn(picture: string): HTMLElement {
  const alt = /aria-label="([^"]*)"/.exec(picture)?.[1] ?? "";
  return h("img", { src: `data:image/svg+xml,${encodeURIComponent(picture)}`, alt: `Routes: ${alt}` });
}

function counts(errors: number, warnings: number, notes: number): string {
  const count = (number: number, name: string) => (number > 0 ? [`${number} ${name}${number === 1 ? "" : "s"}`] : []);
  return [count(errors, "error"), count(warnings, "warning"), count(notes, "note")].flat().join(", ");
}

function request(): Request {
  const { method, url, headers, authority, port } = state.request;
  const lines = headers.split("\n").flatMap((line): [string, string][] => {
    const [name, ...value] = line.split(":");
    return name?.trim() ? [[name, value.join(":").trim()]] : [];
  });
  return {
    url: url.trim(),
    headers: lines,
    ...(method.trim() && { method: method.trim() }),
    ...(authority.trim() && { authority: authority.trim() }),
    ...(/^\d+$/.test(port.trim()) && { port: Math.min(Number(port), 65535) }),
  };
}

// --- controls ---------------------------------------------------------------

function show(next: State) {
  Object.assign(state, next);
  editor.setText(state.text);
  profile.value = state.profile;
  policy.value = state.policy;
  for (const [name, field] of Object.entries(form)) field.value = state.request[name as keyof typeof form];
  byId<HTMLDetailsElement>("more").open = Boolean(state.request.headers || state.request.authority || state.request.port);
  tls.checked = /^https:/i.test(state.request.url);
  tabs.choose(state.tab);
}

function viewer(id: string, { file, label, language }: (typeof outputs)[keyof typeof outputs]): Viewer {
  const panel = byId(`panel-${id}`);
  const copy = h("button", { type: "button" }, "Copy");
  const save = h("button", { type: "button" }, "Download");
  const box = h("div", { className: "viewer" });
  panel.append(h("div", { className: "bar" }, h("code", {}, file), copy, save), box);
  const viewer = new Viewer(box, label, language);
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(viewer.text);
    toast(`${label} copied`);
  });
  save.addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([viewer.text]));
    h("a", { href: url, download: file }).click();
    URL.revokeObjectURL(url);
  });
  return viewer;
}

for (const [name, field] of Object.entries(form)) {
  field.addEventListener("input", () => {
    state.request[name as keyof typeof form] = field.value;
    if (name === "url") tls.checked = /^https:/i.test(field.value);
    ask(PAUSE);
  });
}
byId("request").addEventListener("submit", (event) => event.preventDefault());
tls.addEventListener("change", () => {
  const rest = form.url.value.replace(/^[a-z]+:\/\//i, "");
  form.url.value = state.request.url = `${tls.checked ? "https" : "http"}://${rest}`;
  ask(0);
});
profile.addEventListener("change", () => {
  state.profile = profile.value === "istio" ? "istio" : "standalone";
  ask(0);
});
policy.addEventListener("change", () => {
  state.policy = policy.value as State["policy"];
  ask(0);
});

byId("share").addEventListener("click", async () => {
  history.replaceState(null, "", await toFragment(state));
  try {
    await navigator.clipboard.writeText(location.href);
    toast("The link is copied: it carries the YAML and the request");
  } catch {
    // Without the right to the clipboard it still stands in the address bar.
    toast("The link stands in the address bar");
  }
});
addEventListener("hashchange", async () => {
  const shared = await fromFragment(location.hash);
  if (shared) show(shared);
});

let toastTimer = 0;
function toast(text: string) {
  byId("toast").textContent = text;
  clearTimeout(toastTimer);
  toastTimer = window.setTimeout(() => (byId("toast").textContent = ""), 4000);
}

themeButton(byId("theme"));

// --- start ------------------------------------------------------------------

interface Example {
  name: string;
  text: string;
  url: string;
}

const examples: Example[] = await (await fetch("examples.json")).json();
const choice = byId<HTMLSelectElement>("example");
choice.append(...examples.map(({ name }) => h("option", { value: name }, name)));
choice.addEventListener("change", () => load(choice.value));

function load(name: string) {
  const example = examples.find((example) => example.name === name);
  if (!example) return;
  const fresh = initial();
  show({ ...state, text: example.text, request: { ...fresh.request, url: example.url } });
}

const shared = await fromFragment(location.hash);
if (shared) {
  show(shared);
} else {
  const first = examples.find(({ name }) => name === "webserver") ?? examples[0];
  if (first) {
    choice.value = first.name;
    load(first.name);
  }
}
