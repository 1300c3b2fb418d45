// Builds the page: static files in page/dist, which any server can hand out. Nothing is loaded from elsewhere.
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const dist = here("dist/");

// What is asked about the project's examples.
const requests = { webserver: "http://webserver/any?thing", weather: "https://api.weather.com/" };

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
await build({
  entryPoints: [here("src/main.ts"), here("src/worker.ts")],
  outdir: dist,
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
  alias: { "@portolan/control/web": here("../pkg/web.js") },
});
for (const file of ["index.html", "style.css", "icon.svg"]) await copyFile(here(file), dist + file);
await copyFile(here("../pkg/portolan_bg.wasm"), `${dist}portolan.wasm`);
await writeFile(`${dist}examples.json`, JSON.stringify(await examples()));
console.log(`portolan: the page is in control/page/dist`);

/** The project's examples, and those of the page, in the order of their names. */
async function examples() {
  const list = [];
  const project = here("../../examples/");
  for (const entry of (await readdir(project, { withFileTypes: true })).filter((entry) => entry.isDirectory())) {
    const files = (await readdir(`${project}${entry.name}/istio`)).sort();
    const texts = await Promise.all(files.map((file) => readFile(`${project}${entry.name}/istio/${file}`, "utf8")));
    list.push({ name: entry.name, text: texts.join("---\n") });
  }
  for (const file of (await readdir(here("examples"))).sort()) {
    list.push({ name: file.replace(/\.yaml$/, ""), text: await readFile(here(`examples/${file}`), "utf8") });
  }
  // A first line `# try: URL` says what to ask.
  return list.map(({ name, text }) => {
    const url = /^# try: (\S+)\n/.exec(text);
    return { name, text: url ? text.slice(url[0].length) : text, url: url?.[1] ?? requests[name] ?? "http://example.com/" };
  });
}
