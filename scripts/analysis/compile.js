// Compiles one contract per line of input, with a file's text in place of what is on disk: {contract, file, text} in,
// {bytecode} or {error} or, where asked with {ast: file}, {ast} out. Runs in contracts/; one process compiles many.
"use strict";

const { createRequire } = require("module");
const fs = require("fs");
const path = require("path");
const readline = require("readline");

const solc = createRequire(path.join(process.cwd(), "package.json"))("solc");

function compile(entry, replaced, selection) {
  const read = (name) => {
    if (name === replaced.file) return { contents: replaced.text };
    try {
      return { contents: fs.readFileSync(name.startsWith("@") ? path.join("node_modules", name) : name, "utf8") };
    } catch (error) {
      return { error: String(error) };
    }
  };
  const input = {
    language: "Solidity",
    sources: { [entry]: { content: read(entry).contents } },
    settings: {
      evmVersion: "cancun",
      metadata: { bytecodeHash: "none", appendCBOR: false },
      optimizer: { enabled: false },
      outputSelection: selection,
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: read }));
  const errors = (output.errors || []).filter((error) => error.severity === "error");
  return { output, error: errors.length > 0 ? errors[0].formattedMessage : null };
}

function answer(asked) {
  if (asked.ast) {
    const { output, error } = compile(asked.ast, {}, { [asked.ast]: { "": ["ast"] } });
    return error ? { error } : { ast: output.sources[asked.ast].ast };
  }
  const entry = `src/${asked.contract}.sol`;
  const { output, error } = compile(entry, asked, { [entry]: { [asked.contract]: ["evm.bytecode.object"] } });
  return error ? { error } : { bytecode: `0x${output.contracts[entry][asked.contract].evm.bytecode.object}` };
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  process.stdout.write(`${JSON.stringify(answer(JSON.parse(line)))}\n`);
});
