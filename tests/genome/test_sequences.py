from __future__ import annotations

import gzip
import os
import pickle
import random
import shutil
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pysam
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.errors import FileFormatError, OutOfRangeError, UnknownChromosomeError
from genomic_ulmfit.files import open_text
from genomic_ulmfit.genome.algebra import to_bedtool
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome

TEXT = ">chr1 first\nACGTacgtNN\nRYACGTAAC\n>chr2\nTTTTG\n"
GENBANK = """\
LOCUS       X                         10 bp    DNA     circular BCT 01-JAN-2000
DEFINITION  A circle.
ACCESSION   X
VERSION     X.1
FEATURES             Location/Qualifiers
     source          1..10
                     /mol_type="genomic DNA"
ORIGIN
        1 acgtacgtnn
//
"""
SIZES = {"chr1": 19, "chr2": 5}


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(TEXT)
    return path


def _bgzip(path):
    pysam.tabix_compress(str(path), f"{path}.gz", force=True)
    return path.with_name(path.name + ".gz")


def _all(genome):
    return {chrom: genome.sequence(chrom, 0, size) for chrom, size in genome.chrom_sizes.items()}


# Fetching


def test_fetch_follows_the_strand_and_says_what_it_is(fasta):
    record = Genome(fasta).fetch(Interval("chr1", 1, 6, "lac", 0.0, "-"))
    assert str(record.seq) == "gtACG"
    assert (record.id, record.name) == ("chr1:1-6(-)", "lac")
    expected = {"chrom": "chr1", "start": 1, "end": 6, "strand": "-", "molecule_type": "DNA"}
    assert record.annotations == expected
    assert str(Genome(fasta).fetch(Interval("chr1", 1, 6)).seq) == "CGTac"


def test_fetch_many_keeps_the_order(fasta):
    wanted = [Interval("chr2", 0, 5), Interval("chr1", 0, 2), Interval("chr2", 3, 5)]
    assert [str(record.seq) for record in Genome(fasta).fetch_many(wanted)] == ["TTTTG", "AC", "TG"]


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (0, 20), (5, 5), (6, 5), (19, 25)])
def test_out_of_range_is_refused(fasta, start, end):
    with pytest.raises(OutOfRangeError, match="19 bp"):
        Genome(fasta).fetch(Interval("chr1", start, end))


def test_unknown_chromosome_shows_both_spellings_and_how_to_map(fasta):
    with pytest.raises(UnknownChromosomeError, match=r"'1' is not in .* 'chr1', 'chr2'.*aliases=\{'1': 'chr1'\}"):
        Genome(fasta).fetch(Interval("1", 0, 5))
    with pytest.raises(UnknownChromosomeError, match=r"aliases=\{'chr7': NAME\}"):
        Genome(fasta).sequence("chr7", 0, 5)


def test_aliases_map_to_the_genomes_names(fasta, tmp_path):
    assert Genome(fasta, {"1": "chr1"}).fetch(Interval("1", 0, 4)).id == "chr1:0-4(.)"
    (tmp_path / "alias.tsv").write_text("NC_1\tchr1\n")
    assert Genome(fasta, tmp_path / "alias.tsv").resolve("NC_1") == "chr1"
    with pytest.raises(UnknownChromosomeError):
        Genome(fasta, {"1": "chr3"}).resolve("1")


@pytest.mark.usefixtures("needs_bedtools")
def test_fetch_agrees_with_bedtools_getfasta(fixtures_dir, tmp_path):
    fasta = tmp_path / "mixed.fa"
    shutil.copy(fixtures_dir / "twobit.fasta", fasta)
    genome, chance = Genome(fasta), random.Random(0)
    wanted = []
    for chrom, size in genome.chrom_sizes.items():
        for _ in range(20):
            start, end = sorted(chance.sample(range(size + 1), 2))
            wanted.append(Interval(chrom, start, end, strand=chance.choice("+-")))
    out = to_bedtool(wanted).sequence(fi=str(fasta), s=True, tab=True)
    lines = [tuple(line.split("\t")) for line in Path(out.seqfn).read_text().splitlines()]
    assert [(record.id, str(record.seq)) for record in genome.fetch_many(wanted)] == lines


# Formats


def test_fasta_gzip_bgzip_2bit_and_genbank_give_the_same(fixtures_dir, tmp_path):
    plain = tmp_path / "genome.fa"
    shutil.copy(fixtures_dir / "twobit.fasta", plain)
    zipped = tmp_path / "plain_gzip.fa.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    sources = [
        plain,
        zipped,
        _bgzip(plain),
        fixtures_dir / "twobit.littleendian.2bit",
        fixtures_dir / "twobit.bigendian.2bit",
    ]
    expected = _all(Genome(zipped))
    assert sum(map(len, expected.values())) == 1723
    for source in sources:
        genome = Genome(source)
        assert _all(genome) == expected
        assert list(genome.chrom_sizes) == list(expected)


def test_format_is_told_by_content_not_by_name(fasta, tmp_path):
    odd = tmp_path / "genome.2bit"
    fasta.rename(odd)
    assert Genome(odd).chrom_sizes == SIZES


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_genbank_says_which_chromosomes_are_circular(tmp_path, pack):
    path = tmp_path / "x.txt"
    path.write_bytes(pack(GENBANK.encode()))
    genome = Genome(path)
    assert _all(genome) == {"X.1": "ACGTACGTNN"}
    assert genome.circular == {"X.1"}


def test_records_of_all_kinds():
    record = SeqRecord(Seq("ACGT"), id="a", annotations={"topology": "circular"})
    assert Genome(record).chrom_sizes == {"a": 4}
    assert Genome(record).circular == {"a"}
    assert Genome([record]).chrom_sizes == Genome(iter([record])).chrom_sizes == {"a": 4}
    assert Genome({"b": record, "c": Seq("AC"), "d": "A"}).chrom_sizes == {"b": 4, "c": 2, "d": 1}


@pytest.mark.parametrize(
    "text",
    [
        ">a\r\nACGT\r\nAC\r\n>b\r\nGG\r\n",
        "\n>a\nACGT\nAC\n\n>b\nGG\n\n",
        ">a title\x01another\nACGTAC\n>b\nGG",
        ">a\nAC\nGTA\nC\n>b\nGG\n",
        ">a\nACG\n\nTAC\n>b\nGG\n",
    ],
    ids=["CRLF", "blank lines", "ctrl-A", "uneven lines", "blank line inside"],
)
def test_fasta_layouts(tmp_path, text):
    path = tmp_path / "x.fa"
    path.write_bytes(text.encode())
    assert _all(Genome(path)) == {"a": "ACGTAC", "b": "GG"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "file is empty"),
        (b"\n\n", "file is empty"),
        (b"hello\n", "not a FASTA, 2bit or GenBank file"),
        (b">a\n", "holds no sequence"),
        (b">a\nAC\n>a\nGT\n", "two records are named 'a'"),
        (b">a\nMENLNMDLL\n", "record 'a' holds letters that stand for no nucleotide: E L"),
        (b">a\nAC-GT\n", "no nucleotide: -"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-10], "gzip stream is damaged"),
        (gzip.compress(b">a\nACEF\n", mtime=0), "no nucleotide: E F"),
        (gzip.compress(b">a\nAC\n>a\nGT\n", mtime=0), "two records are named 'a'"),
        (b"\x1a\x41\x27\x43", "holds no sequence"),
        (b"\x43\x27\x41\x1a" + bytes(12), "holds no sequence"),
        (gzip.compress(b"\x43\x27\x41\x1a" + bytes(12), mtime=0), "unpack it first"),
        (GENBANK[:200].encode(), "not a whole GenBank file"),
    ],
)
def test_files_that_hold_no_genome_are_refused(tmp_path, data, message):
    path = tmp_path / "x.fa"
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=message) as caught:
        Genome(path)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["x.fa"] or message == "holds no sequence"


def test_wrong_letters_beyond_the_head_are_refused_when_fetched(tmp_path):
    path = tmp_path / "x.fa"
    path.write_text(">a\n" + ("A" * 1000 + "\n") * 1100 + "C" * 500 + "!" * 500 + "\n")
    genome = Genome(path)
    assert genome.sequence("a", 0, 100) == "A" * 100
    with pytest.raises(FileFormatError, match="no nucleotide: !"):
        genome.sequence("a", 1_100_400, 1_100_600)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_2bit_is_refused(fixtures_dir, tmp_path, share):
    data = (fixtures_dir / "twobit.littleendian.2bit").read_bytes()
    path = tmp_path / "x.2bit"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FileFormatError, match=r"cut off|not a whole 2bit"):
        Genome(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        Genome(tmp_path / "none.fa")
    with pytest.raises(IsADirectoryError):
        Genome(tmp_path)


# Indexes


def test_index_is_built_beside_and_used(fasta):
    Genome(fasta)
    index = fasta.with_name("genome.fa.fai")
    written = index.stat().st_mtime_ns
    assert Genome(fasta).chrom_sizes == SIZES
    assert index.stat().st_mtime_ns == written


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    "text", [">chr1\nGGGGGGGGGG\n", ">chr0\nA\n" + TEXT, ">chrA first\n" + TEXT[12:], TEXT + ">chr3\nAC\n"]
)
def test_index_of_another_file_never_gives_wrong_sequence(fasta, text, compress):
    path = _bgzip(fasta) if compress else fasta
    Genome(path)
    fasta.write_text(text)
    path = _bgzip(fasta) if compress else fasta
    for index in fasta.parent.glob("*.[fg][az]i"):  # newer than the file, and yet not its own
        os.utime(index, ns=(2**61, 2**61))
    expected = {line.split("\n")[0].split()[0]: "".join(line.split("\n")[1:]) for line in text.split(">")[1:]}
    assert _all(Genome(path)) == expected


def test_damaged_index_is_built_again(fasta):
    index = fasta.with_name("genome.fa.fai")
    for content in ("", "nonsense", "chr1\t-4\tx\n", "chr1\t19\t999999\t10\t11\n"):
        index.write_text(content)
        assert _all(Genome(fasta)) == {"chr1": "ACGTacgtNNRYACGTAAC", "chr2": "TTTTG"}


def test_read_only_folder_is_left_alone(fasta):
    fasta.parent.chmod(0o555)
    try:
        genome = Genome(fasta)
        assert genome.sequence("chr2", 0, 5) == "TTTTG"
        assert [path.name for path in fasta.parent.iterdir()] == ["genome.fa"]
        assert pickle.loads(pickle.dumps(genome)).sequence("chr2", 0, 5) == "TTTTG"
    finally:
        fasta.parent.chmod(0o755)


def test_memory_goes_with_the_window_and_not_with_the_genome(tmp_path):
    peaks = []
    for lines in (50_000, 400_000):
        path = tmp_path / f"{lines}.fa"
        path.write_bytes(b">chr1\n" + (b"ACGT" * 15 + b"\n") * lines)
        tracemalloc.start()
        try:
            assert Genome(path).sequence("chr1", 1_000_000, 1_000_008) == "ACGTACGT"
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


# Other processes and threads


def _fetch(genome_and_interval):
    genome, interval = genome_and_interval
    return str(genome.fetch(interval).seq)


def test_genomes_work_in_other_processes_and_threads(fasta, fixtures_dir, tmp_path):
    for source in (fasta, _bgzip(fasta), {"chr1": "ACGT" * 5, "chr2": "TTTTG"}):
        genome = Genome(source)
        work = [(genome, Interval("chr1", i % 9, i % 9 + 5)) for i in range(200)]
        expected = [_fetch(job) for job in work]
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(_fetch, work)) == expected
    with ProcessPoolExecutor(1) as processes:
        assert list(processes.map(_fetch, work[:3])) == expected[:3]
    twobit = Genome(fixtures_dir / "twobit.littleendian.2bit")
    assert _all(pickle.loads(pickle.dumps(twobit))) == _all(twobit)


def test_a_bgzipped_file_that_was_cut_between_two_blocks_is_refused(tmp_path):
    plain, packed = tmp_path / "x.fa", tmp_path / "x.fa.gz"
    plain.write_text(">a\n" + "\n".join(random.Random(0).choices(["ACGTTGCA" * 9, "GGCATTAC" * 9], k=4000)) + "\n")
    pysam.tabix_compress(str(plain), str(packed))
    whole = packed.read_bytes()
    assert Genome(packed).chrom_sizes == {"a": 4000 * 72}
    second = whole.index(whole[:4], 1)  # where a block begins
    packed.write_bytes(whole[:second])
    with pytest.raises(FileFormatError, match="is cut off, or ends without the mark"):
        Genome(packed)


def test_what_goes_on_behind_bgzip_is_no_damage(tmp_path):
    plain, packed = tmp_path / "x.fa", tmp_path / "x.fa.gz"
    plain.write_text(">a\nACGT\n")
    pysam.tabix_compress(str(plain), str(packed))
    whole = packed.read_bytes()
    for more, sizes in ((gzip.compress(b">b\nAC\n"), {"a": 4, "b": 2}), (b"", {"a": 4})):
        packed.write_bytes(whole + more)
        with open_text(packed) as handle:
            assert handle.read().count(">") == len(sizes)
    packed.write_bytes(whole[:-28])
    with pytest.raises(FileFormatError, match="without the mark that bgzip puts there"), open_text(packed):
        pass
