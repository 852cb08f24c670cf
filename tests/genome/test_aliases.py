from __future__ import annotations

import pytest

from genomic_ulmfit.errors import FileFormatError, UnknownChromosomeError
from genomic_ulmfit.genome.aliases import core, read_aliases
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.genome.tss import read_tss

# Made by hand in the layout of UCSC's chromAlias.txt: chrUn has no name in two of the schemes.
CHROM_ALIAS = """\
# ucsc\tassembly\tgenbank\tncbi\trefseq
chr1\t1\tCM000663.2\t1\tNC_000001.11
chrM\tMT\tJ01415.2\tMT\tNC_012920.1
chrUn_1\t\tKI270302.1\t\tNT_187396.1
"""
OLDER = "#alias\tucsc\tsource\n1\tchr1\tassembly,ensembl\nNC_000001.11\tchr1\trefseq\nMT\tchrM\tassembly\n"


@pytest.fixture
def write(tmp_path):
    def _write(text):
        path = tmp_path / "chromAlias.txt"
        path.write_text(text)
        return path

    return _write


@pytest.mark.parametrize("own", [["chr1", "chrM"], ["1", "MT"], ["NC_000001.11", "NC_012920.1"], ["CM000663.2", "MT"]])
def test_any_spelling_of_a_row_means_the_genomes_own(write, own):
    genome = Genome(dict.fromkeys(own, "ACGT"), aliases=write(CHROM_ALIAS))
    for spelling in ("chr1", "1", "CM000663.2", "NC_000001.11"):
        assert genome.resolve(spelling) == own[0]
    for spelling in ("chrM", "MT", "J01415.2", "NC_012920.1"):
        assert genome.resolve(spelling) == own[1]
    with pytest.raises(UnknownChromosomeError):
        genome.resolve("chrUn_1")


@pytest.mark.parametrize("own", ["chr1", "1", "NC_000001.11"])
def test_the_older_layout_joins_rows_of_one_ucsc_name(write, own):
    genome = Genome({own: "ACGT"}, aliases=write(OLDER))
    others = {"1", "NC_000001.11"} | ({"chr1"} if own != "chr1" else set())
    assert {genome.resolve(name) for name in others} == {own}


def test_two_columns_keep_their_meaning(write):
    path = write("# theirs\tours\nNC_1\tchr1\tnot read\nNC_2\tchr2\n")
    assert read_aliases(path) == read_aliases(path, known=["chr1"]) == {"NC_1": "chr1", "NC_2": "chr2"}
    assert read_aliases(write(OLDER))["MT"] == "chrM"
    assert read_aliases({"a": "b"}) == {"a": "b"}


def test_two_names_of_the_genomes_in_one_row_are_refused(write):
    with pytest.raises(FileFormatError, match=r"line 2: '1' and 'chr1' are both names of the genome"):
        Genome({"1": "ACGT", "chr1": "ACGT"}, aliases=write(CHROM_ALIAS))


def test_one_spelling_in_two_rows_is_refused(write):
    with pytest.raises(FileFormatError, match=r"line 3: 'x' stands for 'chr1' and for 'chr2'"):
        Genome({"chr1": "ACGT", "chr2": "ACGT"}, aliases=write("# ucsc\tncbi\nchr1\tx\nchr2\tx\n"))


def test_spellings_without_a_genome_are_refused_and_with_it_name_starts(write):
    path = write(CHROM_ALIAS)
    with pytest.raises(FileFormatError, match="give the file to Genome"):
        read_aliases(path)
    starts = [Interval("NC_000001.11", 1, 2, strand="+")]
    assert read_tss(starts, aliases=path, genome=Genome({"1": "ACGT"}))[0].chrom == "1"


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("chr20", "NC_000020.10"),
        ("20", "NC_000020.11"),
        ("NC_000023.11", "chrX"),
        ("chrM", "NC_012920.1"),
        ("chrIV", "NC_001136.10"),
        ("NC_001133.9", "chrI"),
        ("chrMT", "M"),
    ],
)
def test_likely_spellings_are_shown_and_never_taken(own, other):
    with pytest.raises(UnknownChromosomeError, match=f"if '{own}' is meant, .*'{other}': '{own}'"):
        Genome({"other": "ACGT", own: "ACGT"}).resolve(other)


@pytest.mark.parametrize("accessions", [range(1, 25), range(1133, 1149)], ids=["human", "yeast"])
def test_core_tells_the_chromosomes_of_a_genome_apart(accessions):
    names = [f"NC_{number:06}.1" for number in accessions]
    assert len(set(map(core, names))) == len(names)


def test_a_dot_in_a_name_is_a_version_only_of_an_accession():
    genome = Genome({"contig.1": "ACGT", "GL000192.1": "ACGT", "NZ_JAAB01000001.1": "ACGT"})
    here, elsewhere = Interval("contig.1", 0, 2), Interval("contig.3", 0, 2)
    assert genome.named([here, elsewhere]) == [here]
    for chrom, meant in (("GL000192.2", "GL000192.1"), ("NZ_JAAB01000001", "NZ_JAAB01000001.1")):
        with pytest.raises(UnknownChromosomeError, match=f"if '{meant}' is meant"):
            genome.resolve(chrom)


def test_of_names_that_are_likely_meant_the_first_is_said():
    with pytest.raises(UnknownChromosomeError, match="if 'chr1' is meant"):
        Genome({"chr1": "ACGT", "Chr1": "ACGT"}).resolve("1")
