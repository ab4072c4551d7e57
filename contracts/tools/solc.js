#!/usr/bin/env node
// The compiler that foundry.toml names: npm's solc behind the two calls forge makes of a solc binary.
"use strict";

const solc = require("solc");

const asked = process.argv.slice(2);

if (asked.includes("--version")) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else if (asked.includes("--standard-json")) {
  const chunks = [];
  process.stdin.on("data", (chunk) => chunks.push(chunk));
  process.stdin.on("end", () => {
    process.stdout.write(solc.compile(Buffer.concat(chunks).toString("utf8")));
  });
} else {
  process.stderr.write("solc.js answers --version and --standard-json only\n");
  process.exitCode = 2;
}
