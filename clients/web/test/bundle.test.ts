/** What gateways serve is what the sources give. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const { files, SERVED } = await import(pathToFileURL(join(import.meta.dirname, "..", "..", "bundle.mjs")).href);

test("the page that gateways serve is built from these sources", async () => {
  for (const [name, data] of Object.entries<Buffer>(await files())) {
    assert.ok(data.equals(readFileSync(join(SERVED, name))), `${name} is another: npm run build`);
  }
});
