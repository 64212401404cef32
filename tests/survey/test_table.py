"""Table 1 from answers whose means, tests and agreement were worked out by hand or otherwise."""

import csv
import dataclasses
import io
import itertools
import random
import re
from fractions import Fraction
from xml.etree import ElementTree

import markdown_it
import pytest
import scipy.stats
from helpers.rounding import condition, gamma

from gatys_norm.survey import table as survey_table
from gatys_norm.survey.answers import Answer
from gatys_norm.survey.model import Pair, Survey

NAMES = ("original", "normalized")
HOSTILE = "<script>alert('&')</script> a|b *c* __d__ `e` [f](g) \\| ~~h~~ &lt; # $i$ {{ 7 * 7 }}"


def survey_of(names=NAMES, **items):
    """A survey of {item: {row: columns}}; its pictures are "0" (A) and "1" (B), "2" and "3", …"""
    numbers = map(str, itertools.count())
    pairs = tuple(
        Pair(item.replace("_", " "), row, column, next(numbers), next(numbers))
        for item, rows in items.items()
        for row, columns in rows.items()
        for column in columns
    )
    return Survey("f" * 32, names, pairs, None)


def named(survey, *items):
    """The same survey with other names for its items."""
    old = dict.fromkeys(pair.item for pair in survey.pairs)
    new = dict(zip(old, items, strict=True))
    pairs = tuple(pair._replace(item=new[pair.item]) for pair in survey.pairs)
    return Survey(survey.identity, survey.names, pairs, None)


def answered(survey, *viewers):
    """Answers of viewers, each given as [(score of A, score of B) or None if not reached, …]."""
    return [
        Answer(f"{viewer:032x}", number, pair.a, pair.b, *scores, 1)
        for viewer, given in enumerate(viewers)
        for number, (pair, scores) in enumerate(zip(survey.pairs, given, strict=True), start=1)
        if scores is not None
    ]


def tabulated(survey, *viewers):
    return survey_table.tabulate(survey, answered(survey, *viewers))


def differing(*viewers):
    """The comparison of one item, of viewers given by their differences in each pair."""
    survey = survey_of(item={"row": tuple(map(str, range(len(viewers[0]))))})
    scores = [[(3, 3 + each) for each in differences] for differences in viewers]
    return tabulated(survey, *scores).items[0].comparison


def nearly(value, roundings=4):
    """A number up to rounding: on either side a division and a root, or two divisions."""
    return pytest.approx(value, rel=gamma(roundings), abs=0)


def times(count, score):
    return [score] * count


# --- what is counted ---------------------------------------------------------------------------


def test_a_small_survey_by_hand():
    survey = survey_of(first={"town": ("l", "r"), "sea": ("l",)}, second={"town": ("l",)})
    table = tabulated(
        survey,
        [(1, 4), (2, 5), (3, None), (5, 5)],
        [(2, 4), (None, 5), (3, 4), None],
        [(4, 5), (3, 3), (3, 1), (4, 5)],
    )
    assert table.names == NAMES
    assert [item.name for item in table.items] == ["first", "second"]
    first, second = table.items
    assert first.columns == ("l", "r")
    assert [row.label for row in first.rows] == ["town", "sea"]
    town_a, town_b = first.rows[0].lines
    # 1, 2, 4: mean 7/3, deviations −4/3, −1/3, 5/3, squares 42/9, half of it 7/3
    assert town_a[0] == (nearly(7 / 3), nearly((7 / 3) ** 0.5), 3, 0)
    assert town_a[1] == (2.5, nearly(0.5**0.5), 2, 1)
    assert town_b[0] == (nearly(13 / 3), nearly((1 / 3) ** 0.5), 3, 0)
    assert [str(rating) for rating in town_a + town_b] == [
        *("2.3±1.53", "2.5±0.71", "4.3±0.58", "4.3±1.15"),
    ]
    sea_a, sea_b = first.rows[1].lines
    assert sea_a == ((3.0, 0.0, 3, 0), None)
    assert sea_b == ((2.5, nearly(4.5**0.5), 2, 1), None)
    assert [str(rating) for rating in second.rows[0].lines[0]] == ["4.5±0.71"]
    # Means of B − A: (3 + 3) / 2, (2 + 1) / 2, (1 + 0 − 2) / 3.
    means = (3, 1.5, -1 / 3)  # each a quotient, as is theirs; here two additions more
    roundings = 2 * (1 + 1) + 2
    expected = pytest.approx(sum(means) / 3, rel=gamma(roundings) * condition(means), abs=0)
    assert first.comparison.mean_difference == expected
    assert first.comparison.viewers == first.comparison.changed == 3
    assert second.comparison == (2, 1, 0.5, 1.0)


def test_viewers_and_gaps_are_counted():
    survey = survey_of(item={"row": ("1", "2", "3")})
    given = answered(
        survey,
        [(1, None), (None, None), (3, 3)],
        [(1, 1), None, None],
        [None, (5, 5), None],
    )
    given[0] = dataclasses.replace(given[0], showings=3)
    given[3] = dataclasses.replace(given[3], showings=2)
    table = survey_table.tabulate(survey, given)
    assert (table.pairs, table.viewers, table.complete) == (3, 3, 1)
    assert (table.missing, table.unreached, table.repeated) == (3, 4, 2)
    second = table.items[0].rows[0].lines[1][1]
    assert (second.scores, second.missing) == (1, 1)
    assert (
        "Viewers: 3, of whom 1 answered every pair. Pairs of pictures: 3. Missed scores: 3. Pairs "
        "that a viewer did not reach: 4. Pairs that a viewer was shown more than once: 2."
    ) in survey_table.markdown(table)


def test_one_viewer():
    table = tabulated(survey_of(item={"row": ("1", "2")}), [(4, 5), (2, None)])
    (item,) = table.items
    assert [[str(rating) for rating in line] for line in item.rows[0].lines] == [
        ["4.0", "2.0"],
        ["5.0", "–"],
    ]
    assert item.comparison == (1, 1, 1.0, 1.0)
    assert item.agreement is table.agreement is None
    assert "| item | 1 | +1.00 | 1 | – |" in survey_table.markdown(table)


def test_no_answers():
    table = survey_table.tabulate(survey_of(item={"row": ("1",)}), [])
    assert table.items[0].comparison == (0, 0, None, None)
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
    assert (rating.mark, str(rating)) == (mark, shown)
    sign = {"high": "**", "low": "*", "": ""}[mark]
    assert f"| row | original | {sign}{shown}{sign} |" in survey_table.markdown(table)
    assert next(csv.DictReader(io.StringIO(survey_table.as_csv(table))))["mark"] == mark
    cell = ElementTree.fromstring(survey_table.as_html(table)).find(".//tbody/tr/td")
    assert cell.get("class", "") == mark
    sign = {"high": "▲", "low": "▽", "": ""}[mark]
    assert "".join(cell.itertext()).strip() == (f"{shown}{sign} ({mark})" if mark else shown)


def test_the_order_of_answers_has_no_influence(monkeypatch):
    monkeypatch.setattr(survey_table, "RESAMPLES", 999)
    survey = survey_of(one={"x": ("1", "2"), "y": ("1",)}, two={"x": ("1",)})
    chance = random.Random(1)
    scores = [None, 1, 2, 3, 4, 5]
    viewers = [
        [(chance.choice(scores), chance.choice(scores)) for _ in survey.pairs] for _ in range(20)
    ]
    given = answered(survey, *viewers)
    table = survey_table.tabulate(survey, given)
    assert table.items[0].comparison.changed > 13  # beyond what is enumerated
    for _ in range(2):
        chance.shuffle(given)
        turned = [
            Answer(
                *(each.viewer, each.number, each.second, each.first),
                *(each.score_second, each.score_first, each.showings),
            )
            if chance.random() < 0.5
            else each
            for each in given
        ]
        assert survey_table.tabulate(survey, turned) == table


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
    survey = named(survey_of(item={"town": "abcde", "sea": "abcde"}), "2(a) / 6(a)")
    columns = [*TEN_VIEWERS.values()] * 2
    table = tabulated(
        survey, *(list(zip(each, each, strict=True)) for each in zip(*columns, strict=True))
    )
    assert [str(rating) for rating in table.items[0].rows[0].lines[0]] == [*TEN_VIEWERS]
    text = survey_table.markdown(table)
    own, paper = text.split("This survey:")[1].split("Choi and Kim (2020):")
    assert "| town | original | *1.0±0.00* | *1.3±0.48* | 2.3±0.48 | **4.3±0.48** |" in own
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
    survey = named(survey_of(item=rows), name)
    table = tabulated(survey, [(3, 3)] * len(survey.pairs))
    assert table.items[0].paper == survey_table.PAPER.get(name, ())[:beside]
    outputs = survey_table.markdown(table), survey_table.as_html(table)
    for text in outputs:
        assert ("Choi and Kim (2020)" in text) == (beside > 0)
        assert ("10.5909/JBE.2020.25.6.980" in text) == (beside > 0)
    lines = csv.DictReader(io.StringIO(survey_table.as_csv(table)))
    assert {line["row"] for line in lines if line["paper_mean"]} == {*list(rows)[:beside]}
    assert ("beside uneven" in outputs[1]) == (0 < beside < len(rows))


# --- the test and the agreement ----------------------------------------------------------------


def enumerated_p(differences):
    """Two-sided p of the Wilcoxon signed-rank test, by its definition: every choice of signs."""
    sizes = [abs(each) for each in differences if each]
    ranks = [  # twice the mean rank, which is whole
        sum(other < each for other in sizes) + sum(other <= each for other in sizes) + 1
        for each in sizes
    ]
    observed = sum(
        rank * (1 if each > 0 else -1)
        for rank, each in zip(ranks, filter(None, differences), strict=True)
    )
    sums = [sum(signed) for signed in itertools.product(*((rank, -rank) for rank in ranks))]
    return sum(abs(each) >= abs(observed) for each in sums) / len(sums)


@pytest.mark.parametrize("seed", range(12))
def test_p_is_that_of_all_changes_of_sign(seed):
    chance = random.Random(seed)
    viewers = [
        [chance.choice((-2, -1, 0, 1, 2, 2)) for _ in range(3)] for _ in range(chance.randint(2, 9))
    ]
    means = [Fraction(sum(each), 3) for each in viewers]
    compared = differing(*viewers)
    assert compared.p == nearly(enumerated_p(means))
    assert compared.changed == sum(mean != 0 for mean in means)
    # Of each mean the division, of theirs the sum and the division; of the fraction one rounding.
    error = gamma(1 + 2 + 1) * float(sum(map(abs, means)) / len(means))
    assert compared.mean_difference == pytest.approx(
        float(sum(means) / len(means)), rel=0, abs=error
    )


def test_zeros_are_dropped_as_wilcoxon_did():
    viewers = [[1], [2], [-1], [2], [1]]
    compared = differing(*viewers, [0], [0])
    assert compared[:2] == (7, 5)
    assert compared.p == differing(*viewers).p
    other = scipy.stats.wilcoxon(
        [1, 2, -1, 2, 1, 0, 0],
        zero_method="wilcox",
        method=scipy.stats.PermutationMethod(n_resamples=9999),
    )
    assert compared.p == other.pvalue


def test_thirteen_viewers_are_exact_and_zeros_do_not_count():
    compared = differing(*([1],) * 13, *([0],) * 9)
    assert compared.p == compared.smallest_p == 2 / 2**13


def test_more_viewers_are_estimated():
    viewers = [[each] for each in (2, 2, 2, 1, 1, 1, 1, 1, 2, 1, -2, -2, -1, -1)]
    exact = enumerated_p([each for (each,) in viewers])
    deviation = (exact * (1 - exact) / survey_table.RESAMPLES) ** 0.5
    assert differing(*viewers).p == pytest.approx(exact, rel=0, abs=4 * deviation)


def test_ties_are_seen_in_means_of_thirds():
    # A third of three pairs and two sixths of six are one size of difference.
    survey = survey_of(item={"row": "abcdef"})
    third, sixth = [(3, 4), (3, 3), (3, 3)], [None] * 3
    viewers = [third + sixth, third + third, [*sixth, (4, 3), (3, 3), (3, 3)], third + third]
    compared = tabulated(survey, *viewers).items[0].comparison
    assert compared.p == nearly(enumerated_p([1, 1, -1, 1]))


def test_only_pairs_scored_in_both_pictures_are_compared():
    survey = survey_of(item={"row": "abc"})
    viewers = [[(1, 2), (1, None), (None, 5)], [(None, 5), None, (5, None)], [(2, 2), (4, 5), None]]
    assert tabulated(survey, *viewers).items[0].comparison == (2, 2, 0.75, 0.5)


@pytest.mark.parametrize("viewers", [[[0]], [[0], [0], [0]], [[1, -1], [0, 0]]])
def test_no_difference_at_all_is_not_measured(viewers):
    compared = differing(*viewers)
    assert compared == (len(viewers), 0, 0.0, None)
    assert compared.smallest_p is None


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
    assert enumerated_p([1] * viewers) == table.items[0].comparison.smallest_p


# K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011),
# https://repository.upenn.edu/asc_papers/43: four observers, twelve units, ordinal α = 0.815.
KRIPPENDORFF = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


PRINTED = {"rel": 0, "abs": 0.0005}  # α has three digits there


def krippendorffs_viewers():
    rows = [[None if each == "." else int(each) for each in row.split()] for row in KRIPPENDORFF]
    return [list(zip(row[::2], row[1::2], strict=True)) for row in rows]


def test_agreement_of_krippendorffs_own_example():
    table = tabulated(survey_of(item={"row": "abcdef"}), *krippendorffs_viewers())
    assert table.agreement == table.items[0].agreement == pytest.approx(0.815, **PRINTED)
    assert "| all pictures |  |  |  | 0.82 |" in survey_table.markdown(table)


def test_agreement_of_an_item_is_that_of_its_own_pictures():
    survey = survey_of(one={"row": "abcdef"}, two={"row": "a"})
    others = [(1, 5), (5, 1), (1, 5), None]
    viewers = [
        [*given, other] for given, other in zip(krippendorffs_viewers(), others, strict=True)
    ]
    table = tabulated(survey, *viewers)
    assert table.items[0].agreement == pytest.approx(0.815, **PRINTED)
    assert table.items[1].agreement < 0 < table.agreement < table.items[0].agreement


@pytest.mark.parametrize(
    "viewers",
    [
        [],
        [[(1, 2), (3, 4)]],
        [[(1, 2), None], [None, (3, 4)]],  # nothing in common
        [[(3, 3), (3, None)], [(3, 3), (3, 5)]],  # what both scored is all the same
    ],
)
def test_agreement_that_is_not_defined(viewers):
    table = tabulated(survey_of(item={"row": "ab"}), *viewers)
    assert table.agreement is None
    assert table.items[0].agreement is None
    assert "| all pictures |  |  |  | – |" in survey_table.markdown(table)


# --- hostile labels ----------------------------------------------------------------------------


def hostile_table():
    survey = named(survey_of((HOSTILE, f"B {HOSTILE}"), item={HOSTILE: (HOSTILE,)}), HOSTILE)
    return tabulated(survey, [(1, 5)])


def test_hostile_labels_stay_texts_in_markdown():
    parser = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    html = parser.render(survey_table.markdown(hostile_table()))
    page = ElementTree.fromstring(f"<page>{html}</page>")
    assert {each.tag for each in page.iter()} == {
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
    tags = {each.tag for each in section.iter()}
    assert tags <= {
        *("section", "h2", "h3", "p", "div", "span", "table", "caption", "thead", "tbody", "tr"),
        *("th", "td"),
    }
    attributes = {name for each in section.iter() for name in each.attrib}
    assert attributes <= {
        *("id", "class", "tabindex", "role", "aria-label", "aria-hidden", "scope", "colspan"),
    }
    assert "49" not in "".join(section.itertext())
    headings = ["".join(each.itertext()).strip() for each in section.iter("th")]
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
    survey = named(survey_of((label, "B"), item={label: (label,)}), label)
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
