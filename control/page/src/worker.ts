// The module, one call after the other.
import init, * as portolan from "@portolan/control/web";
import type { Call, Reply } from "./engine";

const ready = init({ module_or_path: new URL("portolan.wasm", location.href) });

addEventListener("message", async ({ data }: MessageEvent<Call & { id: number }>) => {
  let reply: Reply;
  try {
    await ready;
    // Each call has its own arguments, which Call holds together.
    const call = portolan[data.call] as (...values: unknown[]) => unknown;
    reply = { id: data.id, answer: call(...data.values) };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    reply = { id: data.id, thrown: text, fatal: error instanceof WebAssembly.RuntimeError || text.startsWith("portolan: ") };
  }
  postMessage(reply);
});
