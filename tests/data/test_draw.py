"""`data/draw/draw.py`: what it answers and refuses; `test_end_to_end` compares pictures."""

import draw
import pytest
from absl import flags
from helpers.commands import outcome
from helpers.disk import limited_file_size
from PIL import Image

from gatys_norm.cli import program


@pytest.fixture(autouse=True)
def two_pictures(monkeypatch):
    """Let the program have two pictures that are drawn at once."""
    pictures = {name: lambda: Image.effect_noise((64, 48), 90) for name in ("first", "second")}
    monkeypatch.setattr(draw, "PICTURES", pictures)


def call(*arguments):
    """Run the program here; returns (code, output, errors)."""
    words = ["draw.py", *map(str, arguments)]
    given = draw.__doc__, draw.draw, words, draw.define_flags, flags.FlagValues()
    return outcome(program.call, *given)


def test_help_describes_the_program():
    code, output, errors = call("--help")
    assert (code, errors) == (0, "")
    assert "Draw the sample pictures" in output
    assert "--output_dir: folder" in output


def test_pictures_go_into_a_folder_that_is_made(tmp_path):
    folder = tmp_path / "new" / "samples"
    assert call(f"--output_dir={folder}") == (0, "", "")
    assert sorted(path.name for path in folder.iterdir()) == ["first.jpg", "second.jpg"]
    with Image.open(folder / "second.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 48))


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--wrong=1", "'wrong'"),
        ("--output_dir=", "--output_dir: is needed, folder"),
        ("somewhere", "unexpected 'somewhere'"),
        ("--output_dir=file", "--output_dir: file: is no folder and cannot be made one"),
        ("--output_dir=file/below", "--output_dir: file/below: is no folder and cannot be made"),
        ("--output_dir=taken", "--output_dir: taken/second.jpg: is a folder; a file"),
    ],
)
def test_bad_input_is_one_line_and_draws_nothing(tmp_path, monkeypatch, argument, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"a file")
    (tmp_path / "taken" / "second.jpg").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    code, output, errors = call(argument)
    assert (code, output) == (2, "")
    assert errors.startswith("draw.py: ")
    assert errors.count("\n") == 1
    assert said in errors
    assert sorted(tmp_path.rglob("*")) == before


def test_full_disk_is_one_line_and_leaves_no_half_picture(tmp_path):
    with limited_file_size(1000):
        code, _, errors = call(f"--output_dir={tmp_path}")
    assert code == 1
    assert errors.count("\n") == 1
    assert "first.jpg: could not be written" in errors
    assert list(tmp_path.iterdir()) == []
