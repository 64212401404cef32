"""What a transfer is made of: which files are read, their sizes and colors, and masks."""

import dataclasses
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.rounding import gamma, unit
from PIL import Image

from gatys_norm import sphere
from gatys_norm.config import TransferConfig
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images import masks
from gatys_norm.images.inputs import Inputs
from gatys_norm.images.sizes import resize

BT601 = np.array([0.299, 0.587, 0.114])
CONFIG = TransferConfig(content="content.png", style=("a.png", "b.png"), size=(24, 48))


def noise(height, width, seed):
    values = np.random.default_rng(seed).uniform(0, 255, (height, width, 3))
    return np.rint(values).astype(np.float32)


@pytest.fixture(autouse=True)
def present_folder(tmp_path, monkeypatch):
    """Run in a folder with a content, 48 × 36, two styles, 40 × 60 and 33 × 32, and two masks."""
    monkeypatch.chdir(tmp_path)
    for seed, (name, size) in enumerate(
        {"content": (36, 48), "a": (60, 40), "b": (32, 33), "start": (20, 20)}.items()
    ):
        picture_io.save_picture(f"{name}.png", noise(*size, seed))
    left = np.tile(np.repeat([255.0, 0.0], 24), (36, 1))
    for name, mask in (("left", left), ("right", 255 - left)):
        save_grey(f"{name}.png", mask)
    return tmp_path


def save_grey(path, values):
    Image.fromarray(np.uint8(values)).save(path)


def with_masks(**masks):
    return dataclasses.replace(CONFIG, **masks)


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["content", "style", "noise"])
def test_paths_are_of_what_the_settings_name_and_a_start_may_be_none(init):
    config = dataclasses.replace(with_masks(content_masks=("l", "r")), init=init)
    expected = Inputs("content.png", ("a.png", "b.png"), content_masks=("l", "r"))
    assert picture_inputs.paths(config) == expected
    assert expected.init is None
    config = TransferConfig(content="o", style="s", init="start.png", style_masks=("m",))
    expected = Inputs("o", ("s",), "start.png", style_masks=("m",))
    assert picture_inputs.paths(config) == expected


def test_everything_there_is_converted_and_nothing_else():
    pictures = Inputs("o", ("a", "b"), None, (), ("m",))
    expected = Inputs("O", ("A", "B"), None, (), ("M",))
    assert pictures.map(str.upper) == expected
    pictures = Inputs("o", ("a",), "i", ("m",), ())
    assert pictures.map(str.upper) == Inputs("O", ("A",), "I", ("M",), ())


def test_everything_there_is_listed():
    assert Inputs("o", ("a", "b"), "i", ("m", "n"), ("k", "l")).all() == tuple("oabimnkl")
    assert Inputs("o", ("a",)).all() == ("o", "a")


def test_pixels_are_counted_at_every_size():
    assert picture_inputs.load(CONFIG).pixel_counts == {24: 18 * 24, 48: 36 * 48}


def test_all_pictures_are_loaded_each_in_its_place():
    config = with_masks(content_masks=("left.png", "right.png"), style_masks=("a.png", "b.png"))
    pictures = picture_inputs.load(dataclasses.replace(config, init="start.png")).pictures
    expected = Inputs(
        "content.png",
        ("a.png", "b.png"),
        "start.png",
        ("left.png", "right.png"),
        ("a.png", "b.png"),
    ).map(picture_io.load_picture)
    for field in dataclasses.fields(Inputs):
        actual, wanted = (getattr(each, field.name) for each in (pictures, expected))
        assert len(actual) == len(wanted)
        for one, other in zip(actual, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


# --- sizes --------------------------------------------------------------------------------------


def test_content_and_every_style_have_the_wanted_sizes():
    pictures = picture_inputs.load(CONFIG).pictures
    content, styles = picture_inputs.shapes_at(CONFIG, pictures, 24)
    assert content == (18, 24)
    for (height, width), (tall, wide) in zip(styles, ((60, 40), (32, 33)), strict=True):
        # Each side is rounded up or down to a whole number of pixels.
        assert height * width == pytest.approx(18 * 24, rel=0, abs=max(height, width))
        error = (1 / height + 1 / width) * height / width
        assert height / width == pytest.approx(tall / wide, rel=0, abs=error)
    for style_size, expected in (
        ("native", ((60, 40), (32, 33))),
        ("66", ((66, 44), (64, 66))),
    ):
        config = dataclasses.replace(CONFIG, style_size=style_size, size=(24,))
        assert picture_inputs.shapes_at(config, pictures, 24).styles == expected
        scene = picture_inputs.resized(config, picture_inputs.load(config), config.size[0])
        assert scene.content.shape == (18, 24, 3)
        assert tuple(style.shape[:2] for style in scene.styles) == expected


STYLE_SIZES = ("match", "native", "66")


@pytest.mark.parametrize("style_size", STYLE_SIZES)
def test_at_stroke_size_1_nothing_is_another(style_size):
    config = dataclasses.replace(CONFIG, style_size=style_size)
    inputs = picture_inputs.load(config)
    nearly = dataclasses.replace(config, stroke_size=1 + 1e-9)
    assert picture_inputs.shapes_at(nearly, inputs.pictures, 24) == inputs.shapes[24]
    assert picture_inputs.resized(config, inputs, 24).reference_shapes == ()


@pytest.mark.parametrize(
    ("style_size", "stroke_size", "expected"),
    [
        ("native", 0.7, ((42, 28), (22, 23))),
        ("native", 2, ((120, 80), (64, 66))),
        ("66", 0.5, ((33, 22), (32, 33))),
        ("66", 1.5, ((99, 66), (96, 99))),
        ("match", 2, ((51, 34), (41, 42))),  # 1734 and 1722 pixels, and 2² · 18 · 24 is 1728
    ],
)
@pytest.mark.filterwarnings("ignore:.* enlarges it:UserWarning")
def test_the_stroke_size_multiplies_the_sides_of_every_style(style_size, stroke_size, expected):
    plain = dataclasses.replace(CONFIG, style_size=style_size, size=(24,))
    config = dataclasses.replace(plain, stroke_size=stroke_size)
    inputs = picture_inputs.load(config)
    assert inputs.shapes[24] == ((18, 24), expected)  # the plan of memory reads these
    scene = picture_inputs.resized(config, inputs, 24)
    assert tuple(style.shape[:2] for style in scene.styles) == expected
    assert scene.reference_shapes == picture_inputs.load(plain).shapes[24].styles


@pytest.mark.parametrize(
    ("border", "expected"), [("zero", (75, 100)), ("wrap", (80, 96)), ("wrap_x", (75, 96))]
)
def test_wrapped_sides_of_the_content_are_rounded_to_whole_squares(border, expected):
    """Those of the styles follow from its number of pixels and are not."""
    config = dataclasses.replace(CONFIG, border=border, size=(100,))
    inputs = picture_inputs.load(config)
    content, styles = inputs.shapes[100]
    assert content == expected
    assert picture_inputs.resized(config, inputs, 100).content.shape == (*expected, 3)
    for height, width in styles:
        assert height * width == pytest.approx(np.prod(expected), rel=0.03)


def enlarged(**changes):
    """Return what is warned of when pictures are loaded."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture_inputs.load(dataclasses.replace(CONFIG, **changes))
    return [str(warning.message) for warning in caught]


def test_a_style_that_the_stroke_size_enlarges_is_named_with_what_its_pixels_allow():
    """The second style is too small for its size already, which is not the stroke size's doing."""
    assert enlarged(stroke_size=2) == [
        "a.png: stroke_size 2 enlarges it beyond its own 40×60 pixels; up to 1.17 does not"
    ]
    assert enlarged(stroke_size=1.17) == enlarged(stroke_size=0.9) == enlarged() == []
    assert enlarged(stroke_size=1.1, style_size="native") == [
        f"{name}: stroke_size 1.1 enlarges it beyond its own {size} pixels; up to 1 does not"
        for name, size in (("a.png", "40×60"), ("b.png", "33×32"))
    ]


def test_a_style_too_narrow_at_a_stroke_size_asks_for_a_larger_one_if_that_would_do():
    with pytest.raises(picture_io.PictureError) as refusal:
        picture_inputs.load(dataclasses.replace(CONFIG, stroke_size=0.5))
    assert str(refusal.value) == (
        "a.png: would be 9×12 pixels as style at this size; each side needs 16, so choose a larger "
        "size, a larger stroke_size or a less narrow picture"
    )
    picture_io.save_picture("narrow.png", noise(400, 40, 9))
    narrow = dataclasses.replace(CONFIG, style="narrow.png", style_size="150", stroke_size=2)
    with pytest.raises(picture_io.PictureError, match="choose a larger size or a less narrow"):
        picture_inputs.load(narrow)


def test_the_second_style_too_narrow_is_named():
    picture_io.save_picture("narrow.png", noise(400, 20, 9))
    config = dataclasses.replace(CONFIG, style=("a.png", "narrow.png"), style_size="32")
    with pytest.raises(
        picture_io.PictureError, match=r"narrow\.png: would be 2×32 pixels as style"
    ):
        picture_inputs.load(config)


# --- colors ------------------------------------------------------------------------------------


def test_colors_of_the_style_are_the_pictures_resized():
    inputs = picture_inputs.load(CONFIG)
    pictures, scene = inputs.pictures, picture_inputs.resized(CONFIG, inputs, 48)
    np.testing.assert_array_equal(scene.content, pictures.content)
    for style, picture in zip(scene.styles, pictures.styles, strict=True):
        np.testing.assert_array_equal(style, resize(picture, *style.shape[:2]))


def test_luminance_is_transferred_between_grey_pictures():
    config = dataclasses.replace(CONFIG, color="luminance", style_size="native")
    inputs = picture_inputs.load(config)
    pictures, scene = inputs.pictures, picture_inputs.resized(config, inputs, 48)
    wanted = pictures.content.astype(np.float64) @ BT601
    for picture in (scene.content, *scene.styles):
        np.testing.assert_array_equal(picture, picture[..., :1].repeat(3, axis=2))
    # In float32: three weights, their products and two additions of what is not negative.
    np.testing.assert_allclose(scene.content[..., 0], wanted, rtol=gamma(4, "float32"))
    for style in scene.styles:
        values = style.astype(np.float64)[..., 0]
        # Each luminance is so wrong, and is stored in float32 once more.
        error = gamma(4 + 1, "float32") * max(wanted.max(), np.abs(values).max())
        assert error < 1e-4 * wanted.std()
        assert values.mean() == pytest.approx(wanted.mean(), rel=0, abs=error)
        assert values.std() == pytest.approx(wanted.std(), rel=0, abs=error)


def test_matched_styles_have_the_contents_colors_and_the_content_stays():
    config = dataclasses.replace(CONFIG, color="match", style_size="native")
    inputs = picture_inputs.load(config)
    pictures, scene = inputs.pictures, picture_inputs.resized(config, inputs, 48)
    np.testing.assert_array_equal(scene.content, pictures.content)
    wanted = pictures.content.reshape(-1, 3).astype(np.float64)
    for style, picture in zip(scene.styles, pictures.styles, strict=True):
        assert style.shape == picture.shape
        values = style.reshape(-1, 3).astype(np.float64)
        # Each color is stored in float32; what float64 did before is nothing beside that.
        error = 2 * unit("float32") * np.abs(values).max()
        np.testing.assert_allclose(values.mean(axis=0), wanted.mean(axis=0), rtol=0, atol=error)
        expected = np.cov(wanted.T, bias=True)
        # A product of two spreads is wrong by that of either.
        error *= 2 * np.sqrt(np.trace(expected))
        assert error < 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(np.cov(values.T, bias=True), expected, rtol=0, atol=error)


# --- masks --------------------------------------------------------------------------------------


def test_masks_are_the_mean_of_the_channels_from_0_to_1_over_white():
    """Black is outside, white inside; what is transparent is white, as in every picture."""
    colors = np.zeros((36, 48, 4), np.uint8)
    colors[..., 3] = 255
    colors[:9] = (255, 0, 0, 255)
    colors[9:18] = (40, 50, 60, 255)
    colors[18:27] = (0, 0, 0, 0)
    Image.fromarray(colors, "RGBA").save("mask.png")
    config = with_masks(content_masks=("mask.png", "left.png"))
    scene = picture_inputs.resized(config, picture_inputs.load(config), 48)
    mask, left = scene.content_masks
    assert scene.style_masks == ()
    assert (mask.shape, mask.dtype) == ((36, 48), np.float32)
    expected = np.repeat([1 / 3, 50 / 255, 1, 0], 9)
    # Two additions and two divisions in float32.
    expected = np.tile(expected[:, np.newaxis], 48)
    np.testing.assert_allclose(mask, expected, rtol=gamma(4, "float32"))
    np.testing.assert_array_equal(left, np.tile(np.repeat([1.0, 0.0], 24), (36, 1)))


@pytest.mark.parametrize("size", [(9, 12), (36, 48), (12, 8), (18, 1)])
def test_a_mask_brought_to_a_smaller_size_is_the_mean_of_what_each_value_covers(size):
    mask = np.random.default_rng(3).uniform(0, 1, (36, 48)).astype(np.float32)
    height, width = size
    blocks = mask.reshape(height, 36 // height, width, 48 // width)
    small = masks.mask_at(mask, height, width)
    assert small.shape == size
    # Means of rows, then of columns, of what is not negative, in float32; as are NumPy's.
    error = gamma(2 * (36 // height + 48 // width), "float32")
    np.testing.assert_allclose(small, blocks.mean(axis=(1, 3)), rtol=error)
    assert small.min() >= 0
    assert small.max() <= 1


def test_a_mask_brought_to_a_size_that_does_not_divide_it_keeps_its_share():
    mask = np.random.default_rng(4).uniform(0, 1, (37, 49)).astype(np.float32)
    # Of 37 / 8 rows and 49 / 11 columns a value takes 4 or 5, so one of the mask counts too much or
    # too little by as large a share: six times the deviation of a mean of such errors.
    off = (37 / 8 / 4) * (49 / 11 / 4) - 1
    error = float(6 * off * mask.std() / np.sqrt(mask.size))
    assert masks.mask_at(mask, 8, 11).mean() == pytest.approx(mask.mean(), rel=0, abs=error)
    ones = masks.mask_at(np.ones((37, 49), np.float32), 8, 11)
    np.testing.assert_array_equal(ones, np.ones((8, 11)))


def test_a_larger_mask_only_repeats_values():
    mask = np.float32([[0, 1], [0.25, 1]])
    large = masks.mask_at(mask, 4, 6)
    np.testing.assert_array_equal(large, mask.repeat(2, axis=0).repeat(3, axis=1))


@pytest.mark.parametrize("shape", [(72, 96), (18, 24), (27, 36), (100, 133), (100, 134)])
def test_a_mask_may_have_another_size_of_the_same_proportions(shape):
    save_grey("mask.png", np.full(shape, 200))
    config = with_masks(content_masks=("left.png", "mask.png"))
    scene = picture_inputs.resized(config, picture_inputs.load(config), config.size[0])
    assert scene.content_masks[1].shape == shape


def test_an_enlarged_mask_guides_as_the_mask_does():
    mask = np.random.default_rng(5).uniform(0, 255, (36, 48)).astype(np.uint8)
    save_grey("small.png", mask)
    save_grey("large.png", mask.repeat(3, axis=0).repeat(3, axis=1))
    config = with_masks(content_masks=("small.png", "large.png"))
    small, large = picture_inputs.resized(
        config, picture_inputs.load(config), config.size[0]
    ).content_masks
    for size in ((36, 48), (18, 24), (9, 12)):
        # Means in float32 of as many values as a block is high and wide, of either.
        error = gamma((1 + 3) * (36 // size[0] + 48 // size[1]), "float32")
        np.testing.assert_allclose(
            masks.mask_at(large, *size), masks.mask_at(small, *size), rtol=error
        )


@pytest.mark.parametrize(
    ("kind", "role", "proportions"),
    [("content_masks", "content.png", "48×36"), ("style_masks", "a.png", "40×60")],
)
@pytest.mark.parametrize("shape", [(48, 36), (60, 60), (36, 50), (20, 30)])
def test_a_mask_of_other_proportions_is_refused(kind, role, proportions, shape):
    if kind == "style_masks" and shape == (48, 36):
        shape = (40, 60)
    save_grey("mask.png", np.full(shape, 255))
    masks = ("mask.png", "left.png" if kind == "content_masks" else "b.png")
    with pytest.raises(picture_io.PictureError) as refusal:
        picture_inputs.load(with_masks(**{kind: masks}))
    message = str(refusal.value)
    assert message.startswith(f"mask.png: is {shape[1]}×{shape[0]} pixels; ")
    assert f"the mask of {role} ({proportions}) must have the same proportions" in message


@pytest.mark.parametrize("kind", ["content_masks", "style_masks"])
def test_a_black_mask_is_refused(kind):
    shape = (36, 48) if kind == "content_masks" else (32, 33)
    save_grey("mask.png", np.zeros(shape))
    masks = ("left.png" if kind == "content_masks" else "a.png", "mask.png")
    of = "content.png" if kind == "content_masks" else "b.png"
    with pytest.raises(
        picture_io.PictureError, match=rf"mask\.png: is black .* mask of {of} must be"
    ):
        picture_inputs.load(with_masks(**{kind: masks}))
    with_one_pixel = np.zeros(shape)
    with_one_pixel[5, 7] = 1
    save_grey("mask.png", with_one_pixel)
    picture_inputs.load(with_masks(**{kind: masks}))


def test_an_unreadable_mask_is_named():
    Path("text.png").write_text("no picture")
    for name in ("absent.png", "text.png"):
        with pytest.raises(picture_io.PictureError, match=name):
            picture_inputs.load(with_masks(content_masks=("left.png", name)))


def test_pictures_given_as_they_are_are_checked_alike():
    pictures = picture_inputs.load(with_masks(content_masks=("left.png", "right.png"))).pictures
    black = np.zeros_like(pictures.content_masks[0])
    config = with_masks(content_masks=("left.png", "right.png"))
    picture_inputs.check(config, pictures)
    with pytest.raises(picture_io.PictureError, match=r"right\.png: is black"):
        picture_inputs.check(
            config,
            dataclasses.replace(pictures, content_masks=(pictures.content_masks[0], black)),
        )


# --- panoramas ----------------------------------------------------------------------------------


def panorama_config(**changes):
    return dataclasses.replace(CONFIG, projection="equirectangular", size=(100, 200), **changes)


def test_panoramas_are_rounded_and_styles_have_the_pixels_of_the_sphere():
    picture_io.save_picture("content.png", noise(100, 201, 0))  # a column more than twice as wide
    config = panorama_config()
    inputs = picture_inputs.load(config)
    assert {size: shapes.content for size, shapes in inputs.shapes.items()} == {
        100: (64, 128),
        200: (96, 192),
    }
    for size, width in ((100, 128), (200, 192)):
        for tall, wide in inputs.shapes[size].styles:
            assert tall * wide == pytest.approx(sphere.position_count(width), rel=0.02)
    resized = picture_inputs.resized(config, inputs, 200, scale=0.5)
    assert resized.content.shape == (64, 128, 3)


@pytest.mark.parametrize("shape", [(100, 198), (100, 202), (200, 100), (100, 150)])
def test_other_proportions_than_those_of_a_panorama_are_refused(shape):
    picture_io.save_picture("content.png", noise(*shape, 0))
    picture_inputs.load(dataclasses.replace(CONFIG, size=(200,)))
    message = f"content.png: is {shape[1]}×{shape[0]} pixels; with projection equirectangular a "
    with pytest.raises(picture_io.PictureError, match=message + "picture must be twice as wide"):
        picture_inputs.load(panorama_config())


@pytest.fixture
def hints(caplog, monkeypatch):
    """What the module logs, whatever a command that ran before left to the logger above it."""
    monkeypatch.setattr(logging.getLogger("gatys_norm"), "propagate", True)
    with caplog.at_level("INFO", logger=picture_inputs.__name__):
        yield caplog


def test_a_panorama_that_would_be_transferred_as_a_flat_picture_is_told(hints):
    config = dataclasses.replace(CONFIG, size=(200,))
    hint = "projection equirectangular transfers it without a seam"
    for is_panorama in (True, False):
        picture_io.save_picture("content.png", noise(100, 200, 0), is_panorama=is_panorama)
        for projection in ("flat", "equirectangular"):
            hints.clear()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                inputs = picture_inputs.load(dataclasses.replace(config, projection=projection))
            assert inputs.is_panorama == is_panorama
            warned, logged = [str(warning.message) for warning in caught], hints.messages
            is_flat = projection == "flat"
            assert warned == [f"content.png: is a panorama; {hint}"] * (is_flat and is_panorama)
            expected = f"content.png: if it is a panorama of all directions, {hint}"
            assert logged == [expected] * (is_flat and not is_panorama)


def test_other_proportions_get_no_hint(hints):
    picture_inputs.load(CONFIG)
    assert not hints.messages
