"""Verbs that make and look at data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

import genomic_ulmfit as gu
from genomic_ulmfit.cli.app import app
from genomic_ulmfit.cli.options import (
    Aliases,
    Circular,
    GenomeFile,
    Seed,
    check_outputs,
    load_classifier,
    output_file,
    positions,
    write_text,
    wrote,
)
from genomic_ulmfit.datasets.counts import counts_table
from genomic_ulmfit.datasets.splits import METHODS
from genomic_ulmfit.errors import DatasetError, SettingError
from genomic_ulmfit.files import beside
from genomic_ulmfit.genome.algebra import linear_parts, merge
from genomic_ulmfit.genome.formats import guess_format

_NOT_CLEAN = 1  # exit status of `audit --strict`

Label = Annotated[str | None, typer.Option(metavar="PATTERN", help="Regular expression of the label in a header.")]
Group = Annotated[str | None, typer.Option(metavar="PATTERN", help="The same, of what is to stay on one side.")]
Sources = Annotated[
    list[str],
    typer.Argument(metavar="[CLASS=]FILE...", help="Labelled FASTA, CSV or TSV; or one a class.", show_default=False),
]


class SplitMethod(StrEnum):
    """How `dataset` holds records out."""

    chromosome = "chromosome"
    region = "region"
    homology = "homology"
    random = "random"
    none = "none"


class RecordSplitMethod(StrEnum):
    """How `split` holds records out."""

    homology = "homology"
    group = "group"
    random = "random"
    given = "given"


@app.command()
def dataset(
    genome: GenomeFile,
    tss: Annotated[
        Path,
        typer.Argument(
            help="EPDnew BED, SGA or UCSC table, BED, narrowPeak, GFF3, GTF, GenBank or RegulonDB.", show_default=False
        ),
    ],
    output: Annotated[Path, output_file("FASTA to write, with a BED and what is held out beside it.")],
    upstream: Annotated[int, typer.Option(min=0, help="bp before the TSS.")] = 200,
    downstream: Annotated[int, typer.Option(min=1, help="bp from the TSS on.")] = 50,
    negatives: Annotated[
        str,
        typer.Option(
            help="gc-matched, kmer-matched, random, intertss, gene-body, flank, hard, shuffle or partial-shuffle."
        ),
    ] = "gc-matched",
    ratio: Annotated[float, typer.Option(min=0, help="Negatives for each positive.")] = 1.0,
    padding: Annotated[int, typer.Option(min=0, help="bp that negatives keep from positives.")] = 100,
    strands: Annotated[str, typer.Option(help="Of negatives: both, +, - or same as the positives.")] = "both",
    genes: Annotated[
        Path | None, typer.Option(help="BED or annotation of genes for gene-body, if TSS has none.")
    ] = None,
    feature: Annotated[
        str | None, typer.Option(help="What to take starts of: a feature type, in RegulonDB a sigma factor.")
    ] = None,
    exclude: Annotated[Path | None, typer.Option(help="BED of regions that no negative may touch.")] = None,
    classifier: Annotated[Path | None, typer.Option(help="For hard: the classifier to be misled.")] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="For kmer-matched and hard: windows looked at for each negative.")
    ] = None,
    max_unknown: Annotated[float, typer.Option(min=0, max=1, help="Share of a record that may be N.")] = 0.0,
    split: Annotated[SplitMethod | None, typer.Option(help="[default: chromosome where three exceed 1 Mbp]")] = None,
    fractions: Annotated[str, typer.Option(help="Shares of train, valid and test.")] = "0.8,0.1,0.1",
    test: Annotated[str | None, typer.Option(metavar="REGION", help="chr:start-end to hold out for test.")] = None,
    mask: Annotated[str | None, typer.Option(metavar="START:END", help="0-based positions to turn into N.")] = None,
    label: Annotated[str, typer.Option(help="Name of the positive class.")] = "promoter",
    format: Annotated[
        str | None, typer.Option(help="Of TSS: epdnew, bed, narrowpeak, sga, gff3, gtf, genbank or regulondb.")
    ] = None,
    aliases: Aliases = None,
    circular: Circular = False,
    seed: Seed = 0,
) -> None:
    """Build a labelled data set from a genome and a list of TSSs.

    Example: genomic-ulmfit dataset genome.fa epdnew.bed -o data.fa
    """
    check_outputs(output, inputs=[genome, tss, genes, exclude, classifier, aliases])
    opened = gu.Genome(genome, aliases=aliases, circular=circular or None)
    shares, regions = _fractions(fractions), None
    if split is None or split in METHODS:
        held_out = None if test is None else gu.Interval.from_region(test, opened.chrom_sizes)
        regions = gu.split_genome(
            opened.chrom_sizes, split, fractions=shares, test=held_out, gap=upstream + downstream, seed=seed
        )
    elif test is not None:
        raise SettingError(f"--test names a region, and the split is by {split}; wanted --split region")
    records = gu.promoter_dataset(
        opened,
        gu.read_tss(tss, format=format, feature=feature, aliases=opened.aliases, genome=opened),
        upstream=upstream,
        downstream=downstream,
        negatives=negatives,
        ratio=ratio,
        padding=padding,
        strands=strands,
        genes=None if negatives != "gene-body" else _genes(tss, genes, feature, opened),
        exclude=exclude,
        score=None if classifier is None else _score(load_classifier(classifier)),
        candidates=candidates,
        max_unknown=max_unknown,
        split=regions or split,
        fractions=shares,
        label=label,
        mask=None if mask is None else positions(mask),
        seed=seed,
    )
    typer.echo(counts_table(records))
    _wrote_dataset(records, output, opened)
    _wrote_held_out(records, regions, output, opened)


@app.command()
def split(
    sources: Sources,
    output: Annotated[Path, output_file("FASTA to write.")],
    by: Annotated[RecordSplitMethod, typer.Option(help="What stays on one side.")] = RecordSplitMethod.homology,
    valid: Annotated[list[str] | None, typer.Option(metavar="[CLASS=]FILE", help="The valid part, as given.")] = None,
    test: Annotated[list[str] | None, typer.Option(metavar="[CLASS=]FILE", help="The test part, as given.")] = None,
    fractions: Annotated[str, typer.Option(help="Shares of train, valid and test.")] = "0.8,0.1,0.1",
    label: Label = None,
    group: Group = None,
    mask: Annotated[str | None, typer.Option(metavar="START:END", help="0-based positions to turn into N.")] = None,
    seed: Seed = 0,
) -> None:
    """Divide labelled records into train, valid and test: without a genome, of any lengths, of any number of classes.

    With --valid or --test, the parts are these files, and the others train.

    Example: genomic-ulmfit split lncRNA=lnc.fa.gz mRNA=mrna.fa.gz -o data.fa --by group --group 'ENSMUSG[0-9]+'
    """
    check_outputs(output, inputs=[*sources, *(valid or []), *(test or [])])
    shares, masked = _fractions(fractions), None if mask is None else positions(mask)
    if valid or test:
        by = RecordSplitMethod.given
        records = _read(sources, label, group, "train")
        records += _read(valid or [], label, group, "valid") + _read(test or [], label, group, "test")
    else:
        records = _read(sources, label, group)
    records = gu.split_records(records, by, fractions=shares, seed=seed)
    if masked is not None:
        records = gu.mask_records(records, *masked)
    typer.echo(counts_table(records))
    wrote(gu.write_dataset(records, output), f"{len(records)} labelled records")


@app.command()
def audit(
    sources: Sources,
    genome: Annotated[Path | None, typer.Option(help="To check the places of records against.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="JSON to write.", show_default=False)] = None,
    html: Annotated[Path | None, typer.Option(help="Page to write.", show_default=False)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 where it is not clean.")] = False,
    label: Label = None,
    group: Group = None,
    circular: Circular = False,
    seed: Seed = 0,
) -> None:
    """Say what a data set leaks, and what no neural net at all scores on it.

    Example: genomic-ulmfit audit data.fa --genome genome.fa --html audit.html --strict
    """
    from genomic_ulmfit.report import audit_page

    check_outputs(json_file, html, inputs=[*sources, genome])
    opened = None if genome is None else gu.Genome(genome, circular=circular or None)
    report = gu.audit(_read(sources, label, group), genome=opened, seed=seed, progress=True)
    typer.echo(str(report))
    if json_file is not None:
        wrote(write_text(json.dumps(report.to_dict(), indent=2) + "\n", json_file), "the audit")
    if html is not None:
        title = f"Audit of {', '.join(Path(text.rpartition('=')[2]).name for text in sources)}"
        wrote(write_text(audit_page(report, title=title), html), "the audit as a page")
    if strict and report.verdict != "clean":
        raise typer.Exit(_NOT_CLEAN)


def _read(sources: list[str], label: str | None, group: str | None, part: str | None = None) -> list[SeqRecord]:
    """Read files, or one file a class where they are given as CLASS=FILE."""
    records: list[SeqRecord] = []
    for text in sources:
        name, mark, path = text.partition("=")
        if mark and not Path(text).exists():
            if label is not None:
                raise SettingError(f"{text} says its class, and --label looks for it in headers; wanted one of them")
            records += gu.read_dataset({name: path}, split=part, group=group)
        else:
            records += gu.read_dataset(text, label=label, split=part, group=group)
    return records


def _fractions(text: str) -> tuple[float, float, float]:
    try:
        train, valid, test = (float(share) for share in text.split(","))
    except ValueError:
        raise SettingError(f"--fractions is {text!r}, wanted three shares, 0.8,0.1,0.1") from None
    return train, valid, test


def _genes(tss: Path, genes: Path | None, feature: str | None, genome: gu.Genome) -> list[gu.Interval]:
    """Read the genes that are named, or those of the starts' annotation, where they are one."""
    source = genes or tss
    if guess_format(source) in ("gff3", "gtf", "genbank"):
        return gu.read_genes(source, aliases=genome.aliases, feature=feature or "CDS")
    if genes is None:
        raise DatasetError(
            f"{tss} has no genes; gene-body negatives need genes: name a BED or an annotation with --genes"
        )
    return gu.read_intervals(genes, aliases=genome.aliases)


def _score(classifier: gu.Classifier | gu.Ensemble) -> Callable[[list[SeqRecord]], NDArray[np.float32]]:
    column = classifier.target_index()
    return lambda records: gu.predict_proba(classifier, records)[:, column]


def _wrote_dataset(records: list[SeqRecord], output: Path, genome: gu.Genome) -> None:
    sizes = {chrom: genome.chrom_sizes[chrom] for chrom in genome.circular}
    wrote(gu.write_dataset(records, output, chrom_sizes=sizes), f"{len(records)} labelled records")
    wrote(beside(output, ".bed"), "the same records as intervals")


def _wrote_held_out(
    records: list[SeqRecord], regions: list[gu.Interval] | None, output: Path, genome: gu.Genome
) -> None:
    """Write what the language model must not have read: whole regions, or the records that are held out."""
    from genomic_ulmfit.datasets.records import place

    if regions is None:
        places = [place(record) for record in records if record.annotations["split"] != "train"]
        held_out = merge(linear_parts([where for where in places if where is not None], genome.chrom_sizes))
    else:
        held_out = [region for region in regions if region.name != "train"]
    if held_out:
        path = beside(output, ".held-out.bed")
        wrote(gu.write_track(held_out, path), "what valid and test hold, for `pretrain --exclude`")
