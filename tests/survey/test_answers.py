"""Answer files: what they may hold, and that nothing in them is lost or made up."""

import codecs
import contextlib
import dataclasses
import tempfile
from pathlib import Path

import pytest
from helpers.disk import limited_file_size
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatys_norm import files
from gatys_norm.survey import answers
from gatys_norm.survey.answers import COLUMNS, Answer, AnswerError, ContradictionError
from gatys_norm.survey.model import Pair, Survey

TOKENS = [f"{number:016x}" for number in range(0xA0, 0xAA)]
PAIRS = [Pair("2(a)", "town", str(number), *TOKENS[number : number + 2]) for number in (0, 2, 4, 6)]
SURVEY = Survey("5" * 32, ("A", "B"), tuple(PAIRS), None)
VIEWER, OTHER_VIEWER = "1" * 32, "2" * 32
HEADER = ",".join(COLUMNS)
LINE = f"{VIEWER},1,{TOKENS[0]},{TOKENS[1]},3,,2,{SURVEY.identity}"
NEXT = f"{VIEWER},2,{TOKENS[3]},{TOKENS[2]},5,1,1,{SURVEY.identity}"
ANSWER = Answer(VIEWER, 1, TOKENS[0], TOKENS[1], 3, None, 2)
ROW = dict(zip(COLUMNS, LINE.split(","), strict=True))
NEXT_ANSWER = Answer(VIEWER, 2, TOKENS[3], TOKENS[2], 5, 1, 1)
BOTH = [ANSWER, NEXT_ANSWER]
WHOLE = f"{HEADER}\n{LINE}\n{NEXT}\n".encode()

scores = st.none() | st.sampled_from(answers.SCORES)
one_answer = st.builds(
    lambda number, tokens, *rest: Answer(VIEWER, number, *tokens, *rest),
    st.integers(1, len(PAIRS)),
    st.sampled_from(PAIRS).flatmap(lambda pair: st.permutations([pair.a, pair.b])),
    scores,
    scores,
    st.integers(1, answers.SHOWINGS_LIMIT),
)
several_answers = st.lists(one_answer, unique_by=lambda answer: answer.pictures, min_size=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / f"{VIEWER}.csv"


def load(*paths):
    return answers.load(paths, SURVEY)


def row(**changes):
    return {**ROW, **changes}


# --- one row -----------------------------------------------------------------------------------


def test_a_row_is_an_answer():
    assert answers.parse(ROW, SURVEY) == ANSWER
    assert ANSWER.pictures == {TOKENS[0], TOKENS[1]}
    assert ANSWER.scores == {TOKENS[0]: 3, TOKENS[1]: None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"survey": "6" * 32}, f"survey must be {SURVEY.identity}, not '66666"),
        ({"survey": ""}, f"survey must be {SURVEY.identity}, not ''"),
        ({"viewer": "1" * 31}, "viewer must be 32 digits 0-9a-f, not '1111"),
        ({"viewer": "1" * 31 + "A"}, "viewer must be 32 digits 0-9a-f"),
        ({"viewer": "1" * 32 + "\n"}, "viewer must be 32 digits 0-9a-f"),
        ({"viewer": "../" + "1" * 29}, "viewer must be 32 digits 0-9a-f, not '../11"),
        ({"viewer": "١" * 32}, r"viewer must be 32 digits 0-9a-f, not '\u0661"),
        ({"number": "0"}, "number must be a whole number from 1 to 4, not '0'"),
        ({"number": "5"}, "number must be a whole number from 1 to 4, not '5'"),
        ({"number": "01"}, "number must be a whole number from 1 to 4, not '01'"),
        ({"number": "+1"}, "number must be"),
        ({"number": "1.0"}, "number must be"),
        ({"number": "²"}, r"number must be a whole number from 1 to 4, not '\xb2'"),
        ({"number": "9" * 5000}, "number must be"),
        ({"number": ""}, "number must be"),
        ({"showings": "1001"}, "showings must be a whole number from 1 to 1000, not '1001'"),
        ({"showings": "0"}, "showings must be"),
        ({"score_first": "0"}, "score_first must be 1 to 5, or empty where missed, not '0'"),
        ({"score_second": "6"}, "score_second must be 1 to 5, or empty where missed, not '6'"),
        ({"score_first": " 3"}, "score_first must be"),
        ({"score_first": "3.0"}, "score_first must be"),
        (
            {"score_second": "٣"},
            r"score_second must be 1 to 5, or empty where missed, not '\u0663'",
        ),
        ({"first": TOKENS[2]}, f"no pair of this survey: '{TOKENS[2]}', '{TOKENS[1]}'"),
        ({"first": TOKENS[1]}, "no pair of this survey"),
        ({"second": ""}, "no pair of this survey"),
        ({"second": "\ud800" * 100}, "no pair of this survey"),
    ],
)
def test_a_wrong_value_is_named(changes, message):
    with pytest.raises(AnswerError) as caught:
        answers.parse(row(**changes), SURVEY)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isascii() or "…" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "columns",
    [{}, {"other": ""}, ROW | {"other": ""}, {k: v for k, v in ROW.items() if k != "survey"}],
)
def test_the_columns_are_named(columns):
    with pytest.raises(AnswerError, match=f"^the columns must be {HEADER}$"):
        answers.parse(columns, SURVEY)


@pytest.mark.usefixtures("any_text")
@given(st.fixed_dictionaries({name: st.text() | st.just(ROW[name]) for name in COLUMNS}))
def test_any_texts_are_an_answer_or_refused(texts):
    try:
        answer = answers.parse(texts, SURVEY)
    except AnswerError:
        return
    assert answer.pictures in SURVEY.by_pictures


# --- files -------------------------------------------------------------------------------------


def test_a_file_holds_answers_in_order(path):
    path.write_bytes(WHOLE)
    assert load(path) == BOTH
    assert load() == []


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + WHOLE,
        WHOLE.replace(b"\n", b"\r\n"),
        WHOLE.replace(b"\n", b"\r"),
        WHOLE.replace(b"\n", b"\n\n\r\n"),
        WHOLE.removesuffix(b"\n"),
        codecs.BOM_UTF8 + WHOLE.replace(b"\n", b"\r\n").removesuffix(b"\r\n"),
        "".join(
            ",".join(f'"{value}"' for value in line.split(",")) + "\n"
            for line in (HEADER, LINE, NEXT)
        ).encode(),
    ],
    ids=["BOM", "CRLF", "CR", "blank lines", "no last end", "Windows", "quoted"],
)
def test_what_a_spreadsheet_makes_of_it_is_accepted_and_left_whole(path, data):
    path.write_bytes(data)
    assert [answer.number for answer in load(path)] == [1, 2]
    if not data.startswith(b'"'):
        answers.repair(path)
        assert [answer.number for answer in load(path)] == [1, 2]
        assert path.read_bytes().startswith(data)
    third = dataclasses.replace(ANSWER, number=3, first=TOKENS[4], second=TOKENS[5])
    assert answers.append(path.parent, third, SURVEY)
    assert [answer.number for answer in load(path)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f": the first line must be {HEADER}"),
        ("\n", f": the first line must be {HEADER}"),
        (f"{HEADER[:-1]}\n{LINE}\n", f": the first line must be {HEADER}"),
        (f"{HEADER},more\n{LINE},\n", f": the first line must be {HEADER}"),
        (f"{HEADER}\n{LINE},\n", ", line 2: 8 values are needed, not 9"),
        (f"{HEADER}\n{LINE}\n\n1,2\n", ", line 4: 8 values are needed, not 2"),
        (f"{HEADER}\n{LINE}\n{NEXT[:-1]}\n", ", line 3: survey must be 5555"),
        (f"{HEADER}\n{NEXT.replace(',5,', ',6,')}\n", ", line 2: score_first must be 1 to 5"),
        (f"{HEADER}\n{LINE}\n{LINE}\n", ", line 3: this viewer answered the same pair in {path}"),
        (f'{HEADER}\n"{LINE}\n', ": not CSV in UTF-8 (unexpected end of data)"),
        (f"{HEADER}\n{'x' * 200_000}\n", ": not CSV in UTF-8 (field larger"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(path, text, message):
    path.write_text(text)
    with pytest.raises(AnswerError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}{message.format(path=path)}")


@pytest.mark.parametrize("data", [WHOLE.decode().encode("utf-16"), WHOLE + b"\xff\n"])
def test_other_encodings_are_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(AnswerError, match=r"\.csv: not CSV in UTF-8 \("):
        load(path)


def test_what_cannot_be_read_is_refused(path):
    with pytest.raises(AnswerError, match=r"\.csv: cannot be read \(No such file"):
        load(path)
    with pytest.raises(AnswerError, match=r"cannot be read \(Is a directory"):
        load(path.parent)


def test_a_file_too_large_is_refused(path):
    path.write_bytes(WHOLE + b"\n" * (answers.BYTE_LIMIT - len(WHOLE)))
    assert len(load(path)) == 2
    path.write_bytes(WHOLE + b"\n" * (answers.BYTE_LIMIT - len(WHOLE) + 1))
    with pytest.raises(AnswerError, match=r"\.csv: larger than an answer file can be \(1,048,576"):
        load(path)


def test_a_viewer_answers_a_pair_once_in_all_files(path):
    path.write_bytes(WHOLE)
    again = path.with_name("again.csv")
    turned = LINE.replace(f"{TOKENS[0]},{TOKENS[1]}", f"{TOKENS[1]},{TOKENS[0]}")
    for text in (LINE, turned, LINE.replace(",3,", ",4,")):
        again.write_text(f"{HEADER}\n{text}\n")
        with pytest.raises(AnswerError) as caught:
            load(path, again)
        assert str(caught.value) == (
            f"{again}, line 2: this viewer answered the same pair in {path}, line 2"
        )
    again.write_text(f"{HEADER}\n{LINE.replace(VIEWER, OTHER_VIEWER)}\n")
    assert len(load(path, again)) == 3


def test_a_file_given_twice_is_not_counted_twice(path):
    path.write_bytes(WHOLE)
    with pytest.raises(AnswerError, match="line 2: this viewer answered the same pair in"):
        load(path, path)


def mostly_right(line):
    """A line, or one with a piece of it replaced by anything."""
    cut = st.integers(0, len(line))
    return st.just(line) | st.builds(
        lambda start, text, end: line[:start] + text + line[end:], cut, st.binary(max_size=9), cut
    )


@settings(max_examples=3 * settings.default.max_examples)
@given(
    st.binary()
    | st.tuples(*(mostly_right(line.encode()) for line in (HEADER, LINE, NEXT))).map(b"\n".join)
)
@example(f"{HEADER}\n\0\n".encode())
@example(f'{HEADER}\n"a"b\n'.encode())
@example(f"{HEADER}\na\rb\n".encode())
def test_any_bytes_are_answers_or_refused(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        path.write_bytes(data)
        for _ in ("as it is", "repaired"):
            with contextlib.suppress(AnswerError):
                assert all(isinstance(answer, Answer) for answer in load(path))
            answers.repair(path)


# --- adding ------------------------------------------------------------------------------------


def test_the_first_answer_makes_the_file(path):
    assert answers.append(path.parent, ANSWER, SURVEY) is True
    assert path.read_text() == f"{HEADER}\n{LINE}\n"
    assert list(path.parent.iterdir()) == [path]


def test_the_same_answer_is_not_added_again(path):
    path.write_bytes(WHOLE)
    assert answers.append(path.parent, ANSWER, SURVEY) is False
    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize(
    "changes",
    [
        {"score_first": 4},
        {"score_second": 1},
        {"number": 4},
        {"showings": 3},
        {"first": TOKENS[1], "second": TOKENS[0]},
    ],
)
def test_another_answer_to_the_same_pair_is_refused(path, changes):
    path.write_bytes(WHOLE)
    with pytest.raises(ContradictionError, match="has already answered the same pair differently"):
        answers.append(path.parent, dataclasses.replace(ANSWER, **changes), SURVEY)
    assert path.read_bytes() == WHOLE


def test_a_file_of_something_else_is_no_contradiction(path):
    path.write_text("shopping list\n")
    with pytest.raises(AnswerError, match="the first line must be") as caught:
        answers.append(path.parent, ANSWER, SURVEY)
    assert not isinstance(caught.value, ContradictionError)
    assert path.read_text() == "shopping list\n"


@given(several_answers)
def test_what_is_added_is_read(given_answers):
    with tempfile.TemporaryDirectory() as folder:
        for answer in given_answers:
            assert answers.append(folder, answer, SURVEY)
            assert not answers.append(folder, answer, SURVEY)
        assert load(Path(folder) / f"{VIEWER}.csv") == given_answers


def test_every_answer_is_synced_even_one_that_is_there(path, monkeypatch):
    """It may be there since a server was killed between writing and syncing."""
    synced = []
    sync = answers.os.fsync
    monkeypatch.setattr(answers.os, "fsync", lambda number: synced.append(number) or sync(number))
    answers.append(path.parent, ANSWER, SURVEY)
    assert len(synced) == 2  # the file, and the folder that it is new in
    answers.append(path.parent, NEXT_ANSWER, SURVEY)
    assert len(synced) == 3
    answers.append(path.parent, ANSWER, SURVEY)
    assert len(synced) == 4


@pytest.mark.parametrize("room", [0, 50, len(HEADER) + 1, len(HEADER) + 50])
def test_a_full_disk_leaves_no_new_file(path, room):
    with limited_file_size(room), pytest.raises(OSError, match="File too large"):
        answers.append(path.parent, ANSWER, SURVEY)
    assert list(path.parent.iterdir()) == []
    assert answers.append(path.parent, ANSWER, SURVEY)
    assert load(path) == [ANSWER]


@pytest.mark.parametrize("room", [0, 1, 50, len(NEXT)])
def test_a_full_disk_leaves_the_file_as_it_was(path, room):
    answers.append(path.parent, ANSWER, SURVEY)
    before = path.read_bytes()
    with limited_file_size(len(before) + room), pytest.raises(OSError, match=r"too large|a part"):
        answers.append(path.parent, NEXT_ANSWER, SURVEY)
    assert path.read_bytes() == before
    assert answers.append(path.parent, NEXT_ANSWER, SURVEY)
    assert load(path) == BOTH


def test_a_failing_sync_leaves_the_file_as_it_was(path, monkeypatch):
    answers.append(path.parent, ANSWER, SURVEY)
    before = path.read_bytes()

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(answers.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        answers.append(path.parent, NEXT_ANSWER, SURVEY)
    assert path.read_bytes() == before


def test_what_a_killed_writer_left_beside_a_new_file_is_removed(path):
    with files.open_atomically(path) as file:
        left = Path(file.name)
    path.rename(left)
    answers.append(path.parent, ANSWER, SURVEY)
    assert list(path.parent.iterdir()) == [path]


# --- cut off -----------------------------------------------------------------------------------


def prefixes(whole):
    """Yield (bytes, how many answers are whole in them) for every length."""
    lines = whole.splitlines()[1:]
    for length in range(len(whole) + 1):
        kept = whole[:length].splitlines()[1:]
        yield whole[:length], sum(map(bytes.__eq__, kept, lines))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", codecs.BOM_UTF8])
def test_a_file_cut_anywhere_is_repaired(path, start, end):
    whole = start + WHOLE.replace(b"\n", end)
    for kept, count in prefixes(whole):
        path.write_bytes(kept)
        answers.repair(path)
        assert (load(path) if path.exists() else []) == BOTH[:count]
        once = path.read_bytes() if path.exists() else None
        answers.repair(path)
        assert (path.read_bytes() if path.exists() else None) == once


def test_a_file_cut_anywhere_goes_on(path, monkeypatch):
    monkeypatch.setattr(answers.os, "fsync", lambda _: None)  # which would take most of the time
    for kept, count in prefixes(WHOLE):
        path.write_bytes(kept)
        added = [answers.append(path.parent, answer, SURVEY) for answer in BOTH]
        assert added == [number >= count for number in range(len(BOTH))]
        assert path.read_bytes() == WHOLE


def test_a_cut_line_is_never_a_whole_answer(path):
    for kept, count in prefixes(WHOLE):
        path.write_bytes(kept)
        try:
            read = load(path)
        except AnswerError:
            continue
        assert read == BOTH[:count]


def test_a_missing_file_needs_no_repair(path):
    answers.repair(path)
    assert not path.exists()


@pytest.mark.parametrize(
    "data", [b"shopping list", b"a,b\nc,d", WHOLE.decode().encode("utf-16"), b"\xff" * 9]
)
def test_a_file_of_something_else_is_not_repaired(path, data):
    path.write_bytes(data)
    answers.repair(path)
    assert path.read_bytes() == data


# --- spreadsheets ------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [b";", b"\t"])
@pytest.mark.parametrize("start", [b"", codecs.BOM_UTF8])
def test_what_a_spreadsheet_separates_values_by_is_taken(path, mark, start):
    path.write_bytes(start + WHOLE.replace(b",", mark).replace(b"\n", b"\r\n"))
    assert load(path) == [ANSWER, NEXT_ANSWER]


def test_one_file_keeps_to_one_separator(path):
    path.write_bytes(f"{HEADER}\n{LINE}\n".encode().replace(b",", b";") + f"{NEXT}\n".encode())
    with pytest.raises(AnswerError, match="line 3: 8 values are needed, not 1"):
        load(path)


def test_an_answer_is_not_added_to_a_file_that_a_spreadsheet_has_written(path):
    data = WHOLE.replace(b",", b";")
    path.write_bytes(data)
    with pytest.raises(AnswerError, match="the first line must be"):
        answers.append(path.parent, ANSWER, SURVEY)
    assert path.read_bytes() == data
