"""Changes the contracts one small step at a time and sees whether a test notices: mutation testing.

Every mutant is one edit of one place of the compiler's syntax tree. It is compiled without the optimiser, its bytecode
is put where the tests take the contracts from, and the suites run until the first test fails: the suites of that
contract first, then all the others with more fuzz runs, then the invariants. A mutant that the compiler refuses, or
that is the same bytecode, is none. What was found stands in a file of its own and is not tried again.

Use: scripts/analyse mutants [--sample 300] [--seed 1] [--jobs 2] [--only src/PrintLedger.sol] [--again] [--list]
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from queue import Empty, Queue
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "contracts"
WORK = CONTRACTS / "cache" / "mutants"
FORGE = CONTRACTS / "node_modules" / ".bin" / "forge"
COMPILER = Path(__file__).with_name("compile.js")
COMPILES_BEFORE_A_NEW_COMPILER = 80

# Which contracts a file's text ends up in, and whose suites see it soonest.
SUITES = {
    "src/DesignRegistry.sol": (("DesignRegistry",), "DesignRegistry"),
    "src/PrintLedger.sol": (("PrintLicense",), "PrintLedger"),
    "src/PrintLicense.sol": (("PrintLicense",), "PrintLicense"),
    "src/Statements.sol": (("PrintLicense",), "*"),
    "src/libraries/Metadata.sol": (("DesignRegistry", "PrintLicense"), "*"),
    "src/libraries/ReservationWord.sol": (("PrintLicense",), "PrintLedger"),
    "src/libraries/Signatures.sol": (("DesignRegistry", "PrintLicense"), "*"),
    "src/libraries/Spares.sol": (("PrintLicense",), "*"),
    "src/libraries/TypedData.sol": (("DesignRegistry", "PrintLicense"), "*"),
}

BOUNDARIES = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "&": "|", "|": "&", "^": "|", "<<": ">>", ">>": "<<"}
LOGIC = {"&&": "||", "||": "&&"}
ASSIGNMENTS = {"+=": "-=", "-=": "+=", "|=": "&=", "&=": "|=", "*=": "/=", "/=": "*="}
ENDINGS = ("Return", "Continue", "Break", "RevertStatement")


@dataclass(frozen=True)
class Mutant:
    """One edit: the bytes from `start` on, `length` of them, become `text`."""

    file: str
    start: int
    length: int
    text: str
    operator: str
    line: int
    before: str
    after: str

    def name(self, ordinal: int) -> str:
        """Return what names the mutant wherever its lines stand; `ordinal` tells equal lines apart."""
        return hashlib.sha256(f"{self.file} {ordinal} {self.before} {self.after}".encode()).hexdigest()[:12]


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of a syntax tree, parents first."""
    if isinstance(tree, dict):
        if "nodeType" in tree:
            yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)


class Source:
    """A file's bytes with the edits that its syntax tree offers."""

    def __init__(self, file: str, tree: dict[str, Any]) -> None:
        self.file = file
        self.bytes = (CONTRACTS / file).read_bytes()
        self.tree = tree

    def span(self, node: dict[str, Any]) -> tuple[int, int]:
        """Return where a node begins and its length, in bytes."""
        start, length, _ = map(int, node["src"].split(":"))
        return start, length

    def text(self, node: dict[str, Any]) -> str:
        """Return a node as it is written."""
        start, length = self.span(node)
        return self.bytes[start : start + length].decode()

    def edit(self, operator: str, start: int, length: int, text: str) -> Mutant:
        """Return the edit of some bytes, with the lines it changes."""
        end = start + length
        opening = self.bytes.rfind(b"\n", 0, start) + 1
        closing = self.bytes.find(b"\n", end)
        squeezed = [
            " ".join(piece.decode().split())
            for piece in (
                self.bytes[opening:closing],
                self.bytes[opening:start] + text.encode() + self.bytes[end:closing],
            )
        ]
        line = self.bytes.count(b"\n", 0, start) + 1
        return Mutant(self.file, start, length, text, operator, line, *squeezed)

    def whole(self, operator: str, node: dict[str, Any], text: str) -> Mutant:
        """Return the edit of a whole node."""
        return self.edit(operator, *self.span(node), text)

    def statement(self, operator: str, node: dict[str, Any]) -> Mutant:
        """Return the edit without a statement; its semicolon may stand outside the node."""
        start, length = self.span(node)
        if self.bytes[start + length : start + length + 1] == b";":
            length += 1
        return self.edit(operator, start, length, "{}")

    def between(self, operator: str, node: dict[str, Any], left: str, right: str, signs: dict[str, str]) -> Mutant:
        """Return the edit with another sign between two operands."""
        start = sum(self.span(node[left]))
        gap = self.bytes[start : self.span(node[right])[0]].decode()
        sign = node["operator"]
        at = gap.index(sign)
        return self.edit(operator, start + at, len(sign), signs[sign])

    def swaps(self, call: dict[str, Any]) -> Iterator[Mutant]:
        """Yield the edits that swap neighbours of one type among the arguments of a call."""
        arguments = call["arguments"]
        for one, other in pairwise(arguments):
            kinds = [argument["typeDescriptions"].get("typeString", "") for argument in (one, other)]
            # One literal is as good a number as another.
            kinds = ["number" if re.match(r"int_const|u?int", kind) else kind.split(" ")[0] for kind in kinds]
            if kinds[0] != kinds[1] or self.text(one) == self.text(other):
                continue
            start, _ = self.span(one)
            end = sum(self.span(other))
            gap = self.bytes[sum(self.span(one)) : self.span(other)[0]].decode()
            yield self.edit("swapped arguments", start, end - start, self.text(other) + gap + self.text(one))

    def mutants(self) -> Iterator[Mutant]:  # noqa: C901, PLR0912 (one case an operator)
        """Yield every edit of the file."""
        for node in nodes(self.tree):
            match node["nodeType"]:
                case "BinaryOperation":
                    sign = node["operator"]
                    for name, signs in (("comparison", BOUNDARIES), ("arithmetic", ARITHMETIC), ("logic", LOGIC)):
                        if sign in signs:
                            yield self.between(name, node, "leftExpression", "rightExpression", signs)
                case "Assignment" if node["operator"] in ASSIGNMENTS:
                    yield self.between("assignment", node, "leftHandSide", "rightHandSide", ASSIGNMENTS)
                case "UnaryOperation" if node["operator"] in {"!", "~"}:
                    yield self.whole("negation", node, self.text(node["subExpression"]))
                case "UnaryOperation" if node["operator"] in {"++", "--"}:
                    sign = {"++": "--", "--": "++"}[node["operator"]]
                    inner = self.text(node["subExpression"])
                    yield self.whole("arithmetic", node, sign + inner if node["prefix"] else inner + sign)
                case "IfStatement":
                    if node["condition"].get("operator") not in {"==", "!=", "!"}:
                        yield self.whole("condition", node["condition"], f"!({self.text(node['condition'])})")
                    yield self.whole("condition", node["condition"], "false")
                    if not self.leaves(node["trueBody"]):
                        yield self.whole("condition", node["condition"], "true")
                case "Conditional":
                    yield self.whole("condition", node["condition"], f"!({self.text(node['condition'])})")
                case "ExpressionStatement" | "EmitStatement":
                    yield self.statement("statement", node)
                case "Return" | "Continue" | "Break":
                    yield self.statement("statement", node)
                case "Literal":
                    yield from self.literal(node)
                case "FunctionCall" if node["kind"] != "typeConversion":
                    yield from self.swaps(node)
                case "ModifierInvocation" if node.get("kind") == "modifierInvocation":
                    yield self.whole("modifier", node, "")

    def leaves(self, body: dict[str, Any]) -> bool:
        """Return whether a branch does nothing but leave: to take it always is what its negation shows as well."""
        statements = body.get("statements", [body])
        return len(statements) == 1 and statements[0]["nodeType"] in ENDINGS

    def literal(self, node: dict[str, Any]) -> Iterator[Mutant]:
        """Yield the edits of a constant: one more, one less, the other, none."""
        kind, text = node["kind"], self.text(node)
        if kind == "bool":
            yield self.whole("constant", node, "false" if text == "true" else "true")
        elif kind == "string" and node["value"]:
            yield self.whole("constant", node, '""')
        elif kind == "number":
            value = int(node["value"], 0)
            unit = f" {node['subdenomination']}" if node.get("subdenomination") else ""
            yield self.whole("constant", node, f"{value + 1}{unit}")
            if value > 0:
                yield self.whole("constant", node, f"{value - 1}{unit}")


class Compiler:
    """A compiler that is kept running between mutants."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.asked = 0
        self.process: subprocess.Popen[str] | None = None

    def ask(self, **question: str) -> dict[str, Any]:
        """Return the compiler's answer."""
        if self.process is None or self.asked >= COMPILES_BEFORE_A_NEW_COMPILER:
            self.end()
            self.process = subprocess.Popen(
                ["node", "--stack-size=8000", COMPILER],
                cwd=self.project,
                stdin=-1,
                stdout=-1,
                text=True,
                encoding="utf-8",
            )
        self.asked += 1
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the compiler has no pipes")
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the compiler ended")
        found: dict[str, Any] = json.loads(answer)
        return found

    def end(self) -> None:
        """End the process; the next question starts another."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process, self.asked = None, 0


class Bench:
    """A copy of the project with its tests built, in which one mutant at a time stands in for a contract."""

    def __init__(self, number: int) -> None:
        self.path = WORK / f"bench-{number}" / "contracts"
        self.compiler = Compiler(self.path)

    def set_up(self) -> None:
        """Copy the project with what was built, and put in the contracts as mutants are compiled."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
        self.path.mkdir(parents=True)
        for name in ("src", "test", "tools", "out"):
            shutil.copytree(CONTRACTS / name, self.path / name)
        (self.path / "cache").mkdir()
        shutil.copy2(CONTRACTS / "cache" / "solidity-files-cache.json", self.path / "cache")
        shutil.copy2(CONTRACTS / "foundry.toml", self.path)
        shutil.copytree(ROOT / "tests" / "vectors", self.path.parent / "tests" / "vectors")
        (self.path / "node_modules").symlink_to(CONTRACTS / "node_modules")
        for name in ("DesignRegistry", "PrintLicense"):
            self.place(name, self.bytecode(name, "", ""))

    def bytecode(self, contract: str, file: str, text: str) -> str:
        """Return what a contract compiles to with `text` in place of a file; ValueError when it does not."""
        answer = self.compiler.ask(contract=contract, file=file, text=text)
        if "error" in answer:
            raise ValueError(answer["error"])
        return str(answer["bytecode"])

    def place(self, contract: str, bytecode: str) -> None:
        """Let the tests deploy this bytecode."""
        file = self.artifact(contract)
        artifact = json.loads(file.read_text())
        artifact["bytecode"]["object"] = bytecode
        file.write_text(json.dumps(artifact))

    def artifact(self, contract: str) -> Path:
        """Return the file that the tests take a contract from."""
        return self.path / "out" / f"{contract}.sol" / f"{contract}.json"

    def holds(self, contract: str, bytecode: str) -> bool:
        """Return whether the tests would still take this bytecode."""
        return bool(json.loads(self.artifact(contract).read_text())["bytecode"]["object"] == bytecode)

    def forge(self, match: str, runs: int, seconds: int) -> str | None:
        """Return the name of the test that failed, or None when all held."""
        environment = {
            **os.environ,
            "FOUNDRY_FUZZ_RUNS": str(runs),
            "FOUNDRY_CODE_SIZE_LIMIT": "200000",
            "FOUNDRY_FUZZ_FAILURE_PERSIST_DIR": str(self.path / "cache" / "fuzz"),
        }
        shutil.rmtree(self.path / "cache" / "fuzz", ignore_errors=True)
        shutil.rmtree(self.path / "cache" / "invariant", ignore_errors=True)
        command: list[str | Path] = [
            FORGE,
            "test",
            "--match-path",
            match,
            "--fail-fast",
            "--threads",
            "1",
            "--allow-failure",
        ]
        try:
            done = subprocess.run(
                command, cwd=self.path, env=environment, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return "time-out"
        failed = re.search(r"\[FAIL.*?\] (\w+)\(", done.stdout)
        if failed:
            return failed[1]
        if not re.search(r"\d+ tests passed, 0 failed", done.stdout):
            raise RuntimeError(f"forge test said neither yes nor no:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return None

    def verdict(self, mutant: Mutant, originals: dict[str, str]) -> tuple[str, str]:
        """Return what became of a mutant, and by which test."""
        source = (self.path / mutant.file).read_bytes()
        end = mutant.start + mutant.length
        text = (source[: mutant.start] + mutant.text.encode() + source[end:]).decode()
        contracts, suite = SUITES[mutant.file]
        try:
            built = {contract: self.bytecode(contract, mutant.file, text) for contract in contracts}
        except ValueError:
            return "refused", "the compiler"
        if built == {contract: originals[contract] for contract in contracts}:
            return "same", "the same bytecode"
        for contract, bytecode in built.items():
            self.place(contract, bytecode)
        try:
            found = self.run(suite)
            if not all(self.holds(contract, bytecode) for contract, bytecode in built.items()):
                raise RuntimeError("the tests ran over another contract than the mutant")
            return found
        finally:
            for contract in contracts:
                self.place(contract, originals[contract])

    def run(self, suite: str) -> tuple[str, str]:
        """Run the suites, nearest first, until a test fails."""
        for match, runs, seconds in (
            (f"test/unit/{suite}.*.t.sol" if suite != "*" else "test/unit/*", 8, 120),
            ("test/{unit,vectors}/*", 128, 400),
            ("test/invariant/*", 128, 400),
        ):
            test = self.forge(match, runs, seconds)
            if test is not None:
                return "killed", test
        return "survived", ""


def read_results() -> dict[str, dict[str, Any]]:
    """Return what earlier runs found, by the mutant's name."""
    file = WORK / "results.jsonl"
    if not file.exists():
        return {}
    rows = (json.loads(line) for line in file.read_text().splitlines())
    return {row["name"]: row for row in rows}


def all_mutants() -> dict[str, Mutant]:
    """Return every mutant of every source file by its name, in the order of files and lines."""
    compiler = Compiler(CONTRACTS)
    found: set[Mutant] = set()
    try:
        for file in SUITES:
            answer = compiler.ask(ast=file)
            if "error" in answer:
                raise ValueError(answer["error"])
            found.update(Source(file, answer["ast"]).mutants())
    finally:
        compiler.end()
    equal: Counter[tuple[str, str, str]] = Counter()
    named = {}
    for mutant in sorted(found, key=lambda mutant: (mutant.file, mutant.start, mutant.text)):
        lines = (mutant.file, mutant.before, mutant.after)
        named[mutant.name(equal[lines])] = mutant
        equal[lines] += 1
    return named


def work(
    bench: Bench, queue: "Queue[tuple[str, Mutant]]", originals: dict[str, str], lock: threading.Lock, total: int
) -> None:
    """Try mutants until there are none left; each verdict is written down at once."""
    while True:
        try:
            name, mutant = queue.get_nowait()
        except Empty:
            bench.compiler.end()
            return
        begun = time.monotonic()
        try:
            verdict, test = bench.verdict(mutant, originals)
        except RuntimeError as error:
            verdict, test = "failed", str(error)
        row = {"name": name, "verdict": verdict, "test": test, **asdict(mutant)}
        with lock:
            with (WORK / "results.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            seconds = time.monotonic() - begun
            where = f"{mutant.file}:{mutant.line}"
            print(
                f"{total - queue.qsize()}/{total} {verdict} {where} {mutant.operator} {seconds:.0f}s", file=sys.stderr
            )


def report(chosen: dict[str, Mutant], results: dict[str, dict[str, Any]]) -> None:
    """Print the survivors with their change, then the numbers by file and in all."""
    rows = [{**results[name], "line": mutant.line} for name, mutant in chosen.items() if name in results]
    for row in rows:
        if row["verdict"] in {"survived", "failed"}:
            print(f"{row['verdict']} {row['name']} {row['file']}:{row['line']} {row['operator']}")
            print(f"  - {row['before']}\n  + {row['after']}")
    print(f"\n{'file':38} mutants killed survived rate")
    by_file = {file: Counter(row["verdict"] for row in rows if row["file"] == file) for file in SUITES}
    for file, count in [*by_file.items(), ("all", Counter(row["verdict"] for row in rows))]:
        tried = count["killed"] + count["survived"]
        rate = f"{100 * count['killed'] / tried:.1f} %" if tried else "-"
        print(f"{file:38} {tried:7} {count['killed']:6} {count['survived']:8} {rate}")
    verdicts = Counter(row["verdict"] for row in rows)
    print(f"none: {verdicts['refused']} refused by the compiler, {verdicts['same']} of the same bytecode")
    print(f"not tried yet: {len(chosen) - len(rows)}; broken: {verdicts['failed']}")


def main() -> int:
    """Try the mutants that were asked for, and say what became of them."""
    parser = argparse.ArgumentParser(prog="scripts/analyse mutants", description="mutation testing of the contracts")
    parser.add_argument("--sample", type=int, help="so many, drawn at random, instead of all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="this source file only")
    parser.add_argument("--again", action="store_true", help="try survivors again")
    parser.add_argument("--list", action="store_true", help="print what was found so far, try nothing")
    options = parser.parse_args()

    mutants = all_mutants()
    names = list(mutants)
    random.Random(options.seed).shuffle(names)  # noqa: S311 (no secret)
    chosen = {name: mutants[name] for name in names[: options.sample]}
    if options.only:
        chosen = {name: mutant for name, mutant in chosen.items() if mutant.file == options.only}
    print(f"{len(mutants)} mutants, {len(chosen)} chosen", file=sys.stderr)
    WORK.mkdir(parents=True, exist_ok=True)
    results = read_results()
    if options.list:
        report(chosen, results)
        return 0

    settled = {"killed", "refused", "same"} if options.again else {"killed", "refused", "same", "survived"}
    left = [(name, mutant) for name, mutant in chosen.items() if results.get(name, {}).get("verdict") not in settled]
    queue: Queue[tuple[str, Mutant]] = Queue()
    for mutant in left:
        queue.put(mutant)
    benches = [Bench(number) for number in range(options.jobs)]
    for bench in benches:
        bench.set_up()
    originals = {name: benches[0].bytecode(name, "", "") for name in ("DesignRegistry", "PrintLicense")}
    for bench in benches:
        # forge may compile a test anew, and writes the contracts down with it: before the first mutant, not over it.
        verdict, test = bench.run("*")
        if verdict != "survived":
            print(f"error: {test} fails without any mutant", file=sys.stderr)
            return 1
        for name, bytecode in originals.items():
            bench.place(name, bytecode)
    lock = threading.Lock()
    threads = [
        threading.Thread(target=work, args=(bench, queue, originals, lock, len(left)), daemon=True) for bench in benches
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = read_results()
    report(chosen, results)
    return 1 if any(results[name]["verdict"] == "failed" for name in chosen) else 0


if __name__ == "__main__":
    raise SystemExit(main())
