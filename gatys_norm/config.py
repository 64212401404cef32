"""Every setting of a transfer, its paper value and its validation. No TensorFlow here."""

import contextlib
import dataclasses
import math
import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePath
from typing import Any, TypeAlias, TypeVar

_Value = TypeVar("_Value")
Settings: TypeAlias = dict[str, Any]  # values of settings by name, not yet checked

CONVOLUTIONS_PER_BLOCK = (2, 2, 4, 4, 4)
LAYERS = tuple(
    f"{tap}{block}_{index}"
    for tap in ("conv", "relu")
    for block, count in enumerate(CONVOLUTIONS_PER_BLOCK, start=1)
    for index in range(1, count + 1)
)
# In the paper's sweeps of λ_os the normalized loss has one good range for every style, 1e-3 to
# 1e-2. The original loss has a different one per style; 1e-4 is the middle of the three.
# Near its target a style term of the style-aware loss is half that of the normalized one, so half
# the λ_os gives about the same.
DEFAULT_LAMBDA_OS = {"normalized": 1e-3, "original": 1e-4, "style_aware": 5e-4}
PAPER_LOSSES = ("original", "normalized")  # which the paper compares
LOSSES = (*PAPER_LOSSES, "style_aware")
# {optimizer, a module of `optimizers`: the settings that only this optimizer uses}
OPTIMIZER_SETTINGS = {"lbfgs": ("history", "line_search"), "adam": ("learning_rate",)}
# {what a convolution sees beyond the edges of its map: axes of H × W on which that is the far side}
BORDERS: dict[str, tuple[int, ...]] = {
    "zero": (),
    "replicate": (),
    "reflect": (),
    "wrap": (0, 1),
    "wrap_x": (1,),
}
FLAT, EQUIRECTANGULAR = PROJECTIONS = "flat", "equirectangular"
LEAST_SPHERE = 64  # pixels, width of a panorama
DEFAULT_CONTENT_WEIGHT = 1.0
DEFAULT_STYLE_WEIGHT = 0.2
DEFAULT_STYLE_SHARE = 1.0
DEFAULT_LEARNING_RATE = 10.0
SIZE_RANGE = (16, 16384)
STROKE_SIZE_RANGE = (0.1, 10)
LEARNING_RATE_RANGE = (1e-6, 1e3)
LARGEST_WEIGHT = 1e30  # keeps coefficients, losses and their sums finite
BYTE_UNITS = {"GiB": 2**30, "MiB": 2**20, "GB": 10**9, "MB": 10**6}
LEAST_WEIGHT = 1e-30  # of a loss's heaviest layer; keeps its coefficient above 0


class ConfigError(ValueError):
    """A setting is not valid; the message begins with the setting's name."""


def _setting(default: _Value, explanation: str, choices: tuple[str, ...] | None = None) -> _Value:
    return dataclasses.field(
        default=default, metadata={"explanation": explanation, "choices": choices}
    )


@dataclass(frozen=True)
class TransferConfig:
    """The settings of one transfer; the defaults are the paper's.

    `None` in `lambda_os` (if `strength` is `None` too), `content_weights`, `style_weights`,
    `style_blend` or `learning_rate` stands for the default that follows from the other settings;
    `resolved()` fills it in. `style` is a tuple of paths; a single path is accepted too, and
    becomes a tuple of one. Real numbers of every kind are accepted, also NumPy's, and lists and
    arrays instead of tuples; the settings hold int, float or tuple.

        TransferConfig(content="town.jpg", style="waves.jpg", size=(256, 512), lambda_os=1e-2)

    Raises:
      ConfigError: when made with a value out of range.
    """

    content: str = _setting("", "picture whose scene is kept (o)")
    style: Sequence[str] = _setting(
        ("",), "picture whose manner is taken (s); several are blended, or taken region by region"
    )
    style_blend: tuple[float, ...] | None = _setting(
        None, "share of each style, relative to their sum; default equal shares"
    )
    content_masks: tuple[str, ...] | None = _setting(
        None,
        "grey pictures, one per style: where in the content the style goes (white = there; colors "
        "count by their mean, transparent is white); default everywhere",
    )
    style_masks: tuple[str, ...] | None = _setting(
        None,
        "grey pictures, one per style: which part of the style is taken (white, as for "
        "content_masks); default all",
    )
    color: str = _setting(
        "style",
        "colors of the result: style (as the style gives them), luminance (the content's; only "
        "luminance is transferred), or match (the style's, matched to the content's beforehand)",
        ("style", "luminance", "match"),
    )
    loss: str = _setting(
        "normalized",
        "original (Gatys et al., Eq. 3-4), normalized (Choi and Kim, Eq. 11-14), or style_aware "
        "(Cheng et al.: each style term divided by its upper bound)",
        LOSSES,
    )
    lambda_os: float | None = _setting(
        None,
        "weight of the content loss against the style loss (Eq. 2); default "
        + ", ".join(f"{value:g} {loss}" for loss, value in DEFAULT_LAMBDA_OS.items()),
    )
    strength: float | None = _setting(
        None,
        "how strong the style is, from 0 (the content untouched) to 1 (no content loss); "
        "instead of lambda_os, which is then found on a small copy of the pictures",
    )
    content_layers: tuple[str, ...] = _setting(
        ("conv4_2",), "layers compared for content (C): convX_Y before the ReLU, reluX_Y after"
    )
    content_weights: tuple[float, ...] | None = _setting(
        None, f"weight of each content layer; default {DEFAULT_CONTENT_WEIGHT:g} each"
    )
    style_layers: tuple[str, ...] = _setting(
        ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"), "layers compared for style (S)"
    )
    style_weights: tuple[float, ...] | None = _setting(
        None, f"weight of each style layer; default {DEFAULT_STYLE_WEIGHT:g} each"
    )
    size: tuple[int, ...] = _setting(
        (512,),
        "long side of the content in pixels; several run coarse to fine, each result enlarged "
        "into the next start",
    )
    iterations: tuple[int, ...] = _setting(
        (600,), "L-BFGS iterations: one number for every size, or one per size"
    )
    style_size: str = _setting(
        "match",
        "size of the style picture: match (the content's pixel count), native, or a long side",
    )
    stroke_size: float = _setting(
        1.0,
        "how large the style's strokes appear: 2 is twice as large as style_size gives, 0.5 half",
    )
    init: str = _setting(
        "content", "first picture: content, style, noise, or the path of a picture"
    )
    pooling: str = _setting("max", "pooling between VGG-19's blocks", ("max", "avg"))
    border: str = _setting(
        "zero",
        "what convolutions see beyond the edges: zero (as VGG-19 was trained), replicate, reflect, "
        "wrap (the far side: a tile without seams), or wrap_x (left and right only); a wrapped "
        "side is rounded to a multiple of 16 pixels",
        tuple(BORDERS),
    )
    projection: str = _setting(
        FLAT,
        "what the content shows: flat (a picture), or equirectangular (a panorama of all "
        "directions, twice as wide as high, transferred without a seam and without pinched poles; "
        "its width is rounded to a multiple of 64 pixels)",
        PROJECTIONS,
    )
    tv_weight: float = _setting(0.0, "weight of the total variation; 0 is none")
    precision: str = _setting("float32", "number format of the network", ("float32", "bfloat16"))
    parametrization: str = _setting(
        "pixel",
        "what L-BFGS moves: pixel, or fourier (frequencies weighted as f^-1/2, fewer evaluations)",
        ("pixel", "fourier"),
    )
    continuation: str = _setting(
        "none",
        "none, or rank (the first iterations in a cheaper network that computes nearly the same)",
        ("none", "rank"),
    )
    optimizer: str = _setting(
        "lbfgs", "lbfgs, or adam (less memory, more evaluations)", tuple(OPTIMIZER_SETTINGS)
    )
    learning_rate: float | None = _setting(
        None, f"step of Adam in grey levels; default {DEFAULT_LEARNING_RATE:g}"
    )
    line_search: str = _setting(
        "unit_step",
        "unit_step (tries step 1 before searching) or TFP's own hager_zhang",
        ("unit_step", "hager_zhang"),
    )
    history: int = _setting(10, "L-BFGS correction pairs")
    seed: int = _setting(0, "seed of the noise start")
    weights: str = _setting(
        "auto", "VGG-19 weights: auto, imagenet, imagenet-8bit, or the path of a Keras file"
    )
    memory_limit: str = _setting(
        "", "most memory that may be used, such as 8GiB or 800MB; default all that is free"
    )
    log_every: int = _setting(10, "iterations between rows of the loss history")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _plain(getattr(self, field.name), is_list(field)))
        if isinstance(self.style, str) or self.style == ():
            object.__setattr__(self, "style", (self.style or "",))
        for check in (
            _check_types,
            _check_choices,
            _check_styles,
            _check_layers,
            _check_numbers,
            _check_sizes,
            _check_projection,
            _check_memory_limit,
        ):
            check(self)

    @property
    def style_names(self) -> tuple[str, ...]:
        """A name for each style, made from its file name; "" if there is only one style."""
        if len(self.style) == 1:
            return ("",)
        names: list[str] = []
        for path in self.style:
            stem = re.sub(r"[^\w.-]+", "_", PurePath(path).stem) or "_"
            namesakes = sum(name.partition("#")[0] == stem for name in names)
            names.append(f"{stem}#{namesakes + 1}" if namesakes else stem)
        return tuple(names)

    @property
    def wrapped_axes(self) -> tuple[int, ...]:
        """The axes of H × W on which opposite sides of x meet."""
        return BORDERS[self.network_border]

    @property
    def network_border(self) -> str:
        """The border of convolutions; `border`, but for a panorama, in which it is settled."""
        return self.border if self.projection == FLAT else "wrap_x"

    @property
    def stored_pairs(self) -> int:
        """How many pairs of vectors as large as x the optimizer stores."""
        return self.history if "history" in OPTIMIZER_SETTINGS[self.optimizer] else 1

    @property
    def memory_limit_bytes(self) -> float:
        """The number of bytes of `memory_limit`; infinite if it is empty."""
        if not self.memory_limit:
            return math.inf
        number, unit = _number_and_unit(self.memory_limit)
        return float(number) * BYTE_UNITS[unit]

    def resolved(self) -> "TransferConfig":
        """Return the same settings with every `None` replaced, and one of `iterations` per size.

        Of `lambda_os` and `strength` one stays `None`.
        """
        iterations = self.iterations
        if len(iterations) == 1:
            iterations = iterations * len(self.size)
        is_chosen = self.lambda_os is not None or self.strength is not None
        return dataclasses.replace(
            self,
            lambda_os=self.lambda_os if is_chosen else DEFAULT_LAMBDA_OS[self.loss],
            content_weights=self.content_weights
            or (DEFAULT_CONTENT_WEIGHT,) * len(self.content_layers),
            style_weights=self.style_weights or (DEFAULT_STYLE_WEIGHT,) * len(self.style_layers),
            style_blend=self.style_blend or (DEFAULT_STYLE_SHARE,) * len(self.style),
            learning_rate=self.learning_rate or DEFAULT_LEARNING_RATE,
            iterations=iterations,
        )

    def as_dict(self) -> Settings:
        """Return the settings as plain JSON values; a single style is a string."""
        values = dataclasses.asdict(self)
        if len(self.style) == 1:
            values["style"] = self.style[0]
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }


def filled_in(setting: _Value | None) -> _Value:
    """Return a setting of resolved settings, none of which is `None`."""
    assert setting is not None
    return setting


_FAST: Settings = {
    "iterations": (400,),
    "precision": "bfloat16",
    "parametrization": "fourier",
    "continuation": "rank",
    "history": 30,
}
PRESETS = {"paper": {name: getattr(TransferConfig, name) for name in _FAST}, "fast": _FAST}


def preset_without_iterations(preset: str) -> dict[str, Any]:
    """Return {name: value} of what a preset sets, but for the number of iterations."""
    return {name: value for name, value in PRESETS[preset].items() if name != "iterations"}


def from_dict(values: Settings) -> TransferConfig:
    """Return the `TransferConfig` that `as_dict` described.

    Args:
      values: settings by name, as read from JSON; missing ones have their default.

    Raises:
      ConfigError: a name is unknown, or a value has the wrong type or range.
    """
    fields = {field.name: field for field in dataclasses.fields(TransferConfig)}
    if not isinstance(values, dict):
        raise ConfigError("config: must be an object of settings by name")
    unknown = set(values) - set(fields)
    if unknown:
        raise ConfigError(
            f"{min(unknown, key=str)}: no such setting; there are {', '.join(fields)}"
        )
    return TransferConfig(**values)


def is_list(field: dataclasses.Field[Any]) -> bool:
    """Tell whether a setting, a field of `TransferConfig`, holds several values."""
    return any(kind in str(field.type) for kind in ("tuple", "Sequence"))


def _plain(value: Any, is_list: bool) -> Any:
    """Return a setting as Python's int, float or tuple; any other value unchanged."""
    if hasattr(value, "tolist") and not isinstance(value, type):  # arrays and their elements
        value = value.tolist()
    if is_list and isinstance(value, (list, tuple)):
        return tuple(_plain(item, is_list=False) for item in value)
    if isinstance(value, (numbers.Real, Decimal)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError, ValueError):  # above every float, signalling NaN
            return int(value) if isinstance(value, numbers.Integral) else float(value)
    return value


def _check_types(config: TransferConfig) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.type is str and not isinstance(value, str):
            raise ConfigError(f"{field.name}: must be text, not {value!r}")
        if field.name in ("init", "weights") and not value:
            raise ConfigError(f"{field.name}: must not be empty")
        if is_list(field) and not isinstance(value, (tuple, type(field.default))):
            text = "text or " * (field.name == "style")
            raise ConfigError(f"{field.name}: must be {text}a tuple or a list, not {value!r}")


def _check_choices(config: TransferConfig) -> None:
    for field in dataclasses.fields(config):
        choices, value = field.metadata["choices"], getattr(config, field.name)
        if choices and value not in choices:
            raise ConfigError(f"{field.name}: must be one of {', '.join(choices)}, not {value!r}")


def _check_styles(config: TransferConfig) -> None:
    if not all(isinstance(path, str) for path in config.style):
        raise ConfigError(f"style: must be paths of pictures, not {config.style!r}")
    if len(config.style) != 1 and not all(config.style):
        raise ConfigError("style: an empty path is among them")
    if config.style_blend is not None:
        _check_weights("style_blend", config.style_blend, config.style, "style")
    for name in ("content_masks", "style_masks"):
        masks = getattr(config, name)
        if masks is None:
            continue
        if not all(isinstance(path, str) and path for path in masks):
            raise ConfigError(f"{name}: must be paths of pictures, not {masks!r}")
        if len(masks) != len(config.style):
            count = len(config.style)
            needed = "1 picture is" if count == 1 else f"{count} pictures are"
            raise ConfigError(
                f"{name}: {needed} needed, one per style, not {len(masks)}; "
                "a style may be named several times"
            )


def _check_layers(config: TransferConfig) -> None:
    for kind in ("content", "style"):
        name, layers = f"{kind}_layers", getattr(config, f"{kind}_layers")
        if not layers:
            raise ConfigError(f"{name}: at least one layer is needed")
        for layer in layers:
            if layer not in LAYERS:
                raise ConfigError(f"{name}: no layer {layer!r}; there are {', '.join(LAYERS)}")
        if len(set(layers)) < len(layers):
            raise ConfigError(f"{name}: each layer may be named once, not {', '.join(layers)}")
        weights = getattr(config, f"{kind}_weights")
        if weights is not None:
            _check_weights(f"{kind}_weights", weights, layers, "layer")


def _check_weights(
    name: str, weights: tuple[float, ...], weighted: Sequence[str], item: str
) -> None:
    if len(weights) != len(weighted):
        raise ConfigError(f"{name}: {len(weighted)} numbers are needed, one per {item}")
    for weight in weights:
        _check_number(name, weight, 0, LARGEST_WEIGHT)
    if max(weights) < LEAST_WEIGHT:
        raise ConfigError(f"{name}: at least one weight must be above 0, {LEAST_WEIGHT:g} or more")


def _check_numbers(config: TransferConfig) -> None:
    if config.lambda_os is not None:
        _check_number("lambda_os", config.lambda_os, 0, LARGEST_WEIGHT)
    if config.strength is not None:
        _check_number("strength", config.strength, 0, 1)
        if config.lambda_os is not None:
            raise ConfigError(
                "strength: lambda_os is given too, and follows from it; leave one out"
            )
    _check_number("tv_weight", config.tv_weight, 0, LARGEST_WEIGHT)
    _check_number("stroke_size", config.stroke_size, *STROKE_SIZE_RANGE)
    if config.learning_rate is not None:
        _check_number("learning_rate", config.learning_rate, *LEARNING_RATE_RANGE)
    for name, least, most in (("history", 1, 1000), ("log_every", 1, None), ("seed", 0, 2**63 - 1)):
        _check_number(name, getattr(config, name), least, most, whole=True)
    for count in config.iterations:
        _check_number("iterations", count, least=1, most=1_000_000, whole=True)


def _check_sizes(config: TransferConfig) -> None:
    if not config.size:
        raise ConfigError("size: at least one size is needed")
    for size in config.size:
        _check_number("size", size, *SIZE_RANGE, whole=True)
    if list(config.size) != sorted(set(config.size)):
        raise ConfigError("size: several sizes must grow from coarse to fine")
    if len(config.iterations) not in (1, len(config.size)):
        raise ConfigError(f"iterations: one number, or {len(config.size)}, one per size")
    if config.style_size not in ("match", "native"):
        if not re.fullmatch(r"[0-9]{1,6}", config.style_size):
            raise ConfigError(
                f"style_size: must be match, native or a long side in pixels, "
                f"not {config.style_size!r}"
            )
        _check_number("style_size", int(config.style_size), *SIZE_RANGE, whole=True)


def _check_projection(config: TransferConfig) -> None:
    if config.projection == FLAT:
        return
    if config.size[0] < LEAST_SPHERE:
        raise ConfigError(
            f"size: must be at least {LEAST_SPHERE} with projection {config.projection}, "
            f"not {config.size[0]}"
        )
    for name, value in (("border", "zero"), ("optimizer", "lbfgs")):
        if getattr(config, name) != value:
            raise ConfigError(
                f"{name}: must be {value} with projection {config.projection}, "
                f"not {getattr(config, name)}"
            )


def _check_memory_limit(config: TransferConfig) -> None:
    limit = config.memory_limit
    number, unit = _number_and_unit(limit) if limit else ("1", "GiB")
    if unit not in BYTE_UNITS or not float(number):
        units = ", ".join(BYTE_UNITS)
        raise ConfigError(
            f"memory_limit: must be a number above 0 and one of {units}, such as 8GiB, "
            f"not {limit!r}"
        )


def _number_and_unit(text: str) -> tuple[str, str]:
    """Return ("1.5", "GiB") for "1.5GiB"; ("", "") if it is no such text."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([A-Za-z]+)", text)
    return (match[1], match[2]) if match else ("", "")


def _check_number(
    name: str, value: float, least: float, most: float | None = None, whole: bool = False
) -> None:
    kind = "a whole number" if whole else "a finite number"
    types = (int,) if whole else (int, float)
    in_range = (
        isinstance(value, types)
        and not isinstance(value, bool)
        and least <= value < math.inf
        and (most is None or value <= most)
    )
    if not in_range:
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{name}: must be {kind} {bounds}, not {value!r}")
