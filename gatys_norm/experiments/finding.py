"""What a claim of the paper comes to: one number for each loss, and how sure it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatys_norm.experiments import resampling
from gatys_norm.text import finite_or_none

COMES_OUT, DOES_NOT, CANNOT_TELL, NOT_MEASURED = (
    *("comes out", "does not", "cannot tell"),
    "not measured",
)


@dataclass(frozen=True)
class Finding:
    """One number of the paper's argument, for both losses.

    Attributes:
      name: short key.
      claim: what the paper says, one sentence.
      measure: what is measured, a part of a sentence.
      unit: unit of both numbers; "" if they have none.
      original: number of the original loss; None if it is undefined.
      normalized: number of the normalized loss; None if it is undefined.
      style_aware: number of the style-aware loss; None if it is undefined or was not asked for.
      expected: "less" if the paper expects normalized < original, "more" for the opposite.
      details: the values from which the two numbers were computed, as plain JSON values.
      note: why a number is None, or what to consider when reading it.
      evidence: the values of each row, from which `with_intervals` draws; None if there are none.
    """

    name: str
    claim: str
    measure: str
    unit: str
    original: float | None
    normalized: float | None
    expected: str
    details: dict[str, Any]
    note: str = ""
    evidence: resampling.Evidence | None = None
    style_aware: float | None = None

    @property
    def intervals(self) -> dict[str, list[float]]:
        """See `resampling.intervals`; empty before `with_intervals`."""
        return self.evidence.intervals if self.evidence else {}

    @property
    def holds(self) -> bool | None:
        """Whether the numbers differ in the direction that the paper expects; None if undefined."""
        original, normalized = finite_or_none(self.original), finite_or_none(self.normalized)
        if original is None or normalized is None:
            return None
        return normalized < original if self.expected == "less" else normalized > original

    @property
    def verdict(self) -> str:
        """Whether other styles and contents would say so too: one of the four words above.

        It "comes out" if the interval of the difference lies on the side that the paper expects,
        "does not" if it lies on the other side, and one "cannot tell" if it contains 0 or is
        missing.
        """
        if self.holds is None:
            return NOT_MEASURED
        low, high = self.intervals.get("difference", (0.0, 0.0))
        if low <= 0 <= high:
            return CANNOT_TELL
        return COMES_OUT if (high < 0) == (self.expected == "less") else DOES_NOT

    def with_intervals(self, rows: resampling.Rows) -> Finding:
        """Return the finding with its intervals, given style and content of each row."""
        if self.evidence is None:
            return self
        intervals = resampling.intervals(self.evidence, rows)
        return dataclasses.replace(self, evidence=self.evidence._replace(intervals=intervals))

    def as_dict(self) -> dict[str, Any]:
        """Return the finding and what it says as plain JSON values, without NaN or infinity.

        The evidence is left out, because the details have the same values, and so is the number of
        the style-aware loss if there is none.
        """
        values = {
            attribute.name: getattr(self, attribute.name)
            for attribute in dataclasses.fields(self)
            if attribute.name not in ("evidence", "style_aware")
        }
        if self.style_aware is not None:
            values["style_aware"] = self.style_aware
        judged = {"holds": self.holds, "intervals": self.intervals, "verdict": self.verdict}
        return plain(values | judged)


def joined(notes: Iterable[str]) -> str:
    """Return notes as one text, each once."""
    return "; ".join(dict.fromkeys(notes))


def plain(value: Any) -> Any:
    """Return a value for JSON: text as keys, Python's numbers, None if not finite."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    return finite_or_none(value)
