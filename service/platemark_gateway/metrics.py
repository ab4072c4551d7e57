"""What a process counts, in the text format of Prometheus; no identifiers in labels, so the series stay few.

Names are public: docs/operations.md lists them, alert rules use them. What the database knows is measured when
somebody asks (`info/gauges.py`) and is the same from every process.

Source: Prometheus text exposition format, version 0.0.4.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Counter:
    """A number that only grows, for each value of its labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self.name = name
        self._text = text
        self._labels = tuple(labels)
        self._counts: dict[tuple[str, ...], int] = defaultdict(int)

    def add(self, *values: str, by: int = 1) -> None:
        """Count; `values` are the labels', in their order."""
        self._counts[values] += by

    def lines(self) -> Iterable[str]:
        """Yield the exposition's lines."""
        yield from _head(self.name, "counter", self._text)
        for values, count in sorted(self._counts.items()):
            yield f"{self.name}{_labels(dict(zip(self._labels, values, strict=True)))} {count}"


class Histogram:
    """How many observations were at most so large, and their sum, for each value of its labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self.name = name
        self._text = text
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._buckets: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = defaultdict(float)

    def observe(self, value: float, *values: str) -> None:
        """Count one observation; `values` are the labels', in their order."""
        buckets = self._buckets.setdefault(values, [0] * (len(self._bounds) + 1))
        buckets[bisect_left(self._bounds, value)] += 1
        self._sums[values] += value

    def lines(self) -> Iterable[str]:
        """Yield the exposition's lines."""
        yield from _head(self.name, "histogram", self._text)
        for values, buckets in sorted(self._buckets.items()):
            labels = dict(zip(self._labels, values, strict=True))
            total = 0
            for bound, count in zip([*(str(each) for each in self._bounds), "+Inf"], buckets, strict=True):
                total += count
                yield f"{self.name}_bucket{_labels(labels | {'le': bound})} {total}"
            yield f"{self.name}_sum{_labels(labels)} {self._sums[values]:.6f}"
            yield f"{self.name}_count{_labels(labels)} {total}"


class Metrics:
    """Everything that one process counts; each process has its own and starts at nothing."""

    def __init__(self) -> None:
        self.requests = Counter(
            "platemark_http_requests_total", "Requests, by route and status.", ("method", "route", "status")
        )
        self.request_seconds = Histogram(
            "platemark_http_request_seconds", "How long requests took.", ("route",), _SECONDS
        )
        self.refusals = Counter(
            "platemark_refusals_total", "Requests that were refused, by stable error code.", ("route", "reason")
        )
        self.redemptions = Counter(
            "platemark_redemptions_total",
            "Redemptions that reached the count: answered (counted now or before) or refused.",
            ("outcome",),
        )
        self.batch_size = Histogram(
            "platemark_redemption_batch_size", "Redemptions that one transaction counted.", (), _BATCH
        )
        self.commit_seconds = Histogram(
            "platemark_redemption_commit_seconds",
            "How long a batch's transaction took, its commit included.",
            (),
            _SECONDS,
        )
        self.step_failures = Counter(
            "platemark_worker_step_failures_total", "Failures of the worker's steps.", ("step", "reason")
        )
        self.blob_seconds = Histogram(
            "platemark_blobs_call_seconds", "How long calls of a block node took.", ("node", "call"), _SECONDS
        )
        self.blob_failures = Counter(
            "platemark_blobs_failures_total",
            "Calls of a block node that failed; reason block-damaged is a node that returned other bytes.",
            ("node", "call", "reason"),
        )
        self.blob_repairs = Counter(
            "platemark_blobs_repairs_total", "What the repair step did: pinned, copied, replaced.", ("node", "act")
        )

    def lines(self) -> Iterable[str]:
        """Yield the exposition's lines of everything that is counted."""
        for metric in vars(self).values():
            yield from metric.lines()


def gauge(name: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Iterable[str]:
    """Yield the lines of one gauge: labels and value of each sample."""
    yield from _head(name, "gauge", text)
    for labels, value in samples:
        yield f"{name}{_labels(labels)} {value}"


def _head(name: str, kind: str, text: str) -> Iterable[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    written = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + written + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
