// What the page is about, and how a link carries it.
import type { Options, Profile } from "@portolan/control/web";

/** The request form, as typed. */
export interface Asked {
  method: string;
  url: string;
  headers: string;
  authority: string;
  port: string;
}

export interface State {
  text: string;
  profile: Profile;
  /** Empty: as the profile says. */
  policy: "" | NonNullable<Options["outboundPolicy"]>;
  request: Asked;
  tab: string;
}

export const initial = (): State => ({
  text: "",
  profile: "standalone",
  policy: "",
  request: { method: "GET", url: "", headers: "", authority: "", port: "" },
  tab: "decision",
});

const PREFIX = "#1.";

/** The fragment for this state: JSON, deflated, in base64 for URLs. */
export async function toFragment(state: State): Promise<string> {
  const bytes = await through(new CompressionStream("deflate-raw"), new TextEncoder().encode(JSON.stringify(state)));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return PREFIX + btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The state of a fragment; none where it isn't one of ours, or is cut short. */
export async function fromFragment(fragment: string): Promise<State | undefined> {
  if (!fragment.startsWith(PREFIX)) return undefined;
  try {
    const binary = atob(fragment.slice(PREFIX.length).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
    const json = new TextDecoder().decode(await through(new DecompressionStream("deflate-raw"), bytes));
    return checked(JSON.parse(json));
  } catch {
    return undefined;
  }
}

/** Whoever made the link, only what has the right form is taken from it. */
function checked(given: unknown): State {
  const state = initial();
  const from = (object: unknown, name: string): unknown =>
    typeof object === "object" && object !== null ? Reflect.get(object, name) : undefined;
  const text = (object: unknown, name: string): string | undefined => {
    const value = from(object, name);
    return typeof value === "string" ? value : undefined;
  };
  state.text = text(given, "text") ?? "";
  if (text(given, "profile") === "istio") state.profile = "istio";
  const policy = text(given, "policy");
  if (policy === "registry-only" || policy === "allow-any" || policy === "report") state.policy = policy;
  state.tab = text(given, "tab") ?? state.tab;
  for (const name of ["method", "url", "headers", "authority", "port"] as const) {
    state.request[name] = text(from(given, "request"), name) ?? state.request[name];
  }
  return state;
}

async function through(stream: CompressionStream | DecompressionStream, bytes: Uint8Array<ArrayBuffer>) {
  const piped = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}
