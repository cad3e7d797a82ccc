"""Python code that comes with a model: run only if params.yaml allows it, at a pinned revision."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import transformers
from transformers import dynamic_module_utils

from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params.encoder import EncoderParams

LOADED = {"config.json": ("AutoConfig", "AutoModel"), "tokenizer_config.json": ("AutoTokenizer",)}
"""The classes that are loaded from a folder, by the file that names them."""


def own_classes(folder: Path) -> list[str]:
    """Return the classes of a folder's own code that loading it needs, as ``<module>.<class>``."""
    found = []
    for file, kinds in LOADED.items():
        named = read_json(folder / file).get("auto_map", {}) if (folder / file).exists() else {}
        for kind in kinds if isinstance(named, dict) else ():
            entry = named.get(kind)
            found += [name for name in (entry if isinstance(entry, list) else [entry]) if name]
    return found


def prepare_own_code(folder: Path, params: EncoderParams) -> None:
    """Import the code in an encoder folder, if there is any.

    transformers first copies it into a cache of modules; a lock keeps processes from doing so at the same time.

    Raises:
        InputError: there is code and ``trust_remote_code`` is false, or it lies in another repository, or fails.
    """
    classes = own_classes(folder)
    if not classes:
        return
    files = ", ".join(sorted({f"{name.rpartition('--')[2].partition('.')[0]}.py" for name in classes}))
    if not params.trust_remote_code:
        raise InputError(
            f"params.yaml: encoder.trust_remote_code: {folder}: its architecture is in Python code of its own "
            f"({files}); read it, and set this key to true to run it"
        )
    if foreign := [name for name in classes if "--" in name]:
        raise InputError(
            f"{folder}: expected code in the folder itself, found {foreign[0]!r}, code of another repository that no "
            f"revision pins; put {files} beside the weights and remove everything before -- from auto_map"
        )
    cache = Path(dynamic_module_utils.HF_MODULES_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "codiemb.lock").open("w") as lock, own_code_errors(folder):
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in classes:
            dynamic_module_utils.get_class_from_dynamic_module(name, folder)


@contextmanager
def own_code_errors(folder: Path) -> Iterator[None]:
    """Turn exceptions from a folder's own code into errors that name the folder; other exceptions pass.

    Raises:
        InputError: the code failed.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if not own_classes(folder):
            raise
        reason = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
        raise InputError(
            f"{folder}: its own code does not run under transformers {transformers.__version__}: {reason}; its model "
            f"card names the version that it was written for"
        ) from error
