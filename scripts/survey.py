"""Repeat the paper's Table 1: viewers rate corresponding pictures of both losses.

    python scripts/survey.py build --run_dir=results/reproduction --output_dir=results/survey
    python scripts/survey.py serve --survey_dir=results/survey
    python scripts/survey.py table results/survey/answers/*.csv

Each with --help for its flags. The page of a survey, page/index.html, also works without a server,
opened from a folder: then the viewer downloads the answers at the end.
"""

import functools
import sys
import threading
import time
from pathlib import Path

from absl import flags

from gatys_norm import files
from gatys_norm.cli import console
from gatys_norm.cli import main as cli
from gatys_norm.images import io as picture_io
from gatys_norm.survey import answers
from gatys_norm.survey import build as survey_build
from gatys_norm.survey import model as survey_model
from gatys_norm.survey import pairs as survey_pairs

LOSSES = ("original loss", "normalized loss")


def define_build_flags(values):
    """Flags of `build`."""
    define_path = functools.partial(cli.define_path, flag_values=values)
    define_number = functools.partial(flags.DEFINE_float, flag_values=values)
    define_path("run_dir", None, "folder of a finished scripts/reproduce.py, whose pairs to rate")
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


def build(values):
    """Make the folder of a survey: page/ to hand out or serve, survey.json to keep to yourself.

    python scripts/survey.py build --run_dir=RUN --output_dir=SURVEY
    python scripts/survey.py build --pairs=PAIRS.csv --names=mine,theirs --output_dir=SURVEY
    """
    if bool(values.run_dir) == bool(values.pairs):
        raise cli.InputError("--run_dir: is needed, or --pairs, and not both")
    names = tuple(values.names or (LOSSES if values.run_dir else ("A", "B")))
    if len(names) != 2 or not all(name.strip() for name in names) or names[0] == names[1]:
        raise cli.InputError("--names: must be two different names separated by a comma")
    folder = Path(cli.required(values, "output_dir"))
    listed = Path(values.run_dir) / "pairs.csv" if values.run_dir else Path(values.pairs)
    if values.run_dir and not listed.exists():
        raise cli.InputError(
            f"--run_dir: {values.run_dir}: holds no {listed.name}; scripts/reproduce.py writes it "
            "where figures 2 and 6 correspond, as --figures=2a,6a do"
        )
    with cli.refusing(
        survey_model.SurveyError, prefix=f"--{'run_dir' if values.run_dir else 'pairs'}: "
    ):
        pairs = survey_pairs.load(listed)
    times = {name: values[name].value for name in ("show_seconds", "score_seconds")}
    with cli.refusing(survey_model.SurveyError, prefix="--"):
        survey_build.check_seconds(**times)
    with cli.refusing(survey_model.SurveyError, OSError, prefix="--output_dir: "):
        survey_build.check_folder(folder)
    with cli.refusing(
        survey_model.SurveyError, picture_io.PictureError, OSError, prefix=f"{listed}: "
    ):
        built = survey_build.build(folder, pairs, names, **times, run=values.run_dir)
    seconds = len(built.pairs) * (2 * values.show_seconds + values.score_seconds)
    print(f"{len(built.pairs)} pairs to rate, {seconds / 60:.1f} minutes without the pauses")
    print(f"page: {survey_model.page_path(folder)}")
    print(f"which picture is which: {survey_model.key_path(folder)}, not for the viewers")


def define_serve_flags(values):
    """Flags of `serve`."""
    define_text = functools.partial(flags.DEFINE_string, flag_values=values)
    cli.define_path("survey_dir", None, "folder made by build", values)
    define_text("address", "127.0.0.1", "where to listen; 0.0.0.0 is every network of the machine")
    flags.DEFINE_integer("port", 8000, "0 is any free one", 0, 65535, flag_values=values)


def serve(values):
    """Serve the page of a survey and keep the answers in its answers/, until Ctrl-C.

    python scripts/survey.py serve --survey_dir=SURVEY
    """
    from gatys_norm.survey import server as survey_server

    folder = Path(cli.required(values, "survey_dir"))
    with cli.refusing(survey_model.SurveyError, prefix="--survey_dir: "):
        pairs = len(survey_model.load(folder).pairs)

        def show(answer):
            if answer.number == pairs:
                print(f"viewer {answer.viewer[:8]} reached the end", flush=True)

        def warn(error):
            print(f"survey.py serve: {' '.join(str(error).split())}", file=sys.stderr, flush=True)

        with cli.refusing(OSError, prefix=f"--address, --port: {values.address}:{values.port}: "):
            server = survey_server.make_server(folder, values.address, values.port, show, warn)
    with server, console.signals_noted() as received:
        host, port = str(server.server_address[0]), server.server_address[1]
        print(f"serving http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
        print(f"answers: {folder / 'answers'}; Ctrl-C ends", flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        while not received:
            time.sleep(0.1)
        server.shutdown()
    return 0


def define_table_flags(values):
    """Flags of `table`."""
    cli.define_path(
        "survey_dir",
        None,
        "folder made by build; default the one above the folder of the first answer file",
        values,
    )


def table(values, paths):
    """Print Table 1 from answer files, and write it as table-1.md and table-1.csv into the survey.

    python scripts/survey.py table SURVEY/answers/*.csv

    If the survey was built from a reproduction, its report.html gets the table too.
    """
    if not paths:
        raise cli.InputError("answer files are needed: survey.py table SURVEY/answers/*.csv")
    paths = cli.expanded(paths)
    folder = Path(values.survey_dir or Path(paths[0]).resolve().parent.parent)
    with cli.refusing(survey_model.SurveyError, prefix="--survey_dir: "):
        asked = survey_model.load(folder)
    with cli.refusing(answers.AnswerError):
        given = answers.load(paths, asked)
    with cli.refusing(ImportError, prefix="pip install gatys-norm[survey] is needed: "):
        from gatys_norm.report import page as report_page
        from gatys_norm.survey import statistics as survey_statistics
        from gatys_norm.survey import table as survey_table
    result = survey_statistics.tabulate(asked, given)
    text = survey_table.markdown(result)
    print(text)
    page = folder / asked.run / "report.html" if asked.run else None
    written = [folder / "table-1.md", folder / "table-1.csv"]
    try:
        files.write_together(
            {
                written[0]: text.encode("utf-8", "surrogateescape"),
                written[1]: survey_table.as_csv(result).encode("utf-8", "surrogateescape"),
            }
        )
        if page and page.exists():
            with cli.refusing(report_page.ReportError):
                report_page.insert_survey(page, survey_table.as_html(result))
            written.append(page)
    except OSError as error:
        return cli.report_unwritten(folder, error, "the answers are as they were")
    print("written: " + ", ".join(map(str, written)))
    return 0


COMMANDS = {
    "build": (build, define_build_flags),
    "serve": (serve, define_serve_flags),
    "table": (table, define_table_flags),
}


def choose(_, operands):
    """Say what there is, where none of the commands was named."""
    named = f", not {operands[0]!r}" if operands else ""
    raise cli.InputError(f"a command is needed: {', '.join(COMMANDS)}{named}")


def run(argv):
    """Run the command that the first argument names; returns the exit code."""
    values = flags.FlagValues()
    name = argv[1] if len(argv) > 1 else None
    if name not in COMMANDS:
        return cli.call(__doc__, choose, argv, values=values, takes_operands=True)
    command, define_flags = COMMANDS[name]
    return cli.call(
        command.__doc__.replace("\n    ", "\n"),
        command,
        [f"{argv[0]} {name}", *argv[2:]],
        define_flags,
        values,
        takes_operands=command is table,
    )


if __name__ == "__main__":
    console.leave(run(sys.argv))
