// The module in a worker, so that typing goes on while it computes.
import type { Drawn, ExplainOptions, Explained, Generated, GenerateOptions, GraphOptions, Options, Request, Text, Validation } from "@portolan/control/web";

/** A call by its name, with its arguments. */
export type Call =
  | { call: "validate"; values: [Text[], Options] }
  | { call: "explain"; values: [Text[], Request[], ExplainOptions] }
  | { call: "generate"; values: [Text[], GenerateOptions] }
  | { call: "graph"; values: [Text[], GraphOptions] };

interface Answers {
  validate: Validation;
  explain: Explained;
  generate: Generated;
  graph: Drawn;
}

export type Reply = { id: number; answer: unknown } | { id: number; thrown: string; fatal: boolean };

export class Engine {
  #worker = this.#start();
  #next = 0;
  #waiting = new Map<number, { done: (answer: never) => void; failed: (error: Error) => void }>();

  /** What the module answers. A newer call doesn't overtake an older one. */
  call<C extends Call>({ call, values }: C): Promise<Answers[C["call"]]> {
    const id = this.#next++;
    const answer = new Promise<Answers[C["call"]]>((done, failed) => this.#waiting.set(id, { done, failed }));
    this.#worker.postMessage({ id, call, values });
    return answer;
  }

  #start(): Worker {
    const worker = new Worker(new URL("worker.js", document.baseURI), { type: "module" });
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if ("answer" in data) return waiting?.done(data.answer as never);
      waiting?.failed(new Error(data.thrown));
      // After a trap the module's memory isn't to be trusted. It keeps nothing that would be lost.
      if (data.fatal) this.#restart(data.thrown);
    });
    worker.addEventListener("error", (event) => this.#restart(event.message || "the worker ended"));
    return worker;
  }

  #restart(why: string) {
    this.#worker.terminate();
    for (const { failed } of this.#waiting.values()) failed(new Error(why));
    this.#waiting.clear();
    this.#worker = this.#start();
  }
}
