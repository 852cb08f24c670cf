import numpy as np
import pytest
from matplotlib.text import Text

import genomic_ulmfit as gu
from genomic_ulmfit.datasets.curves import calibration, ranking_curves
from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.explanation import letter_heights
from genomic_ulmfit.plot import save_figure
from genomic_ulmfit.plot_explanations import plot_kmers, plot_logo, plot_profile
from genomic_ulmfit.plot_scores import plot_calibration, plot_ranking
from tests.toy_models import CountGC

MM = 1 / 25.4


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(0)
    true = rng.random(200) < 0.5
    return true, np.clip(rng.normal(0.5, 0.1, 200) + 0.2 * true, 0, 1)


@pytest.fixture(scope="module")
def explained():
    genome = gu.Genome({"c": "".join(np.random.default_rng(0).choice(list("ACGT"), 300))})
    records = genome.fetch_many([gu.Interval("c", at, at + 60, strand="+") for at in (0, 100, 200)])
    return gu.saliency(CountGC(), records, lengths=(1, 4), inserts=["TATAAT"])


@pytest.fixture(scope="module")
def draw(scored, explained):
    ranking, reliability = ranking_curves(*scored, bootstraps=20), calibration(*scored, bootstraps=20)
    profile, first = gu.average_profile(explained, anchor=40), explained[0]
    places, kmers = np.random.default_rng(0).normal(size=(16, 2)), [a + b for a in "ACGT" for b in "ACGT"]
    return {
        "ranking": lambda: plot_ranking({"promoter": ranking}),
        "calibration": lambda: plot_calibration(reliability, of="promoter"),
        "logo": lambda: plot_logo(letter_heights(first.record, first.scores), anchor=40, title="r"),
        "profile": lambda: plot_profile(profile, boxes=[(-14, -4, "-10")]),
        "kmers": lambda: plot_kmers(places, kmers),
    }


@pytest.mark.parametrize("name", ["ranking", "calibration", "logo", "profile", "kmers"])
def test_a_picture_is_a_column_wide_its_letters_can_be_read_and_its_bytes_are_the_same(draw, name, tmp_path):
    figure = draw[name]()
    assert figure.get_size_inches()[0] == pytest.approx(MM * (180 if name == "logo" else 85))
    paths = [save_figure(one, tmp_path / f"{i}.svg") for i, one in enumerate((figure, draw[name]()))]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    written = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert written
    assert {text.get_fontsize() for text in written} <= {6, 7, 8}


def test_roc_and_precision_recall_stand_side_by_side_with_their_intervals(draw, scored):
    figure = draw["ranking"]()
    roc, pr = figure.axes
    found = ranking_curves(*scored, bootstraps=20)
    np.testing.assert_array_equal(roc.lines[0].get_ydata(), found.true_positive_rate)
    np.testing.assert_array_equal(pr.lines[0].get_ydata(), found.precision)
    assert len(roc.collections) == len(pr.collections) == 1
    assert f"{found.roc_auc[0]:.3f}" in figure.legends[0].get_texts()[0].get_text()
    assert (roc.get_xlabel(), pr.get_xlabel()) == ("false positive rate", "recall")


def test_no_curve_and_too_many_are_refused(scored):
    found = ranking_curves(*scored, bootstraps=1)
    for curves in ({}, {str(i): found for i in range(7)}):
        with pytest.raises(SettingError, match="1 to 6 curves"):
            plot_ranking(curves)


def test_a_reliability_diagram_says_its_error_and_counts(draw, scored):
    top, bottom = draw["calibration"]().axes
    found = calibration(*scored, bootstraps=20)
    assert any(f"{found.error[0]:.3f}" in text.get_text() for text in top.texts)
    assert [int(text.get_text()) for text in bottom.texts] == found.counts.tolist()
    np.testing.assert_array_equal(top.lines[1].get_xdata(), found.predicted[found.counts > 0])


def test_a_long_logo_has_rows_to_one_scale():
    heights = np.zeros((230, 4))
    heights[np.arange(230), np.arange(230) % 4] = 1
    heights[200] *= 3
    rows = plot_logo(heights, anchor=100).axes
    assert [row.get_xlim() for row in rows] == [(-100.5, -23.5), (-23.5, 53.5), (53.5, 130.5)]
    assert len({row.get_ylim() for row in rows}) == 1


def test_a_profile_shows_its_mean_interval_curves_and_boxes(draw, explained):
    top, bottom, _ = draw["profile"]().axes
    profile = gu.average_profile(explained, anchor=40)
    np.testing.assert_array_equal(top.lines[0].get_ydata(), profile.mean)
    assert [label.get_text() for label in bottom.get_yticklabels()] == ["1 bp", "4 bp", "TATAAT"]
    assert bottom.images[0].get_extent()[:2] == [-40.5, 19.5]
    assert [text.get_text() for text in top.texts] == ["-10"]


def test_kmers_that_lie_together_are_listed_together():
    figure = plot_kmers(np.array([[0, 0], [0, 0.1], [10, 10], [10, 0]]), ["AA", "AC", "GG", "TT"])
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["AA\nAC", "GG", "TT"]
    many = plot_kmers(np.random.default_rng(0).normal(size=(65, 2)), ["A"] * 65)
    assert not many.axes[0].texts
