"""Proofs on real files that starts are read to the base: two files of one database, the genome, and printed sequences.

``python -m benchmarks.tss_sources --data DIR`` prints a table; exit status 1 where a proof fails. DIR has the folders
human-grch37 (EPDnew's BED and SGA, chromosome 20), yeast (genome, transcripts with measured TSSs) and ecoli (genome,
RegulonDB's PromoterSets).

Most RNAs of eukaryotes begin at a purine (+1) after a pyrimidine (-1). One base beside the TSS the rule fails, since
the purine at +1 is no pyrimidine: a reader that is off by one shows. RegulonDB prints 81 bases, -60..+20 with +1 in
upper case; of release 13 one row, fimAp, prints -20..+60.
"""

import argparse
import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import genomic_ulmfit as gu

Result = tuple[str, str, bool]  # what was proved, the figures, whether it holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    data = parser.parse_args().data
    failed = 0
    for proof in (epdnew_files_agree, human_initiators, yeast_initiators, regulondb_13, regulondb_10_9):
        for what, figures, holds in proof(data):
            print(f"{'pass' if holds else 'FAIL'}  {what:58} {figures}", flush=True)
            failed += not holds
    return int(failed > 0)


def epdnew_files_agree(data: Path) -> Iterator[Result]:
    folder = data / "human-grch37"
    aliases = {accession: _chrom(accession) for accession in _accessions(folder / "EPDnew_hg19_23360_TSS.sga.gz")}
    bed = gu.read_tss(folder / "EPDnew_hg19_all.bed.gz")
    sga = gu.read_tss(folder / "EPDnew_hg19_23360_TSS.sga.gz", aliases=aliases)
    same = sum(a[:4] == b[:4] and a.strand == b.strand for a, b in zip(bed, sga, strict=True))
    yield "EPDnew hg19: BED and SGA give the same TSS", f"{same:,} of {len(bed):,}", same == len(bed) == 23_360


def _accessions(path: Path) -> set[str]:
    with gzip.open(path, "rt") as handle:
        return {line.split()[0] for line in handle}


def _chrom(accession: str) -> str:
    number = int(accession[3:9])
    return "chr" + {23: "X", 24: "Y"}.get(number, str(number))


def human_initiators(data: Path) -> Iterator[Result]:
    folder = data / "human-grch37"
    genome = gu.Genome(folder / "GRCh37_chr20.fa.gz")
    yield from _initiators("EPDnew, chromosome 20", genome, gu.read_tss(folder / "EPDnew_hg19_chr20.bed"))


def yeast_initiators(data: Path) -> Iterator[Result]:
    genome = gu.Genome(data / "yeast" / "S288C_chrI-XVI.fasta.gz")
    starts = gu.read_tss(data / "yeast" / "Scer_polIItranscripts-adjustedTSS.bed")
    yield from _initiators("yeast", genome, starts)


def _initiators(name: str, genome: gu.Genome, starts: list[gu.Interval]) -> Iterator[Result]:
    for strand in "+-":
        windows = [tss.window(2, 2) for tss in starts if tss.strand == strand]
        around = [str(genome.fetch(window).seq).upper() for window in windows]
        before, at, behind = (
            sum(text[i] in "CT" and text[i + 1] in "AG" for text in around) / len(around) for i in range(3)
        )
        figures = f"{at:.1%} of {len(around):,}; one base before {before:.1%}, behind {behind:.1%}"
        yield f"{name}, {strand}: pyrimidine-purine at -1/+1", figures, at > 0.6 and max(before, behind) < 0.2


def regulondb_13(data: Path) -> Iterator[Result]:
    genome = gu.Genome(data / "ecoli" / "NC_000913.3.fasta.gz", circular=True)
    path = data / "ecoli" / "RegulonDB-13_PromoterSet.tsv.gz"
    pairs = list(zip(gu.read_tss(path), _printed(path), strict=True))
    for strand in "+-":
        figures, holds = _fits(genome, [pair for pair in pairs if pair[0].strand == strand])
        yield f"RegulonDB 13, {strand}: what is fetched is what is printed", figures, holds


def regulondb_10_9(data: Path) -> Iterator[Result]:
    genome = gu.Genome(data / "ecoli" / "NC_000913.3.fasta.gz", circular=True)
    path = data / "ecoli" / "RegulonDB-10.9_PromoterSet.txt.gz"
    written, moved = gu.read_tss(path), gu.read_tss(path, genome=genome)
    moves = [(a, b.start - a.start) for a, b in zip(written, moved, strict=True) if a != b]
    holds = all(a.name.startswith("TSS_") and a.strand == "-" and shift == 1 for a, shift in moves)
    yield "RegulonDB 10.9: rows TSS_* of - moved by +1 bp, no others", f"{len(moves):,}", holds and len(moves) == 2465
    figures, holds = _fits(genome, list(zip(moved, _printed(path), strict=True)))
    yield "RegulonDB 10.9: then what is fetched is what is printed", figures, holds


def _printed(path: Path) -> list[str]:
    """Return the printed sequences of the rows that have a strand and a position."""
    with gzip.open(path, "rt") as handle:
        rows = [line.split("\t") for line in handle if not line.startswith(("#", "1)"))]
    return [row[5] for row in rows if row[2] in ("forward", "reverse") and row[3] not in ("", "0")]


def _fits(genome: gu.Genome, pairs: list[tuple[gu.Interval, str]]) -> tuple[str, bool]:
    fit = usual = 0
    for tss, printed in pairs:
        upstream = next(index for index, letter in enumerate(printed) if letter.isupper())
        window = genome.wrap(tss.window(upstream, len(printed) - upstream))
        fit += str(genome.fetch(window).seq).upper() == printed.upper()
        usual += upstream == 60 and len(printed) == 81
    return f"{fit:,} of {len(pairs):,}, {usual:,} of them -60..+20", fit == len(pairs) > 1000


if __name__ == "__main__":
    sys.exit(main())
