"""Settings: the paper's defaults, every refusal, and the way to JSON and back."""

import dataclasses
import json
import math

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gatys_norm import config as config_module
from gatys_norm.config import BORDERS, PRESETS, ConfigError, TransferConfig, from_dict

NAMES = [field.name for field in dataclasses.fields(TransferConfig)]
NAN, INFINITY = math.nan, math.inf

REFUSED = [
    ("content", 3),
    ("content", None),
    ("style", b"painting.jpg"),
    ("style", None),
    ("style", ("a.jpg", "")),
    ("style", ("a.jpg", 3)),
    ("style", (3,)),
    ("style", (("a.jpg", "b.jpg"),)),
    ("style_blend", ()),
    ("style_blend", 1.0),
    ("style_blend", (1.0, 1.0)),
    ("style_blend", (0.0,)),
    ("style_blend", (-1.0,)),
    ("style_blend", (NAN,)),
    ("style_blend", ("1",)),
    ("content_masks", "mask.png"),
    ("content_masks", ()),
    ("content_masks", ("",)),
    ("content_masks", (3,)),
    ("content_masks", ("a.png", "b.png")),
    ("style_masks", "mask.png"),
    ("style_masks", ()),
    ("style_masks", (None,)),
    ("style_masks", ("a.png", "b.png")),
    ("color", "colour"),
    ("color", None),
    ("optimizer", "sgd"),
    ("optimizer", ("adam",)),
    ("learning_rate", 0),
    ("learning_rate", -1.0),
    ("learning_rate", 1e-7),
    ("learning_rate", 1001),
    ("learning_rate", NAN),
    ("learning_rate", "1"),
    ("learning_rate", True),
    ("init", ("content",)),
    ("weights", None),
    ("loss", "Normalized"),
    ("loss", ""),
    ("loss", ["normalized"]),
    ("pooling", "mean"),
    ("border", "constant"),
    ("border", None),
    ("projection", "cube"),
    ("projection", None),
    ("precision", "float16"),
    ("precision", 32),
    ("continuation", "Rank"),
    ("continuation", True),
    ("parametrization", "Fourier"),
    ("parametrization", ""),
    ("parametrization", None),
    ("line_search", "wolfe"),
    ("strength", -1e-9),
    ("strength", 1.01),
    ("strength", NAN),
    ("strength", "0.5"),
    ("strength", True),
    ("lambda_os", -1e-9),
    ("lambda_os", NAN),
    ("lambda_os", INFINITY),
    ("lambda_os", 1e31),
    ("lambda_os", 10**400),
    ("lambda_os", "1e-3"),
    ("lambda_os", True),
    ("lambda_os", 1e-3 + 0j),
    ("content_layers", ()),
    ("content_layers", "conv4_2"),
    ("content_layers", None),
    ("content_layers", ("conv4_2", "conv4_2")),
    ("content_layers", ("block4_conv2",)),
    ("content_layers", (["conv4_2"],)),
    ("content_layers", {"conv4_2": 1}),
    ("content_weights", ()),
    ("content_weights", (1.0, 1.0)),
    ("content_weights", (0.0,)),
    ("content_weights", 1.0),
    ("content_weights", "1"),
    ("style_layers", ()),
    ("style_layers", ("conv3_5",)),
    ("style_layers", ("conv6_1",)),
    ("style_layers", ("relu1_1", "conv1_1", "relu1_1")),
    ("style_layers", (11,)),
    ("style_weights", (0.2,) * 4),
    ("style_weights", (0.2,) * 6),
    ("style_weights", (0.2, 0.2, -0.2, 0.2, 0.2)),
    ("style_weights", (0.2, NAN, 0.2, 0.2, 0.2)),
    ("style_weights", (0.2, INFINITY, 0.2, 0.2, 0.2)),
    ("style_weights", (0.2, None, 0.2, 0.2, 0.2)),
    ("style_weights", (0.2, "0.2", 0.2, 0.2, 0.2)),
    ("style_weights", (1e308,) * 5),
    ("style_weights", (0,) * 5),
    ("style_weights", (0, 0, 0, 0, 1e-31)),
    ("content_weights", (5e-324,)),
    ("size", ()),
    ("size", 512),
    ("size", "512"),
    ("size", (15,)),
    ("size", (16385,)),
    ("size", (512.0,)),
    ("size", (True,)),
    ("size", (256, 256)),
    ("size", (512, 256)),
    ("size", (256, 1024, 512)),
    ("iterations", ()),
    ("iterations", 600),
    ("iterations", (0,)),
    ("iterations", (-1,)),
    ("iterations", (1.5,)),
    ("iterations", (1_000_001,)),
    ("iterations", (100, 100)),
    ("style_size", 512),
    ("style_size", "15"),
    ("style_size", "16385"),
    ("style_size", "-512"),
    ("style_size", "512.0"),
    ("style_size", "512\n"),
    ("style_size", "٥١٢"),
    ("style_size", "1" * 5000),
    ("style_size", "Match"),
    ("style_size", ""),
    ("stroke_size", 0),
    ("stroke_size", 0.09),
    ("stroke_size", 10.1),
    ("stroke_size", -1.0),
    ("stroke_size", NAN),
    ("stroke_size", INFINITY),
    ("stroke_size", None),
    ("stroke_size", "2"),
    ("stroke_size", (1.0,)),
    ("tv_weight", -1.0),
    ("tv_weight", NAN),
    ("tv_weight", INFINITY),
    ("tv_weight", None),
    ("tv_weight", 1e31),
    ("history", 0),
    ("history", 1001),
    ("history", 10.0),
    ("history", None),
    ("seed", -1),
    ("seed", 2**63),
    ("seed", 0.0),
    ("log_every", 0),
    ("log_every", -10),
    ("log_every", INFINITY),
    ("log_every", "10"),
    ("memory_limit", "8"),
    ("memory_limit", "GiB"),
    ("memory_limit", "8gib"),
    ("memory_limit", "8KB"),
    ("memory_limit", "8GiBs"),
    ("memory_limit", "8GiB\n"),
    ("memory_limit", "-8GiB"),
    ("memory_limit", "0MB"),
    ("memory_limit", "0.0GiB"),
    ("memory_limit", "1e3MB"),
    ("memory_limit", "infGB"),
    ("memory_limit", "٨GB"),
    ("memory_limit", "1" * 5000 + "GB"),
    ("memory_limit", 8),
    ("memory_limit", None),
]

ACCEPTED = [
    ("strength", 0),
    ("strength", 1.0),
    ("lambda_os", 0),
    ("lambda_os", 1e30),
    ("content_weights", (1e-30,)),
    ("style_weights", (0, 0, 0.0, 0, 3)),
    ("style_layers", config_module.LAYERS),
    ("size", (16, 17, 16384)),
    ("iterations", (1,)),
    ("iterations", (1_000_000,)),
    ("style", ("a.png", "a.png", "b.png")),
    ("style_blend", (1e-30,)),
    ("style_blend", (1e30,)),
    ("learning_rate", 1e-6),
    ("learning_rate", 1000),
    ("style_size", "16"),
    ("style_size", "16384"),
    ("style_size", "native"),
    ("stroke_size", 0.1),
    ("stroke_size", 10),
    ("history", 1),
    ("history", 1000),
    ("seed", 2**63 - 1),
    ("log_every", 1),
    ("memory_limit", ""),
    ("memory_limit", "0.5 GB"),
    ("init", "a picture.png"),
]


def test_defaults_are_the_papers():
    config = TransferConfig()
    assert config.content_layers == ("conv4_2",)
    assert config.style_layers == ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4")
    assert config.init == "content"
    assert config.iterations == (600,)
    assert config.pooling == "max"
    assert config.border == "zero"
    assert config.projection == "flat"
    assert config.tv_weight == 0
    assert config.precision == "float32"
    assert config.parametrization == "pixel"
    assert config.continuation == "none"
    assert config.size == (512,)
    assert config.style_size == "match"
    assert config.stroke_size == 1
    resolved = config.resolved()
    assert resolved.content_weights == (1,)
    assert resolved.style_weights == (0.2,) * 5


def test_default_loss_is_the_proposed_one_within_its_good_range():
    resolved = TransferConfig().resolved()
    assert resolved.loss == "normalized"
    assert 1e-3 <= resolved.lambda_os <= 1e-2
    assert TransferConfig(loss="original").resolved().lambda_os == 1e-4


def test_layers_are_vgg19s_sixteen_convolutions_before_and_after_the_relu():
    blocks = {1: "12", 2: "12", 3: "1234", 4: "1234", 5: "1234"}
    expected = [
        f"{tap}{block}_{index}"
        for tap in ("conv", "relu")
        for block, indices in blocks.items()
        for index in indices
    ]
    assert list(config_module.LAYERS) == expected
    assert len(expected) == 2 * 16


def test_settings_cannot_be_changed_and_can_be_hashed():
    config = TransferConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.size = (256,)
    assert hash(config) == hash(TransferConfig())


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_refusal_begins_with_the_settings_name(name, value):
    with pytest.raises(ConfigError) as refusal:
        TransferConfig(**{name: value})
    assert str(refusal.value).startswith(f"{name}: ")


@pytest.mark.parametrize(("name", "value"), ACCEPTED)
def test_values_at_the_edge_are_accepted(name, value):
    assert getattr(TransferConfig(**{name: value}), name) == value


def test_every_setting_has_a_refused_value():
    assert {name for name, _ in REFUSED} == set(NAMES)


def test_unknown_layer_error_lists_the_layers():
    with pytest.raises(ConfigError) as refusal:
        TransferConfig(style_layers=("conv9_9",))
    assert "conv9_9" in str(refusal.value)
    assert all(layer in str(refusal.value) for layer in config_module.LAYERS)


def test_iterations_are_one_number_or_one_a_size():
    sizes = (128, 256, 512)
    assert TransferConfig(size=sizes, iterations=(9,)).resolved().iterations == (9, 9, 9)
    assert TransferConfig(size=sizes, iterations=(9, 8, 7)).resolved().iterations == (9, 8, 7)
    with pytest.raises(ConfigError, match=r"^iterations: .*3"):
        TransferConfig(size=sizes, iterations=(9, 8))


def test_resolved_fills_in_one_weight_a_layer():
    config = TransferConfig(content_layers=("conv4_2", "conv5_2"), style_layers=("relu1_1",))
    resolved = config.resolved()
    assert resolved.content_weights == (1, 1)
    assert resolved.style_weights == (0.2,)


def test_resolved_keeps_what_was_given():
    given_settings = {
        "lambda_os": 0,
        "content_weights": (3,),
        "style_weights": (0, 1, 0, 0, 0),
        "size": (64, 128),
        "iterations": (5, 6),
    }
    resolved = TransferConfig(**given_settings).resolved()
    assert {name: getattr(resolved, name) for name in given_settings} == given_settings


@pytest.mark.parametrize("loss", ["original", "normalized"])
def test_resolved_leaves_nothing_open_and_is_final(loss):
    resolved = TransferConfig(loss=loss, size=(64, 128)).resolved()
    open_still = {name for name, value in dataclasses.asdict(resolved).items() if value is None}
    # None is what they mean: no mask, and no strength instead of λ_os.
    assert open_still == {"content_masks", "style_masks", "strength"}
    assert resolved.resolved() == resolved


# --- several styles ---------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["a, b.png", ("a, b.png",)])
def test_a_tuple_of_one_style_is_that_style(style):
    config = TransferConfig(style=style)
    assert config == TransferConfig(style="a, b.png")
    assert (config.style, config.style_names) == (("a, b.png",), ("",))
    assert config.as_dict()["style"] == "a, b.png"


def test_no_style_is_the_empty_path():
    assert TransferConfig(style=()) == TransferConfig()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("x/waves.jpg", "stars.png"), ("waves", "stars")),
        (("a.jpg", "b/a.png", "a.jpg"), ("a", "a#2", "a#3")),
        (("a#2.png", "a.png", "a.jpg"), ("a_2", "a", "a#2")),
        (("a b]c[d.png", "e~(f).png"), ("a_b_c_d", "e_f_")),
        (("über λ.png", "v1.2-x.png"), ("über_λ", "v1.2-x")),
    ],
)
def test_styles_are_named_after_their_files_each_by_itself(paths, names):
    assert TransferConfig(style=paths).style_names == names


@pytest.mark.usefixtures("any_text")
@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=6))
@example(["/", "."])
def test_names_of_styles_tell_them_apart_and_fit_into_terms(paths):
    names = TransferConfig(style=tuple(paths)).style_names
    assert len(set(names)) == len(paths)
    assert all(name and not set(name) & set("/[] \t\n") for name in names)


def test_resolved_fills_in_one_share_a_style():
    assert TransferConfig(style="a").resolved().style_blend == (1,)
    assert TransferConfig(style=("a", "b", "a")).resolved().style_blend == (1, 1, 1)
    assert TransferConfig(style=("a", "b"), style_blend=(0, 2)).resolved().style_blend == (0, 2)


def test_a_refused_number_of_masks_says_what_would_be_right():
    with pytest.raises(
        ConfigError, match=r"content_masks: 2 pictures are needed, .*not 1; .*times"
    ):
        TransferConfig(style=("a", "b"), content_masks=("m",))
    with pytest.raises(ConfigError, match=r"style_masks: 1 picture is needed, .*not 2"):
        TransferConfig(style="a", style_masks=("m", "n"))


def test_a_strength_takes_the_place_of_lambda_os():
    resolved = TransferConfig(strength=0.7).resolved()
    assert (resolved.strength, resolved.lambda_os) == (0.7, None)
    assert TransferConfig().resolved().strength is None
    with pytest.raises(config_module.ConfigError, match=r"^strength: lambda_os is given too"):
        TransferConfig(strength=0.7, lambda_os=1e-3)


def test_adam_takes_steps_of_a_grey_level():
    resolved = TransferConfig(optimizer="adam").resolved()
    assert (resolved.optimizer, resolved.learning_rate) == ("adam", 10.0)
    assert TransferConfig().optimizer == "lbfgs"


OTHER_SETTINGS = TransferConfig(
    content="o.jpg",
    style=("ε.png", "a, b.png"),
    style_blend=(0.1, 3),
    content_masks=("left.png", "right.png"),
    style_masks=("all.png", "all.png"),
    color="match",
    loss="original",
    lambda_os=1 / 3,
    content_layers=("relu4_2", "conv5_1"),
    content_weights=(1, 0.1),
    style_layers=("relu1_1",),
    style_weights=(7,),
    size=(64, 128),
    iterations=(3, 4),
    style_size="300",
    stroke_size=1.5,
    init="start.png",
    pooling="avg",
    border="reflect",
    projection="flat",
    tv_weight=1e-7,
    precision="bfloat16",
    parametrization="fourier",
    continuation="rank",
    optimizer="adam",
    learning_rate=0.3,
    line_search="hager_zhang",
    history=50,
    seed=2**63 - 1,
    weights="vgg.h5",
    memory_limit="8GiB",
    log_every=1,
)


@pytest.mark.parametrize(
    ("limit", "byte_count"),
    [
        *(("8GiB", 8 * 2**30), ("1.5 GiB", 3 * 2**29), ("512MiB", 2**29)),
        *(("2GB", 2e9), ("800MB", 8e8), ("", INFINITY)),
    ],
)
def test_a_limit_of_memory_is_a_number_of_bytes(limit, byte_count):
    assert TransferConfig(memory_limit=limit).memory_limit_bytes == byte_count


def test_a_limit_that_is_refused_is_shown_with_what_would_be_right():
    line = "memory_limit: must be a number above 0 and one of GiB, MiB, GB, MB, such as 8GiB, not "
    with pytest.raises(ConfigError) as caught:
        TransferConfig(memory_limit="8 gigabytes")
    assert str(caught.value) == f"{line}'8 gigabytes'"


@pytest.mark.parametrize(
    "config", [TransferConfig(), TransferConfig().resolved(), OTHER_SETTINGS], ids=str
)
def test_settings_survive_json(config):
    text = json.dumps(config.as_dict(), allow_nan=False)
    assert from_dict(json.loads(text)) == config
    assert from_dict(config.as_dict()) == config


def test_json_round_trip_covers_every_setting():
    defaults = TransferConfig().as_dict()
    others = OTHER_SETTINGS.as_dict()
    assert others.pop("strength") is None  # as lambda_os is given
    assert others.pop("projection") == "flat"  # as border is given
    assert all(defaults[name] != value for name, value in others.items())


def test_names_left_out_take_their_default():
    assert from_dict({"size": [64]}) == TransferConfig(size=(64,))
    assert from_dict({}) == TransferConfig()


@pytest.mark.parametrize(
    ("values", "beginning"),
    [
        (None, "config: "),
        ([], "config: "),
        ("{}", "config: "),
        ({"colour": 1}, "colour: "),
        ({"__class__": 1}, "__class__: "),
        ({"resolved": 1, "size": [64]}, "resolved: "),
        ({1: 2, "zebra": 3, None: 4}, "1: "),
        ({"size": 64}, "size: "),
        ({"size": {"0": 64}}, "size: "),
        ({"size": [[64]]}, "size: "),
        ({"size": None}, "size: "),
        ({"size": [1e300]}, "size: "),
        ({"size": [10**400]}, "size: "),
        ({"iterations": None}, "iterations: "),
        ({"history": 10**9}, "history: "),
        ({"content": None}, "content: "),
        ({"content": ["a", "b"]}, "content: "),
        ({"style": [3]}, "style: "),
        ({"style": [["a"]]}, "style: "),
        ({"style": {"a": "b"}}, "style: "),
        ({"style": ["a", None]}, "style: "),
        ({"style": ["a", "b"], "style_blend": [1]}, "style_blend: "),
        ({"style": ["a", "b"], "style_masks": ["m"]}, "style_masks: "),
        ({"style": ["a", "b"], "content_masks": ["m", "m", "m"]}, "content_masks: "),
        ({"content_masks": [["m"]]}, "content_masks: "),
        ({"style_size": 512}, "style_size: "),
        ({"stroke_size": [2]}, "stroke_size: "),
        ({"stroke_size": json.loads("1e999")}, "stroke_size: "),
        ({"style_layers": "conv1_1"}, "style_layers: "),
        ({"style_layers": [{}]}, "style_layers: "),
        ({"style_layers": {"conv4_2": 1}}, "style_layers: "),
        ({"style_weights": {"conv1_1": 1}}, "style_weights: "),
        ({"lambda_os": [1]}, "lambda_os: "),
        ({"lambda_os": json.loads("1e999")}, "lambda_os: "),
        ({"lambda_os": json.loads("NaN")}, "lambda_os: "),
        ({"seed": json.loads("1" * 400)}, "seed: "),
    ],
)
def test_hostile_dict_is_refused_by_name(values, beginning):
    with pytest.raises(ConfigError) as refusal:
        from_dict(values)
    assert str(refusal.value).startswith(beginning)


SHORT_TEXT = st.text("a1:é", max_size=4) | st.sampled_from(["native", "conv1_1", "avg"])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | SHORT_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT_TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*NAMES, "colour"]), JSON_VALUES, max_size=2))
def test_any_json_is_settings_that_survive_json_or_a_config_error(values):
    try:
        config = from_dict(values)
    except ConfigError as error:
        refusal = str(error)
    else:
        assert from_dict(json.loads(json.dumps(config.as_dict(), allow_nan=False))) == config
        config.resolved()
        return
    assert refusal.split(":")[0] in values


def test_the_paper_preset_is_the_defaults():
    assert TransferConfig(**PRESETS["paper"]) == TransferConfig()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_sets_the_same(preset):
    """Else something of one would be left when the other is put over it."""
    assert set(PRESETS[preset]) == set(PRESETS["paper"])
    TransferConfig(**PRESETS[preset])


PANORAMA = {"projection": "equirectangular"}


def test_a_panorama_is_wrapped_from_left_to_right():
    config = TransferConfig(**PANORAMA)
    assert (config.network_border, config.wrapped_axes) == ("wrap_x", (1,))
    for border, axes in BORDERS.items():
        config = TransferConfig(border=border)
        assert (config.network_border, config.wrapped_axes) == (border, axes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"border": "wrap_x"}, "border: must be zero with projection equirectangular, not wrap_x"),
        ({"optimizer": "adam"}, "optimizer: must be lbfgs with projection equirectangular"),
        ({"size": (63, 128)}, "size: must be at least 64 with projection equirectangular, not 63"),
    ],
)
def test_what_a_panorama_cannot_have(changes, message):
    TransferConfig(**changes)
    with pytest.raises(ConfigError, match=message):
        TransferConfig(**PANORAMA, **changes)
