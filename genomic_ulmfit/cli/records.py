"""Verbs that write what a model says into records, variants and a track of surprisal."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import genomic_ulmfit as gu
from genomic_ulmfit.cli.app import app
from genomic_ulmfit.cli.options import (
    Aliases,
    Device,
    Exact,
    GenomeFile,
    ModelFile,
    Precision,
    ReadingPrecision,
    Target,
    check_outputs,
    load_classifier,
    load_language_model,
    load_regions,
    output_file,
    wrote,
)


class Strand(StrEnum):
    """What `surprisal` reads."""

    plus = "+"
    minus = "-"


_Regions = Annotated[str | None, typer.Option(metavar="REGION|BED", help="chr:start-end, or a file.")]
_Vcf = Annotated[Path, typer.Argument(metavar="IN.vcf", help="VCF, plain, gzip or bgzip.", show_default=False)]
_Mismatch = Annotated[
    bool, typer.Option("--skip-mismatch", help="Leave records alone whose REF is not the genome's, and count them.")
]


@app.command()
def annotate(
    model: ModelFile,
    sequences: Annotated[Path, typer.Argument(help="GenBank or FASTA, plain or gzip.", show_default=False)],
    output: Annotated[Path, output_file("GenBank file to write (.gb, .gbk, .gb.gz).")],
    regions: _Regions = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Lowest probability of a call.")] = 0.5,
    min_distance: Annotated[int, typer.Option(min=0, help="Between calls, in bp.")] = 100,
    step: Annotated[int, typer.Option(min=1, help="bp a bin; 10 is enough for a whole genome.")] = 1,
    target: Target = None,
    precision: ReadingPrecision = Precision.fp32,
    exact: Exact = False,
    device: Device = None,
) -> None:
    """Add the calls of a model to records, as features of type `regulatory`.

    Features that are there stay. A class that INSDC's vocabulary lacks gets /regulatory_class="other" and its name in
    /note.

    Example: genomic-ulmfit annotate clf.safetensors plasmid.gb -o annotated.gb --threshold 0.9
    """
    from genomic_ulmfit.annotation import annotate_file, check_genbank_name

    check_outputs(check_genbank_name(output), inputs=[model, sequences, regions])
    where = None if regions is None else load_regions(regions, [gu.Genome(sequences)])
    done = annotate_file(
        load_classifier(model),
        sequences,
        output,
        threshold=threshold,
        min_distance=min_distance,
        step=step,
        regions=where,
        target=target,
        precision=precision.value,
        exact=exact,
        device=device,
        progress=True,
    )
    wrote(done.path, f"{done.records} records with {done.calls} calls")


@app.command()
def variants(
    model: ModelFile,
    genome: GenomeFile,
    vcf: _Vcf,
    output: Annotated[Path, output_file("VCF to write: .vcf, or .vcf.gz with a tabix index.")],
    step: Annotated[int, typer.Option(min=1, help="bp between anchors: 10 is 10 times as fast, and coarser.")] = 1,
    target: Target = None,
    skip_mismatch: _Mismatch = False,
    precision: ReadingPrecision = Precision.fp32,
    exact: Exact = False,
    aliases: Aliases = None,
    device: Device = None,
) -> None:
    """Say what each variant changes in a model's calls, in INFO fields of a VCF.

    For each ALT: the largest change of log-odds over all windows of both strands that cover it, where that window's
    anchor lies, and the probabilities there.

    Example: genomic-ulmfit variants clf.safetensors genome.fa calls.vcf.gz -o scored.vcf.gz
    """
    from genomic_ulmfit.variant_files import check_vcf_name

    check_outputs(check_vcf_name(output), inputs=[model, genome, vcf, aliases])
    counts = gu.score_variants(
        load_classifier(model),
        gu.Genome(genome, aliases=aliases),
        vcf,
        output,
        step=step,
        target=target,
        skip_mismatch=skip_mismatch,
        precision=precision.value,
        exact=exact,
        device=device,
        progress=True,
    )
    wrote(counts.path, str(counts))


@app.command()
def surprisal(
    model: ModelFile,
    genome: GenomeFile,
    output: Annotated[Path, output_file("Track to write: .bedgraph, .bw, or compressed (.bedgraph.gz).")],
    regions: _Regions = None,
    strand: Annotated[Strand, typer.Option(help="Which strand is read.")] = Strand.plus,
    context: Annotated[int, typer.Option(min=0, help="bp that are read before a region.")] = 10_000,
    aliases: Aliases = None,
    device: Device = None,
) -> None:
    """Say how much each base surprises a language model, in bits.

    2 bits are what guessing costs. Models of either reading direction.

    Example: genomic-ulmfit surprisal lm.safetensors genome.fa -o surprisal.bedgraph --regions chr1:1-40000
    """
    check_outputs(track=output, inputs=[model, genome, regions, aliases])
    opened = gu.Genome(genome, aliases=aliases)
    where = None if regions is None else load_regions(regions, [opened])
    blocks = gu.surprisal(
        load_language_model(model),
        opened,
        strand=strand.value,
        regions=where,
        context=context,
        device=device,
        progress=True,
    )
    wrote(gu.write_track(blocks, output, chrom_sizes=opened.chrom_sizes), f"surprisal of the {strand.name} strand")
