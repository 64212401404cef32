"""Whole transfers with several styles, in regions, with colors kept, and by Adam.

On a network of a few channels, so that each takes a fraction of a second, and without tracing:
what is computed twice by the same operations is then the same to the bit.
"""

import dataclasses
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from helpers.digests import digest
from helpers.rounding import gamma, unit
from helpers.small_transfers import HEIGHT, LAYERS, STYLE_SHAPE, WIDTH, noise, objective_at
from helpers.strips import all_ways
from helpers.transfers import run_transfer

from gatys_norm import transfer
from gatys_norm.cli import main as cli
from gatys_norm.config import TransferConfig, from_dict
from gatys_norm.images import color as colors
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images import panoramas
from gatys_norm.images.sizes import resize
from gatys_norm.losses import functional
from gatys_norm.network import device, memory
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import folder as run_folder
from gatys_norm.terms import is_style, layer_of

Y, CB, CR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.886 / 1.772],
        [0.701 / 1.402, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
CONFIG = TransferConfig(
    content="content.png",
    style=("x/a.png", "b [2].png"),
    size=(WIDTH,),
    iterations=(4,),
    log_every=2,
    **LAYERS,
)
ALONE = dataclasses.replace(CONFIG, style="x/a.png")
REGIONS = dataclasses.replace(
    CONFIG,
    style_blend=(7.0, 3.0),
    content_masks=("left.png", "right.png"),
    style_masks=("of a.png", "of b.png"),
)
A_FIFTH = 0.2
BY_ADAM = {"optimizer": "adam", "learning_rate": 2.0}
both_losses = pytest.mark.parametrize("loss", ["original", "normalized"])
both_optimizers = pytest.mark.parametrize("changes", [{}, BY_ADAM], ids=["lbfgs", "adam"])

pytestmark = [pytest.mark.usefixtures("eagerly", "present_folder")]


@pytest.fixture
def present_folder(tmp_path, monkeypatch, small_network):
    """Run in a folder that holds all the pictures, on the small network."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    picture_io.save_picture("content.png", noise(HEIGHT, WIDTH, 1))
    picture_io.save_picture("x/a.png", noise(*STYLE_SHAPE, 2))
    picture_io.save_picture("b [2].png", noise(26, 22, 3, low=100))
    left = np.zeros((HEIGHT, WIDTH, 3))
    left[:, :10] = 255
    picture_io.save_picture("left.png", left)
    picture_io.save_picture("right.png", 255 - left)
    picture_io.save_picture("of a.png", noise(*STYLE_SHAPE, 4))
    picture_io.save_picture("of b.png", noise(26, 22, 5))
    picture_io.save_picture("white.png", np.full((2 * HEIGHT, 2 * WIDTH, 3), 255))
    picture_io.save_picture("white of a.png", np.full((*STYLE_SHAPE, 3), 255))
    return tmp_path


def stylize(config, *arguments, **changes):
    return run_transfer(dataclasses.replace(config, **changes), *arguments)


def without_times(record):
    """The record without what a clock put in."""
    stages = [{**stage, "seconds": None} for stage in record["stages"]]
    return record | {"timing": None, "stages": stages}


def assert_measures_are_of(result, target, style="a"):
    """The measures are those of the terms, which are computed and divided once more."""
    for term, values in result.record["terms"].items():
        measured, layer = result.record["metrics"], layer_of(term)
        elements = target.targets[term].shape.num_elements()
        # Two sums of squared differences, or squares, all above 0, and their quotient; each twice.
        error = 2 * gamma(2 * (elements + 2) + 1, "float32")
        energy = float(functional.energy(target.targets[term]))
        expected = pytest.approx(values["final"] / energy, rel=error)
        if not is_style(term):
            assert measured["content_distance"][layer] == expected
            continue
        key = f"{term.partition('[')[2].partition(']')[0]}/{layer}"
        assert measured["style_distance"][key] == expected
        left = np.sqrt(values["final"] / values["initial"])
        expected = pytest.approx(1 - left, rel=0, abs=error * left)
        assert measured["style_reflection"][key] == expected


def assert_same_chroma(image, content):
    """One amount was added to all channels of a pixel, each rounded; sums here are float64's."""
    for chroma in (CB, CR):
        error = 1.01 * unit("float32") * (np.abs(image) @ np.abs(chroma))
        assert np.all(np.abs(image @ chroma - content @ chroma) <= error)


def assert_same_result(actual, expected):
    np.testing.assert_array_equal(actual.image, expected.image)
    assert without_times(actual.record) == without_times(expected.record)


# --- several styles -----------------------------------------------------------------------------


@both_losses
@both_optimizers
def test_the_whole_share_for_one_style_is_that_style_alone(loss, changes):
    blended = stylize(CONFIG, loss=loss, style_blend=(1.0, 0.0), **changes)
    alone = stylize(ALONE, loss=loss, **changes)
    np.testing.assert_array_equal(blended.image, alone.image)
    assert blended.record["loss"] == alone.record["loss"]
    terms = blended.record["terms"]
    assert list(terms) == [
        "content/conv2_1",
        *("style[a]/conv1_1", "style[a]/conv2_2", "style[b_2_]/conv1_1", "style[b_2_]/conv2_2"),
    ]
    for term, values in terms.items():
        if "[b_2_]" in term:
            assert values["coefficient"] == 0
            assert values["final"] > 0
        else:
            assert values == alone.record["terms"][term.replace("[a]", "")]
    reflection = blended.record["metrics"]["style_reflection"]
    assert list(reflection) == ["a/conv1_1", "a/conv2_2", "b_2_/conv1_1", "b_2_/conv2_2"]


@both_losses
def test_shares_count_relative_to_their_sum(loss):
    expected = stylize(CONFIG, loss=loss, style_blend=(0.7, 0.3))
    result = stylize(CONFIG, loss=loss, style_blend=(7.0, 3.0))
    np.testing.assert_array_equal(result.image, expected.image)
    equal = stylize(CONFIG, loss=loss)
    np.testing.assert_array_equal(equal.image, stylize(CONFIG, loss=loss, style_blend=(5, 5)).image)
    assert np.abs(equal.image - expected.image).max() > 1


@both_losses
def test_the_same_style_twice_is_that_style(loss):
    """Where two halves are summed first: in the last layer, without content."""
    changes = {"loss": loss, "style_layers": ("conv2_2",), "lambda_os": 0.0}
    twice = stylize(CONFIG, style=("x/a.png", "x/a.png"), **changes)
    alone = stylize(ALONE, **changes)
    assert list(twice.record["terms"])[1:] == ["style[a]/conv2_2", "style[a#2]/conv2_2"]
    np.testing.assert_array_equal(twice.image, alone.image)
    assert twice.record["loss"] == alone.record["loss"]


@both_losses
def test_the_same_style_twice_has_the_loss_of_that_style(loss):
    twice = stylize(CONFIG, loss=loss, style=("x/a.png", "x/a.png"), iterations=(1,))
    alone = stylize(ALONE, loss=loss, iterations=(1,))
    sums = 2 * gamma(len(twice.record["terms"]))  # in another order; all terms are above 0
    expected = pytest.approx(alone.record["loss"]["initial"], rel=sums)
    assert twice.record["loss"]["initial"] == expected


@both_losses
def test_every_style_draws_the_result_to_itself(loss):
    reflections = {
        shares: stylize(
            CONFIG, loss=loss, style_blend=shares, lambda_os=0.0, iterations=(8,)
        ).record["metrics"]["style_distance"]
        for shares in ((9.0, 1.0), (1.0, 9.0))
    }
    for style, near, far in (("a", (9, 1), (1, 9)), ("b_2_", (1, 9), (9, 1))):
        for layer in CONFIG.style_layers:
            name = f"{style}/{layer}"
            assert reflections[near][name] < reflections[far][name]


def test_a_start_from_the_style_is_from_the_first():
    seen = []
    stylize(CONFIG, lambda progress: seen.append(progress.image()) or True, init="style")
    both = [picture_io.load_picture(path) for path in CONFIG.style]
    distances = [np.abs(resize(s, HEIGHT, WIDTH) - seen[0]).mean() for s in both]
    assert distances[0] < 0.5 * distances[1]


# --- the style-aware loss -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{}, BY_ADAM, {"parametrization": "fourier"}], ids=["lbfgs", "adam", "fourier"]
)
@all_ways
def test_the_style_aware_loss_falls_and_is_measured_like_the_others(changes, strips, monkeypatch):
    monkeypatch.setattr(memory, "plan_size", lambda *_: memory.Plan(2.0**30, strips))
    result = stylize(REGIONS, loss="style_aware", **changes)
    loss = result.record["loss"]
    assert loss["final"] < loss["initial"]
    posed = objective_at(dataclasses.replace(REGIONS, loss="style_aware"), WIDTH)
    compared = posed.with_squared_distances().terms(posed.position(result.image))
    for term, values in result.record["terms"].items():
        if not is_style(term):
            continue
        assert 0 < values["final"] < 1
        style, layer = term[6:].split("]/")
        energy = float(functional.energy(posed.targets[term]))
        expected = pytest.approx(compared[term] / energy, rel=1e-4)
        assert result.record["metrics"]["style_distance"][f"{style}/{layer}"] == expected
        assert compared[term] / energy != pytest.approx(values["final"], rel=0.1)


# --- regions ------------------------------------------------------------------------------------


@both_losses
@all_ways
def test_white_masks_are_no_masks(loss, strips, monkeypatch):
    monkeypatch.setattr(memory, "plan_size", lambda *_: memory.Plan(2.0**30, strips))
    plain = stylize(ALONE, loss=loss)
    masked = stylize(
        ALONE, loss=loss, content_masks=("white.png",), style_masks=("white of a.png",)
    )
    assert plain.record["stages"][0]["strips"] == strips._asdict()
    np.testing.assert_array_equal(masked.image, plain.image)
    for name in ("loss", "terms", "history", "metrics", "evaluations"):
        assert masked.record[name] == plain.record[name]


@both_losses
def test_what_no_style_is_for_stays_as_it_is(loss):
    """The network sees eight pixels far at most; with content at its best, nothing else pulls."""
    one = dataclasses.replace(ALONE, content_masks=("strip.png",), lambda_os=0.0, loss=loss)
    strip = np.zeros((HEIGHT, WIDTH, 3))
    strip[:, :6] = 255
    picture_io.save_picture("strip.png", strip)
    moved = np.abs(stylize(one).image - picture_io.load_picture("content.png")).max(axis=(0, 2))
    assert (moved[:6] > 1).all()
    assert (moved[17:] == 0).all()


def test_the_record_of_regions_is_of_regions():
    """Distances computed once more from the pictures, with an objective set up by hand."""
    result = stylize(REGIONS)
    inputs = picture_inputs.load(REGIONS)
    target = objective_at(REGIONS, WIDTH)
    for when, image in (("initial", inputs.pictures.content), ("final", result.image)):
        terms = target.terms(target.position(image))
        assert result.record["loss"][when] == target.loss(terms)
        assert {name: term[when] for name, term in result.record["terms"].items()} == terms
    assert_measures_are_of(result, target)
    assert result.record["stages"][0]["style_shapes"] == [
        list(style.shape[:2]) for style in picture_inputs.resized(REGIONS, inputs, WIDTH).styles
    ]


def test_a_stroke_size_is_recorded_and_repeated_and_may_be_missing_from_a_record():
    result = stylize(REGIONS, stroke_size=0.9)
    again = run_transfer(from_dict(result.record["config"]))
    assert_same_result(again, result)
    larger = stylize(REGIONS)
    (stage,), (larger_stage,) = result.record["stages"], larger.record["stages"]
    for shape, other in zip(stage["style_shapes"], larger_stage["style_shapes"], strict=True):
        assert np.prod(shape) == pytest.approx(0.9**2 * np.prod(other), rel=0.05)
    for name, term in result.record["terms"].items():
        is_same = term["coefficient"] == larger.record["terms"][name]["coefficient"]
        assert is_same is not is_style(name)
    older = larger.record["config"].copy()
    del older["stroke_size"]
    assert_same_result(run_transfer(from_dict(older)), larger)


@pytest.mark.parametrize("changes", [{"color": "luminance"}, BY_ADAM], ids=str)
def test_a_border_is_recorded_and_repeated_and_may_be_missing_from_a_record(changes):
    wrapped = {"border": "wrap", "size": (24, 48), **changes}
    result = stylize(REGIONS, **wrapped)
    assert result.image.shape == (32, 48, 3)
    assert_same_result(run_transfer(from_dict(result.record["config"])), result)
    assert result.record["loss"]["final"] < result.record["loss"]["initial"]
    plain = stylize(REGIONS, **changes)
    older = plain.record["config"].copy()
    assert older.pop("border") == "zero"
    assert_same_result(run_transfer(from_dict(older)), plain)


def run_command(*flags):
    return cli.run(["gatys-norm", *flags])


def assert_same_file(path, other):
    assert digest(path.read_bytes()) == digest(other.read_bytes())


def test_settings_taken_from_a_run_in_regions_make_its_picture_again(present_folder, capsys):
    given = [
        "--content=content.png",
        '--style=x/a.png,"b [2].png"',
        "--style_blend=7,3",
        "--content_masks=left.png,right.png",
        "--style_masks=of a.png,of b.png",
        "--color=match",
        "--content_layers=conv2_1",
        "--style_layers=conv1_1,conv2_2",
        f"--size={WIDTH}",
        "--iterations=3",
    ]
    assert run_command(*given, "--output=first.png") == 0
    record = json.loads((present_folder / "first.json").read_text())
    assert "style[b_2_]/conv2_2" in capsys.readouterr().out
    assert record["config"]["style"] == ["x/a.png", "b [2].png"]
    assert record["config"]["content_masks"] == ["left.png", "right.png"]
    assert json.loads(picture_io.load_text("first.png")["config"]) == record["config"]
    for source in ("first.png", "first.json"):
        assert run_command(f"--config_from={source}", "--output=again.png") == 0
        assert_same_file(present_folder / "again.png", present_folder / "first.png")


def test_a_style_with_a_comma_in_its_name_is_quoted_on_the_command_line_alone(present_folder):
    (present_folder / "x" / "a.png").rename(present_folder / "a, b.png")
    layers = ["--content_layers=conv2_1", "--style_layers=conv1_1"]
    flags = ["--content=content.png", f"--size={WIDTH}", "--iterations=2", "--output=out.png"]
    assert run_command('--style="a, b.png"', *flags, *layers) == 0
    record = json.loads((present_folder / "out.json").read_text())
    assert record["config"]["style"] == "a, b.png"
    plain = stylize(ALONE, style="a, b.png", style_layers=("conv1_1",), iterations=(2,))
    saved = np.rint(np.clip(plain.image, 0, 255))
    np.testing.assert_array_equal(picture_io.load_picture("out.png"), saved)


# --- checkpoints --------------------------------------------------------------------------------


def checkpoint_at(config, iteration):
    """Stop a transfer there; returns its checkpoint, through the file and back."""
    taken = []

    def stop(progress):
        if progress.iteration >= iteration:
            taken.append(progress.checkpoint())
        return bool(taken)

    interrupted = stylize(config, stop, None, (1,))
    assert interrupted.record["status"] == "interrupted"
    checkpoints.save("x.checkpoint.npz", taken[0])
    return transfer.Checkpoint(*checkpoints.load("x.checkpoint.npz"))


@pytest.mark.slow
@both_optimizers
@pytest.mark.parametrize("color", ["style", "luminance"])
def test_stopped_and_resumed_equals_never_stopped(changes, color):
    config = dataclasses.replace(REGIONS, size=(20, 24), iterations=(2, 3), color=color, **changes)
    whole = stylize(config)
    for iteration in (1, 2, 4):  # within a size, at its end, within the next
        resumed = stylize(config, None, checkpoint_at(config, iteration))
        assert_same_result(resumed, whole)


@pytest.mark.parametrize("name", ["right.png", "of b.png", "b [2].png", "left.png", "x/a.png"])
def test_a_checkpoint_is_refused_after_any_picture_has_changed(name, present_folder):
    checkpoint = checkpoint_at(REGIONS, 2)
    picture = picture_io.load_picture(name)
    picture[3, 4] = 128
    picture_io.save_picture(name, picture)
    changed = f"is another one, {re.escape(name)} has changed"
    with pytest.raises(transfer.CheckpointMismatchError, match=changed):
        stylize(REGIONS, None, checkpoint)


def test_a_checkpoint_of_the_other_optimizer_is_refused():
    with pytest.raises(transfer.CheckpointMismatchError, match="optimizer is lbfgs there and adam"):
        stylize(REGIONS, None, checkpoint_at(REGIONS, 2), **BY_ADAM)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("momentum", lambda values: values[:-3]),
        ("velocity", lambda values: values * np.float32(np.nan)),
        ("velocity", lambda values: values - np.float32(1)),
        ("momentum", lambda values: values.astype(np.float64)),
    ],
)
def test_a_damaged_checkpoint_of_adam_is_refused(name, change):
    config = dataclasses.replace(ALONE, **BY_ADAM)
    arrays, facts = checkpoint_at(config, 2)
    damaged = transfer.Checkpoint(arrays | {name: change(arrays[name])}, facts)
    with pytest.raises(transfer.CheckpointMismatchError, match="is damaged"):
        stylize(config, None, damaged)


# --- colors ------------------------------------------------------------------------------------


@both_losses
@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_luminance_alone_is_transferred(loss, kind):
    config = dataclasses.replace(ALONE, color="luminance", size=(20,), loss=loss)
    result = stylize(config, parametrization=kind)
    content = resize(picture_io.load_picture("content.png"), 17, 20)
    assert result.image.shape == content.shape
    assert_same_chroma(result.image, content)
    assert np.abs(result.image @ Y - content @ Y).mean() > 2
    assert result.record["loss"]["final"] < result.record["loss"]["initial"]


@both_losses
def test_the_record_of_luminance_is_that_of_its_luminance(loss):
    """x itself is in the checkpoint; the picture has its luminance and the content's colors."""
    seen = []
    config = dataclasses.replace(CONFIG, color="luminance", loss=loss)
    result = stylize(config, lambda progress: seen.append(progress.checkpoint()) and False)
    target = objective_at(config, WIDTH)
    start = picture_inputs.resized(config, picture_inputs.load(config), WIDTH).content
    end = tf.constant(seen[-1].arrays["position"])
    for when, place in (("initial", target.position(start)), ("final", end)):
        terms = target.terms(place)
        assert result.record["loss"][when] == target.loss(terms)
        assert {name: term[when] for name, term in result.record["terms"].items()} == terms
    content = picture_io.load_picture("content.png")
    moved = colors.with_luminance_of(target.image(end).numpy(), content)
    np.testing.assert_array_equal(result.image, moved)
    assert_measures_are_of(result, target)


def test_pictures_on_the_way_have_the_contents_colors_too():
    content = picture_io.load_picture("content.png")
    seen = []
    stylize(ALONE, lambda progress: seen.append(progress.image()) and False, color="luminance")
    for image in seen:
        assert_same_chroma(image, content)


def test_matched_colors_are_those_of_the_style_matched_beforehand():
    """The same as a style file that was matched by hand, but for its rounding to 8 bits.

    That is seen in the result, but far less than whether colors were matched: a fifth at most.
    """
    content, style = (picture_io.load_picture(path) for path in ("content.png", "x/a.png"))
    style = np.rint(style * [0.3, 0.1, 0.2] + [120, 20, 60])
    picture_io.save_picture("x/a.png", style)
    values, wanted = (picture.reshape(-1, 3).astype(np.float64) for picture in (style, content))

    def power(of, exponent):
        variances, axes = np.linalg.eigh(np.cov(of.T, bias=True))
        return (axes * variances**exponent) @ axes.T

    turned = (values - values.mean(axis=0)) @ (power(wanted, 0.5) @ power(values, -0.5)).T
    picture_io.save_picture("by hand.png", (turned + wanted.mean(axis=0)).reshape(style.shape))
    expected = stylize(ALONE, style="by hand.png")
    plain, result = stylize(ALONE), stylize(ALONE, color="match")
    error = np.abs(result.image - expected.image).mean()
    assert error < A_FIFTH * np.abs(result.image - plain.image).mean()
    by_hand, unmatched, matched = (
        one.record["loss"]["initial"] for one in (expected, plain, result)
    )
    assert abs(matched - by_hand) < A_FIFTH * abs(unmatched - by_hand)


# --- Adam ---------------------------------------------------------------------------------------


@both_losses
@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_adam_evaluates_once_an_iteration_and_goes_down(loss, kind):
    config = dataclasses.replace(ALONE, loss=loss, parametrization=kind, iterations=(20,))
    record = stylize(config, **BY_ADAM).record
    assert record["status"] == "completed"
    assert (record["iterations"], record["evaluations"]) == (20, 21)
    assert record["loss"]["final"] < 0.7 * record["loss"]["initial"]  # down, and far
    assert [row["iteration"] for row in record["history"]] == [*range(0, 21, 2)]
    assert [row["evaluations"] for row in record["history"]] == [*range(1, 22, 2)]


@both_losses
def test_adam_moves_each_value_by_the_rate_at_first(loss):
    content = picture_io.load_picture("content.png")
    moved = stylize(ALONE, loss=loss, iterations=(1,), **BY_ADAM).image - content
    # β₂ as a float32 (see test_adam.py), and the values, up to 257, to which the step is added.
    error = 2 * 1.1 * unit("float32") / (1 - 0.999) + 257 * unit("float32")
    assert np.abs(moved).max() <= 2 + error
    # ε takes 3e-6 of a gradient of the root mean square, 3e-4 of one of a hundredth of that.
    assert np.median(np.abs(moved)) >= 2 * (1 - 3.2e-4) - error


def test_adam_works_from_size_to_size():
    config = dataclasses.replace(ALONE, size=(20, 22, 24), iterations=(2, 3, 4), **BY_ADAM)
    record = stylize(config).record
    counts = [(stage["iterations"], stage["evaluations"]) for stage in record["stages"]]
    assert counts == [(2, 3), (3, 4), (4, 5)]
    assert (record["iterations"], record["evaluations"]) == (9, 12)


def test_adam_ends_in_float32_too(monkeypatch):
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: True)
    fine = stylize(ALONE, iterations=(10,), **BY_ADAM)
    coarse = stylize(ALONE, iterations=(10,), precision="bfloat16", **BY_ADAM)
    assert coarse.record["network_precision"] == "bfloat16"
    assert coarse.record["iterations"] == 10
    assert coarse.record["evaluations"] == 12  # the start, and once more where float32 begins
    # The small network is one and the same in both, so only the seam could differ.
    np.testing.assert_array_equal(coarse.image, fine.image)


def test_adam_keeps_no_correction_pairs(present_folder):
    """Whatever the history: position, gradient and two moments, and a few numbers."""
    for history in (1, 500):
        arrays, _ = checkpoint_at(dataclasses.replace(ALONE, history=history, **BY_ADAM), 2)
        values = sum(array.size for array in arrays.values())
        assert 4 * HEIGHT * WIDTH * 3 <= values < 4 * HEIGHT * WIDTH * 3 + 10


def test_an_interrupted_run_of_adam_goes_on_from_the_command_line(present_folder, monkeypatch):
    flags = [
        *("--content=content.png", "--style=x/a.png", "--optimizer=adam", "--learning_rate=2"),
        *("--content_layers=conv2_1", "--style_layers=conv1_1,conv2_2", f"--size={WIDTH}"),
        *("--iterations=6", "--checkpoint_every=2"),
    ]
    assert run_command(*flags, "--output=whole.png") == 0
    save, saved = run_folder.save_result, []
    monkeypatch.setattr(run_folder, "save_result", lambda *what, **_: saved.append(what) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_command(*flags, "--output=parts.png")
    monkeypatch.setattr(run_folder, "save_result", save)
    assert checkpoints.load("parts.checkpoint.npz")[1]["iterations"] == 6
    assert run_command(*flags, "--output=parts.png", "--resume") == 0
    assert_same_file(present_folder / "parts.png", present_folder / "whole.png")


# --- panoramas ----------------------------------------------------------------------------------


@pytest.fixture
def panorama():
    """Settings of a transfer to a panorama, and the panorama turned by 90° as turned.png."""
    picture = noise(32, 64, 11)
    picture_io.save_picture("panorama.png", picture)
    picture_io.save_picture("turned.png", np.roll(picture, 16, axis=1))
    return dataclasses.replace(
        CONFIG,
        content="panorama.png",
        size=(64,),
        iterations=(6,),
        projection="equirectangular",
    )


@pytest.mark.parametrize(
    "changes",
    [{}, {"loss": "original"}, {"init": "noise"}, {"continuation": "rank"}, {"color": "luminance"}],
    ids=str,
)
def test_a_panorama_that_is_turned_has_the_same_result_turned(panorama, changes):
    result = stylize(panorama, **changes)
    assert result.image.shape == (32, 64, 3)
    assert result.record["loss"]["final"] < result.record["loss"]["initial"]
    turned = stylize(panorama, content="turned.png", **changes)
    np.testing.assert_array_equal(np.roll(turned.image, -16, axis=1), result.image)
    content = picture_io.load_picture("panorama.png")
    if "init" in changes:
        return
    # It lies where the content lies, and not where it was computed.
    distances = [
        np.abs(np.roll(result.image, 16 * turns, 1) - content).mean() for turns in range(4)
    ]
    assert 1 < distances[0] < 0.7 * min(distances[1:])


def test_a_panorama_that_is_not_turned_first_has_the_same_result_but_for_rounding(
    panorama, monkeypatch
):
    monkeypatch.setattr(panoramas, "quarter_turns", lambda _: 0)
    result, turned = stylize(panorama), stylize(panorama, content="turned.png")
    difference = np.roll(turned.image, -16, axis=1) - result.image
    assert 0 < np.sqrt(np.square(difference).mean()) < 0.1


def test_a_panorama_is_repeated_and_resumed(panorama):
    config = dataclasses.replace(panorama, iterations=(4,), parametrization="fourier")
    whole = stylize(config)
    assert_same_result(run_transfer(from_dict(whole.record["config"])), whole)
    assert_same_result(stylize(config, None, checkpoint_at(config, 2)), whole)


def test_a_panorama_grows(panorama):
    result = stylize(panorama, size=(64, 128), iterations=(1,))
    assert result.image.shape == (64, 128, 3)
    assert [(stage["height"], stage["width"]) for stage in result.record["stages"]] == [
        (32, 64),
        (64, 128),
    ]
