"""Odd but valid pictures go through whole transfers, as content and as style.

What each becomes as an array is for `test_images.py`, from where on only the numbers in it matter
to a loss: so those whose numbers are odd meet both losses in both roles, the others each in one.
"""

import json

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from gatys_norm.cli import main as cli
from gatys_norm.images import io as picture_io

WIDTH, HEIGHT = 48, 32
PLAIN = "plain.png"
ITERATIONS = 3

LAYERS = ("--content_layers=conv2_1", "--style_layers=conv1_1,conv2_2")  # of the small network


def pixels(seed, channels=3):
    """Soft shapes and some noise, uint8."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(30, 220, (4, 6, channels)).repeat(8, 0).repeat(8, 1)
    noisy = coarse + generator.normal(0, 10, (HEIGHT, WIDTH, channels))
    return noisy.clip(0, 255).astype(np.uint8)


def picture(mode="RGB", seed=1):
    array = pixels(seed, channels=len(mode))
    return Image.fromarray(array[..., 0] if len(mode) == 1 else array, mode)


def flat(color):
    return Image.new("RGB", (WIDTH, HEIGHT), color)


def save_palette(path):
    """With one entry of the palette transparent and one half so."""
    picture().quantize(16).save(path, transparency=b"\0\x80" + b"\xff" * 14)


def save_sixteen_bits(path):
    deep = pixels(3, 1)[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(path)


def save_turned(path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture().transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)


def save_tagged(path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture().save(path, icc_profile=profile)


def save_bordered(path):
    framed = pixels(4)
    framed[0], framed[-1], framed[:, 0], framed[:, -1] = 0, 255, (255, 0, 0), (0, 0, 255)
    Image.fromarray(framed).save(path)


def save_animation(path):
    frames = [picture(seed=seed).quantize(32) for seed in (5, 6, 7)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


ODD = {  # file name: how it is written
    "rgba.png": lambda path: picture("RGBA").save(path),
    "la.png": lambda path: picture("LA").save(path),
    "palette.png": save_palette,
    "cmyk.jpg": lambda path: picture("CMYK").save(path),
    "sixteen bits.png": save_sixteen_bits,
    "turned.jpg": save_turned,
    "tagged.png": save_tagged,
    "bordered.png": save_bordered,
    "Stadt am Fluß – 川の町 λ.png": lambda path: picture().save(path),
    "moving.gif": save_animation,
    "flat.png": lambda path: flat((90, 140, 200)).save(path),
    "very dark.png": lambda path: Image.fromarray(pixels(8) // 100).save(path),
    "black.png": lambda path: flat("black").save(path),
}
ODD_NUMBERS = ("flat.png", "very dark.png", "black.png", PLAIN)
NOTES = {
    "moving.gif": ["gatys-norm: warning: moving.gif: is animated; its first frame is used"],
}


@pytest.fixture(autouse=True)
def present_folder(tmp_path, monkeypatch):
    """Run in an empty folder with one ordinary picture."""
    monkeypatch.chdir(tmp_path)
    picture(seed=2).save(PLAIN)
    return tmp_path


def finite(text):
    """Read strict JSON: a number that is not finite fails the test."""
    return json.loads(text, parse_constant=pytest.fail)


def cases():
    """Return (name, role, loss) of every transfer."""
    everything = [
        (name, role, loss)
        for name in ODD_NUMBERS
        for role in ("content", "style")
        for loss in ("original", "normalized")
    ]
    others = [name for name in ODD if name not in ODD_NUMBERS]
    return everything + [
        (name, role, loss)
        for name in others
        for role, loss in (("content", "original"), ("style", "normalized"))
    ]


@pytest.mark.usefixtures("small_network", "eagerly")
@pytest.mark.parametrize(("name", "role", "loss"), cases())
def test_odd_pictures_work(name, role, loss, present_folder, capfd):
    if name in ODD:
        ODD[name](name)
    pictures = (name, PLAIN) if role == "content" else (PLAIN, name)
    assert_works(*pictures, loss, LAYERS, present_folder, capfd)


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_the_real_network_sees_something_in_black_and_in_dark(present_folder, real_weights, capfd):
    """The normalized loss divides by the energies of what it sees there."""
    for name in ("black.png", "very dark.png"):
        ODD[name](name)
    weights = [f"--weights={real_weights.source}"]
    assert_works("black.png", "very dark.png", "normalized", weights, present_folder, capfd)


def assert_works(content, style, loss, more_flags, folder, capfd):
    """Assert that a transfer of these pictures leaves its files and makes its loss fall."""
    code = cli.run(
        [
            "gatys-norm",
            f"--content={content}",
            f"--style={style}",
            "--output=Ergebnis – 絵.png",
            *more_flags,
            f"--loss={loss}",
            f"--size={WIDTH}",
            f"--iterations={ITERATIONS}",
            "--log_every=1",
        ]
    )
    out, err = capfd.readouterr()
    assert code == 0, err
    assert "Ergebnis – 絵.png" in out
    notes = [line for line in err.splitlines() if "warning" in line]
    assert notes == NOTES.get(content, NOTES.get(style, []))
    assert {path.name for path in folder.iterdir()} == {
        *(PLAIN, content, style, "Ergebnis – 絵.png", "Ergebnis – 絵.json")
    }
    record = finite((folder / "Ergebnis – 絵.json").read_text())
    assert picture_io.load_picture("Ergebnis – 絵.png").shape == (HEIGHT, WIDTH, 3)
    assert record["loss"]["final"] <= record["loss"]["initial"]
    if content == style:
        assert (record["status"], record["loss"]["final"]) == ("converged", 0)
    else:
        assert record["status"] == "completed"
        assert record["iterations"] == ITERATIONS
        assert record["loss"]["final"] < 0.9 * record["loss"]["initial"]
