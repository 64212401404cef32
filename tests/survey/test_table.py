"""Table 1 as it is printed, next to the paper's values and with hostile labels."""

import csv
import dataclasses
import io
import re
from xml.etree import ElementTree

import markdown_it
import pytest
from helpers.surveys import answered_with_gaps, survey_of, tabulated, times, with_items

from gatys_norm.survey import statistics as survey_statistics
from gatys_norm.survey import table as survey_table

HOSTILE = "<script>alert('&')</script> a|b *c* __d__ `e` [f](g) \\| ~~h~~ &lt; # $i$ {{ 7 * 7 }}"


# --- what is printed ---------------------------------------------------------------------------


def test_viewers_and_gaps_are_told():
    table = survey_statistics.tabulate(*answered_with_gaps())
    assert (
        "Viewers: 3, of whom 1 answered every pair. Pairs of pictures: 3. Missed scores: 3. Pairs "
        "that a viewer did not reach: 4. Pairs that a viewer was shown more than once: 2."
    ) in survey_table.markdown(table)


def test_one_viewer():
    text = survey_table.markdown(
        tabulated(survey_of(item={"row": ("1", "2")}), [(4, 5), (2, None)])
    )
    assert "| row | original | **4.0** | 2.0 |\n|  | normalized | **5.0** | – |" in text
    assert "| item | 1 | +1.00 | 1 | – |" in text


def test_no_answers():
    table = survey_statistics.tabulate(survey_of(item={"row": ("1",)}), [])
    text = survey_table.markdown(table)
    assert "| row | original | – |\n|  | normalized | – |" in text
    assert "| item | 0 | – | – | – |" in text
    assert survey_table.as_csv(table).splitlines()[1] == (
        '"item","row","1","original","","",0,0,"","",""'
    )
    survey_table.as_html(table)


@pytest.mark.parametrize(
    ("scores", "mark", "shown"),
    [
        (times(2, 4), "high", "4.0±0.00"),
        ([*times(49, 4), 3], "", "4.0±0.14"),  # 3.98
        (times(2, 2), "", "2.0±0.00"),
        ([*times(49, 2), 1], "low", "2.0±0.14"),  # 1.98
        ([5], "high", "5.0"),
        ([], "", "–"),
    ],
)
def test_marks_go_by_the_mean_before_rounding(scores, mark, shown):
    survey = survey_of(item={"row": ("column",)})
    table = tabulated(survey, *([(score, None)] for score in scores))
    rating = table.items[0].rows[0].lines[0][0]
    assert (rating.mark, survey_table.as_text(rating)) == (mark, shown)
    sign = {"high": "**", "low": "*", "": ""}[mark]
    assert f"| row | original | {sign}{shown}{sign} |" in survey_table.markdown(table)
    assert next(csv.DictReader(io.StringIO(survey_table.as_csv(table))))["mark"] == mark
    cell = ElementTree.fromstring(survey_table.as_html(table)).find(".//tbody/tr/td")
    assert cell.get("class", "") == mark
    sign = {"high": "▲", "low": "▽", "": ""}[mark]
    assert "".join(cell.itertext()).strip() == (f"{shown}{sign} ({mark})" if mark else shown)


@pytest.mark.parametrize(
    ("viewers", "words"),
    [
        (1, "with the one viewer whose difference is not 0, no p below 1 is possible"),
        (4, "with the 4 viewers whose difference is not 0, no p below 0.125 is possible"),
        (5, "with the 5 viewers whose difference is not 0, no p below 0.0625 is possible"),
        (6, None),
    ],
)
def test_too_few_viewers_for_a_small_p(viewers, words):
    survey = survey_of(item={"row": ("column",)})
    table = tabulated(survey, *([(2, 3)],) * viewers, [(2, 2)])
    for text in (survey_table.markdown(table), survey_table.as_html(table)):
        assert ("no p below" in text) == (words is not None)
        assert (words or "") in text


@pytest.mark.parametrize(
    ("agreement", "words"), [(0.826, "0.83"), (1.0, "1.00"), (-0.25, "−0.25"), (None, "–")]
)
def test_agreement_is_printed(agreement, words):
    table = tabulated(survey_of(item={"row": ("1",)}), [(3, 3)])
    table = dataclasses.replace(table, agreement=agreement)
    assert f"| all pictures |  |  |  | {words} |" in survey_table.markdown(table)


# --- the paper ---------------------------------------------------------------------------------


# The first row of Fig. 2(a) and the second, as far as ten whole scores give their deviations.
TEN_VIEWERS = {
    "1.0±0.00": times(10, 1),
    "1.3±0.48": times(7, 1) + times(3, 2),
    "2.3±0.48": times(7, 2) + times(3, 3),
    "4.3±0.48": times(7, 4) + times(3, 5),
    "4.6±0.52": times(4, 4) + times(6, 5),
}


def test_ten_viewers_reproduce_cells_of_the_paper():
    survey = with_items(survey_of(item={"town": "abcde", "sea": "abcde"}), "2(a) / 6(a)")
    columns = [*TEN_VIEWERS.values()] * 2
    table = tabulated(
        survey, *(list(zip(scores, scores, strict=True)) for scores in zip(*columns, strict=True))
    )
    assert [*map(survey_table.as_text, table.items[0].rows[0].lines[0])] == [*TEN_VIEWERS]
    text = survey_table.markdown(table)
    survey_part, paper = text.split("This survey:")[1].split("Choi and Kim (2020):")
    assert "| town | original | *1.0±0.00* | *1.3±0.48* | 2.3±0.48 | **4.3±0.48** |" in survey_part
    assert "| row 1 | Fig. 2(a) | *1.0±0.00* | *1.3±0.48* | 2.3±0.48 | **4.3±0.48** |" in paper
    assert "| row 2 | Fig. 2(a) | *1.0±0.00* | **4.3±0.48** | **4.6±0.52** | 3.6±0.52 |" in paper
    (beside,) = ElementTree.fromstring(survey_table.as_html(table)).findall(
        ".//div[@class='beside']"
    )
    assert [caption.text for caption in beside.iter("caption")] == [
        *("This survey", "Choi and Kim (2020)"),
    ]
    lines = list(csv.DictReader(io.StringIO(survey_table.as_csv(table))))
    assert len(lines) == 20
    assert [line["paper_mean"] for line in lines[5:10]] == ["1.0", "1.8", "4.2", "4.8", "5.0"]
    assert lines[8]["name"] == "normalized"
    assert lines[8]["paper_standard_deviation"] == "0.4"


@pytest.mark.parametrize(
    ("name", "rows", "beside"),
    [
        ("2(a) / 6(a)", {"1": "abcde"}, 1),
        ("2(a) / 6(a)", {"1": "abcde", "2": "abd"}, 2),
        ("2(b) / 6(b)", {"1": "abcde", "2": "abcde", "3": "abcde"}, 2),
        ("2(c) / 6(c)", {"1": "abc"}, 1),
        ("2(a) / 6(a)", {"1": "abcd"}, 0),
        ("2(c) / 6(c)", {"1": "abcde"}, 0),
        ("2(a)/6(a)", {"1": "abcde"}, 0),
        ("2(a) / 6(a)", {"1": "acde", "2": "abcde"}, 0),  # which column is which?
    ],
)
def test_the_paper_stands_beside_its_own_layout_only(name, rows, beside):
    survey = with_items(survey_of(item=rows), name)
    table = tabulated(survey, [(3, 3)] * len(survey.pairs))
    assert [row.label for row in survey_table.paper_rows(table.items[0])] == [
        f"row {number}" for number in range(1, beside + 1)
    ]
    outputs = survey_table.markdown(table), survey_table.as_html(table)
    for text in outputs:
        assert ("Choi and Kim (2020)" in text) == (beside > 0)
        assert ("10.5909/JBE.2020.25.6.980" in text) == (beside > 0)
    lines = csv.DictReader(io.StringIO(survey_table.as_csv(table)))
    assert {line["row"] for line in lines if line["paper_mean"]} == {*list(rows)[:beside]}
    assert ("beside uneven" in outputs[1]) == (0 < beside < len(rows))


# --- hostile labels ----------------------------------------------------------------------------


def hostile_table():
    survey = with_items(survey_of((HOSTILE, f"B {HOSTILE}"), item={HOSTILE: (HOSTILE,)}), HOSTILE)
    return tabulated(survey, [(1, 5)])


def test_hostile_labels_stay_texts_in_markdown():
    parser = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    html = parser.render(survey_table.markdown(hostile_table()))
    page = ElementTree.fromstring(f"<page>{html}</page>")
    assert {element.tag for element in page.iter()} == {
        *("page", "h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "strong", "em"),
    }
    cells = ["".join(cell.itertext()) for cell in page.find("table").iter() if cell.tag in "thtd"]
    assert cells == ["", "", HOSTILE, HOSTILE, HOSTILE, "1.0", "", f"B {HOSTILE}", "5.0"]
    assert "".join(page.find("h2").itertext()) == HOSTILE
    # One bold and one italic word stand in the legend, one of each in the table.
    assert [len(page.findall(f".//{tag}")) for tag in ("strong", "em")] == [2, 2]


@pytest.mark.parametrize("between", ["\n", "\r\n", "\n\n# ", " \u2028 ", "\t"])
def test_labels_stay_on_their_line_in_markdown(between):
    survey = survey_of(item={f"a{between}b": ("column",)})
    text = survey_table.markdown(tabulated(survey, [(3, 3)]))
    assert re.search(r"^\| a (\\# )?b \| original \| 3.0 \|$", text, re.M)
    assert re.findall("^#+ .*", text, re.M) == [
        *(f"# {survey_table.TITLE}", "## item", "## Difference and agreement"),
    ]


def test_hostile_labels_stay_texts_in_html():
    fragment = survey_table.as_html(hostile_table())
    section = ElementTree.fromstring(fragment)
    assert section.get("id") == "survey"
    tags = {element.tag for element in section.iter()}
    assert tags <= {
        *("section", "h2", "h3", "p", "div", "span", "table", "caption", "thead", "tbody", "tr"),
        *("th", "td"),
    }
    attributes = {name for element in section.iter() for name in element.attrib}
    assert attributes <= {
        *("id", "class", "tabindex", "role", "aria-label", "aria-hidden", "scope", "colspan"),
    }
    assert "49" not in "".join(section.itertext())
    headings = ["".join(heading.itertext()).strip() for heading in section.iter("th")]
    assert headings[:4] == [HOSTILE, HOSTILE, HOSTILE, f"B {HOSTILE}"]


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("＝1", "'＝1"),
        ('a,"b"\r\nc\rd', 'a,"b"\r\nc\rd'),
        ("λ_os = 0.01", "λ_os = 0.01"),
    ],
)
def test_labels_in_csv(label, kept):
    survey = with_items(survey_of((label, "B"), item={label: (label,)}), label)
    text = survey_table.as_csv(tabulated(survey, [(1, None)], [(2, None)]))
    first, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert tuple(first) == survey_table.COLUMNS
    assert lines == [
        [kept, kept, kept, kept, "1.5", repr(0.5**0.5), "2", "0", "low", "", ""],
        [kept, kept, kept, "B", "", "", "0", "2", "", "", ""],
    ]


def test_a_pair_that_is_not_there_has_no_line_in_csv():
    survey = survey_of(item={"x": ("1", "2"), "y": ("2",)})
    table = tabulated(survey, [(1, 2), (3, 4), (5, 5)])
    lines = csv.DictReader(io.StringIO(survey_table.as_csv(table)))
    assert [(line["row"], line["column"], line["mean"]) for line in lines] == [
        *(("x", "1", "1.0"), ("x", "2", "3.0"), ("x", "1", "2.0"), ("x", "2", "4.0")),
        *(("y", "2", "5.0"), ("y", "2", "5.0")),
    ]
    assert "| y | original | – | **5.0** |" in survey_table.markdown(table)
    survey_table.as_html(table)
