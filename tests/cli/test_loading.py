"""What a command shows of the library's warnings and log: lines on standard error."""

import importlib
import logging
import sys
import warnings

import pytest

from gatys_norm.cli import loading

LIBRARY = logging.getLogger("gatys_norm.network.weights")


@pytest.fixture(autouse=True)
def shown_warnings():
    """Show warnings as a command does, for the time of a test."""
    with warnings.catch_warnings():
        loading.show_warnings()
        yield


def warn_of_fallback():
    """Warn as `weights.locate` does."""
    warning = UserWarning("weights: the copy is used")
    warning.__cause__ = ValueError("URL fetch failure on\n  https://host/file")
    warnings.warn(warning, stacklevel=1)


def test_a_warning_is_one_line_without_its_cause(capsys):
    loading.set_verbosity(0)
    warn_of_fallback()
    LIBRARY.info("weights: from the cache")
    assert capsys.readouterr() == ("", "gatys-norm: warning: --weights: the copy is used\n")


def test_a_warning_that_comes_again_is_shown_once_for_each_command(capsys):
    for _ in range(2):
        loading.show_warnings()
        for _ in range(3):
            with warnings.catch_warnings():  # after which Python would show all of them again
                warn_of_fallback()
    assert capsys.readouterr().err == 2 * "gatys-norm: warning: --weights: the copy is used\n"


@pytest.mark.parametrize("verbosity", [1, 2])
def test_from_verbosity_1_on_its_cause_and_the_log_are_lines_too(capsys, verbosity):
    loading.set_verbosity(verbosity)
    warn_of_fallback()
    LIBRARY.info("weights: from the cache")
    LIBRARY.debug("nobody asked for this")
    assert capsys.readouterr() == (
        "",
        "gatys-norm: warning: --weights: the copy is used\n"
        "gatys-norm: URL fetch failure on https://host/file\n"
        "gatys-norm: weights: from the cache\n",
    )


def test_another_command_in_the_same_process_has_its_own_verbosity(capsys):
    for verbosity in (1, 1, 0):
        loading.set_verbosity(verbosity)
        LIBRARY.info("weights: from the cache")
    assert capsys.readouterr().err == 2 * "gatys-norm: weights: from the cache\n"


def test_warnings_of_other_packages_are_not_shown(capsys):
    loading.set_verbosity(1)
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    logging.getLogger("another").info("hello")
    assert capsys.readouterr() == ("", "")


def test_a_hidden_package_is_as_if_not_installed_until_the_end():
    sys.modules.pop("tabnanny", None)
    with loading._hidden("tabnanny"), pytest.raises(ImportError):
        importlib.import_module("tabnanny")
    assert importlib.import_module("tabnanny") is sys.modules["tabnanny"]


def test_a_package_that_is_loaded_is_not_hidden():
    with loading._hidden("logging"):
        assert importlib.import_module("logging") is logging
    assert sys.modules["logging"] is logging
