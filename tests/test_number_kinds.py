"""Numbers of every real kind are settings, kept as Python's own; what is no number is refused."""

import array
import enum
import json
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from gatys_norm import config
from gatys_norm.config import ConfigError, TransferConfig, from_dict


class Level(enum.IntEnum):
    """Whole numbers with names."""

    THREE = 3


WHOLE = [
    *(kind(3) for kind in (np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64)),
    np.array(3),
    np.array(3, np.uint8),
    Level.THREE,
]
BROKEN = [
    *(kind(0.5) for kind in (np.float16, np.float32, np.float64, np.longdouble)),
    np.array(0.5),
    np.array(0.5, np.float32),
    Fraction(1, 2),
    Decimal("0.5"),
]
WHOLE_SCALARS = ("history", "seed", "log_every")
BROKEN_SCALARS = ("lambda_os", "tv_weight", "stroke_size", "learning_rate")
NOT_REAL = [
    True,
    np.bool_(True),
    np.array(True),
    1j,
    np.complex64(1),
    "1",
    np.str_("1"),
    b"1",
    [1],
    np.array([1]),
    np.float32,
    np.timedelta64(1, "s"),
]


def assert_is_the_same(made, plain):
    """Assert that two settings cannot be told apart, down to the types of their numbers."""
    assert made == plain
    assert hash(made) == hash(plain)
    assert repr(made) == repr(plain)
    assert json.dumps(made.as_dict()) == json.dumps(plain.as_dict())
    assert from_dict(json.loads(json.dumps(made.as_dict()))) == made


@pytest.mark.parametrize("number", WHOLE, ids=repr)
@pytest.mark.parametrize("name", [*WHOLE_SCALARS, *BROKEN_SCALARS])
def test_whole_numbers(name, number):
    assert_is_the_same(TransferConfig(**{name: number}), TransferConfig(**{name: 3}))


@pytest.mark.parametrize("number", BROKEN, ids=repr)
@pytest.mark.parametrize("name", BROKEN_SCALARS)
def test_broken_numbers(name, number):
    assert_is_the_same(TransferConfig(**{name: number}), TransferConfig(**{name: 0.5}))


def test_a_number_keeps_the_value_it_had():
    assert TransferConfig(lambda_os=np.float32(0.001)).lambda_os == float(np.float32(0.001))


@pytest.mark.parametrize("number", NOT_REAL, ids=repr)
@pytest.mark.parametrize("name", [*WHOLE_SCALARS, *BROKEN_SCALARS])
def test_what_is_no_real_number_is_refused(name, number):
    with pytest.raises(ConfigError, match=f"^{name}: must be a .* number "):
        TransferConfig(**{name: number})


@pytest.mark.parametrize("number", [*BROKEN, np.float32(3)], ids=repr)
@pytest.mark.parametrize("name", WHOLE_SCALARS)
def test_broken_numbers_are_refused_where_whole_ones_are_meant(name, number):
    with pytest.raises(ConfigError, match=f"^{name}: must be a whole number "):
        TransferConfig(**{name: number})


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (np.float32("nan"), "nan"),
        (np.array(np.nan), "nan"),
        (np.float16("inf"), "inf"),
        (np.longdouble("inf"), "inf"),
        (np.float32(-1), "-1.0"),
        (np.int8(-1), "-1"),
        (np.float64(1e31), "1e+31"),
        (Decimal("NaN"), "nan"),
        (Decimal("sNaN"), "Decimal('sNaN')"),
        (Decimal("Infinity"), "inf"),
    ],
)
def test_numbers_out_of_range_are_refused_as_plain_ones_are(number, shown):
    with pytest.raises(ConfigError) as refusal:
        TransferConfig(lambda_os=number)
    sentence = f"lambda_os: must be a finite number from 0 to 1e+30, not {shown}"
    assert str(refusal.value) == sentence


def test_a_fraction_above_every_float_is_refused():
    with pytest.raises(ConfigError, match=r"^lambda_os: must be a finite number "):
        TransferConfig(lambda_os=Fraction(10**400))


LAYERS = ("conv1_1", "conv2_1")
SEVERAL = {
    "style_blend": (0.25, 3.0),
    "content_weights": (0.25, 3.0),
    "style_weights": (0.25, 3.0),
    "size": (64, 128),
    "iterations": (5, 6),
}


def config_with(name, value):
    base = {"style": ("a", "b"), "content_layers": LAYERS, "style_layers": LAYERS}
    return TransferConfig(**base | {"size": (64, 128), name: value})


@pytest.mark.parametrize("name", SEVERAL)
def test_several_numbers(name):
    plain = SEVERAL[name]
    kind = np.uint16 if isinstance(plain[0], int) else np.float16
    for value in (
        list(plain),
        np.array(plain),
        np.array(plain, kind),
        tuple(map(kind, plain)),
        [np.array(number) for number in plain],
        array.array("I" if kind is np.uint16 else "d", plain),
    ):
        assert_is_the_same(config_with(name, value), config_with(name, plain))


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize(
    "value",
    [
        (np.bool_(True), np.bool_(True)),
        np.array([True, True]),
        np.array([np.nan, np.nan]),
        np.array([[64, 128], [64, 128]]),
        [[64], [128]],
        np.array(["64", "128"]),
        np.array([1j, 2j]),
    ],
    ids=str,
)
def test_what_are_not_several_numbers_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"^{name}: must be a .* number "):
        config_with(name, value)


@pytest.mark.parametrize("value", [np.array(64), np.int32(64), 64, {64}, "64", None])
def test_one_number_is_not_several(value):
    with pytest.raises(ConfigError, match=r"^size: must be a tuple or a list, not "):
        TransferConfig(size=value)


def test_a_list_is_copied():
    sizes = [64, 128]
    made = TransferConfig(size=sizes)
    sizes.append(3)
    assert made.size == (64, 128)


def test_lists_and_arrays_of_texts():
    plain = TransferConfig(content="o", style=("a", "b"), style_layers=LAYERS)
    for kind in (list, np.array):
        made = TransferConfig(content="o", style=kind(plain.style), style_layers=kind(LAYERS))
        assert_is_the_same(made, plain)
    assert_is_the_same(TransferConfig(style=["a"]), TransferConfig(style="a"))
    assert_is_the_same(TransferConfig(content=np.str_("o")), TransferConfig(content="o"))


def test_settings_load_no_numpy():
    code = "import sys, runpy; runpy.run_path(sys.argv[1]); assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, config.__file__], check=True)
