import logging

import genomic_ulmfit.progress as progress
from genomic_ulmfit.progress import progress_bar


def test_a_log_gets_lines_with_the_share_done_the_time_left_and_the_note(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "genomic_ulmfit")
    clock = iter([0.0, 40.0, 40.0, 40.0, 160.0, 160.0, 160.0, 160.0]).__next__
    monkeypatch.setattr(progress.time, "monotonic", clock)
    with progress_bar("work", 40, unit="steps") as bar:
        bar.advance(10, "1.9 bits")
        bar.advance(30)
    assert caplog.messages[0] == "work: 25 %, 2 min left, 40 s, 0.25 steps/s, 1.9 bits"
    assert caplog.messages[-1] == "work: done, 160 s, 0.25 steps/s, 1.9 bits"
