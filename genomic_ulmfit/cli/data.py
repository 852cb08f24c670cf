"""Verbs that make and look at data sets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import genomic_ulmfit as gu
from genomic_ulmfit.cli.app import app
from genomic_ulmfit.cli.options import Aliases, GenomeFile, Seed, check_outputs, output_file, positions, wrote


class SplitMethod(StrEnum):
    """How `dataset` holds records out."""

    chromosome = "chromosome"
    region = "region"
    none = "none"


@app.command()
def dataset(
    genome: GenomeFile,
    tss: Annotated[Path, typer.Argument(help="EPDnew BED or SGA, BED6, GFF3 or GenBank.", show_default=False)],
    output: Annotated[Path, output_file("FASTA to write, with a BED and the held-out regions beside it.")],
    upstream: Annotated[int, typer.Option(min=0, help="bp before the TSS.")] = 200,
    downstream: Annotated[int, typer.Option(min=1, help="bp from the TSS on.")] = 50,
    negatives: Annotated[str, typer.Option(help="random, gene-body or gc-matched.")] = "gc-matched",
    ratio: Annotated[float, typer.Option(min=0, help="Negatives for each positive.")] = 1.0,
    genes: Annotated[Path | None, typer.Option(help="Genes for gene-body, if TSS doesn't have them.")] = None,
    feature: Annotated[str | None, typer.Option(help="Feature type of GFF3 or GenBank to take starts of.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="BED of regions to stay out of.")] = None,
    split: Annotated[SplitMethod | None, typer.Option(help="[default: chromosome where three exceed 1 Mbp]")] = None,
    test: Annotated[str | None, typer.Option(metavar="REGION", help="chr:start-end to hold out for test.")] = None,
    mask: Annotated[str | None, typer.Option(metavar="START:END", help="0-based positions to turn into N.")] = None,
    label: Annotated[str, typer.Option(help="Name of the positive class.")] = "promoter",
    format: Annotated[str | None, typer.Option(help="Of TSS: epdnew, bed, sga, gff3 or genbank.")] = None,
    aliases: Aliases = None,
    seed: Seed = 0,
) -> None:
    """Build a labelled data set from a genome and a list of TSSs.

    Example: genomic-ulmfit dataset genome.fa tss.bed -o data.fa
    """
    check_outputs(output)
    opened = gu.Genome(genome, aliases=aliases)
    regions = _split(opened, split, test, seed)
    how = {} if feature is None else {"feature": feature}
    records = gu.promoter_dataset(
        opened,
        gu.read_tss(tss, format=format, aliases=aliases, **how),
        upstream=upstream,
        downstream=downstream,
        negatives=negatives,
        ratio=ratio,
        genes=_genes(genes or tss, negatives, feature, aliases),
        exclude=exclude,
        split=regions,
        label=label,
        mask=None if mask is None else positions(mask),
        seed=seed,
    )
    held_out = [region for region in regions if region.name != "train"]
    wrote(gu.write_dataset(records, output), f"{len(records)} labelled records")
    wrote(output.with_suffix(".bed"), "the same records as intervals")
    if held_out:
        path = output.with_suffix(".held-out.bed")
        wrote(gu.write_track(held_out, path), "valid and test regions, for `pretrain --exclude`")


def _split(genome: gu.Genome, method: SplitMethod | None, test: str | None, seed: int) -> list[gu.Interval]:
    held_out = None if test is None else gu.Interval.from_region(test, genome.chrom_sizes)
    return gu.split_genome(genome.chrom_sizes, method and method.value, test=held_out, seed=seed)


def _genes(path: Path, negatives: str, feature: str | None, aliases: Path | None) -> list[gu.Interval] | None:
    if negatives != "gene-body":
        return None
    how = {} if feature is None else {"feature": feature}
    return gu.read_genes(path, aliases=aliases, **how)
