"""The frame of the paper's tables on a toy one: what is run, what isn't run again, and what the page says of it."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from scipy import stats

import genomic_ulmfit as gu
from benchmarks.paper import __main__ as program
from benchmarks.paper import gene_starts, pictures, running
from benchmarks.paper.definitions import (
    AboveBaselines,
    AtLeast,
    Ordered,
    Published,
    Row,
    cells_of,
    ideas_of,
    missing,
    model_file,
    row_of,
)
from benchmarks.paper.figures import bootstrap, groups_of, t_interval
from benchmarks.paper.methods import METHODS, Settings, Task
from benchmarks.paper.page import NAMES, PAGE, Key, Runs, judge, number, page, read_runs, said_of, write_page
from benchmarks.paper.running import (
    RUNS,
    Place,
    Worker,
    drawn,
    identities_of,
    is_done,
    learnt_of,
    run_cells,
    seconds_of,
)
from benchmarks.paper.tables import TABLES
from genomic_ulmfit.datasets.metrics import METRICS, metrics
from genomic_ulmfit.datasets.records import labels, part
from genomic_ulmfit.stages import seeded
from tests import toy_paper
from tests.toy_paper import BASES, BOX, GC, PROBE, TABLE

CELLS = cells_of(TABLE)
DRAWN = RUNS / "pictures" / "pictures.json"


def cell_of(row, seed=0):
    return next(cell for cell in CELLS if cell.row == row and cell.seed == seed)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    data, models = toy_paper.fill(folder)
    return Place(data, models, folder / "runs", draws=20)


@pytest.fixture(scope="module")
def done(place):
    """The toy table with all of its runs and ideas, and what was said on the way."""
    said = []
    ran = run_cells(TABLE, [*CELLS, *ideas_of(TABLE)], place, workers=1, say=said.append)
    return ran, said


# Cells ----------------------------------------------------------------------------------------------------------------


def test_baselines_without_chance_run_once_and_what_learns_by_chance_for_each_seed():
    seeds = {row.name: sorted(cell.seed for cell in CELLS if cell.row == row.name) for row in BASES.rows}
    assert seeds == {"probe.tiny": [0, 1, 2], "probe.absent": [0, 1, 2], "position": [0], "gc": [0]}


def test_few_labels_take_five_seeds_and_baselines_then_too():
    table = replace(TABLE, sizes=(None, 1000, 20))
    numbers = {
        (cell.row, cell.n): sum(other.row == cell.row and other.n == cell.n for other in cells_of(table))
        for cell in cells_of(table)
    }
    assert numbers["probe.tiny", None] == 3 and numbers["probe.tiny", 20] == 5
    assert numbers["position", None] == 1 and numbers["position", 1000] == 3 and numbers["position", 20] == 5


def test_a_run_that_is_cut_off_has_whole_seeds():
    assert [cell.seed for cell in CELLS] == sorted(cell.seed for cell in CELLS)


def test_what_the_aims_speak_of_is_run_before_the_other_rows_of_a_seed():
    rows = (BOX, GC, PROBE, replace(GC, name="kmer"))
    table = replace(
        TABLE,
        variants=(replace(BASES, rows=rows),),
        aims=(AtLeast("bases", "kmer", "mcc", 0.1), Ordered("bases", ("gc", "probe.tiny"), "mcc")),
        sizes=(10, 20),
        seeds=1,
    )
    first = [cell for cell in cells_of(table) if cell.seed == 0]
    assert {cell.row for cell in first[:6]} == {"gc", "kmer", "probe.tiny"}
    assert [cell.n for cell in first] == [20, 20, 20, 10, 10, 10, 20, 10]


@pytest.mark.parametrize("table", [*TABLES.values(), TABLE], ids=lambda table: table.name)
def test_each_cell_has_a_file_of_its_own_and_finds_its_row(table):
    cells = [*cells_of(table), *ideas_of(table)]
    assert len({cell.file for cell in cells}) == len(cells)
    assert all(row_of(table, cell).name == cell.row and cell.method in METHODS for cell in cells)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_published_figures_and_aims_speak_of_variants_sizes_and_metrics_that_are_there(table):
    for said in (*table.published, *table.aims, *table.ideas):
        assert said.n in table.sizes
        assert table.variant(said.variant)
    assert {metric for published in table.published for metric in published.metrics} <= set(NAMES)
    for aim in table.aims:
        names = {row.name for row in table.variant(aim.variant).rows}
        assert set(getattr(aim, "rows", None) or [aim.row]) <= names


def test_rows_whose_language_models_are_not_there_are_told(place):
    assert missing(BASES.rows, place.models) == {"probe.absent": ["absent"]}


def test_language_models_are_those_of_the_folder_or_else_of_the_package(tmp_path):
    (shipped,) = [model.path for model in gu.shipped_models() if model.name == "bacteria-small"]
    assert model_file(None, "bacteria-small") == model_file(tmp_path, "bacteria-small") == shipped
    (tmp_path / "bacteria-small.safetensors").touch()
    assert model_file(tmp_path, "bacteria-small") == tmp_path / "bacteria-small.safetensors"


# Records --------------------------------------------------------------------------------------------------------------


def test_labels_are_drawn_evenly_and_another_seed_draws_others():
    records = toy_paper.records()
    first, again, other = (learnt_of(records, 20, seed) for seed in (0, 0, 1))
    assert labels(part(first, "train")).count("box") == 10 and len(part(first, "train")) == 20
    assert labels(part(first, "valid")).count("box") == 3 and len(part(first, "valid")) == 5
    assert [record.id for record in first] == [record.id for record in again] != [record.id for record in other]
    assert {record.annotations["split"] for record in first} == {"train", "valid"}


def test_all_labels_are_the_whole_parts():
    records = toy_paper.records()
    assert len(learnt_of(records, None, 0)) == len(learnt_of(records, 60, 0)) == 90


def test_a_number_that_classes_do_not_divide_is_drawn_all_the_same():
    assert [len(drawn(toy_paper.records(), n, [0])) for n in (1, 7, 119)] == [1, 7, 119]


def test_held_out_records_of_the_protocol_have_no_relatives_and_published_numbers():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), size=60)) for _ in range(9000)]
    texts[1] = texts[0][20:] + texts[1][:20]  # a pair of relatives in each class
    texts[8999] = str(Seq(texts[8998]).reverse_complement())
    made = [
        SeqRecord(Seq(text), id=str(i), annotations={"label": "background" if i % 2 else "gene_start"})
        for i, text in enumerate(texts)
    ]
    parts = gene_starts.independent_parts(made)
    counts = {name: len(part(parts, name)) for name in ("valid", "test")}
    assert counts == {"valid": 750, "test": 830}
    assert labels(part(parts, "test")).count("gene_start") == 415
    held_out = {record.id for name in counts for record in part(parts, name)}
    assert not held_out & {"0", "1", "8998", "8999"}
    assert len(part(parts, "train")) == 6791
    assert labels(part(parts, "train")).count("gene_start") == 4500 - 790  # no positive is thrown away


def test_strict_records_share_no_25_mer_with_what_was_learnt():
    text = "".join(np.random.default_rng(0).choice(list("ACGT"), size=400))
    spans = {"train": (0, 60), "valid": (40, 100), "test": (200, 260)}
    made = [SeqRecord(Seq(text[a:b]), id=name, annotations={"split": name}) for name, (a, b) in spans.items()]
    made.append(SeqRecord(Seq(text[30:90]).reverse_complement(), id="mirror", annotations={"split": "test"}))
    kept = gene_starts.without_relatives(made)
    assert [record.id for record in kept] == ["train", "valid", "test"]  # valid shares 20 bases with train, no 25
    made[1] = SeqRecord(Seq(text[30:90]), id="valid", annotations={"split": "valid"})
    assert [record.id for record in gene_starts.without_relatives(made)] == ["train", "test"]


def test_jittered_starts_move_either_way_within_bounds_and_keep_their_strand():
    starts = [gu.Interval("c", at, at + 1, strand="+-"[at % 2]) for at in range(100, 1100)]
    moved = gene_starts.jittered(starts, 40)
    by = np.array([other.start - one.start for one, other in zip(starts, moved, strict=True)])
    assert set(by) == set(range(-40, 41))
    assert all(other.length == 1 and other.strand == one.strand for one, other in zip(starts, moved, strict=True))


# Figures --------------------------------------------------------------------------------------------------------------


def test_the_interval_over_seeds_is_students():
    values = [0.91, 0.93, 0.90, 0.95]
    wanted = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    np.testing.assert_allclose(t_interval(values), wanted)
    assert t_interval(values[:2]) is None and t_interval([0.9] * 3) is None


def test_no_interval_ends_above_what_can_be_reached():
    runs = Runs({Key("bases", "gc", None): [{"metrics": {"test": {"mcc": mcc}}} for mcc in (0.9, 0.95, 1.0)]})
    low, high = runs.over_seeds(Key("bases", "gc", None), "mcc")
    assert (round(low, 3), high) == (0.826, 1.0)


def test_records_of_a_group_are_drawn_together():
    truth = np.tile([0, 1], 50)
    right = np.repeat(np.random.default_rng(1).random(10) < 0.7, 10)  # ten groups of ten, right or wrong as one
    calls = np.where(right, truth, 1 - truth)
    probabilities = np.eye(2)[calls] * 0.8 + 0.1
    low, high = bootstrap(truth, probabilities, np.repeat(np.arange(10), 10), draws=100)["accuracy"]
    alone_low, alone_high = bootstrap(truth, probabilities, np.arange(100), draws=100)["accuracy"]
    assert high - low > 2 * (alone_high - alone_low)
    assert alone_low < right.mean() < alone_high


def test_one_group_of_all_records_leaves_nothing_to_chance():
    truth = np.array([0, 1, 1, 0])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    found = metrics(truth, probabilities)
    for name, (low, high) in bootstrap(truth, probabilities, np.zeros(4, int), draws=5).items():
        assert low == high == pytest.approx(found[name])


def test_groups_are_those_of_an_annotation_or_of_shared_25_mers():
    text = "".join(np.random.default_rng(0).choice(list("ACGT"), size=200))
    made = [
        SeqRecord(Seq(text[at : at + 60]), annotations={"group": name})
        for at, name in ((0, "b"), (20, "a"), (120, "b"))
    ]
    assert groups_of(made, None).tolist() == [0, 0, 1]
    assert groups_of(made, "group").tolist() == [1, 0, 1]


# Runs -----------------------------------------------------------------------------------------------------------------


def test_every_cell_with_its_models_becomes_one_file_and_the_others_are_told(place, done):
    ran, said = done
    assert {cell.file for cell in ran} == {path.name for path in (place.runs / "toy").iterdir()}
    assert len(ran) == 3 + 1 + 1 + 3  # probe, two baselines, the idea
    assert said[0] == "left out: probe.absent, there is no absent.safetensors"
    assert said[2].startswith("planned: 8 runs, ")


def test_a_run_says_what_it_is_of_and_how_good_on_both_parts(place, done):
    run = json.loads(place.file(cell_of("position")).read_text())
    assert run["cell"]["row"] == "position" and run["identity"]["version"] == gu.__version__
    assert list(run["identity"]["data"]) == ["boxes.fa"]
    assert set(run["metrics"]) == {"valid", "test"} and set(run["metrics"]["test"]) == set(METRICS)
    assert run["n"] == {"train": 60, "valid": 30, "scored_valid": 30, "scored_test": 30}
    assert run["groups"] == {"valid": 30, "test": 30}
    low, high = run["intervals"]["test"]["mcc"]
    assert low <= run["metrics"]["test"]["mcc"] <= high
    assert run["seconds"] >= 0 and "thread" in run["hardware"]


def test_figures_are_those_of_the_baseline_itself(place, done):
    records = toy_paper.records()
    task = Task(None, part(records, "train"), part(records, "test"), BOX.settings, 0)
    truth = np.array([task.classes.index(label) for label in labels(task.scored)])
    run = json.loads(place.file(cell_of("position")).read_text())
    assert run["metrics"]["test"] == metrics(truth, METHODS["position"](task))
    assert run["metrics"]["test"]["mcc"] == 1  # TATA stands where the rule looks


def test_an_idea_leaves_the_test_part_closed(place, done):
    run = json.loads(place.file(ideas_of(TABLE)[0]).read_text())
    assert set(run["metrics"]) == set(run["intervals"]) == {"valid"}
    assert run["identity"]["settings"]["pool"] == "last"


def test_what_is_there_is_not_run_again(place, done):
    said = []
    assert run_cells(TABLE, CELLS, place, workers=1, say=said.append) == []
    assert "5 are there" in said[1]


def test_a_run_of_another_model_or_of_other_data_or_settings_is_not_taken(place, done, tmp_path):
    cell = cell_of("probe.tiny")
    identity = identities_of(TABLE, [cell], place)[cell]
    assert is_done(place.file(cell), identity)
    for key, other in (("language_models", {"tiny": "0"}), ("data", {}), ("settings", {}), ("version", "0")):
        assert not is_done(place.file(cell), identity | {key: other})
    assert not is_done(tmp_path / "none.json", identity)


def test_a_run_from_before_there_was_a_setting_had_its_default(place, done, tmp_path):
    cell = cell_of("probe.tiny")
    identity = identities_of(TABLE, [cell], place)[cell]
    run = json.loads(place.file(cell).read_text())
    del run["identity"]["settings"]["lm_records"]
    (tmp_path / "old.json").write_text(json.dumps(run))
    assert is_done(tmp_path / "old.json", identity)
    assert not is_done(tmp_path / "old.json", identity | {"settings": identity["settings"] | {"lm_records": "all"}})


@pytest.mark.parametrize(("over", "n"), [("learnt", 10), ("all", 60)])
def test_the_middle_stage_goes_over_what_is_labelled_or_over_the_whole_training_part(
    place, tmp_path, monkeypatch, over, n
):
    seen, real = [], gu.finetune

    def finetune(model, records, **settings):
        seen.append((len(part(records, "train")), settings["epochs"]))
        return real(model, records, **settings)

    monkeypatch.setattr(running.gu, "finetune", finetune)
    rows = [Row(of, of, "probe", ("tiny",), Settings(lm_epochs=2, lm_records=over)) for of in ("one", "two")]
    table = replace(TABLE, variants=(replace(BASES, rows=tuple(rows)),), seeds=1, sizes=(10,))
    worker = Worker(table, replace(place, runs=tmp_path))
    one, two = (worker.do(cell) for cell in cells_of(table)[:2])
    assert seen == [(n, 2)] and one["n"]["train"] == 10
    assert one["metrics"] == two["metrics"] and len(list((tmp_path / "members").iterdir())) == 1


def test_each_seed_adapts_a_language_model_and_trains_anew(place, tmp_path, monkeypatch):
    seen, real = [], gu.finetune
    monkeypatch.setattr(
        running.gu, "finetune", lambda *given, **how: (seen.append(how["seed"]), real(*given, **how))[1]
    )
    row = Row("one", "one", "probe", ("tiny",), Settings(lm_epochs=1))
    table = replace(TABLE, variants=(replace(BASES, rows=(row,)),), seeds=2)
    worker = Worker(table, replace(place, runs=tmp_path))
    for cell in cells_of(table):
        worker.do(cell)
    assert seen == [0, 1] and len(list((tmp_path / "members").iterdir())) == 2


def test_a_data_set_is_made_anew_for_each_seed_where_it_says_so(place):
    asked = []
    for redrawn in (False, True):
        variant = replace(BASES, redrawn=redrawn, records=lambda data, seed: (asked.append(seed), [])[1])
        worker = Worker(TABLE, place)
        for seed in (0, 1, 1):
            worker.records(variant, seed)
    assert asked == [0, 0, 1]


def test_the_same_cell_gives_the_same_figures_again(place, done):
    again = Worker(TABLE, place).do(cell_of("probe.tiny", seed=1))
    kept = json.loads(place.file(cell_of("probe.tiny", seed=1)).read_text())
    assert again["metrics"] == kept["metrics"] and again["records_sha256"] == kept["records_sha256"]


def test_from_scratch_and_ensembles_train_too(place, tmp_path):
    for row in (toy_paper.SCRATCH, Row("two", "two", "fine_tuned", ("tiny", "tiny"), toy_paper.SCRATCH.settings)):
        table = replace(TABLE, variants=(replace(BASES, rows=(row,)),), seeds=1)
        found = Worker(table, replace(place, quick=True)).do(cells_of(table)[0])
        assert set(found["metrics"]) == {"valid", "test"}
        assert found["n"]["train"] == 40


def test_an_ensemble_trains_only_what_no_other_row_has_and_takes_as_long_as_all_of_it(place, tmp_path, monkeypatch):
    place = replace(place, runs=tmp_path)
    rows = [Row(name, name, "probe", (name,)) for name in ("tiny", "other")]
    gu.save(seeded(1, lambda: gu.LanguageModel(gu.KmerVocab(2), toy_paper.CONFIG)), place.models / "other.safetensors")
    both = Row("both", "both", "probe", ("tiny", "other"))
    trained, real = [], METHODS["probe"]
    monkeypatch.setitem(METHODS, "probe", lambda task: (trained.append(task.language_model), real(task))[1])
    table = replace(TABLE, variants=(replace(BASES, rows=(*rows, both)),), seeds=1)
    worker = Worker(table, place)
    worker.do(cells_of(table)[0])
    told = worker.do(cells_of(table)[2])
    assert trained == [worker.model("tiny"), worker.model("other")]
    kept = [np.load(path) for path in (tmp_path / "members").iterdir()]
    assert told["cpu_seconds"] >= round(sum(of["took"][1] for of in kept), 1)
    records = part(toy_paper.records(), "test")
    truth = np.array([label == "box" for label in labels(records)]).astype(int)
    mean = np.mean([of["probabilities"] for of in kept], axis=0)[-len(records) :]
    assert told["metrics"]["test"] == metrics(truth, mean)


def test_hours_are_planned_from_runs_of_the_row_of_the_method_or_by_estimate(place, done, tmp_path):
    kept = [json.loads(path.read_text()) for path in (place.runs / "toy").iterdir()]
    of_row, of_method = (
        [run["cpu_seconds"] for run in kept if run["cell"][of] == wanted]
        for of, wanted in (("row", "probe.tiny"), ("method", "probe"))
    )
    absent = cell_of("probe.absent")
    found = seconds_of(TABLE, [cell_of("probe.tiny"), absent], place)
    assert found == pytest.approx([np.mean(of_row), np.mean(of_method)])
    elsewhere = replace(cell_of("probe.tiny"), variant="another")
    assert seconds_of(TABLE, [elsewhere], place) == pytest.approx([np.mean(of_row)])
    there = replace(place, runs=tmp_path / "runs")
    shutil.copytree(place.runs, there.runs)
    slow = json.loads(place.file(cell_of("probe.tiny")).read_text())
    slow |= {"cell": slow["cell"] | {"variant": "another"}, "cpu_seconds": 1000.0}
    there.file(elsewhere).write_text(json.dumps(slow))
    assert seconds_of(TABLE, [elsewhere, cell_of("probe.tiny")], there) == pytest.approx([1000, np.mean(of_row)])
    two = replace(absent, language_model="a+b")
    one, double = seconds_of(TABLE, [absent, two], replace(place, runs=tmp_path))
    assert double == 2 * one > 10


def test_a_classifier_that_an_ensemble_trains_anyway_is_planned_once(place, tmp_path):
    place = replace(place, runs=tmp_path)
    rows = [
        Row("both", "both", "probe", ("tiny", "other")),
        PROBE,
        replace(PROBE, name="otherwise", settings=Settings(lm_epochs=1)),
    ]
    table = replace(TABLE, variants=(replace(BASES, rows=(*rows, GC)),), seeds=2)
    cells = cells_of(table)
    seconds = dict(zip(cells, seconds_of(table, cells, place), strict=True))
    for seed in range(2):
        assert {cell.row for cell, took in seconds.items() if cell.seed == seed and not took} == {"probe.tiny"}
    assert all(seconds_of(table, [cell for cell in cells if cell.row != "both"], place))


# The page -------------------------------------------------------------------------------------------------------------


def test_the_committed_page_is_what_the_committed_runs_make():
    assert PAGE.read_text(encoding="utf-8") == page(TABLES.values(), RUNS)


def test_every_committed_run_is_a_cell_of_a_table_and_no_quick_one():
    for path in set(RUNS.glob("*/*.json")) - {DRAWN}:
        table = TABLES[path.parent.name]
        cells = {cell.file: cell for cell in [*cells_of(table), *ideas_of(table)]}
        assert path.name in cells, f"{path} belongs to no cell: delete it"
        run = json.loads(path.read_text())
        assert run["n"]["scored_valid"] > 80 and path.stat().st_size < 8000


def test_the_committed_pictures_are_those_that_the_page_speaks_of():
    said = json.loads(DRAWN.read_text())
    assert {picture["file"] for picture in said["pictures"]} == {path.name for path in pictures.FOLDER.iterdir()}
    assert said["n"]["train"] > 6000


def test_the_page_sets_published_and_measured_side_by_side(place, done):
    text = page([TABLE], place.runs)
    runs = read_runs(TABLE, place.runs)
    mine = number(runs.mean(Key("bases", "probe.tiny", None), "mcc"))
    (row,) = [line for line in text.splitlines() if line.startswith("| probe | .500")]
    assert row.startswith(f"| probe | .500 | {mine} | ") and " to " in row
    assert "\nNot run yet: probe of another.\n" in text and "| probe of another" not in text
    assert "| CNN of others | .900 | - |" in text
    assert "| one position | - | 1.000 | 1 | - | 1.000 to 1.000 | 1.000 |" in text
    assert "60 training records; 30 valid; 30 test, none of which is related to another." in text


def test_aims_are_told_in_words_met_missed_or_open(place, done):
    runs = read_runs(TABLE, place.runs)
    met, missed, open_, ordered, above = (said_of(TABLE, aim, runs) for aim in TABLE.aims)
    assert met == "as they are: one position, MCC .990 or more: met (1.000, 1 seed)."
    assert missed.endswith("missed (1.000, 1 seed).")
    assert open_.endswith("not run yet.")
    assert "rises from GC content to one position: met" in ordered
    assert "above every baseline's: missed" in above and "against 1.000" in above


def test_an_aim_by_a_margin_needs_the_margin_and_equal_means_do_not_rise():
    means = {"probe.tiny": 0.55, "position": 0.5, "gc": 0.5}
    found = {row: {"cell": {"seed": 0}, "metrics": {"test": {"mcc": mean}}} for row, mean in means.items()}
    runs = Runs({Key("bases", row, None): [run] for row, run in found.items()})
    for by, met in ((0.04, True), (0.06, False)):
        assert judge(TABLE, AboveBaselines("bases", "probe.tiny", "mcc", by), runs).met is met
    for rows, met in ((("gc", "probe.tiny"), True), (("gc", "position", "probe.tiny"), False)):
        assert judge(TABLE, Ordered("bases", rows, "mcc"), runs).met is met


def test_the_page_begins_with_the_aims_of_each_table_and_links_to_it(place, done):
    text = page([TABLE], place.runs)
    (row,) = [line for line in text.splitlines() if line.startswith("| [Table ")]
    cells = re.fullmatch(r"\| \[(.+)\]\(#(.+)\) \| (.+) \| (.+) \| (.+) \| (.+) \|", row)
    heading, anchor, met, of_few_seeds, missed, left = cells.groups()
    assert f"\n## {heading}\n" in text
    assert anchor == re.sub(r"[^a-z0-9-]", "", heading.lower().replace(" ", "-"))
    assert (met, of_few_seeds, left) == ("2 of 5", "2", "1")
    judged = [judge(TABLE, aim, read_runs(TABLE, place.runs)) for aim in TABLE.aims]
    assert missed == "; ".join(f"{aim.claim} ({aim.measured})" for aim in judged if aim.met is False)
    assert missed.count("; ") == 1


def test_ideas_are_told_by_what_they_brought_on_the_valid_part(place, done):
    runs = read_runs(TABLE, place.runs)
    before = runs.mean(Key("bases", "probe.tiny", None), "mcc", "valid")
    after = runs.mean(Key("bases", "probe.last", None, True), "mcc", "valid")
    assert f"| last layer | as they are | probe | {number(before)} | {number(after)} |" in page([TABLE], place.runs)
    assert f"| {after - before:+.3f} |" in page([TABLE], place.runs)


def test_an_idea_is_held_against_the_same_seeds():
    from benchmarks.paper.page import _ideas

    def run(seed: int, mcc: float) -> dict:
        return {"cell": {"seed": seed}, "metrics": {"valid": {"mcc": mcc}}}

    row, idea = Key("bases", "probe.tiny", None), Key("bases", "probe.last", None, True)
    runs = Runs({row: [run(0, 0.5), run(1, 0.9)], idea: [run(0, 0.6)]})
    assert "| .500 | .600 | - | +0.100 |" in "\n".join(_ideas(TABLE, runs))
    assert not list(_ideas(TABLE, Runs({row: runs.found[row]})))


def test_a_table_of_several_sizes_is_a_grid():
    table = replace(
        TABLE,
        sizes=(100, 20),
        published=(Published("bases", "probe.tiny", {"mcc": 0.7}, 20),),
        aims=(AtLeast("bases", "probe.tiny", "mcc", 0.7, 20),),
        ideas=(),
    )
    run = {
        "identity": {"language_models": {"tiny": "ab" * 32}, "data": {"g": "c"}, "version": "1"},
        "metrics": {"test": {"mcc": 0.75}, "valid": {"mcc": 0.8}},
        "intervals": {"test": {"mcc": [0.7, 0.8]}},
        "n": {"train": 20, "valid": 5, "scored_valid": 30, "scored_test": 30},
        "groups": {"test": 29},
        "seconds": 1,
        "hardware": "a machine",
    }
    from benchmarks.paper.page import _section

    text = "\n".join(
        _section(table, Runs({Key("bases", "probe.tiny", 20): [run | {"cell": {"seed": seed}} for seed in range(3)]}))
    )
    assert "| 20 | .700 | .750 |" in text
    assert "| 20 | .700 | .750 (.700 to .800) |" in text
    assert "| 100 | - | - |" in text
    assert "as they are, 20 labels: probe, MCC .700 or more: met (.750, 3 seeds)." in text
    assert "in 29 groups of relatives" in text


def test_a_table_without_runs_is_listed_as_such(tmp_path):
    text = write_page([TABLE], tmp_path, tmp_path / "page.md").read_text()
    assert "## Table 99: boxes\n\nNot run yet: `python -m benchmarks.paper toy`." in text


def test_undefined_figures_are_no_figures():
    runs = Runs(
        {Key("v", "r", None): [{"metrics": {"test": {"mcc": None}}, "intervals": {"test": {"mcc": [None, None]}}}]}
    )
    assert runs.mean(Key("v", "r", None), "mcc") is None
    assert runs.over_records(Key("v", "r", None), "mcc") is None


# The command line -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["nothing"], "there is no table 'nothing'"),
        (["gene_starts"], "--data is None, wanted a folder"),
        (["gene_starts", "--data", "{data}", "--models", "{data}/none"], "none, wanted a folder"),
        (["1", "--data", "{data}", "--models", "{models}"], "NC_000913.3.gbk.gz: no such file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_status_2(words, wanted, place, capsys):
    with pytest.raises(SystemExit) as stopped:
        program.main([word.format(data=place.data, models=place.models) for word in words])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert wanted in line


def test_quick_never_writes_to_the_committed_runs(place, capsys, monkeypatch):
    monkeypatch.setattr(program, "TABLES", {"toy": TABLE})
    words = ["toy", "--data", str(place.data), "--models", str(place.models), "--quick", "--runs", str(RUNS)]
    with pytest.raises(SystemExit) as stopped:
        program.main(words)
    assert stopped.value.code == 2 and "--quick never writes" in capsys.readouterr().err


def test_quick_is_one_seed_of_the_fewest_labels(monkeypatch):
    options = program._parser().parse_args(["toy", "--quick", "--row", "probe.tiny"])
    table = replace(TABLE, sizes=(100, 20))
    assert [(cell.seed, cell.n) for cell in program.chosen(table, options)] == [(0, 20)]


def test_the_page_is_written_where_asked_for(place, done, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "TABLES", {"toy": TABLE})
    assert program.main(["page", "--runs", str(place.runs), "--out", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text() == page([TABLE], place.runs)
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.md")
