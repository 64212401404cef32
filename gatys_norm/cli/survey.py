"""The command `gatys-norm survey`: build, serve and evaluate the paper's Table 1."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from absl import flags

from gatys_norm import files
from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.images import io as picture_io
from gatys_norm.survey import answers
from gatys_norm.survey import build as survey_build
from gatys_norm.survey import model as survey_model
from gatys_norm.survey import pairs as survey_pairs
from gatys_norm.text import one_line

USAGE = """Repeat the paper's Table 1: viewers rate corresponding pictures of both losses.

    gatys-norm survey build --run_dir=results/reproduction --output_dir=results/survey
    gatys-norm survey serve --survey_dir=results/survey
    gatys-norm survey table results/survey/answers/*.csv

Each with --help for its flags. The page of a survey, page/index.html, also works without a server,
opened from a folder: then the viewer downloads the answers at the end.
"""
BUILD_USAGE = """Make the folder of a survey.

    gatys-norm survey build --run_dir=RUN --output_dir=SURVEY
    gatys-norm survey build --pairs=PAIRS.csv --names=mine,theirs --output_dir=SURVEY

In it page/ is to be handed out or served, and survey.json to be kept to yourself.
"""
SERVE_USAGE = """Serve the page of a survey and keep the answers in its answers/, until Ctrl-C.

    gatys-norm survey serve --survey_dir=SURVEY
"""
TABLE_USAGE = """Print Table 1 from answer files, and write it into the survey.

    gatys-norm survey table SURVEY/answers/*.csv

The files are table-1.md and table-1.csv. If the survey was built from a reproduction, its
report.html gets the table too.
"""
LOSSES = ("original loss", "normalized loss")


def run(argv: Sequence[str]) -> int:
    """Run the command that the second word names; return the exit code."""
    name = argv[1] if len(argv) > 1 else ""
    if name not in COMMANDS:
        return program.call(USAGE, refuse, argv[:2], None, flags.FlagValues(), True)
    usage, command, define_flags = COMMANDS[name]
    words = [f"{argv[0]} {name}", *argv[2:]]
    takes_operands = command is table
    return program.call(usage, command, words, define_flags, flags.FlagValues(), takes_operands)


def refuse(_values: flags.FlagValues, operands: Sequence[str]) -> NoReturn:
    """Raise `InputError` with the names of the commands."""
    ending = f", not {operands[0]!r}" if operands else ""
    raise InputError(f"a command is needed: {', '.join(COMMANDS)}{ending}")


# --- build --------------------------------------------------------------------------------------


def define_build_flags(values: flags.FlagValues) -> None:
    """Flags of `build`."""
    define_path = functools.partial(cli_flags.define_path, flag_values=values)
    define_number = functools.partial(flags.DEFINE_float, flag_values=values)
    define_path("run_dir", None, "folder of a finished gatys-norm reproduce, whose pairs to rate")
    define_path(
        "pairs",
        None,
        f"or a list of pairs: CSV with columns "
        f"{','.join(survey_pairs.COLUMNS)}, and if wanted "
        f"{','.join(survey_pairs.OPTIONAL_COLUMNS)} ({' or '.join(survey_pairs.USES)})",
    )
    define_path("output_dir", None, "folder to make")
    flags.DEFINE_list(
        "names", None, "what A and B are; default A,B, or both losses", flag_values=values
    )
    define_number("show_seconds", 5.0, "how long each picture is shown")
    define_number("score_seconds", 5.0, "how long both can be scored")


def build(values: flags.FlagValues) -> None:
    """Make the folder of a survey."""
    if bool(values.run_dir) == bool(values.pairs):
        raise InputError("--run_dir: is needed, or --pairs, and not both")
    names = names_from_flags(values)
    folder = Path(cli_flags.required(values, "output_dir"))
    pairs_path = list_of_pairs(values)
    with refusing(
        survey_model.SurveyError, prefix=f"--{'run_dir' if values.run_dir else 'pairs'}: "
    ):
        pairs = survey_pairs.load(pairs_path)
    times = {name: getattr(values, name) for name in ("show_seconds", "score_seconds")}
    with refusing(survey_model.SurveyError, prefix="--"):
        survey_build.check_seconds(**times)
    with refusing(survey_model.SurveyError, OSError, prefix="--output_dir: "):
        survey_build.check_folder(folder)
    with refusing(
        survey_model.SurveyError, picture_io.PictureError, OSError, prefix=f"{pairs_path}: "
    ):
        survey = survey_build.build(folder, pairs, names, **times, run=values.run_dir)
    seconds = len(survey.pairs) * (2 * values.show_seconds + values.score_seconds)
    print(f"{len(survey.pairs)} pairs to rate, {seconds / 60:.1f} minutes without the pauses")
    print(f"page: {survey_model.page_path(folder)}")
    print(f"which picture is which: {survey_model.key_path(folder)}, not for the viewers")


def names_from_flags(values: flags.FlagValues) -> tuple[str, str]:
    """Return the names of A and B."""
    names = tuple(values.names or (LOSSES if values.run_dir else ("A", "B")))
    if len(names) != 2 or not all(name.strip() for name in names) or names[0] == names[1]:
        raise InputError("--names: must be two different names separated by a comma")
    return names


def list_of_pairs(values: flags.FlagValues) -> Path:
    """Return the path of the list of pairs: that of --pairs, or of the reproduction."""
    if not values.run_dir:
        return Path(values.pairs)
    pairs_path = Path(values.run_dir) / "pairs.csv"
    if not pairs_path.exists():
        raise InputError(
            f"--run_dir: {values.run_dir}: holds no {pairs_path.name}; gatys-norm reproduce writes "
            "it where figures 2 and 6 correspond, as --figures=2a,6a do"
        )
    return pairs_path


# --- serve --------------------------------------------------------------------------------------


def define_serve_flags(values: flags.FlagValues) -> None:
    """Flags of `serve`."""
    define_text = functools.partial(flags.DEFINE_string, flag_values=values)
    cli_flags.define_path("survey_dir", None, "folder made by build", values)
    define_text("address", "127.0.0.1", "where to listen; 0.0.0.0 is every network of the machine")
    flags.DEFINE_integer(
        "port", 8000, "port of the page; 0 picks any free one", 0, 65535, flag_values=values
    )


def serve(values: flags.FlagValues) -> None:
    """Serve the page of a survey until a signal ends it."""
    from gatys_norm.survey import server as survey_server

    folder = Path(cli_flags.required(values, "survey_dir"))
    with refusing(survey_model.SurveyError, prefix="--survey_dir: "):
        pairs = len(survey_model.load(folder).pairs)

    def show(answer: answers.Answer) -> None:
        if answer.number == pairs:
            print(f"viewer {answer.viewer[:8]} reached the end", flush=True)

    def warn(error: Exception) -> None:
        line = one_line(error)
        print(f"gatys-norm survey serve: {line}", file=sys.stderr, flush=True)

    with refusing(OSError, prefix=f"--address, --port: {values.address}:{values.port}: "):
        server = survey_server.make_server(folder, values.address, values.port, show, warn)
    with server, console.signals_noted() as received:
        host, port = str(server.server_address[0]), server.server_address[1]
        print(f"serving http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
        print(f"answers: {folder / 'answers'}; Ctrl-C ends", flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        while not received:
            time.sleep(0.1)
        server.shutdown()


# --- table --------------------------------------------------------------------------------------


def define_table_flags(values: flags.FlagValues) -> None:
    """Flags of `table`."""
    cli_flags.define_path(
        "survey_dir",
        None,
        "folder made by build; default the one above the folder of the first answer file",
        values,
    )


def table(values: flags.FlagValues, paths: list[str]) -> int:
    """Print Table 1 from answer files, and write it into the survey."""
    if not paths:
        raise InputError("answer files are needed: gatys-norm survey table SURVEY/answers/*.csv")
    paths = cli_flags.expanded(paths)
    folder = Path(values.survey_dir or Path(paths[0]).resolve().parent.parent)
    with refusing(survey_model.SurveyError, prefix="--survey_dir: "):
        survey = survey_model.load(folder)
    with refusing(answers.AnswerError):
        viewer_answers = answers.load(paths, survey)
    with refusing(ImportError, prefix="pip install gatys-norm[survey] is needed: "):
        from gatys_norm.report import page as report_page
        from gatys_norm.survey import statistics as survey_statistics
        from gatys_norm.survey import table as survey_table
    result = survey_statistics.tabulate(survey, viewer_answers)
    text = survey_table.markdown(result)
    print(text)
    page = folder / survey.run / "report.html" if survey.run else None
    outputs = [folder / "table-1.md", folder / "table-1.csv"]
    try:
        files.write_together(
            {
                outputs[0]: text.encode("utf-8", "surrogateescape"),
                outputs[1]: survey_table.as_csv(result).encode("utf-8", "surrogateescape"),
            }
        )
        if page and page.exists():
            with refusing(report_page.ReportError):
                report_page.insert_survey(page, survey_table.as_html(result))
            outputs.append(page)
    except OSError as error:
        return errors.report_unwritten(folder, error, "the answers are as they were")
    print("written: " + ", ".join(map(str, outputs)))
    return 0


_Command: TypeAlias = tuple[str, Callable[..., int | None], Callable[[flags.FlagValues], None]]
COMMANDS: dict[str, _Command] = {
    "build": (BUILD_USAGE, build, define_build_flags),
    "serve": (SERVE_USAGE, serve, define_serve_flags),
    "table": (TABLE_USAGE, table, define_table_flags),
}
