"""Files that other projects test their readers with: each is read as another reader does, or refused in one line.

Those that may not or need not lie in the repository are checked by ``python -m benchmarks.odd_files``, from this table.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pybedtools
import pysam
import pytest

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.genome.intervals import read_intervals
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.genome.tss import read_genes

# What is not refused must be read as by the oracle: pysam's FastxFile, bedtools' parser, a 2bit decoder below.
REFUSED = {
    "fasta/bakta_invalid-characters.fasta": "'BAD_1' holds letters that stand for no nucleotide: 2 3 4",
    "fasta/biopython_dups_duplicate-ids_blank-lines.fasta": "two records are named 'alpha'",
    "fasta/biopython_f003_comment-lines_protein.fasta": "no nucleotide: E F I L P Q",
    "fasta/biopython_fa01_gapped-protein-alignment.fasta": "no nucleotide: - E I L P",
    "2bit/pileupjs_susScr3-first-500000-bytes_truncated.2bit": "not a whole 2bit file",
    "2bit/twobit-js_empty.2bit": "holds no sequence",
    "bed/bedtools_bed5.bed": "line 1: the score must be a number, got 'why\\?'",
    "bed/bedtools_bed6.bed": "line 1: the strand must be .* got '11'",
    "bed/bedtools_bedplus.bed": "line 1: the strand must be .* got '11'",
    "bed/pyfaidx_malformed.bed": "line 1: a BED row needs at least 3 columns, got 2",
    "gff/pybedtools_dm3-chr2L-5M-invalid.gff.gz": "line 1: wanted integers 1 <= start <= end, got start '0'",
    "gff/rtracklayer_v2.gff2": "line 3: a GFF3 or GTF row has 9 columns separated by tabs, got 8",
}
# bedtools' parser stumbles over the header row of the first and the coordinate of the second.
BY_HAND = {
    "bed/bedtools_a.chromheader.bed": [("chr1", 15, 25, ".", ".")],
    "bed/bedtools_abig_end-3e10.bed": [("1", 123, 30_000_000_000, ".", ".")],
}
# Read off the files: 1-based there, 0-based here. Parts of coding sequences joined by their transcript; of the last of
# rtracklayer_genes one row has no strand and does not count.
GENES = {
    "gff/rtracklayer_genes.gff3": {
        "gene": [("TUBB8", 92827, 95504, "-"), ("LOC100288778", 87983, 91263, "+")],
        "mRNA": [("TUBB8", 92827, 95178, "-"), ("TUBB8", 92827, 95504, "-"), ("LOC100288778", 87983, 91263, "+")],
        "CDS": [("872", 92996, 94615, "-"), ("873", 92996, 95178, "-"), ("4644", 87983, 90655, "+")],
    },
    "gff/rtracklayer_v3.gff3": {
        "gene": [("newGene", 499, 2610, "+")],
        "mRNA": [("t1(newGene)", 499, 2385, "+"), ("t2(newGene)", 1049, 2610, "+"), ("t3(newGene)", 1049, 2610, "+")],
        "CDS": [("t1", 802, 1012, "+"), ("t2", 1049, 2610, "+"), ("t3", 1049, 2610, "+")],
    },
    "gff/bakta_NC_002127.1-region_with-FASTA-section.gff3": {
        "CDS": [("DOGAIA_00005", 31, 736, "+"), ("DOGAIA_00006", 980, 1121, "+"), ("DOGAIA_00015", 1347, 2229, "-")],
    },
}
ODD = Path(__file__).parents[2] / "data" / "fixtures" / "odd"
FILES = sorted(str(path.relative_to(ODD)) for path in ODD.rglob("*") if path.is_file())


def check(path: Path, folder: Path) -> str:
    """Compare what a file reads as with what it should, and say how; indexes are built in the folder."""
    name = f"{path.parent.name}/{path.name}"
    try:
        found = _read(path, folder)
    except FileFormatError as error:
        assert "\n" not in str(error)
        assert name in REFUSED, str(error)
        assert re.search(REFUSED[name], str(error)), str(error)
        return f"refused{str(error).partition(path.name)[2]}"
    assert name not in REFUSED
    assert found == _expected(path, name)
    return f"read right: {len(found)} {'chromosomes' if isinstance(found, dict) else 'rows'}"


def _read(path: Path, folder: Path) -> dict | list:
    if path.parent.name == "bed":
        return [interval[:4] + interval[5:] for interval in read_intervals(path)]
    if path.parent.name == "gff":
        features = GENES.get(f"gff/{path.name}", ["gene"])
        genes = [(feature, gene) for feature in features for gene in read_genes(path, feature=feature)]
        return [(feature, gene.name, gene.start, gene.end, gene.strand) for feature, gene in genes]
    genome = Genome(shutil.copy(path, folder))
    return {chrom: genome.sequence(chrom, 0, size) for chrom, size in genome.chrom_sizes.items()}


def _expected(path: Path, name: str) -> dict | list:
    if name in GENES:
        return [(feature, *gene) for feature, genes in GENES[name].items() for gene in genes]
    if path.parent.name == "bed":
        rows = pybedtools.BedTool(str(path)) if name not in BY_HAND else ()
        return [(row.chrom, row.start, row.end, row.name or ".", row.strand or ".") for row in rows] or BY_HAND.get(
            name, []
        )
    if path.suffix == ".2bit":
        return dict(_decoded(path.read_bytes()))
    with pysam.FastxFile(str(path)) as records:
        return {record.name: record.sequence for record in records}


def _decoded(data: bytes) -> Iterator[tuple[str, str]]:
    """Decode a 2bit file as UCSC's description has it: a second way, independent of the package's."""
    order = "<" if data[:4] == b"\x43\x27\x41\x1a" else ">"

    def integers(offset: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f"{order}{count}I", data, offset)

    position = 16
    for _ in range(integers(8, 1)[0]):
        start = position + 1
        position = start + data[position]
        (offset,) = integers(position, 1)
        length, count = integers(offset, 2)
        unknown = integers(offset + 8, 2 * count)
        (masks,) = integers(offset + 8 + 8 * count, 1)
        masked = integers(offset + 12 + 8 * count, 2 * masks)
        packed = data[offset + 16 + 8 * (count + masks) :]
        letters = ["TCAG"[packed[i // 4] >> (6 - 2 * (i % 4)) & 3] for i in range(length)]
        for at, size in zip(unknown[:count], unknown[count:], strict=True):
            letters[at : at + size] = "N" * size
        text = "".join(letters)
        for at, size in zip(masked[:masks], masked[masks:], strict=True):
            text = text[:at] + text[at : at + size].lower() + text[at + size :]
        yield data[start:position].decode(), text
        position += 4


@pytest.mark.parametrize("name", FILES)
def test_odd_file_is_read_right_or_refused_in_one_line(name, tmp_path):
    assert check(ODD / name, tmp_path).startswith("refused" if name in REFUSED else "read right")


def test_text_of_a_2bit_file_agrees_with_its_fasta(tmp_path):
    for twobit, fasta in (("foo.2bit", "foo.2bit.fa"), ("volvox.2bit", "volvox.2bit.fa.gz")):
        both = [_read(ODD / "2bit" / f"twobit-js_{name}", tmp_path) for name in (twobit, fasta)]
        assert both[0] == both[1]


def test_all_fixtures_are_as_their_readme_says():
    readme = (ODD.parent / "README.md").read_text()
    sums = dict(re.findall(r"^\| `([^`]+)` \|.* `([0-9a-f]{64})` \|$", readme, re.MULTILINE))
    files = [
        path for path in ODD.parent.rglob("*") if path.is_file() and path.name not in ("README.md", ".gitattributes")
    ]
    assert sums == {str(path.relative_to(ODD.parent)): sha256(path.read_bytes()).hexdigest() for path in files}
