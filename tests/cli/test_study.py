"""The flags of `gatys-norm reproduce`: the study and the figures that they describe."""

from pathlib import Path

import pytest

from gatys_norm.cli import errors
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import study as study_flags
from gatys_norm.experiments import figures as paper_figures


def flags(*arguments):
    values = cli_flags.make_flags()
    study_flags.define_flags(values)
    values(["gatys-norm reproduce", *arguments])
    return values


def test_defaults_are_the_papers_study_on_the_samples():
    study = study_flags.study_from_flags(flags())
    styles = tuple(f"{name}.jpg" for name in study_flags.STYLES)
    assert tuple(Path(style).name for style in study.styles) == styles
    assert all(Path(path).is_file() for path in (study.base.content, *study.styles))
    assert not Path(study.base.content).is_absolute()
    expected = paper_figures.Study(study.base, study.styles)
    assert study == expected
    assert study_flags.figures_from_flags(flags()) == paper_figures.FIGURES


def test_every_grid_value_can_be_given():
    study = study_flags.study_from_flags(
        flags(
            *("--content=c.png", "--styles=a.png,b.png", "--size=96", "--preset=fast"),
            *("--lambdas_original=3,2", "--lambdas_normalized=5,4", "--lambdas_by_style=7,8"),
            *("--lambda_normalized=9", "--sizes=48,72", "--boost=11", "--iterations=12"),
            *("--more_contents=d.png,~/e.png", "--starts=5"),
        )
    )
    assert (study.base.content, study.styles) == ("c.png", ("a.png", "b.png"))
    assert (study.lambdas_original, study.lambdas_normalized) == ((3, 2), (5, 4))
    assert (study.lambdas_by_style, study.lambda_normalized) == ((7, 8), 9)
    assert (study.sizes, study.boost) == ((48, 72), 11)
    assert (study.more_contents, study.starts) == (("d.png", str(Path.home() / "e.png")), 5)
    assert (study.base.precision, study.base.iterations) == ("bfloat16", (12,))


def test_a_folder_stands_for_the_pictures_in_it(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden"):
        (tmp_path / name).touch()
    study = study_flags.study_from_flags(
        flags(f"--styles=c.jpg,{tmp_path}", f"--more_contents={tmp_path}", "--lambdas_by_style=7")
    )
    inside = (str(tmp_path / "a.png"), str(tmp_path / "b.JPG"))
    assert study.styles == ("c.jpg", *inside)
    assert study.more_contents == inside
    assert study.lambdas_by_style == (7, 7, 7)


@pytest.mark.parametrize("flag", ["styles", "more_contents"])
def test_a_folder_without_pictures_is_refused(tmp_path, flag):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(errors.InputError, match=f"^--{flag}: {tmp_path}: has no picture; "):
        study_flags.study_from_flags(flags(f"--{flag}={tmp_path}"))


def test_sizes_follow_the_size():
    assert study_flags.study_from_flags(flags("--size=256")).sizes == (128, 256, 512)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("6a,3,2a", ("2a", "3", "6a")),
        ("style_aware,2a", ("2a", "style_aware")),
        ("style_aware,all", (*paper_figures.FIGURES, "style_aware")),
    ],
)
def test_figures_stand_in_the_papers_order(named, expected):
    assert study_flags.figures_from_flags(flags(f"--figures={named}")) == expected


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        ((), "--styles: is needed, the paths of the style pictures"),
        (("--content=c.png",), "--styles: is needed"),
        (("--styles=a.png", "--lambdas_by_style=1"), "--content: is needed, the path of a picture"),
    ],
)
def test_outside_a_clone_the_pictures_are_needed(monkeypatch, tmp_path, arguments, missing):
    monkeypatch.setattr(study_flags, "DATA", tmp_path)
    with pytest.raises(errors.InputError, match=f"^{missing}"):
        study_flags.study_from_flags(flags(*arguments))
    given = flags("--content=c.png", "--styles=a.png", "--lambdas_by_style=1")
    assert study_flags.study_from_flags(given).styles == ("a.png",)


def test_figures_of_panoramas_are_refused():
    with pytest.raises(errors.InputError, match=r"^--projection: is not taken here; "):
        study_flags.study_from_flags(flags("--projection=equirectangular"))
