// The built page in a headless Chromium. Pictures of it are left in control/screenshots.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { deflateRawSync } from "node:zlib";
import { chromium } from "playwright-core";
import { serve } from "../page/serve.mjs";
import { ARGUMENTS, executable } from "./browser.mjs";
import { resources } from "./resources.mjs";

const screenshots = fileURLToPath(new URL("../screenshots/", import.meta.url));
let server, browser, context, page, wrong;

before(async () => {
  await mkdir(screenshots, { recursive: true });
  server = await serve();
  browser = await chromium.launch({ executablePath: executable(), args: ARGUMENTS });
});
after(async () => {
  await browser?.close();
  server?.close();
});
beforeEach(() => start());
afterEach(async () => {
  await context?.close();
  assert.deepEqual(wrong, [], "the console has errors, or something was asked of another server");
});

/** A fresh page; what goes wrong in it is noted. */
async function start({ width = 1280, height = 800, colorScheme = "light", fragment = "" } = {}) {
  await context?.close();
  wrong = [];
  context = await browser.newContext({ viewport: { width, height }, colorScheme, permissions: ["clipboard-read", "clipboard-write"] });
  page = await context.newPage();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => new URL(request.url()).origin !== new URL(server.url).origin && !request.url().startsWith("blob:") && wrong.push(request.url()));
  await page.goto(server.url + fragment);
  await verdict();
}

const settled = () => page.locator("body[aria-busy=false]").waitFor();
const editor = () => page.locator("#editor .cm-content");
const tab = (name) => page.getByRole("tab", { name });

/** The decision, once it is there. */
async function verdict() {
  await page.locator("#decision .verdict").first().waitFor();
  await settled();
  return page.locator("#decision .verdict").first().innerText();
}

/** Waits until the decision says `words`. */
const says = (words) => page.locator("#decision .verdict").first().filter({ hasText: words }).waitFor();

async function type(text) {
  await editor().click();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.insertText(text);
}

/** The fragment of a state, as the page writes it. */
const link = (state) => `#1.${deflateRawSync(JSON.stringify(state)).toString("base64url")}`;

/** Texts in grey on grey are no use: the contrast of all that is shown, as WCAG computes it. */
async function lowContrast() {
  return page.evaluate(() => {
    const parse = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
    const luminance = ([r, g, b]) => {
      const [x, y, z] = [r, g, b].map((c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
      return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const ground = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = parse(getComputedStyle(at).backgroundColor);
        if (colour.length === 3 || colour[3] === 1) return colour;
      }
      return [255, 255, 255];
    };
    const found = new Set();
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      if (!own || !element.checkVisibility()) continue;
      const [a, b] = [parse(getComputedStyle(element).color), ground(element)].map(luminance);
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 4.5) found.add(`${element.tagName} ${element.className}: ${ratio.toFixed(2)} ${element.textContent.trim().slice(0, 30)}`);
    }
    return [...found];
  });
}

test("each example loads and is decided", async () => {
  const names = await page.locator("#example option").evaluateAll((options) => options.map(({ value }) => value).filter(Boolean));
  assert.deepEqual(names, ["weather", "webserver", "canary", "mistakes"]);
  const expected = { weather: /Passed through .*api\.weather\.com/, webserver: /Forwarded outbound\|443\|\|raw\.githubusercontent\.com/, canary: /Forwarded outbound\|80\|\|shop\.example\.com/, mistakes: /Forwarded outbound\|80\|\|api\.example\.com/ };
  for (const name of names) {
    await page.locator("#example").selectOption(name);
    await settled();
    await page.waitForFunction((words) => new RegExp(words, "s").test(document.querySelector("#decision .verdict")?.textContent ?? ""), expected[name].source);
    for (const [title, words] of [["Plugin config", /virtualHosts/], ["Envoy", /static_resources/], ["WasmPlugin", /kind: WasmPlugin/]]) {
      await tab(title).click();
      await page.locator("[role=tabpanel]:not([hidden]) .cm-content").filter({ hasText: words }).waitFor();
    }
    await tab("Routes").click();
    const picture = page.locator("#routes img");
    await picture.waitFor();
    assert.match(await picture.getAttribute("alt"), /[1-9] hosts?, /);
    assert.ok(await picture.evaluate((image) => image.decode().then(() => image.naturalWidth > 100)));
    await tab("Decision").click();
  }
  await page.locator("#example").selectOption("canary");
  await tab("Routes").click();
  await page.locator("#routes img").waitFor();
  await settled();
  await page.screenshot({ path: `${screenshots}routes-1280.png` });
});

test("a mistake is marked on its line, and listed with the way out", async () => {
  const text = await page.locator("#editor .cm-content").evaluate((element) => element.innerText);
  await type(text.replace("resolution: DNS", "resolution: DSN"));
  await page.locator("#decision .verdict.error", { hasText: "1 error" }).waitFor();
  const mark = page.locator("#editor .cm-lintRange-error");
  assert.equal(await mark.innerText(), "DSN");
  assert.equal(await mark.evaluate((element) => element.closest(".cm-line").textContent.trim()), "resolution: DSN");
  assert.equal(await page.locator("#editor .cm-lint-marker-error").count(), 1);
  await mark.hover();
  await page.locator(".cm-tooltip .cm-diagnostic-error").waitFor();
  await tab(/Diagnostics/).click();
  const finding = page.locator("#diagnostics li.error");
  assert.match(await finding.innerText(), /resolution/);
  await finding.getByRole("button", { name: /line/ }).click();
  assert.ok(await editor().evaluate((element) => element.contains(document.activeElement) || element === document.activeElement));
  await page.screenshot({ path: `${screenshots}mistake-1280.png` });
  await type(text);
  await finding.waitFor({ state: "detached" });
  assert.equal(await page.locator("#editor .cm-lintRange-error").count(), 0);
});

test("a request is decided as one types, with the reasons", async () => {
  await page.locator("#example").selectOption("canary");
  await page.getByLabel("URL", { exact: true }).fill("http://shop.example.com/");
  await says("outbound|80||shop.example.com");
  assert.match(await page.locator("#decision .why").innerText(), /testers.*header x-group/s);
  await page.locator("#more summary").click();
  await page.getByLabel("Headers, one on each line", { exact: true }).fill("x-group: testers");
  await says("outbound|80||shop-v2.example.com");
  assert.match(await page.locator("#decision dl").first().innerText(), /Authority\s+shop-v2\.example\.com/);
  await page.getByLabel("Host header", { exact: true }).fill("nowhere.example.com");
  await says("host_not_in_registry");
  await page.locator("#policy").selectOption("allow-any");
  await says("PassthroughCluster");
  await page.locator("#profile").selectOption("istio");
  await says("PassthroughCluster");
  await page.getByLabel("Method", { exact: true }).fill("no such method");
  await says("400");
  await page.getByLabel("The client speaks TLS", { exact: true }).check();
  assert.equal(await page.getByLabel("URL", { exact: true }).inputValue(), "https://shop.example.com/");
  await says("Closed");
  await page.getByLabel("URL", { exact: true }).fill("http://");
  await says("No request");
});

test("a link carries all of it", async () => {
  await type("# ⚓\n" + (await editor().evaluate((element) => element.innerText)));
  await page.locator("#profile").selectOption("istio");
  await page.getByLabel("URL", { exact: true }).fill("http://webserver.default.svc.cluster.local/ä");
  await tab("Envoy").click();
  await settled();
  await page.getByRole("button", { name: "Share" }).click();
  await page.locator("#toast", { hasText: "link" }).waitFor();
  const shared = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(shared, /#1\.[\w-]+$/);
  const before = [await editor().evaluate((element) => element.innerText), await page.getByLabel("URL", { exact: true }).inputValue()];
  await context.close();
  context = await browser.newContext();
  page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  await page.goto(shared);
  await page.locator("#panel-envoy .cm-content", { hasText: "static_resources" }).waitFor();
  assert.equal(await page.locator("#profile").inputValue(), "istio");
  await tab("Decision").click();
  assert.deepEqual([await editor().evaluate((element) => element.innerText), await page.getByLabel("URL", { exact: true }).inputValue()], before);
  // One that is cut short shows the first example.
  await start({ fragment: `#${shared.split("#")[1].slice(0, 40)}` });
  assert.match(await verdict(), /Forwarded/);
});

test("it is used with the keyboard alone", async () => {
  await page.locator("#example").focus();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "profile");
  for (const id of ["policy", "share", "theme"]) {
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.id), id);
  }
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => Boolean(document.activeElement.closest("#editor"))), "the editor comes next");
  await page.keyboard.press("ControlOrMeta+Home");
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => Boolean(document.activeElement.closest("#editor"))), "Tab indents");
  await page.keyboard.press("ControlOrMeta+z");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Tab");
  for (let stops = 0; stops < 5 && !(await page.evaluate(() => document.activeElement.role === "tab")); stops++) await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "tab-decision", "Esc and Tab leave the editor");
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.evaluate(() => document.activeElement.id), "tab-diagnostics");
  assert.equal(await tab(/Diagnostics/).getAttribute("aria-selected"), "true");
  await page.keyboard.press("Home");
  for (const id of ["method", "url"]) {
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.id), id);
  }
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("http://nowhere/");
  await says("host_not_in_registry");
});

test("every control has a name, and texts have contrast in both themes", async () => {
  for (const colorScheme of ["light", "dark"]) {
    await start({ colorScheme });
    await page.locator("#example").selectOption("mistakes");
    await settled();
    await page.locator("#more summary").click();
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("input, select, textarea, button, [role=tab], .cm-content")]
        .filter((element) => !element.closest(".cm-gutters") && element.checkVisibility())
        .filter((element) => !(element.labels?.length || element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") || element.textContent.trim()))
        .map((element) => element.outerHTML.slice(0, 80)),
    );
    assert.deepEqual(nameless, []);
    assert.deepEqual(await lowContrast(), [], colorScheme);
    await page.screenshot({ path: `${screenshots}${colorScheme}-1280.png` });
  }
  await page.getByRole("button", { name: "dark and light" }).click();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
  await page.reload();
  await verdict();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light", "the choice is kept");
});

test("nothing is cut off at the width of a phone", async () => {
  await start({ width: 390, height: 844 });
  for (const name of ["decision", "diagnostics", "routes", "plugin", "envoy", "wasmplugin"]) {
    await page.locator(`#tab-${name}`).click();
    await settled();
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(overflow <= 0, `${name} is ${overflow} px too wide`);
    await page.screenshot({ path: `${screenshots}${name}-390.png`, fullPage: true });
  }
  const small = await page.evaluate(() =>
    [...document.querySelectorAll("header button, header select, [role=tab]")].filter((element) => element.getBoundingClientRect().height < 24).map((element) => element.outerHTML.slice(0, 60)),
  );
  assert.deepEqual(small, [], "too small for a finger");
});

test("typing goes on in 1 000 resources", async () => {
  await start({ fragment: link({ text: resources(1000), request: { url: "http://host-0001.example.com/v1/x" } }) });
  await editor().click();
  // Keys are pressed while the module computes: what counts is how long the page didn't answer.
  await page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => (window.longest = Math.max(window.longest, duration)))).observe({ type: "event", durationThreshold: 16 });
  });
  await page.keyboard.press("ControlOrMeta+End");
  await page.keyboard.type("# typed while it computes", { delay: 30 });
  const longest = await page.evaluate(() => window.longest);
  assert.ok((await editor().innerText()).endsWith("# typed while it computes"));
  console.log(`the longest key took ${longest} ms`);
  assert.ok(longest < 300, `a key took ${longest} ms`);
  await page.getByLabel("URL", { exact: true }).fill("http://host-0999.example.com/v1/x");
  await says("host-0999");
});
