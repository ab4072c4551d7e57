"""Pairs of measurements: a baseline and a subject, alternated, and the ratio of each pair."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """What pairs gave: rates of baseline and subject (more is better), and subject ÷ baseline of each pair."""

    baseline: tuple[float, ...]
    subject: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Subject ÷ baseline, pair by pair."""
        return tuple(mine / theirs for mine, theirs in zip(self.subject, self.baseline, strict=True))

    @property
    def median(self) -> float:
        """The middle one of the ratios."""
        return statistics.median(self.ratios)

    def row(self, name: str, unit: str, bar: float | None) -> str:
        """Return a line of a table: medians, the ratio with its range, and the bar."""
        low, high = min(self.ratios), max(self.ratios)
        want = "" if bar is None else f"≥ {bar:.2f}"
        rates = " | ".join(f"{statistics.median(each):,.0f} {unit}" for each in (self.baseline, self.subject))
        return f"| {name} | {rates} | {self.median:.2f} ({low:.2f} to {high:.2f}) | {want} |"


HEAD = "| what | baseline | Platemark | ratio, median (range) | bar |\n| --- | --- | --- | --- | --- |"


async def alternate(
    pairs: int, baseline: Callable[[], Awaitable[float]], subject: Callable[[], Awaitable[float]]
) -> Ratio:
    """Return the ratios of so many pairs; who goes first changes from pair to pair."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs):
        order: Sequence[tuple[list[float], Callable[[], Awaitable[float]]]] = (
            (found[0], baseline),
            (found[1], subject),
        )
        for values, measure in order if number % 2 == 0 else order[::-1]:
            values.append(await measure())
    return Ratio(tuple(found[0]), tuple(found[1]))
