// Resources in any number, of the sort that people have: hosts, and rules for each of them.

/** YAML of `count` resources: half of them ServiceEntries, half VirtualServices with three rules. */
export function resources(count) {
  let yaml = "";
  for (let index = 1; index < count; index += 2) {
    const host = `host-${String(index).padStart(4, "0")}.example.com`;
    yaml += `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: entry-${index}}
spec:
  hosts: [${host}]
  location: MESH_EXTERNAL
  resolution: DNS
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: https, protocol: HTTPS}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: rules-${index}}
spec:
  hosts: [${host}]
  http:
  - match:
    - uri: {prefix: /v1/}
      headers: {x-user: {regex: "[a-z]+-[0-9]+"}}
    rewrite: {uri: /}
    route: [{destination: {host: ${host}, port: {number: 80}}}]
  - match: [{uri: {exact: /health}}]
    directResponse: {status: 200}
  - timeout: 5s
    route: [{destination: {host: ${host}, port: {number: 80}}}]
---
`;
  }
  return yaml;
}
