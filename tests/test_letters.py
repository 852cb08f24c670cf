import numpy as np
from Bio.Seq import Seq

from genomic_ulmfit.letters import UNKNOWN, base_codes


def test_codes_are_bytes():
    codes = base_codes("ACGTUacgtunR-")
    assert codes.dtype == np.uint8
    assert codes.tolist() == [0, 1, 2, 3, 3, 0, 1, 2, 3, 3, UNKNOWN, UNKNOWN, UNKNOWN]


def test_str_bytes_and_seq_are_alike():
    assert base_codes("ACGTé")[:4].tolist() == base_codes(b"ACGT").tolist() == base_codes(Seq("ACGT")).tolist()
