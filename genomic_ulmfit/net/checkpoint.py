"""One safetensors file a model, in and out.

The tensors have a module's ordinary names. Everything else (vocabulary, config, classes, window, anchor, card) is JSON
under one metadata key: one key, because safetensors writes several in no fixed order, and the same model is to give
the same bytes. A sha256 over all of it tells an altered file. Never pickle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genomic_ulmfit.errors import ModelFileError, SettingError
from genomic_ulmfit.files import existing, replacing
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier, LanguageModel
from genomic_ulmfit.net.ensemble import AnyClassifier, Ensemble, members_of
from genomic_ulmfit.net.kmers import KmerVocab

__all__ = ["FORMAT_VERSION", "as_json", "describe", "header", "load", "save"]

FORMAT_VERSION = 2  # the first had no sha256
_KEY = "genomic_ulmfit"
_STORED = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def save(
    model: LanguageModel | AnyClassifier, path: str | Path, *, precision: Literal["fp32", "fp16", "bf16"] = "fp32"
) -> Path:
    """Write a model to one file.

    Parameters
    ----------
    model : LanguageModel, Classifier or Ensemble
        It stays as it is.
    path : str or Path
        The file to make or replace; it is whole or not there.
    precision : {"fp32", "fp16", "bf16"}
        Of the weight matrices in the file, which is half as large with 16 bits; biases and batch norms are float32, and
        so is all that is loaded. "fp16" is the nearer to float32.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    SettingError
        If `precision` is none of the three.
    """
    if precision not in _STORED:
        raise SettingError(f"precision is {precision!r}, wanted one of {', '.join(_STORED)}")
    tensors = {name: _stored(tensor, _STORED[precision]) for name, tensor in model.state_dict().items()}
    said = describe(model)
    said["sha256"] = _digest(said, tensors)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: as_json(said)})
    return Path(path)


def load(path: str | Path) -> LanguageModel | AnyClassifier:
    """Read a model back, in evaluation mode on the CPU.

    Parameters
    ----------
    path : str or Path
        A file made by `save`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is truncated or altered, is not a model of this package, or is of a newer format.
    """
    said, tensors = _read(path)
    if said["format_version"] > 1 and said.pop("sha256", None) != _digest(said, tensors):
        raise ModelFileError(path, "was altered after it was written: its sha256 is another; copy or train it again")
    try:
        with torch.random.fork_rng(devices=[]):  # making a net draws weights that are replaced here
            model = _build(said)
        model.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelFileError(path, f"its header and its tensors don't describe a model: {first}") from error
    return model.eval()


def header(path: str | Path) -> dict[str, Any]:
    """Read what a model's file says of it, without the weights: as `describe`, and the checksum, which isn't looked at.

    Raises
    ------
    FileNotFoundError, ModelFileError
        As from `load`.
    """
    return _read(path, weights=False)[0]


def describe(model: LanguageModel | AnyClassifier) -> dict[str, Any]:
    """Return all of a model but its weights, as plain JSON values: what its file's header holds."""
    if isinstance(model, Ensemble):
        members = [describe(member) for member in members_of(model)]
        return {"format_version": FORMAT_VERSION, "kind": "ensemble", "members": members, "card": model.card}
    header: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "kind": "classifier" if isinstance(model, Classifier) else "language_model",
        "vocab": dataclasses.asdict(model.vocab),
        "config": dataclasses.asdict(model.config),
        "card": model.card,
    }
    if isinstance(model, Classifier):
        header |= {"classes": list(model.classes), "window": model.window, "anchor": model.anchor}
    return header


def _read(path: str | Path, *, weights: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(existing(path), framework="pt") as handle:
            names = list(handle.keys()) if weights else []
            return _header(path, handle.metadata()), {name: handle.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ModelFileError(path, f"not a whole safetensors file ({error}); copy or train it again") from error


def as_json(facts: Mapping[str, Any]) -> str:
    """Return facts as JSON with sorted keys; NumPy's numbers, as a setting or an anchor may be, are numbers."""
    return json.dumps(facts, sort_keys=True, default=lambda number: number.item())


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.to(dtype) if tensor.is_floating_point() and tensor.ndim > 1 else tensor


def _digest(said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of a header (without it) and of the tensors' names, types, shapes and bytes."""
    digest = hashlib.sha256(as_json(said).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _header(path: str | Path, metadata: dict[str, str] | None) -> dict[str, Any]:
    if not metadata or _KEY not in metadata:
        raise ModelFileError(path, "a safetensors file, but not a model of genomic_ulmfit")
    try:
        header = json.loads(metadata[_KEY])
        version = int(header["format_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(path, "its header is damaged; copy or train it again") from error
    if version > FORMAT_VERSION:
        raise ModelFileError(
            path,
            f"its format is version {version}, this package reads up to {FORMAT_VERSION}; "
            "install a newer genomic_ulmfit",
        )
    return header


def _build(header: dict[str, Any]) -> LanguageModel | AnyClassifier:
    if header["kind"] == "ensemble":
        return Ensemble([_build(member) for member in header["members"]], header["card"])  # type: ignore[misc]
    vocab, config = KmerVocab(**header["vocab"]), AWDLSTMConfig(**header["config"])
    if header["kind"] == "language_model":
        return LanguageModel(vocab, config, header["card"])
    place = {"window": header["window"], "anchor": header["anchor"]}
    return Classifier(vocab, config, header["classes"], **place, card=header["card"])
