"""Negatives keep the promises of every strategy; bedtools is asked whether they do."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genomic_ulmfit.datasets.negatives import STRATEGIES, draw_negatives
from genomic_ulmfit.errors import DatasetError
from genomic_ulmfit.genome.algebra import to_bedtool
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome

LENGTH = 20


def small_genome(seed=0):
    """Two contigs, one of them of rising GC, with gaps and soft-masked stretches."""
    rng = np.random.default_rng(seed)
    rising = np.linspace(0.2, 0.8, 3000)
    a = "".join(rng.choice(list("GC")) if rng.random() < gc else rng.choice(list("AT")) for gc in rising)
    b = "".join(rng.choice(list("ACGT"), size=1500))
    a = a[:1000] + "N" * 200 + a[1200:2000] + "R" + a[2001:]
    return Genome({"a": a, "b": b[:700].lower() + b[700:], "c": "ACGTACGTAC"})


GENOME = small_genome()
GENES = [
    Interval("a", 0, 900, "one", 0.0, "-"),
    Interval("a", 1300, 2500, "two", 0.0, "+"),
    Interval("b", 100, 1400, "three", 0.0, "-"),
]

starts = st.one_of(
    st.tuples(st.just("a"), st.integers(0, 980)),
    st.tuples(st.just("a"), st.integers(1200, 1980)),
    st.tuples(st.just("b"), st.integers(0, 1480)),
)
positives = st.lists(
    st.tuples(starts, st.sampled_from("+-")).map(lambda x: Interval(x[0][0], x[0][1], x[0][1] + LENGTH, strand=x[1])),
    min_size=1,
    max_size=12,
    unique=True,
)


def letters(genome, interval):
    return str(genome.fetch(interval).seq).upper()


@settings(max_examples=25)
@given(positives, st.sampled_from(sorted(STRATEGIES)), st.integers(0, 40), st.integers(0, 3))
def test_every_strategy_keeps_the_promises(needs_bedtools, positives, strategy, padding, seed):
    exclude = [Interval("a", 500, 600), Interval("b", 0, 300)]
    within = [Interval("a", 0, 2400, "train"), Interval("b", 0, 1300, "train")]
    options = {"strategy": strategy, "padding": padding, "exclude": exclude, "within": within, "genes": GENES}
    found = draw_negatives(GENOME, positives, 15, **options, seed=seed)

    assert len(found) == 15 and {i.length for i in found} == {LENGTH}
    assert {i.strand for i in found} <= {"+", "-"}
    assert found == draw_negatives(GENOME, positives, 15, **options, seed=seed)
    texts = [letters(GENOME, i) for i in found]
    assert all(set(text) <= set("ACGT") for text in texts)
    both = {letters(GENOME, i._replace(strand=strand)) for i in positives for strand in "+-"}
    both |= {letters(GENOME, i._replace(strand="+-"[i.strand == "+"])) for i in found}
    assert len(set(texts)) == 15 and not set(texts) & both

    beds = to_bedtool(found)
    assert len(beds.window(to_bedtool(positives), w=padding)) == 0
    assert len(beds.intersect(to_bedtool(exclude), u=True)) == 0
    assert len(beds.intersect(to_bedtool(within), u=True, f=1.0)) == 15
    if strategy == "gene-body":
        assert len(beds.intersect(to_bedtool(GENES), u=True, f=1.0, s=True)) == 15


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_another_seed_draws_others(strategy):
    drawn = [
        tuple(draw_negatives(GENOME, [Interval("b", 700, 720)], 20, strategy=strategy, genes=GENES, seed=seed))
        for seed in (0, 1, [0, 1])
    ]
    assert len(set(drawn)) == 3


@pytest.mark.parametrize("strategy", ["random", "gc-matched"])
def test_both_strands_are_alike(strategy):
    found = draw_negatives(
        GENOME, [Interval("b", s, s + 20) for s in range(0, 1400, 35)], 400, strategy=strategy, padding=0
    )
    assert 150 < sum(i.strand == "+" for i in found) < 250


def gc_bins(genome, intervals):
    return Counter((letters(genome, i).count("G") + letters(genome, i).count("C")) * 50 // i.length for i in intervals)


PLACES = gc_bins(
    GENOME, [Interval(chrom, s, s + LENGTH) for chrom in "ab" for s in range(GENOME.chrom_sizes[chrom] - 19)]
)


@given(positives, st.integers(1, 3))
def test_gc_matched_negatives_have_the_gc_histogram_of_the_positives(positives, ratio):
    wanted = Counter({number: ratio * n for number, n in gc_bins(GENOME, positives).items()})
    reach = 2 * LENGTH * len(positives)  # places that a positive overlaps
    assume(all(PLACES[number] >= n + reach for number, n in wanted.items()))
    found = draw_negatives(GENOME, positives, wanted.total(), padding=0)
    assert gc_bins(GENOME, found) == wanted


def test_gc_shares_are_rounded_to_add_up():
    chosen = [Interval("b", start, start + LENGTH) for start in range(0, 280, 40)]
    assert len(draw_negatives(GENOME, chosen, 10)) == 10


def test_a_gc_bin_that_runs_dry_is_filled_from_the_nearest(caplog):
    genome = Genome({"a": "GC" * 10 + "ATTACGATTA" * 2 + small_genome(1).sequence("a", 0, 900)})
    found = draw_negatives(genome, [Interval("a", 0, 20)], 2, padding=0)
    assert "2 of 2 negatives are not from the GC bin wanted" in caplog.text
    richest = max(
        letters(genome, Interval("a", s, s + 20)).count("G") + letters(genome, Interval("a", s, s + 20)).count("C")
        for s in range(20, 920)
    )
    assert max(gc_bins(genome, found)) == richest * 50 // 20


def test_a_gene_body_negative_lies_in_one_gene_on_its_strand():
    genes = [Interval("b", 0, 30, strand="+"), Interval("b", 30, 60, strand="-")]
    found = draw_negatives(GENOME, [Interval("b", 700, 720)], 22, strategy="gene-body", genes=genes, padding=0)
    assert Counter((i.end <= 30, i.strand) for i in found) == {(True, "+"): 11, (False, "-"): 11}


def test_what_is_not_accepted_is_drawn_again():
    def without_a_first(texts):
        return np.array([text[0] != "A" for text in texts])

    found = draw_negatives(GENOME, [Interval("b", 700, 720)], 50, strategy="random", accept=without_a_first)
    assert len(found) == 50
    assert not any(GENOME.sequence(i.chrom, i.start, i.start + 1).upper() == "A" for i in found)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_place_is_used_where_they_are_few(strategy):
    genes = [Interval("b", 0, 1500, strand="+")]
    options = {"padding": 0, "within": [Interval("b", 20, 60)], "genes": genes, "strategy": strategy}
    found = draw_negatives(GENOME, [Interval("b", 0, 20)], 21, **options)
    assert [i.start for i in found] == list(range(20, 41))
    with pytest.raises(DatasetError, match=rf"found 21 of 22 {strategy} negatives of 20 bp: there are 21 places"):
        draw_negatives(GENOME, [Interval("b", 0, 20)], 22, **options)


def test_a_refusal_says_what_became_of_the_places():
    def nothing(texts):
        return np.zeros(len(texts), dtype=bool)

    genome = Genome({"a": "ACGTTGCATGCATTAGACCA" + "N" * 5 + "ACGTTGCATGCATTAGACCA" + "GGATTACAGGATCCATTAGA"})
    with pytest.raises(DatasetError) as caught:
        draw_negatives(genome, [Interval("a", 0, 20)], 5, strategy="random", padding=0, accept=nothing)
    message = str(caught.value)
    assert "found 0 of 5" in message and "26 places" in message and "of 26 looked at" in message
    assert "5 hold letters other than ACGT, 1 repeat a sequence and 20 were not accepted" in message
    assert "\n" not in message


def test_gene_body_without_genes_is_refused():
    with pytest.raises(DatasetError, match="need genes"):
        draw_negatives(GENOME, [Interval("b", 0, 20)], 1, strategy="gene-body")


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_genome_without_room_is_refused(strategy):
    with pytest.raises(DatasetError, match="there are 0 places"):
        draw_negatives(GENOME, [Interval("b", 0, 20)], 1, strategy=strategy, within=[Interval("b", 0, 60)], genes=GENES)


@pytest.mark.parametrize(
    ("chosen", "strategy", "message"),
    [
        ([], "random", "positives of one length, got 0"),
        ([Interval("b", 0, 20), Interval("b", 0, 21)], "random", "positives of one length, got 2"),
        ([Interval("b", 0, 20)], "flank", "'flank' is not one of random, gene-body, gc-matched"),
    ],
)
def test_what_cannot_be_drawn_for_is_refused(chosen, strategy, message):
    with pytest.raises(DatasetError, match=message):
        draw_negatives(GENOME, chosen, 1, strategy=strategy)
