"""The paper's figures as data: the settings of every cell of every figure.

Rows are styles, on each content. The columns differ in λ_os in Fig. 2(a) and 6(a), in the style
layer with the raised weight in 2(b) and 6(b), in the size in 2(c) and 6(c). Fig. 2 has the original
loss, Fig. 6 the normalized one. Choi and Kim, JBE 25(6), 2020, doi 10.5909/JBE.2020.25.6.980.
The
transfers from several noise starts are not the paper's but follow Gupta et al., arXiv:1705.02092.
"""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from gatys_norm.config import (
    LARGEST_WEIGHT,
    PAPER_LOSSES,
    ConfigError,
    TransferConfig,
    filled_in,
)

SWEEP, RAISED, SIZES, RECURSIVE = "λ_os", "raised layer", "size", "recursive"
STARTS = "noise start"
INSTABILITY = "instability"
STYLE_AWARE = "style_aware"
GRIDS = {
    "2a": (SWEEP, "original"),
    "2b": (RAISED, "original"),
    "2c": (SIZES, "original"),
    "2c recursive": (RECURSIVE, "original"),
    "6a": (SWEEP, "normalized"),
    "6b": (RAISED, "normalized"),
    "6c": (SIZES, "normalized"),
    "6c recursive": (RECURSIVE, "normalized"),
    f"{INSTABILITY} original": (STARTS, "original"),
    f"{INSTABILITY} normalized": (STARTS, "normalized"),
    STYLE_AWARE: (SWEEP, "style_aware"),
}
FIGURES = ("2a", "2b", "2c", "3", "4", "6a", "6b", "6c", "gradients", INSTABILITY)
OPTIONAL_FIGURES = (STYLE_AWARE,)  # drawn only if they are named
CURVES_CELL = (0, 3)  # Fig. 3 shows the run of row 1, column 4 of Fig. 2(a)
PAPER_FIRST_VALUE_RATIOS = (1, 245.9, 1317.6, 381620, 77.33)  # Fig. 3, of conv1_2 to conv5_4

_Column = TypeVar("_Column")


class Row(NamedTuple):
    """What the cells of a row of a figure share: a style on a content.

    Attributes:
      name: the style's name; with several contents followed by the content's.
      content: path of the content picture.
      style: path of the style picture.
      lambda_original: λ_os of this style with the original loss where a figure needs only one.
    """

    name: str
    content: str
    style: str
    lambda_original: float


@dataclass(frozen=True)
class Study:
    """The settings of all figures; the defaults are the paper's.

    `base` holds everything that the figures do not vary: content, iterations, precision and so on.
    In the grids of raised layers and of sizes the original loss has one λ_os per style, because
    none is right for all styles, and the normalized loss has the same λ_os for all styles. `sizes`
    are the sizes of the resolution grids; all other figures have the size of `base`. Each style is
    transferred to the content of `base` and to each of `more_contents`. `starts` is the number of
    noise starts of the instability.

    Raises:
      ConfigError: a list is empty or has the wrong length, or a number is out of range.
    """

    base: TransferConfig
    styles: tuple[str, ...]
    lambdas_original: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    lambdas_normalized: tuple[float, ...] = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
    lambdas_by_style: tuple[float, ...] = (1e-5, 1e-3, 1e-4)
    lambda_normalized: float = 1e-3
    sizes: tuple[int, ...] = (256, 512, 1024)
    boost: float = 100.0
    more_contents: tuple[str, ...] = ()
    starts: int = 3

    def __post_init__(self) -> None:
        for name in ("size", "iterations"):
            if len(getattr(self.base, name)) != 1:
                raise ConfigError(f"{name}: one number is needed; the figures vary the sizes")
        for name in ("styles", "lambdas_original", "lambdas_normalized", "sizes"):
            if not getattr(self, name):
                raise ConfigError(f"{name}: at least one is needed")
        for name in ("lambdas_original", "lambdas_normalized"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ConfigError(f"{name}: no number may be given twice")
        if len(set(self.style_names)) < len(self.styles):
            raise ConfigError(
                "styles: the pictures need different names, without folder and suffix"
            )
        if len(set(self.content_names)) < len(self.content_names):
            raise ConfigError(
                "more_contents: the pictures need other names than each other and than content, "
                "without folder and suffix"
            )
        if self.starts < 2:
            raise ConfigError(f"starts: at least 2 are needed to compare, not {self.starts}")
        if len(self.lambdas_by_style) != len(self.styles):
            raise ConfigError(
                f"lambdas_by_style: {len(self.styles)} numbers are needed, one per style"
            )
        heaviest = max(filled_in(self.base.resolved().style_weights))
        if not 0 < self.boost * heaviest <= LARGEST_WEIGHT:
            raise ConfigError(
                f"boost: must be above 0, and leave no weight above {LARGEST_WEIGHT:g}, "
                f"not {self.boost}"
            )
        if len(self.lambdas_original) != len(self.lambdas_normalized):
            raise ConfigError(
                "lambdas_normalized: as many numbers as in lambdas_original are needed, because "
                "the columns of both figures correspond"
            )

    @property
    def style_names(self) -> tuple[str, ...]:
        """The styles' file names without folder and suffix."""
        return tuple(Path(style).stem for style in self.styles)

    @property
    def contents(self) -> tuple[str, ...]:
        """The paths of all contents."""
        return (self.base.content, *self.more_contents)

    @property
    def content_names(self) -> tuple[str, ...]:
        """The contents' file names without folder and suffix."""
        return tuple(Path(content).stem for content in self.contents)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of every figure: all styles on the first content, then on the next."""
        return tuple(
            Row(
                f"{name} on {content_name}" if self.more_contents else name,
                content,
                style,
                lambda_original,
            )
            for content, content_name in zip(self.contents, self.content_names, strict=True)
            for style, name, lambda_original in zip(
                self.styles, self.style_names, self.lambdas_by_style, strict=True
            )
        )


@dataclass(frozen=True)
class Grid:
    """One figure as a table of settings.

    `cells[row][column]` is a resolved `TransferConfig`. In a grid of raised layers, `references`
    has the settings with equal weights, one per row; in other grids it is empty.
    """

    name: str
    title: str
    loss: str
    kind: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[TransferConfig, ...], ...]
    references: tuple[TransferConfig, ...] = ()

    @property
    def configs(self) -> tuple[TransferConfig, ...]:
        """All settings, row by row, the references last."""
        return tuple(config for row in self.cells for config in row) + self.references


def grids(study: Study, figures: Collection[str]) -> dict[str, Grid]:
    """Return {name: Grid} of the given figures: names in `FIGURES` or `OPTIONAL_FIGURES`.

    A grid belongs to the figure that its name begins with: the recursive transfers to the
    resolution figures. Figure 3 uses one cell of 2(a) and
    6(a), see `curves_configs`. Figure 4 and the gradients need no transfers.
    """
    return {name: grid(study, name) for name in GRIDS if name.split()[0] in figures}


def grid(study: Study, name: str) -> Grid:
    """Return one of `GRIDS` as a `Grid`."""
    kind, loss = GRIDS[name]
    return _BUILDERS[kind](study, name, loss)


def curves_configs(study: Study) -> dict[str, TransferConfig]:
    """Return {loss: settings} of the runs that Figure 3 shows."""
    row, column = CURVES_CELL
    column = min(column, len(study.lambdas_original) - 1)
    return {
        loss: grid(study, name).cells[row][column]
        for name, (kind, loss) in GRIDS.items()
        if kind == SWEEP and loss in PAPER_LOSSES
    }


def _sweep(study: Study, name: str, loss: str) -> Grid:
    """Fig. 2(a), 6(a), and one like 6(a) for the style-aware loss: λ_os falls along the columns."""
    figure = f"Figure {printed(name)}: {loss}" if loss in PAPER_LOSSES else "Style-aware"
    lambdas = study.lambdas_original if loss == "original" else study.lambdas_normalized
    return Grid(
        name,
        f"{figure} loss, λ_os falling to the right",
        loss,
        SWEEP,
        tuple(row.name for row in study.rows),
        tuple(f"λ_os = {value:g}" for value in lambdas),
        _table(study, lambda row, value: _config_of(study, loss, row, value), lambdas),
    )


def _raised(study: Study, name: str, loss: str) -> Grid:
    """Fig. 2(b), 6(b): in column j, λ_s(j) is multiplied by `boost`."""
    weights = filled_in(study.base.resolved().style_weights)
    layers = study.base.style_layers

    def cell(row: Row, layer: str) -> TransferConfig:
        raised = tuple(
            weight * study.boost if name == layer else weight
            for name, weight in zip(layers, weights, strict=True)
        )
        return _config_of(study, loss, row, _lambda_os(study, loss, row), style_weights=raised)

    return Grid(
        name,
        f"Figure {printed(name)}: {loss} loss, one layer's weight times {study.boost:g}",
        loss,
        RAISED,
        _rows_with_lambda(study, loss),
        layers,
        _table(study, cell, layers),
        tuple(_config_of(study, loss, row, _lambda_os(study, loss, row)) for row in study.rows),
    )


def _resolutions(study: Study, name: str, loss: str) -> Grid:
    """Fig. 2(c), 6(c): the same settings at several sizes."""
    sizes = [(size,) for size in study.sizes]
    return _by_size(study, name, loss, sizes, "the same settings at several sizes")


def _recursive(study: Study, name: str, loss: str) -> Grid:
    """Recursive transfer (end of the paper's section IV)."""
    sizes = [study.sizes[: index + 1] for index in range(len(study.sizes))]
    return _by_size(study, name, loss, sizes, "each size from the enlarged result before")


def _by_size(
    study: Study, name: str, loss: str, sizes: Sequence[tuple[int, ...]], description: str
) -> Grid:
    def cell(row: Row, size: tuple[int, ...]) -> TransferConfig:
        return _config_of(study, loss, row, _lambda_os(study, loss, row), size=size)

    return Grid(
        name,
        f"Figure {printed(name)}: {loss} loss, {description}",
        loss,
        GRIDS[name][0],
        _rows_with_lambda(study, loss),
        tuple(f"{size[-1]} pixels" for size in sizes),
        _table(study, cell, sizes),
    )


def _starts(study: Study, name: str, loss: str) -> Grid:
    """Instability: the same settings from several noise starts."""

    def cell(row: Row, seed: int) -> TransferConfig:
        changes = {"init": "noise", "seed": seed}
        return _config_of(study, loss, row, _lambda_os(study, loss, row), **changes)

    seeds = [study.base.seed + index for index in range(study.starts)]
    return Grid(
        name,
        f"Instability: {loss} loss, the same settings from several noise starts",
        loss,
        STARTS,
        _rows_with_lambda(study, loss),
        tuple(f"seed {seed}" for seed in seeds),
        _table(study, cell, seeds),
    )


def _table(
    study: Study, cell: Callable[[Row, _Column], TransferConfig], columns: Sequence[_Column]
) -> tuple[tuple[TransferConfig, ...], ...]:
    return tuple(tuple(cell(row, column) for column in columns) for row in study.rows)


def _config_of(
    study: Study, loss: str, row: Row, lambda_os: float, **changes: Any
) -> TransferConfig:
    changes |= {"content": row.content, "style": row.style, "loss": loss, "lambda_os": lambda_os}
    return dataclasses.replace(study.base, **changes).resolved()


def _lambda_os(study: Study, loss: str, row: Row) -> float:
    return row.lambda_original if loss == "original" else study.lambda_normalized


def _rows_with_lambda(study: Study, loss: str) -> tuple[str, ...]:
    return tuple(f"{row.name}, λ_os = {_lambda_os(study, loss, row):g}" for row in study.rows)


def printed(name: str) -> str:
    """Return "2(a)" for "2a", as the paper prints it."""
    number, letter = name[0], name[1:2]
    return f"{number}({letter})" + name[2:]


_BUILDERS = {
    SWEEP: _sweep,
    RAISED: _raised,
    SIZES: _resolutions,
    RECURSIVE: _recursive,
    STARTS: _starts,
}
