"""The page is whole in itself, says the verdict first and lets nothing through from a data set's names."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.report import audit_page

VOID = {"meta", "br", "img", "hr", "link"}


class Page(HTMLParser):
    """Text by tag, in order; tags must be closed as they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "action"):
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.found.append((self.open[-1], data.strip()))


def records(classes=("no", "yes"), lengths=(60, 61), n=40):
    rng = np.random.default_rng(0)
    return [
        SeqRecord(Seq("".join(rng.choice(list("ACGT"), size=rng.integers(*lengths)))), annotations={"label": name})
        for name in classes
        for _ in range(n)
    ]


@pytest.fixture(scope="module")
def report():
    return gu.audit(records())


def test_the_page_is_well_formed_and_the_verdict_comes_first(report):
    page = Page(audit_page(report, title="my set"))
    assert page.open == []
    texts = [text for tag, text in page.found if tag not in ("title", "style")]
    assert texts[:2] == ["my set", report.verdict]
    assert ("li", report.notes[0]) in page.found


def test_every_figure_of_the_text_is_in_a_table(report):
    cells = {text for tag, text in Page(audit_page(report)).found if tag == "td"}
    assert f"{report.baselines['gc']['mcc']:.3f}" in cells
    assert f"{report.counts['train']['no']:,}" in cells


def test_the_page_loads_nothing(report):
    text = audit_page(report)
    assert all(link.startswith("#") for link in Page(text).links)
    assert not re.search(r"url\((?!#)|@import|<script|<link", text)


def test_ids_are_used_once(report):
    ids = Page(audit_page(report)).ids
    assert ids and len(ids) == len(set(ids))


def test_names_are_escaped():
    report = gu.audit(records(classes=("<b>no</b>", "a & b")))
    text = audit_page(report, title="<script>alert(1)</script>")
    assert "<script>" not in text and "<b>no" not in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text and "a &amp; b" in text


def test_the_same_report_gives_the_same_page(report):
    assert audit_page(report) == audit_page(report)


@pytest.mark.parametrize(("lengths", "n"), [((60, 61), 2), ((40, 90), 3), ((40, 900), 3)])
def test_lengths_are_drawn_where_they_differ(lengths, n):
    assert audit_page(gu.audit(records(lengths=lengths))).count("<svg") == n


def test_a_set_without_baselines_has_a_page_too():
    lonely = records()
    for record in lonely:
        record.annotations["split"] = "train" if record.annotations["label"] == "no" else "test"
    report = gu.audit(lonely)
    assert report.baselines == {} and "only the class 'no'" in report.notes[0]
    assert "There are no baselines" in audit_page(report)
