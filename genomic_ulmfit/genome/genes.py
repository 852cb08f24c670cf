"""Genes and their parts out of GFF3, GTF and GenBank files and records: 1-based in, stranded `Interval` out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.files import existing
from genomic_ulmfit.genome.aliases import read_aliases
from genomic_ulmfit.genome.features import Annotation, Part
from genomic_ulmfit.genome.formats import guess_format
from genomic_ulmfit.genome.genbank import genbank_records, take_features
from genomic_ulmfit.genome.gff import TRANSCRIPTS, read_gff
from genomic_ulmfit.genome.intervals import Interval

__all__ = ["first_bases", "guess_format", "read_genes"]

_log = logging.getLogger(__name__)


def read_genes(
    source: Any,
    *,
    format: str | None = None,
    feature: str = "CDS",
    aliases: Mapping[str, str] | str | Path | None = None,
) -> list[Interval]:
    """Read the extents of genes, or of other features, on their strands.

    Parameters
    ----------
    source : str, Path, SeqRecord or iterable of SeqRecord
        A GFF3, GTF or GenBank file, plain or gzipped, or records with features.
    format : {"gff3", "gtf", "genbank"}, optional
        Told by content if not given.
    feature : str
        The type of feature: "CDS" (from start to stop codon; in GTF up to the stop codon), "gene", "mRNA" or
        "transcript", "TSS", ...
    aliases : mapping of str to str, str or Path, optional
        Chromosome names to replace: ``{"NC_000913.3": "chr"}``, or a file with two columns.

    Returns
    -------
    list of Interval
        In the order of the source, 0-based half-open, strand "+" or "-". The first base along the strand is the
        feature's true 5' end. The parts of a joined location, or the rows of one coding sequence, make one interval
        from the first to the last, introns included. Where a feature crosses the origin of a chromosome that the file
        calls circular, its end is past the chromosome's end, as in GFF3.

    Notes
    -----
    Features are left out, and their number is logged, where the strand is not known or the 5' end lies somewhere beyond
    what is annotated: ``<`` or ``>`` in GenBank, ``start_range`` or ``end_range`` in GFF3, the tags ``cds_start_NF``
    and ``mRNA_start_NF`` in GFF3 and GTF.

    Rows of a CDS belong together where they have the same transcript as Parent, or else the same ID (GFF3), or the same
    ``transcript_id`` (GTF). A GTF file without rows of type "transcript" has them made of its exons.

    Raises
    ------
    FileFormatError
        If the file is not what its format says (with the line number for GFF3 and GTF), or has no such feature with a
        known start: the types that it has are shown.

    Examples
    --------
    >>> from Bio.Seq import Seq
    >>> from Bio.SeqFeature import SeqFeature, SimpleLocation
    >>> from Bio.SeqRecord import SeqRecord
    >>> lac = SeqFeature(SimpleLocation(10, 40, strand=-1), type="CDS", qualifiers={"gene": ["lacZ"]})
    >>> read_genes(SeqRecord(Seq("A" * 50), id="chr", features=[lac]))
    [Interval(chrom='chr', start=10, end=40, name='lacZ', score=0.0, strand='-')]
    """
    annotation, name = _annotation(source, format)
    return [gene for gene, _ in _known(annotation, name, feature, read_aliases(aliases))]


def first_bases(
    source: Any, *, format: str | None = None, feature: str = "CDS", aliases: Mapping[str, str] | None = None
) -> list[Interval]:
    """Return the first base along the strand of each feature that `read_genes` gives."""
    annotation, name = _annotation(source, format)
    known = _known(annotation, name, feature, aliases or {})
    starts = [(gene._replace(start=gene.first, end=gene.first + 1), size) for gene, size in known]
    return [start.wrapped(size) if size else start for start, size in starts]


def _annotation(source: Any, format: str | None) -> tuple[Annotation, str | Path]:
    if not isinstance(source, str | Path):
        return take_features(source), "records"
    path = existing(source)
    kind = format or guess_format(path)
    if kind in ("gff3", "gtf"):
        return read_gff(path, kind), path
    if kind == "genbank":
        return take_features(genbank_records(path)), path
    raise FileFormatError(path, f"genes are read from gff3, gtf or genbank, not from {kind!r}")


def _known(
    annotation: Annotation, source: str | Path, feature: str, aliases: Mapping[str, str]
) -> list[tuple[Interval, int]]:
    """Return the features of one type whose 5' end is known, each with the length of its circle, or 0."""
    counts: dict[str, int] = {}
    genes, dropped = [], 0
    for parts in annotation.features:
        kind = parts[0].type
        counts[kind] = counts.get(kind, 0) + 1
        if kind == feature:
            size = annotation.circles.get(parts[0].chrom, 0)
            gene = _extent(list(_unrolled(parts, size)))
            genes.extend([(gene.wrapped(size) if size else gene, size)] if gene else [])
            dropped += gene is None
    if dropped:
        _log.warning("%s: left out %d %s features whose strand or 5' end is not known", source, dropped, feature)
    if not genes:
        has = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items(), key=lambda item: -item[1])[:8])
        known = f", of which the 5' end is known (all {dropped} are open there)" if dropped else ""
        raise FileFormatError(source, f"has no {feature} features{known}; it has {has or 'no features'}")
    _log.info("%s: took %d %s features", source, len(genes), feature)
    transcripts = next((kind for kind in TRANSCRIPTS if kind in counts), None)
    if feature == "CDS" and transcripts:
        message = "%s: a CDS starts where translation does; it has %s features too, feature='%s'"
        _log.warning(message, source, transcripts, transcripts)
    return [(gene._replace(chrom=aliases.get(gene.chrom, gene.chrom)), size) for gene, size in genes]


def _unrolled(parts: list[Part], size: int) -> Iterator[Part]:
    """Yield the parts, counting on where two of them meet at the origin of a circle of `size` bp, not 0."""
    shift, before = 0, None
    for part in parts:
        if before and size and before.strand == part.strand:
            if part.strand == "+" and (before.end, part.start) == (size, 0):
                shift += size
            elif part.strand == "-" and (before.start, part.end) == (0, size):
                shift -= size
        yield part._replace(start=part.start + shift, end=part.end + shift)
        before = part


def _extent(parts: list[Part]) -> Interval | None:
    """Join what lies downstream of the 5' end on its strand: the rest is trans-spliced."""
    first = parts[0]
    if first.strand == "+" and not first.open_start:
        end = max(p.end for p in parts if p.strand == "+" and p.start >= first.start)
        return Interval(first.chrom, first.start, end, first.name, strand="+")
    if first.strand == "-" and not first.open_end:
        start = min(p.start for p in parts if p.strand == "-" and p.end <= first.end)
        return Interval(first.chrom, start, first.end, first.name, strand="-")
    return None
