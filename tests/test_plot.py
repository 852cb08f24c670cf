import re

import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.plot import (
    as_svg,
    plot_baselines,
    plot_distribution,
    plot_losses,
    plot_lr_finder,
    plot_saliency,
    plot_scan,
    save_figure,
)
from genomic_ulmfit.report.pictures import draw_evaluations
from tests.toy_models import CountGC


@pytest.fixture
def blocks():
    scores = np.array([0.1, 0.9, np.nan, 0.4], dtype=np.float32)
    return [gu.ScoreBlock("chr1", 100, 10, scores, 140, strand) for strand in "+-"]


def test_a_scan_marks_every_site_and_call(blocks):
    sites = [gu.Interval("chr1", at, at + 1, strand=strand) for at, strand in ((105, "+"), (125, "-"), (131, "-"))]
    figure = plot_scan(blocks, sites=sites, calls=[gu.Interval("chr1", 110, 120, strand="+")], title="t")
    (axes,) = figure.axes
    vertical = [line for line in axes.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2]
    assert sorted(line.get_xdata()[0] for line in vertical) == [106, 126, 132]  # 1-based
    assert axes.get_xlim() == (101, 140)
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"annotated start", "call"}


def test_genes_are_arrows_along_their_strands_with_names_where_there_is_room(blocks):
    genes = [
        gu.Interval("chr1", 105, 130, "abcD", strand="+"),
        gu.Interval("chr1", 90, 112, "far", strand="-"),
        gu.Interval("chr1", 136, 138, "tiny", strand="-"),
        gu.Interval("chr2", 105, 130, "elsewhere", strand="+"),
    ]
    figure = plot_scan(blocks, genes=genes)
    scores, row = figure.axes
    assert len(row.patches) == 3
    forward, backward, _ = (patch.get_xy() for patch in row.patches)
    assert (forward[:, 0].max(), forward[forward[:, 0].argmax(), 1]) == (130, 1)  # the tip, in the upper row
    assert (backward[:, 0].min(), backward[backward[:, 0].argmin(), 1]) == (91, -1)
    assert [text.get_text() for text in row.texts] == ["abcD", "far"]
    assert row.get_xlim() == scores.get_xlim() == (101, 140)


def test_saliency_is_drawn_round_the_anchor():
    (result,) = gu.saliency(CountGC(), [SeqRecord(Seq("GATTACAGATTACA"), id="r")], lengths=(1, 3), inserts=["GG"])
    figure = plot_saliency(result, anchor=4)
    top, bottom, _ = figure.axes
    assert len(top.patches) == 14
    assert [label.get_text() for label in bottom.get_yticklabels()] == ["1 bp", "3 bp", "GG"]
    assert bottom.images[0].get_extent()[:2] == [-4.5, 9.5]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_figure_gives_the_same_bytes(blocks, tmp_path, suffix):
    first, second = (save_figure(plot_scan(blocks), tmp_path / f"{name}{suffix}") for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_an_unknown_suffix_leaves_nothing(blocks, tmp_path):
    with pytest.raises(SettingError, match="xyz"):
        save_figure(plot_scan(blocks), tmp_path / "a.xyz")
    assert list(tmp_path.iterdir()) == []


def test_distributions_are_shares_of_the_class():
    figure = plot_distribution({"a": [1, 3], "b": [0, 50]}, [0, 0.5, 1], xlabel="GC", log=False)
    (axes,) = figure.axes
    heights = [patch.get_data().values.tolist() for patch in axes.patches]
    assert heights == [[25, 75], [0, 100]]
    assert len({(patch.get_edgecolor(), patch.get_linestyle()) for patch in axes.patches}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_baselines_have_a_row_each_and_a_mark_for_each_split():
    figure = plot_baselines({"one": {"gc": 0.1, "lookup": -0.3}, "two": {"gc": 0.2}})
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lookup", "gc"]
    marks = {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.lines
        if line.get_marker() in "oD"
    }
    assert marks == {"one": ([0.1, -0.3], [1, 0]), "two": ([0.2], [1])}
    assert axes.get_xlim() == (-0.3, 1)


def test_an_svg_for_a_page_is_one_element_with_ids_of_its_own():
    one, two = (as_svg(plot_baselines({"split": {"gc": 0.1}}), name) for name in ("one", "two"))
    assert one.startswith("<svg") and one.rstrip().endswith("</svg>")
    assert one == as_svg(plot_baselines({"split": {"gc": 0.1}}), "one")
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, two)]
    assert ids[0] and not ids[0] & ids[1]


def test_losses_are_drawn_against_what_was_read(tmp_path):
    curve = [{"tokens": 10**6 * i, "train_bits_per_base": 2 - i / 10, "valid_bits_per_base": 2 - i / 9} for i in (1, 2)]
    (axes,) = plot_losses(curve, references={"Markov, order 5": 1.94}).axes
    assert [line.get_label() for line in axes.lines] == [
        "training",
        "validation",
        "guess (2)",
        "Markov, order 5 (1.94)",
    ]
    assert axes.lines[0].get_xydata().tolist() == [[1.0, 1.9], [2.0, 1.8]]
    del curve[0]["valid_bits_per_base"], curve[1]["valid_bits_per_base"]
    (axes,) = plot_losses(curve).axes
    assert [line.get_label() for line in axes.lines] == ["training", "guess (2)"]


def test_the_lr_finder_s_curves_have_a_line_and_a_mark_each():
    curves = [{"chosen": rate, "rates": [1e-4, 1e-2, 1], "losses": [0.7, 0.5, 90]} for rate in (0.01, 0.02)]
    (axes,) = plot_lr_finder(curves).axes
    assert [line.get_xdata()[0] for line in axes.lines] == [1e-4, 0.01, 1e-4, 0.02]
    assert axes.get_xscale() == "log"
    assert 0.7 < axes.get_ylim()[1] < 1  # not up to the explosion
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["stage 1: 0.01", "stage 2: 0.02"]


@pytest.mark.parametrize("curves", [[], [{"chosen": 0.1, "rates": [], "losses": []}]])
def test_no_curve_of_the_lr_finder_is_refused(curves):
    with pytest.raises(SettingError, match="lr='auto'"):
        plot_lr_finder(curves)


def test_sites_and_calls_of_other_chromosomes_are_not_drawn():
    block = gu.ScoreBlock("chr1", 0, 10, np.array([0.1, 0.9], dtype=np.float32), 20, "+")
    other = [gu.Interval("chr2", 5, 6, strand="+")]
    bare, marked = plot_scan([block]), plot_scan([block], sites=other, calls=other, genes=other)
    assert len(marked.axes) == len(bare.axes) and len(marked.axes[0].lines) == len(bare.axes[0].lines)


@pytest.mark.parametrize("name", ["a$_$", "a$\\frac$", "<b>&"])
def test_names_are_drawn_as_they_are_typed(name, tmp_path):
    figure = plot_baselines({name: {name: 0.1}})
    assert save_figure(figure, tmp_path / "x.svg").exists()
    evaluation = {"mcc": 0.5, "intervals": {"mcc": [0.4, 0.6]}, "baselines": {name: {"mcc": 0.1}}}
    assert as_svg(draw_evaluations({name: evaluation}), "x").startswith("<svg")
    assert save_figure(plot_baselines({}), tmp_path / "y.svg").exists()


def test_powers_of_ten_stay_formulas(tmp_path):
    curve = {"rates": [1e-4, 1e-3, 1e-2, 1e-1], "losses": [3.0, 2.0, 1.0, 2.0], "chosen": 1e-2}
    figure = plot_lr_finder([curve])
    save_figure(figure, tmp_path / "lr.svg")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert all(label.get_parse_math() for label in axes.get_xticklabels() if label.get_text())
    assert not axes.title.get_parse_math()
