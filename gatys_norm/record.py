"""The types of the record of a run, which is written next to its picture. No TensorFlow here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast


class HistoryRow(TypedDict):
    """The loss after one iteration of one size; the value of each term lies next to these keys.

    `iteration` and `evaluations` count from the beginning of the size. See `term_value`.
    """

    size: int
    iteration: int
    evaluations: int
    loss: float


class InitialAndFinal(TypedDict):
    """A loss at the beginning and at the end of a size."""

    initial: float
    final: float


class TermRecord(InitialAndFinal):
    """The distance of a term at the beginning and the end, and its coefficient.

    The distance is the squared one, but for the style terms of the style-aware loss.
    """

    coefficient: float


class PhaseRecord(TypedDict):
    """A part of a size, as planned; see `runs.schedule.Phase`."""

    precision: str
    last_iteration: int
    network: str
    corrects: bool
    corrects_strength: bool


class StripsRecord(TypedDict):
    """How the network is computed; see `network.memory.Strips`."""

    rows: int
    kept: int


class StageRecord(TypedDict):
    """The course and the end of one size.

    `phases` are those that were begun; `convolutions` are {layer: way}, see `network.convolution`.
    """

    size: int
    height: int
    width: int
    style_shapes: list[list[int]]
    status: str
    strips: StripsRecord
    convolutions: dict[str, str]
    iterations: int
    evaluations: int
    restarts: int
    objective_scale: float
    phases: list[PhaseRecord]
    loss: InitialAndFinal
    seconds: float


class LayerMetrics(TypedDict):
    """{layer: value} of each measure; with several styles {style/layer: value}. None: undefined."""

    content_distance: dict[str, float | None]
    style_distance: dict[str, float | None]
    style_reflection: dict[str, float | None]


class Metrics(LayerMetrics):
    """The measures of a picture; `strength`, see `losses.strength`, is one for all layers."""

    strength: float | None


class Probe(TypedDict):
    """The strength that a small proxy of a transfer had at one λ_os."""

    lambda_os: float
    strength: float


class StrengthCorrection(TypedDict):
    """How λ_os was corrected within the transfer; see `strength_search.corrected`.

    `strength` is that of the picture, `expected` the one it would have had at the end.
    """

    iteration: int
    strength: float
    expected: float
    lambda_os: float


class StrengthSearch(TypedDict):
    """How λ_os was found for a strength; see `strength_search`.

    λ_os is that of the transfer, at its end, also where a probe of another size used another one.
    `overshoot` is c of `strength_search.strength_at`. `correction` is None where none was made.
    """

    target: float
    lambda_os: float
    probes: list[Probe]
    overshoot: float
    correction: StrengthCorrection | None
    proxy_size: int
    seconds: float


class Timing(TypedDict):
    """The time that the optimization took, without loading and compiling."""

    seconds: float
    seconds_per_evaluation: float


class Environment(TypedDict):
    """Versions, the device, and everything else that the bytes of a picture depend on."""

    python: str
    packages: dict[str, str]
    device: str
    instruction_sets: list[str]
    threads: int
    onednn: bool
    variables: dict[str, str]


class WeightsRecord(TypedDict):
    """The weights that the network used."""

    source: str
    sha256: str


class Identity(TypedDict):
    """What distinguishes one transfer from another."""

    config: dict[str, Any]
    network_precision: str
    weights: WeightsRecord
    pictures: dict[str, str | list[str]]


class Record(Identity):
    """Settings and results of a run, as plain JSON values."""

    status: str
    iterations: int
    evaluations: int
    loss: InitialAndFinal
    terms: dict[str, TermRecord]
    history: list[HistoryRow]
    stages: list[StageRecord]
    metrics: Metrics
    timing: Timing
    environment: Environment
    strength_search: StrengthSearch | None


def lambda_os_of(record: Record) -> float:
    """Return λ_os of a run, given or found."""
    search = record.get("strength_search")
    lambda_os: float = search["lambda_os"] if search else record["config"]["lambda_os"]
    return lambda_os


def term_value(row: HistoryRow, term: str) -> float:
    """Return the distance of a term in a row of the history; see `TermRecord`."""
    return cast(Mapping[str, float], row)[term]


def running_iterations(history: Sequence[HistoryRow]) -> list[int]:
    """Return the iteration of each row, counted over all sizes."""
    running: list[int] = []
    before, size = 0, None
    for row in history:
        if size not in (None, row["size"]):
            before = running[-1]
        size = row["size"]
        running.append(before + row["iteration"])
    return running
