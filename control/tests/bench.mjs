// How long the module takes in a browser's worker, as the page calls it: medians for 100 and 1 000 resources.
// Ends with status 1 where one is above its limit.
import { chromium } from "playwright-core";
import { serve } from "../page/serve.mjs";
import { ARGUMENTS, executable } from "./browser.mjs";
import { resources } from "./resources.mjs";

const LIMITS = { 100: 50, 1000: 500 };
const ROUNDS = Number(process.env.ROUNDS ?? 15);

const server = await serve();
const browser = await chromium.launch({ executablePath: executable(), args: ARGUMENTS });
let failed = false;
try {
  const page = await browser.newPage();
  await page.goto(`${server.url}icon.svg`);
  console.log(`Chromium ${browser.version()}, ${ROUNDS} rounds each`);
  console.log("resources  call      median   slowest   limit");
  for (const [count, limit] of Object.entries(LIMITS)) {
    const text = resources(Number(count));
    for (const call of ["validate", "explain"]) {
      const times = await page.evaluate(measure, { call, text, url: server.url, rounds: ROUNDS });
      times.sort((a, b) => a - b);
      const [median, slowest] = [times[Math.floor(times.length / 2)], times.at(-1)];
      console.log(`${count.padStart(9)}  ${call.padEnd(8)} ${ms(median)} ${ms(slowest)} ${ms(limit)}`);
      failed ||= median > limit;
    }
  }
} finally {
  await browser.close();
  server.close();
}
if (failed) {
  console.error("a median is above its limit");
  process.exitCode = 1;
}

function ms(time) {
  return `${time.toFixed(1)} ms`.padStart(9);
}

/**
 * In the browser: the time from each question to its answer. The first rounds don't count: engines compile a
 * module quickly at first, and well once it runs.
 */
async function measure({ call, text, url, rounds }) {
  const worker = new Worker(`${url}worker.js`, { type: "module" });
  const texts = [{ name: "resources.yaml", text }];
  const values = call === "explain" ? [texts, [{ url: "http://host-0001.example.com/v1/x" }], {}] : [texts, {}];
  const times = [];
  const warmUp = 5;
  for (let round = 0; round < warmUp + rounds; round++) {
    const start = performance.now();
    const reply = await new Promise((done) => {
      worker.onmessage = ({ data }) => done(data);
      worker.postMessage({ id: round, call, values });
    });
    if ("thrown" in reply || reply.answer.errors > 0) throw new Error(JSON.stringify(reply).slice(0, 500));
    if (round >= warmUp) times.push(performance.now() - start);
  }
  worker.terminate();
  return times;
}
