"""The face and the house: names load late, imports point down, and prediction needs no fastai."""

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import genomic_ulmfit as gu

PACKAGE = Path(gu.__file__).parent

LEVELS = [  # a module may import from its own line or a line above, and within its own folder
    ["errors", "letters", "columns", "plot_style"],
    ["files", "progress"],
    ["genome"],
    ["datasets", "net"],
    ["shipped"],
    ["predict", "prevalence", "stages", "corpus", "windows", "kept_scores"],
    ["temperature"],
    ["probing"],
    ["pretraining", "training", "evaluation", "scanning", "perturbation", "surprisal_tracks"],
    ["calling", "cards", "track_truth", "annotation", "variant_effects"],
    ["variant_files", "tuning", "explanation", "profiles"],
    ["plot"],
    ["plot_explanations", "plot_scores"],
    ["report"],
    ["demo"],
    ["cli"],
]
SAME_LEVEL = {("perturbation", "scanning")}
NEVER = {
    "genome": {"torch", "fastai"},
    "datasets": {"torch", "fastai"},
    "net": {"genomic_ulmfit.genome", "genomic_ulmfit.datasets", "pysam"},
    "plot": {"torch", "fastai"},
    "plot_style": {"torch", "fastai"},
    "plot_explanations": {"torch", "fastai"},
    "plot_scores": {"torch", "fastai"},
    "report": {"torch", "fastai"},
    "cli": {"fastai"},
}


def imports_of(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def level(name: str) -> int:
    return next(i for i, rooms in enumerate(LEVELS) if name in rooms)


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = room(path)
    for name in imports_of(path):
        assert not any(name == bad or name.startswith(bad + ".") for bad in NEVER.get(here, ())), name
        if name.startswith("genomic_ulmfit."):
            there = name.split(".")[1]
            assert there == here or (here, there) in SAME_LEVEL or level(there) < level(here), name


def test_only_the_learner_names_fastai():
    named = [path.name for path in MODULES if any(name.startswith("fastai") for name in imports_of(path))]
    assert named == ["learner.py"]


def test_every_public_name_is_there_and_is_not_a_module():
    for name in gu.__all__:
        assert not isinstance(getattr(gu, name), ModuleType), name
    assert not isinstance(gu.scan, ModuleType)
    with pytest.raises(AttributeError, match="attribute nothing"):
        gu.nothing  # noqa: B018


def modules_after(code: str) -> set[str]:
    listing = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(listing.stdout.split())


def test_the_package_and_its_genome_wing_load_without_torch():
    loaded = modules_after("import genomic_ulmfit as gu; gu.Genome; gu.promoter_dataset; gu.write_track; gu.KmerVocab")
    assert not {"torch", "fastai"} & loaded


def test_the_command_line_completes_and_helps_without_torch():
    assert "torch" not in modules_after("import genomic_ulmfit.cli")


def test_prediction_loads_without_fastai():
    loaded = modules_after(
        "import genomic_ulmfit as gu; gu.load; gu.predict_proba; gu.scan; gu.saliency; gu.train_classifier;"
        "gu.annotate; gu.score_variants; gu.surprisal"
    )
    assert "torch" in loaded
    assert "fastai" not in loaded
