"""Runs docker-compose.yml without containers, does a small real job through the proxy, and kills a gateway meanwhile.

    scripts/composition

1. every service's command runs on loopback, in the order of the file, until every health check passes
2. a design is registered, licensed and printed once, all through the proxy
3. what the proxy is for holds: callers are told apart, limits answer as the gateways do, metrics stay inside
4. Prometheus has found the gateways and the Kubo nodes, and knows the alerts
5. a backup is taken as docs/several-gateways.md says
6. one gateway is killed; the other serves, and the next print is counted
7. everything ends when it is asked to
"""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import httpx

from composition.images import OPERATIONS, PATH
from composition.running import Composition, composition
from stack import PASSPHRASE, Person, cube_stl, fund, wait_for

_LIMIT: Final = 300
"""Requests a minute and gateway: more than the job needs, few enough to be spent in a moment."""


def main() -> int:
    """Return 0 when all of it holds; an assertion says what does not."""
    check_alerts()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with composition(folder, PLATEMARK_REQUESTS_PER_MINUTE=str(_LIMIT)) as running:
            running.start()
            say(f"{len(running.services)} services are well: {', '.join(running.services)}")
            proxy = running.url("proxy", 8080)
            centre, token = print_once(running, folder)
            check_proxy(proxy)
            check_prometheus(running)
            take_backup(running)
            running.kill("gateway-1")
            answers = Counter(get(proxy, "/v1/gateway").status_code for _ in range(40))
            assert answers == {200: 40}, answers
            made = centre.make_print(token, "--printer", "ada")
            counted = centre.run("token", "show", token)
            assert (made["sequence"], counted["released"], counted["printsLeft"]) == (2, 2, 0), counted
            say("one gateway was killed: the other answered 40 of 40 requests and counted the next print")
            ends = running.stop()
            assert set(ends.values()) == {0}, ends
            say("everything ended when it was asked to")
    return 0


def check_alerts() -> None:
    """Pass when promtool accepts configuration and alerts, and the alerts' own tests hold."""
    for arguments in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ):
        subprocess.run(["promtool", *arguments], cwd=OPERATIONS, env={"PATH": PATH}, check=True, timeout=30)


def print_once(running: Composition, folder: Path) -> tuple[Person, str]:
    """Register, license and print a cube through the proxy; return who holds two prints, and the token."""
    proxy, rpc = running.url("proxy", 8080), running.url("chain", 8545)
    secret = folder / "passphrase"
    secret.write_text(PASSPHRASE)
    designer, centre = (Person(folder / name, secret, rpc, proxy) for name in ("designer", "centre"))
    designer.run("keys", "new")
    fund(rpc, str(centre.run("keys", "new")["address"]))
    (folder / "cube.stl").write_bytes(cube_stl())
    design = designer.run("design", "register", str(folder / "cube.stl"), "--title", "Cube")
    offered = designer.run("license", "offer", design["designId"], "--cap", "2", "--price", "0.001", "--on-sale")
    centre.run("license", "buy", offered["licenseId"], "--prints", "2")
    token = str(centre.run("token", "request", offered["licenseId"], "--prints", "2")["tokenId"])
    assert centre.make_print(token, "--printer", "ada")["result"] == "completed"
    say("a design was registered, licensed and printed through the proxy")
    return centre, token


def check_proxy(proxy: str) -> None:
    """Pass when limits, addresses and metrics are as they must be behind the proxy."""
    assert get(proxy, "/metrics").status_code == 404
    too_large = httpx.post(proxy + "/v1/prints", content=b" " * (4_700_000), timeout=30, trust_env=False)
    assert (too_large.status_code, too_large.json()["code"]) == (413, "too-large"), too_large.text
    with caller("127.0.0.2") as greedy:
        claimed = 0
        while (answer := greedy.get(proxy + "/nothing", headers=claims(claimed))).status_code == 404:
            claimed += 1
            assert claimed < 10 * _LIMIT, f"{claimed} requests of one address were answered"
        assert (answer.status_code, answer.json()["code"]) == (429, "limit-requests"), answer.text
    with caller("127.0.0.3") as modest:
        assert modest.get(proxy + "/v1/gateway").status_code == 200
    say(f"callers are told apart by their own address, whatever they claim: one was limited after {claimed} requests")


def caller(address: str) -> httpx.Client:
    """Return a client that calls from another address of this machine."""
    return httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=30)


def claims(number: int) -> dict[str, str]:
    """Return a header that claims another origin for each request."""
    return {"X-Forwarded-For": f"198.51.100.{number % 250}"}


def check_prometheus(running: Composition) -> None:
    """Pass when Prometheus has reached what it watches and loaded the alerts."""
    prometheus = running.url("prometheus", 9090)

    def targets() -> dict[str, str]:
        found = get(prometheus, "/api/v1/targets").json()["data"]["activeTargets"]
        return {f"{each['labels']['job']} {each['labels']['instance']}": each["health"] for each in found}

    wait_for("Prometheus to reach everything", lambda: set(targets().values()) == {"up"}, seconds=30)
    groups: list[dict[str, Any]] = get(prometheus, "/api/v1/rules").json()["data"]["groups"]
    rules = [rule["name"] for group in groups for rule in group["rules"]]
    assert len(targets()) == 4, targets()
    say(f"Prometheus reaches {len(targets())} targets and watches for {', '.join(rules)}")


def take_backup(running: Composition) -> None:
    """Pass when the worker's container can take a backup beside the others."""
    worker = running.running["worker"]
    target = running.folder / "backup"
    command = ["platemark-gateway", "backup", str(target)]
    done = subprocess.run(
        command, env=dict(worker.environment), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (target / "manifest.json").is_file(), sorted(target.iterdir())
    say("a backup was taken while all of it ran")


def get(base: str, path: str) -> httpx.Response:
    """Ask once."""
    return httpx.get(base + path, timeout=30, trust_env=False)


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{time.monotonic() - _BEGAN:5.1f} s  {text}\n")
    sys.stdout.flush()


_BEGAN: Final = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
