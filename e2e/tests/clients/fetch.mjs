// Gets each URL by Node's own `fetch` and `https`, which honour the proxy variables with
// NODE_USE_ENV_PROXY, and prints what came. The certificates are in NODE_EXTRA_CA_CERTS.
import http from "node:http";
import https from "node:https";

const get = (url) =>
  new Promise((resolve, reject) => {
    const client = url.startsWith("https:") ? https : http;
    client
      .get(url, (response) => {
        let length = 0;
        response.on("data", (chunk) => (length += chunk.length));
        response.on("end", () => resolve([response.statusCode, length]));
        response.on("error", reject);
      })
      .on("error", reject);
  });

const fetched = async (url) => {
  const response = await fetch(url);
  return [response.status, (await response.arrayBuffer()).byteLength];
};

const [how, ...urls] = process.argv.slice(2);
for (const url of urls) {
  try {
    console.log((await (how === "fetch" ? fetched : get)(url)).join(" "));
  } catch (error) {
    console.log("error", error.cause?.message ?? error.message);
  }
}
