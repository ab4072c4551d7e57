/**
 * Writes the script of the page that gateways serve, part.js, always the same bytes from the same sources. It is
 * committed beside part.html and part.css, because a gateway runs with Python alone; test/bundle.test.ts compares.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { build } from "esbuild";

const HERE = import.meta.dirname;
export const SERVED = join(HERE, "..", "..", "service", "platemark_gateway", "printlog", "page");

/** The files by name. */
export async function files() {
  const built = await build({
    absWorkingDir: HERE,
    entryPoints: ["src/page/main.ts"],
    bundle: true,
    write: false,
    minify: true,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    legalComments: "eof",
  });
  return { "part.js": Buffer.from(built.outputFiles[0].contents) };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [name, data] of Object.entries(await files())) writeFileSync(join(SERVED, name), data);
}
