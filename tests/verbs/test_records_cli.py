"""The verbs `annotate`, `variants` and `surprisal` from the command line, and one line for what is wrong."""

import os
import subprocess
import sys

import numpy as np
import pysam
import pytest
from Bio import SeqIO

import genomic_ulmfit as gu
from genomic_ulmfit.cli import main

TEXT = "".join(np.random.default_rng(2).choice(list("ACGT"), 400))


@pytest.fixture
def folder(tmp_path):
    config = gu.AWDLSTMConfig(n_embedding=4, n_hidden=4, n_layers=1, n_head=2)
    vocab = gu.KmerVocab(2)
    gu.save(
        gu.Classifier(vocab, config, ["background", "promoter"], window=20, anchor=12), tmp_path / "clf.safetensors"
    )
    gu.save(gu.LanguageModel(vocab, config), tmp_path / "lm.safetensors")
    (tmp_path / "genome.fa").write_text(f">chr1\n{TEXT}\n")
    other = "A" if TEXT[99] != "A" else "C"
    rows = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    rows += [
        f"chr1\t100\t.\t{TEXT[99]}\t{other},<DEL>\t.\t.\t.",
        f"chr1\t200\t.\t{TEXT[199:203]}\t{TEXT[199]}\t.\t.\t.",
    ]
    (tmp_path / "in.vcf").write_text("\n".join(rows) + "\n")
    return tmp_path


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def test_annotate_writes_calls(folder, capsys):
    out = folder / "out.gb"
    arguments = [folder / "clf.safetensors", folder / "genome.fa", "-o", out, "--threshold", 0, "--min-distance", 0]
    status, printed, _ = run(capsys, "annotate", *arguments, "--regions", "chr1:101-200")
    expected = gu.annotate(
        gu.load(folder / "clf.safetensors"),
        SeqIO.read(folder / "genome.fa", "fasta"),
        threshold=0,
        min_distance=0,
        regions=[gu.Interval("chr1", 100, 200)],
    )
    features = SeqIO.read(out, "genbank").features
    assert status == 0
    assert printed == f"{out}: 1 records with {len(features)} calls\n"
    assert len(features) == len(expected.features) > 0
    assert {feature.qualifiers["regulatory_class"][0] for feature in features} == {"promoter"}


def test_variants_writes_an_indexed_vcf(folder, capsys):
    out = folder / "out.vcf.gz"
    status, printed, _ = run(
        capsys, "variants", folder / "clf.safetensors", folder / "genome.fa", folder / "in.vcf", "-o", out
    )
    assert status == 0
    assert printed == f"{out}: 2 records, 3 alternative alleles: 2 scored, 1 symbolic\n"
    with pysam.VariantFile(str(out)) as file:
        assert [record.pos for record in file.fetch("chr1", 150, 250)] == [200]


@pytest.mark.parametrize("strand", "+-")
def test_surprisal_writes_a_track(folder, capsys, caplog, strand):
    out = folder / "out.bedgraph"
    status, printed, _ = run(
        capsys, "surprisal", folder / "lm.safetensors", folder / "genome.fa", "-o", out, "--strand", strand
    )
    rows = [line.split() for line in out.read_text().splitlines()]
    assert status == 0
    assert printed.startswith(f"{out}: surprisal of the ")
    assert "bits per base over 398 bases" in caplog.text
    assert sum(int(row[2]) - int(row[1]) for row in rows) == 398


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("annotate {0}/clf.safetensors {0}/genome.fa -o {0}/out.txt", "wanted .gb"),
        ("annotate {0}/clf.safetensors {0}/genome.fa -o {0}/no/out.gb", "the folder"),
        ("annotate {0}/lm.safetensors {0}/genome.fa -o {0}/out.gb", "wanted a classifier"),
        ("annotate {0}/clf.safetensors {0}/in.vcf -o {0}/out.gb", "is not a FASTA"),
        ("variants {0}/clf.safetensors {0}/genome.fa {0}/genome.fa -o {0}/out.vcf", "is no VCF"),
        ("variants {0}/clf.safetensors {0}/genome.fa {0}/in.vcf -o {0}/out.bcf", "wanted .vcf"),
        ("variants {0}/clf.safetensors {0}/genome.fa {0}/nothing.vcf -o {0}/out.vcf", "no such file"),
        ("surprisal {0}/clf.safetensors {0}/genome.fa -o {0}/out.bw", "wanted a language model"),
        ("surprisal {0}/lm.safetensors {0}/genome.fa -o {0}/out.bed", "BED holds calls"),
        ("surprisal {0}/lm.safetensors {0}/genome.fa -o {0}/out.bw --regions chr2:1-5", "'chr2'"),
    ],
)
def test_wrong_input_gives_one_line_and_no_file(folder, capsys, arguments, message):
    before = sorted(folder.iterdir())
    status, _, err = run(capsys, *arguments.format(folder).split())
    assert status == 2
    assert err.splitlines()[-1].startswith("genomic-ulmfit: ")
    assert message in err.splitlines()[-1]
    assert sorted(path for path in folder.iterdir() if path.suffix != ".fai") == before


def test_the_shell_completes_verbs_and_options():
    program = "import sys; sys.argv = ['genomic-ulmfit']; from genomic_ulmfit.cli import main; main()"
    for words, expected in (("genomic-ulmfit sur", "surprisal"), ("genomic-ulmfit variants --sk", "--skip-mismatch")):
        asked = {"_GENOMIC_ULMFIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run([sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True)
        assert (done.returncode, done.stdout.split()) == (0, [expected])
