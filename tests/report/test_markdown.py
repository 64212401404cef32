"""Tables in Markdown, as lines."""

import math

from gatys_norm.report import markdown


def finding(**changes):
    values = {
        "claim": "Says so.",
        "measure": "a length",
        "unit": "decades",
        "original": 2.0,
        "normalized": 1.0,
        "holds": True,
        "note": "",
        "intervals": {},
        "verdict": "cannot tell",
    }
    return values | changes


def test_table():
    assert markdown.table(("a", "b", ""), [("1", "2", "x"), ("3", "4", "")], {1}).splitlines() == [
        "| a | b |  |",
        "| --- | ---: | --- |",
        "| 1 | 2 | x |",
        "| 3 | 4 |  |",
    ]


def test_text_stays_in_its_cell():
    assert markdown.cell(" |a|\n b ") == r"\|a\| b"


def test_findings_share_their_claims_and_notes():
    findings = [
        finding(original=2.0, normalized=0.12345),
        finding(original=0.0, normalized=math.nan, holds=None, note="normalized:\n  not run"),
        finding(
            claim="|a| says",
            measure="‖b|",
            unit="",
            original=1,
            normalized=12.345,
            holds=False,
            note="x|y",
            intervals={"difference": [10.5, 12.3456]},
            verdict="does not",
        ),
        finding(original=None, normalized=None, holds=None, note="normalized:\n  not run"),
    ]
    assert markdown.findings_table(findings).splitlines() == [
        "| claim | measured | original | normalized | as the paper says | difference, 95 % "
        "| verdict |",
        "| --- | --- | ---: | ---: | --- | --- | --- |",
        "| Says so. | a length (decades) | 2 | 0.123 | yes | – | cannot tell |",
        "|  | a length (decades) | 0 | – | not measured (note 1) | – | cannot tell |",
        r"| \|a\| says | ‖b\| | 1 | 12.3 | no (note 2) | 10.5 … 12.3 | does not |",
        "| Says so. | a length (decades) | – | – | not measured (note 1) | – | cannot tell |",
        "",
        "Note 1: normalized: not run",
        "",
        "Note 2: x|y",
    ]


def test_a_table_of_no_findings_has_a_head_only():
    assert len(markdown.findings_table([]).splitlines()) == 2


def test_a_third_loss_has_columns_of_its_own():
    intervals = {"difference": [-2, -1], "style_aware − normalized": [0.25, 0.5]}
    findings = [finding(), finding(style_aware=1.5, intervals=intervals)]
    assert markdown.findings_table(findings).splitlines() == [
        "| claim | measured | original | normalized | as the paper says | difference, 95 % "
        "| verdict | style-aware | style-aware − normalized, 95 % |",
        "| --- | --- | ---: | ---: | --- | --- | --- | ---: | --- |",
        "| Says so. | a length (decades) | 2 | 1 | yes | – | cannot tell | – | – |",
        "|  | a length (decades) | 2 | 1 | yes | -2 … -1 | cannot tell | 1.5 | 0.25 … 0.5 |",
    ]
