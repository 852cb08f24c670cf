"""What all tests share: fixtures from files, the bedtools program, and hypothesis without a clock."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("genomic_ulmfit", deadline=None)
settings.load_profile("genomic_ulmfit")


@pytest.fixture(scope="session", autouse=True)
def one_thread_each() -> None:
    """Nets in tests are tiny: threads that wait for one another cost more than they bring."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_interrupts() -> None:
    """A shell's background jobs, and so tests that run in one, begin with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    return Path(__file__).parents[1] / "data" / "fixtures"


@pytest.fixture(scope="session")
def ecoli(fixtures_dir):
    from genomic_ulmfit.genome.sequences import Genome

    return Genome(fixtures_dir / "NC_000913.3.fasta.gz")


@pytest.fixture(scope="session")
def ecoli_record(fixtures_dir):
    import gzip

    from Bio import SeqIO

    with gzip.open(fixtures_dir / "NC_000913.3.gbk.gz", "rt") as handle:
        return SeqIO.read(handle, "genbank")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's browser; skip where it is missing, fail there if GENOMIC_ULMFIT_REQUIRE_BROWSER=1."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("GENOMIC_ULMFIT_REQUIRE_BROWSER") == "1":
            pytest.fail("the program chromium is not installed, and GENOMIC_ULMFIT_REQUIRE_BROWSER=1 asks for it")
        pytest.skip("the program chromium is not installed")
    return program


@pytest.fixture(scope="session")
def needs_bedtools() -> None:
    """Skip where the bedtools program is missing; fail there if GENOMIC_ULMFIT_REQUIRE_BEDTOOLS=1."""
    if shutil.which("bedtools") is None:
        if os.environ.get("GENOMIC_ULMFIT_REQUIRE_BEDTOOLS") == "1":
            pytest.fail("the bedtools program is not installed, and GENOMIC_ULMFIT_REQUIRE_BEDTOOLS=1 asks for it")
        pytest.skip("the bedtools program is not installed")
