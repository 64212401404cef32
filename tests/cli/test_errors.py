"""Errors of the library as the command line says them."""

import pytest

from gatys_norm.cli import errors


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("size: 4096 needs about 9 GiB", "--size: 4096 needs about 9 GiB"),
        ("weights: a.h5: no such file", "--weights: a.h5: no such file"),
        ("--size: as it is", "--size: as it is"),
        ("a.png: No such file", "a.png: No such file"),
        ("sizes: no setting", "sizes: no setting"),
        ("size matters", "size matters"),
        ("size:none", "size:none"),
        ("", ""),
    ],
)
def test_a_setting_at_the_beginning_gets_the_dashes_of_its_flag(message, line):
    assert errors.with_dashes(message) == line


@pytest.mark.parametrize(
    ("prefix", "line"),
    [
        ("", "--size: is wrong"),
        ("--", "--size: is wrong"),
        ("--config_from: ", "--config_from: size: is wrong"),
    ],
)
def test_errors_become_one_line(prefix, line):
    with pytest.raises(errors.InputError) as caught, errors.refusing(ValueError, prefix=prefix):
        raise ValueError("size:\n  is   wrong")
    assert str(caught.value) == line


def test_other_errors_pass():
    with pytest.raises(KeyError), errors.refusing(ValueError, OSError):
        raise KeyError("size")


def test_a_file_that_could_not_be_written_is_named_with_the_reason_and_what_is_kept(capsys):
    full = OSError(28, "No space left on device", "elsewhere.png")
    assert errors.report_unwritten("out.png", full, "the rest is kept") == errors.FAILED
    assert errors.report_unwritten("out.png", ValueError("too wide"), "nothing") == errors.FAILED
    assert capsys.readouterr().err.splitlines() == [
        "gatys-norm: out.png: could not be written (No space left on device); the rest is kept",
        "gatys-norm: out.png: could not be written (too wide); nothing",
    ]
