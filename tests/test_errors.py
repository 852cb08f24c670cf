"""Errors come out of another process as they went in."""

import multiprocessing
import pickle

import pytest

import genomic_ulmfit as gu
from genomic_ulmfit import errors
from genomic_ulmfit.genome.intervals import RegionError

EXAMPLES = {
    errors.FileFormatError: lambda kind: kind("x.bed", "is none", line=3),
    errors.UnknownChromosomeError: lambda kind: kind("20", ["chr20"]),
    errors.OutOfRangeError: lambda kind: kind("chr1", 5, 90, 60),
    errors.SequenceTooShortError: lambda kind: kind(2, 3, "r1"),
    errors.ModelFileError: lambda kind: kind("x.safetensors", "is damaged"),
    errors.DatasetError: lambda kind: kind("no records"),
    errors.SettingError: lambda kind: kind("k is 0"),
    RegionError: lambda kind: kind("chr1:9", "wanted chr:start-end"),
}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_error_survives_pickling(kind):
    error = EXAMPLES[kind](kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error) and vars(again) == vars(error)


def test_a_pool_of_processes_says_what_was_wrong():
    places = [gu.Interval("chr1", start, start + 20) for start in (0, 30)]
    fetch = gu.Genome({"chr1": "ACGT" * 10}).fetch
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(errors.OutOfRangeError) as caught:
        pool.map_async(fetch, places).get(timeout=60)
    assert (caught.value.start, caught.value.size) == (30, 40)
