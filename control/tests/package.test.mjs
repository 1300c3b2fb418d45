// The package as a program sees it: types, entry points, odd input.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

// A project that has the package installed, from what `npm pack` makes.
const project = await mkdtemp(join(tmpdir(), "portolan-"));
after(() => rm(project, { recursive: true, force: true }));
const [{ filename, files }] = JSON.parse(execFileSync("npm", ["pack", "--json", "--pack-destination", project], { cwd: here("../pkg"), stdio: ["ignore", "pipe", "ignore"] }));
const installed = join(project, "node_modules/@portolan/control");
await mkdir(installed, { recursive: true });
execFileSync("tar", ["-xzf", join(project, filename), "-C", installed, "--strip-components=1"]);
const require = createRequire(join(project, "index.js"));
const portolan = await import(pathToFileURL(require.resolve("@portolan/control")).href);

const rules = await readFile(here("../../examples/webserver/istio/webserver.yaml"), "utf8");
const texts = [{ name: "webserver.yaml", text: rules }];

test("npm pack has all that the entry points name, and one module", () => {
  const names = files.map(({ path }) => path).sort();
  const wanted = ["LICENSE", "README.md", "node.cjs", "package.json", "portolan.d.ts", "portolan.js", "portolan_bg.js", "portolan_bg.wasm", "web.d.ts", "web.js"];
  assert.deepEqual(names, wanted);
});

test("the package has the version of the program", () => {
  assert.equal(portolan.version().version, require("@portolan/control/package.json").version);
});

test("import and require give the same calls", () => {
  const required = require("@portolan/control");
  for (const call of ["validate", "generate", "explain", "diff", "graph", "version"]) {
    assert.equal(typeof required[call], "function", call);
    assert.equal(typeof portolan[call], "function", call);
  }
  assert.deepEqual(required.version(), portolan.version());
});

test("the entry for browsers takes the module from where it is told", async () => {
  const web = await import(pathToFileURL(join(installed, "web.js")).href);
  await web.default({ module_or_path: await readFile(require.resolve("@portolan/control/portolan.wasm")) });
  assert.deepEqual(web.validate(texts), portolan.validate(texts));
});

test("an example is decided and written as the command line does it", async () => {
  const { answers, findings } = portolan.explain(texts, [{ url: "http://webserver/any" }]);
  assert.deepEqual(findings, []);
  assert.equal(answers[0].answers[0].decision.cluster, "outbound|443||raw.githubusercontent.com");
  const generated = portolan.generate(texts);
  for (const { path, content } of generated.files) {
    assert.equal(content, await readFile(here(`../../examples/webserver/generated/${path}`), "utf8"), path);
  }
  assert.equal(generated.files.length, 4);
});

test("pictures are drawn, and two sets are compared", () => {
  assert.match(portolan.graph(texts).picture, /^<svg /);
  assert.match(portolan.graph(texts, { format: "dot" }).picture, /^digraph /);
  assert.match(portolan.graph(texts, { format: "mermaid" }).picture, /flowchart/);
  assert.equal(portolan.diff(texts, texts).diff.same, true);
  const changed = [{ name: "webserver.yaml", text: rules.replace("externalservice1", "externalservice2") }];
  const { diff, markdown } = portolan.diff(texts, changed);
  assert.equal(diff.same, false);
  assert.ok(diff.requests.changed > 0 && diff.requests.changed <= diff.requests.compared);
  assert.match(JSON.stringify(diff.changes), /externalservice2/);
  assert.match(markdown, /externalservice2/);
  assert.equal(portolan.diff(texts, null).diff.before, "profile istio");
  assert.equal(portolan.diff(texts, [{ name: "a", text: "a: b" }]).diff, null);
});

test("what is wrong with a text has a place in units of JavaScript", () => {
  const text = "# ⚓ é\n" + rules.replace("resolution: DNS", "resolution: ⚓");
  const { findings, errors } = portolan.validate([{ name: "a.yaml", text }]);
  assert.equal(errors, 1);
  assert.equal(text.slice(findings[0].from, findings[0].to), "⚓");
  assert.equal(text.split("\n")[findings[0].line - 1].slice(findings[0].column - 1)[0], "⚓");
  assert.deepEqual(portolan.generate([{ name: "a.yaml", text }]).files, []);
  assert.deepEqual(portolan.explain([{ name: "a.yaml", text }], [{ url: "http://a" }]).answers, [null]);
});

test("what makes no sense is thrown, and the next call is as good as the first", () => {
  const first = portolan.explain(texts, [{ url: "http://webserver/any" }]);
  const throws = (call, message) => assert.throws(call, (error) => message.test(error.message));
  throws(() => portolan.validate("text"), /texts: /);
  throws(() => portolan.validate([{ name: "a" }]), /missing field `text`/);
  throws(() => portolan.validate(texts, { profiles: "istio" }), /`profiles` is not known/);
  throws(() => portolan.validate(texts, { profile: "Istio" }), /standalone/);
  throws(() => portolan.generate(texts, { emit: ["nftables"] }), /transparent/);
  throws(() => portolan.explain(texts, [{ uri: "http://a" }]), /requests: /);
  throws(() => portolan.validate(texts, { accept: ["x"] }), /accept/);
  const circle = {};
  circle.circle = circle;
  throws(() => portolan.validate(texts, circle), /JSON/);
  assert.match(portolan.explain(texts, [{ url: "http://" }]).answers[0].error, /must have a host/);
  assert.deepEqual(portolan.explain(texts, [{ url: "http://webserver/any" }]), first);
});

test("no text and no request makes it fail", () => {
  const odd = ["", "\0", "\ufeff", "---\n", "a", "[", "{", "- ".repeat(20_000), "[".repeat(100_000), "a: &a [*a]", "\ud800", "kind: Secret\ndata: {a: b}", rules.slice(0, 300), rules.replaceAll("\n", "\r\n"), rules.replaceAll(":", ": !!x "), rules.repeat(3)];
  for (const text of odd) {
    const one = [{ name: "odd.yaml", text }];
    assert.ok(Array.isArray(portolan.validate(one).findings));
    assert.ok(Array.isArray(portolan.generate(one).files));
    portolan.explain(one, [{ url: "http://webserver/" }], { keepGoing: true });
    portolan.graph(one, { keepGoing: true });
    portolan.diff(one, texts, { keepGoing: true });
  }
  const requests = ["http://\0", "https://[::1", "tcp://a:1", "connect://a:1", "http://a/%00", "http://" + "a.".repeat(5000), "http://webserver/" + "/../".repeat(5000), "curl", "http://ä/ö?ü"].map((url) => ({ url }));
  requests.push({ url: "http://webserver/", method: "", headers: [["", ""]] }, { url: "http://webserver/", path: "", authority: "" }, { curl: "curl -X" });
  assert.equal(portolan.explain(texts, requests).answers.length, requests.length);
  assert.deepEqual(portolan.explain([], []).answers, []);
});

test("answers have the types that are declared, and options are checked", async () => {
  const sources = [rules, await readFile(here("../../examples/weather/istio/weather.yaml"), "utf8")];
  for (const file of await readdir(here("../page/examples"))) sources.push(await readFile(here(`../page/examples/${file}`), "utf8"));
  assert.equal(portolan.validate([{ name: "a.yaml", text: KINDS_OF_DECISIONS }]).errors, 0);
  sources.push(KINDS_OF_DECISIONS, "a: b");
  const requests = ["http://webserver/any", "https://wttr.in/", "http://shop.example.com/", "http://api.example.com/v1/", "http://kinds.example.com/fault", "http://kinds.example.com/redirect", "http://kinds.example.com/headers", "https://tls.example.com/", "tcp://10.0.0.1:3306", "connect://tls.example.com:443", "http://"].map((url) => ({ url }));
  let code = 'import type * as p from "@portolan/control";\n';
  const add = (type, value) => (code += `export const v${code.length}: p.${type} = ${JSON.stringify(value)};\n`);
  for (const text of sources) {
    const one = [{ name: "a.yaml", text }];
    for (const profile of ["standalone", "istio"]) {
      add("Validation", portolan.validate(one, { profile }));
      add("Generated", portolan.generate(one, { profile }));
      add("Explained", portolan.explain(one, requests, { profile }));
      add("Drawn", portolan.graph(one, { profile }));
      add("Compared", portolan.diff(one, texts, { profile }));
      add("Compared", portolan.diff(one, null));
    }
  }
  add("Version", portolan.version());
  code += SAMPLE;
  await writeFile(join(project, "answers.ts"), code);
  await writeFile(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions: { strict: true, module: "nodenext", target: "es2022", noEmit: true, types: [], lib: ["es2022", "dom"] }, files: ["answers.ts"] }));
  await writeFile(join(project, "package.json"), '{"type": "module"}');
  try {
    execFileSync(process.execPath, [here("../node_modules/typescript/bin/tsc"), "-p", project], { encoding: "utf8" });
  } catch (error) {
    assert.fail(error.stdout.slice(0, 4000));
  }
});

/** What a program writes, and what it must not. */
const SAMPLE = `
import { explain, generate, validate } from "@portolan/control";
import init from "@portolan/control/web";
const texts: p.Text[] = [{ name: "a", text: "" }];
const { answers } = explain(texts, [{ url: "http://a", headers: { "x-a": ["1", "2"] } }], { draw: 1, profile: "istio" });
const first = answers[0];
if (first && !("error" in first)) {
  for (const answer of first.answers) {
    if ("errors" in answer) continue;
    if (answer.decision.action === "forward") answer.decision.cluster satisfies string | null;
  }
}
generate(texts, { emit: ["envoy"], clientLabels: { app: "a" } }).files[0]?.content satisfies string | undefined;
void init();
// @ts-expect-error: such an option isn't known.
validate(texts, { profiles: "istio" });
// @ts-expect-error: nor such an output.
generate(texts, { emit: ["envoys"] });
`;

const KINDS_OF_DECISIONS = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: kinds}
spec:
  hosts: [kinds.example.com, tls.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 3306, name: tcp, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: kinds}
spec:
  hosts: [kinds.example.com]
  http:
  - match: [{uri: {prefix: /fault}}]
    fault: {delay: {fixedDelay: 1s, percentage: {value: 100}}, abort: {httpStatus: 503, percentage: {value: 50}}}
    mirrors: [{destination: {host: tls.example.com, port: {number: 80}}}]
    route: [{destination: {host: kinds.example.com, port: {number: 80}}}]
  - match: [{uri: {prefix: /redirect}}]
    redirect: {uri: /new}
  - match: [{uri: {prefix: /headers}}]
    headers: {request: {set: {a: b}, remove: [c]}, response: {add: {d: e}}}
    retries: {attempts: 3, perTryTimeout: 1s, retryOn: "5xx,503"}
    route:
    - {destination: {host: kinds.example.com, port: {number: 80}}, weight: 1}
    - {destination: {host: tls.example.com, port: {number: 80}}, weight: 2}
`;
