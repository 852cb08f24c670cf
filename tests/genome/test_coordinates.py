"""The proof of coordinates that does not go in a circle: proteins that NCBI translated, from intervals fetched here."""

from __future__ import annotations

import pytest
from Bio.SeqFeature import ExactPosition

from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.genome.tss import read_genes, read_tss

_NOT_SIMPLE = ("transl_except", "pseudo", "pseudogene", "ribosomal_slippage", "exception")


def _simple_cds(record):
    for feature in record.features:
        is_odd = len(feature.location.parts) > 1 or any(key in feature.qualifiers for key in _NOT_SIMPLE)
        if feature.type == "CDS" and not is_odd:
            yield feature


def _protein(sequence) -> str:
    return "M" + str(sequence.translate(table=11))[1:].removesuffix("*")


def test_every_simple_cds_fetched_by_interval_and_strand_translates_to_its_protein(ecoli, ecoli_record):
    found = {"+": 0, "-": 0}
    for feature in _simple_cds(ecoli_record):
        strand = {1: "+", -1: "-"}[feature.location.strand]
        interval = Interval("NC_000913.3", int(feature.location.start), int(feature.location.end), strand=strand)
        assert _protein(ecoli.fetch(interval).seq) == feature.qualifiers["translation"][0], interval
        found[strand] += 1
    assert found == {"+": 2011, "-": 2125}  # 4,319 less 179 pseudo, 3 transl_except, 1 slippage


def test_read_genes_gives_the_same_proteins(ecoli, ecoli_record):
    proteins = [feature.qualifiers["translation"][0] for feature in _simple_cds(ecoli_record)]
    locations = {(int(f.location.start), int(f.location.end)) for f in _simple_cds(ecoli_record)}
    genes = [gene for gene in read_genes(ecoli_record) if (gene.start, gene.end) in locations]
    assert [_protein(record.seq) for record in ecoli.fetch_many(genes)] == proteins


@pytest.mark.parametrize(("upstream", "downstream"), [(100, 50), (200, 50), (0, 3)])
def test_gene_start_lands_on_index_upstream_on_both_strands(ecoli, ecoli_record, upstream, downstream):
    codons = {"+": [], "-": []}
    for start in read_tss(ecoli_record):
        window = start.window(upstream, downstream)
        if window.start >= 0 and window.end <= ecoli.chrom_sizes[window.chrom]:
            record = ecoli.fetch(window)
            assert len(record) == upstream + downstream
            codons[start.strand].append(str(record.seq[upstream : upstream + 3]))
    for strand in "+-":
        assert len(codons[strand]) > 2000
        assert sum(codon in ("ATG", "GTG", "TTG") for codon in codons[strand]) > 0.98 * len(codons[strand])


def test_fasta_and_genbank_hold_the_same_genome(ecoli, ecoli_record):
    genome = Genome(ecoli_record)
    assert genome.chrom_sizes == ecoli.chrom_sizes == {"NC_000913.3": 4_641_652}
    assert genome.sequence("NC_000913.3", 0, 4_641_652) == ecoli.sequence("NC_000913.3", 0, 4_641_652)
    assert genome.circular == {"NC_000913.3"}
    assert ecoli.circular == frozenset()


def test_joined_locations_start_at_their_true_5_prime_end(ecoli_record):
    joined = [f for f in ecoli_record.features if f.type == "CDS" and len(f.location.parts) > 1]
    starts = {(start.start, start.strand) for start in read_tss(ecoli_record)}
    assert len(joined) == 62
    for feature in joined:
        assert all(isinstance(edge, ExactPosition) for edge in (feature.location.start, feature.location.end))
        if feature.location.strand == 1:
            assert (int(feature.location.start), "+") in starts
        else:
            assert (int(feature.location.end) - 1, "-") in starts
