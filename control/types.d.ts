/** A text to be read. */
export interface Text {
  /** What findings call it, such as the name of a file. */
  name: string;
  /** YAML or JSON, of any number of resources. */
  text: string;
}

/** Whose reading counts where plain Envoy's users and Istio differ. */
export type Profile = "standalone" | "istio";

/**
 * The options of the command line, by their names there: `--outbound-policy` is `outboundPolicy`.
 * `config-gen generate --help` says what they do. One that isn't known is an error.
 */
export interface Options {
  /** Default: `standalone`. */
  profile?: Profile;
  /** Namespace of resources that name none. Default: `default`. */
  namespace?: string;
  /** Kinds to leave out although they have an effect in Istio. */
  acceptIgnored?: string[];
  /** Codes of errors to accept; they become warnings. */
  accept?: string[];
  /** Generate for the proxy of this Gateway: `namespace/name`. */
  gateway?: string;
  collapseEgressGateway?: boolean;
  /** Namespace of the client. Default: that of `gateway`, else `namespace`. */
  clientNamespace?: string;
  clientLabels?: Record<string, string>;
  /** `region/zone/subzone`. */
  clientLocality?: string;
  /** Default: `registry-only`; in profile istio `allow-any`. */
  outboundPolicy?: "registry-only" | "allow-any" | "report";
  /** What a ServiceEntry without location is. Default: `internal`; in profile istio `external`. */
  defaultLocation?: "internal" | "external";
  envoyHeaders?: boolean;
  originateTls?: boolean;
  /** Each as `NAME=DIR` or `NAME=cert=FILE,key=FILE,cacert=FILE,crl=FILE`. */
  credential?: string[];
  allowUnregisteredWildcards?: boolean;
  /** Default: `auto`. */
  clusters?: "auto" | "dedicated" | "shared";
  /** A MeshConfig, or Istio's ConfigMap that holds one. */
  meshConfig?: Text;
  /** Each as `PORT=ADDRESS:PORT`. */
  listen?: string[];
  /** `ADDRESS:PORT`. */
  explicitProxy?: string;
  /** Each as `ADDRESS:PORT`. */
  transparent?: string[];
  proxyMark?: number;
  proxyUid?: number;
  /** `ADDRESS:PORT`, or `off`. */
  admin?: string;
  /** Each as `ADDRESS:PORT`. */
  dnsResolver?: string[];
  dnsFamily?: "v4" | "v6" | "all";
  caBundle?: string;
  module?: string;
  filesRoot?: string;
  dynamicResources?: boolean;
  /** Each as `[HOST:]PORT=PORT`. */
  upstreamPort?: string[];
  /** Ranges such as `10.0.0.0/8`. */
  allowUpstream?: string[];
  /** A file, or `off`. */
  accessLog?: string;
  maxConnections?: number;
  requestId?: boolean;
  clusterStats?: "auto" | "each" | "together";
  restrictCapabilities?: boolean;
  wasmUrl?: string;
  wasmSha256?: string;
  selector?: Record<string, string>;
  targetGateway?: string;
}

/** What can be written. */
export type Output =
  | "plugin-config"
  | "ecds"
  | "cds"
  | "rds"
  | "lds"
  | "sds"
  | "envoy"
  | "nftables"
  | "wasmplugin"
  | "trafficextension"
  | "envoyextensionpolicy";

export interface ValidateOptions extends Options {
  /** Findings to leave out, each as `CODE` or `CODE=Kind/NAME.NAMESPACE`; `*` stands for any text. */
  suppress?: string[];
}

export interface GenerateOptions extends Options {
  /** Default: what `config-gen generate -o` writes. */
  emit?: Output[];
  /** Report on every field of the texts, too. */
  report?: boolean;
}

export interface ExplainOptions extends Options {
  /** Don't ask the other profile. */
  onlyProfile?: boolean;
  /** Decide also where the texts have errors, without the fields that these name. */
  keepGoing?: boolean;
  /** The random number of every request: it draws destinations and faults. */
  draw?: number;
}

export interface GraphOptions extends Options {
  /** Draw also where the texts have errors, without the fields that these name. */
  keepGoing?: boolean;
  /** Default: `svg`. */
  format?: "svg" | "dot" | "mermaid";
}

export interface DiffOptions extends Options {
  /** Compare also where texts have errors, without the fields that these name. */
  keepGoing?: boolean;
  /** Most requests that are asked about. Default: 50 000. */
  maxRequests?: number;
}

/** A place in a text. */
export interface Place {
  /** Its name. */
  file: string;
  /** From 1. */
  line: number;
}

export interface Finding extends Partial<Place> {
  /** Nothing is generated where there is an error. */
  severity: "error" | "warning" | "note";
  /** Stable name of this sort of finding. */
  code: string;
  /** One sentence; code stands in backticks. */
  message: string;
  /** From 1, in characters. */
  column?: number;
  /** Where it begins in the text, in code units as JavaScript counts them. */
  from?: number;
  /** Where it ends. */
  to?: number;
  /** As `Kind namespace/name`. */
  resource?: string;
  /** The field, as `spec.ports[0].number`. */
  path?: string;
  /** The row of the specification. */
  spec?: string;
  /** What to do about it. */
  help?: string;
  /** Other places that belong to it. */
  related?: (Place & { column: number; message: string })[];
}

/** What there is to say of the texts. */
export interface Findings {
  /** In the order of the texts. */
  findings: Finding[];
  errors: number;
  warnings: number;
  notes: number;
}

export interface Validation extends Findings {
  /** How many findings `suppress`, or a resource's annotation, leaves out. */
  suppressed: number;
}

export interface File {
  /** Relative, with slashes. */
  path: string;
  content: string;
}

export interface Generated extends Findings {
  /** None where there are errors. */
  files: File[];
  /** With `report: true`. */
  report?: unknown;
}

export interface Drawn extends Findings {
  /** None where there are errors. */
  picture: string | null;
}

export interface Compared {
  before: Findings;
  after: Findings;
  /** None where there are errors. */
  diff: Diff | null;
  /** The same for people, such as in a pull request. */
  markdown: string | null;
}

/** What is done otherwise. */
export interface Diff {
  /** Nothing, as far as was looked. */
  same: boolean;
  before: string;
  after: string;
  requests: { compared: number; leftOut: number; changed: number };
  /** Requests that come to something else, in groups by what changed. */
  changes: {
    decidedBy: { before: string | null; after: string | null };
    requests: { request: string; facts: Difference[] }[];
  }[];
  /** What no request shows, such as endpoints and TLS of clusters. */
  settings: { name: string; settings: Difference[] }[];
}

export interface Difference {
  what: string;
  before: string | null;
  after: string | null;
}

export interface Request {
  /** `http://host:port/path`, `https://host`, `tcp://address:port` or `connect://host:port`. */
  url?: string;
  /** A curl command, in place of `url`. */
  curl?: string;
  /** Default: `GET`. */
  method?: string;
  /** The Host header, in place of the URL's host. */
  authority?: string;
  /** Path and query as they are sent, in place of the URL's. */
  path?: string;
  headers?: Record<string, string | string[]> | [string, string][];
  /** The port of the listener. Default: that of the URL. */
  port?: number;
  /** It goes to the explicit proxy. */
  proxy?: boolean;
  /** In authority, path and values `\xNN` stands for a byte and `\\` for a backslash, as in answers. */
  escaped?: boolean;
}

export interface Explained extends Findings {
  /**
   * One for each request: null where the texts have errors, an `error` where the request can't be read.
   */
  answers: (Report | { error: string } | null)[];
}

/** What becomes of a request. */
export interface Report {
  request: {
    port: number;
    method?: string;
    authority?: string;
    path?: string;
    headers?: [string, string][];
    serverName?: string;
    address?: string;
  };
  /** Whether both profiles decide alike; null where only one was asked. */
  profilesAgree: boolean | null;
  /** One for each profile, the one that was asked for first. */
  answers: Answer[];
  /** All of it in words, as the command line prints it. */
  text: string;
}

export type Answer = RequestAnswer | ConnectionAnswer | FailedAnswer;

/** Why nothing is generated in a profile. */
export interface FailedAnswer {
  profile: Profile;
  errors: { code: string; message: string }[];
}

export interface Named extends Partial<Place> {
  /** As in access logs. */
  name: string;
}

/** Of a request. */
export interface RequestAnswer {
  profile: Profile;
  decision: Forward | Respond | Close | Pass;
  /** The path that rules saw, where Envoy changed it. */
  normalizedPath: string | null;
  /** What virtual hosts are looked up by. */
  host: string;
  /** No virtual host has it here, but one on another port. */
  onAnotherPort: boolean;
  virtualHost: (Named & { domain: string; unregistered: boolean }) | null;
  /** The route that matched. */
  route: Named | null;
  /** Resources that name the host and don't serve it. */
  bypassed: (Named & { why: string })[];
  /** The routes before it, with all conditions that failed; `got` is null where there is no such value. */
  lost: (Named & { failed: { condition: string; wanted: string; got: string | null }[] })[];
}

/** Of a connection that is passed through, or closed. */
export interface ConnectionAnswer {
  profile: Profile;
  decision: PassThrough | Close;
  chain: {
    serverName: string | null;
    addresses: string[];
    resource: Named;
    rule: Named | null;
  } | null;
}

export interface Share {
  cluster: string;
  percent: number;
}

export type HeaderChange =
  | { change: "remove"; name: string }
  | { change: "set" | "add"; name: string; value: string };

/** Sent on. */
export interface Forward {
  action: "forward";
  /** Null in a mesh, whose sidecars choose. */
  cluster: string | null;
  /** If not, the client gets 503. */
  clusterExists: boolean;
  /** The cluster that the service would have of its own, where it shares one. */
  dedicatedCluster: string | null;
  registeredBy: Named | null;
  destinations: Share[];
  authority: string;
  path: string;
  tlsServerName: string | null;
  /** Where it comes from the request. */
  dials: string | null;
  /** Under the policy `report`: why the registry would refuse it. */
  reported: string | null;
  tunnel: string | null;
  requestHeaders: HeaderChange[];
  responseHeaders: HeaderChange[];
  timeoutMs: number | null;
  retries: {
    isDefault: boolean;
    attempts: number;
    retryOn: string[];
    statusCodes: number[];
    perTryTimeoutMs: number | null;
    backoffMs: number | null;
    sameHosts: boolean;
    remoteLocalities: boolean;
  } | null;
  delayMs: number | null;
  abort: string | null;
  faults: {
    delay: { ms: number; percent: number } | null;
    abort: { status: number | null; grpcStatus: number | null; percent: number } | null;
  };
  mirrors: Share[];
  hash: string[];
  routeProfile: string | null;
}

/** Answered by the proxy. */
export interface Respond {
  action: "respond";
  status: number;
  /** As in the access log. */
  reason: string;
  headers: [string, string][];
  grpcStatus: number | null;
  body: string;
  /** How long it is held back. */
  delayMs: number | null;
  note: string | null;
}

/** Closed without an answer. */
export interface Close {
  action: "close";
  reason?: string;
}

/** In a mesh: the sidecar's own routes go on. */
export interface Pass {
  action: "pass";
}

/** Its bytes are passed through. */
export interface PassThrough {
  action: "passThrough";
  cluster: string;
  clusterExists: boolean;
  destinations?: Share[];
  dials: string | null;
  /** Under the policy `report`: why the registry would refuse it. Left out where the registry has it. */
  reported?: string | null;
}

export interface Version {
  version: string;
}
