"""Python code that comes with a model: run only if params.yaml allows it, at a pinned revision."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import transformers

from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params.encoder import EncoderParams

COMMIT = re.compile(r"[0-9a-f]{40}")
# What is loaded of a folder, by the file that names its class.
LOADED = {"config.json": ("AutoConfig", "AutoModel"), "tokenizer_config.json": ("AutoTokenizer",)}


def check_pinned(params: EncoderParams) -> None:
    """Refuse code from the hub that may change from one run to the next.

    Args:
        params: of an encoder whose ``path`` is a hub id.

    Raises:
        InputError: code may run and ``revision`` is no commit.
    """
    if params.trust_remote_code and not COMMIT.fullmatch(params.revision or ""):
        raise InputError(
            f"params.yaml: encoder.revision: {params.path}: with trust_remote_code: true expected the commit whose "
            f"code you trust, 40 hexadecimal digits; found {params.revision!r}"
        )


def own_classes(folder: Path) -> list[str]:
    """Return the classes of a folder's own code that loading it would need, as ``<module>.<class>``."""
    found = []
    for file, kinds in LOADED.items():
        named = read_json(folder / file).get("auto_map", {}) if (folder / file).exists() else {}
        for kind in kinds if isinstance(named, dict) else ():
            entry = named.get(kind)
            found += [name for name in (entry if isinstance(entry, list) else [entry]) if name]
    return found


def prepare_own_code(folder: Path, params: EncoderParams) -> None:
    """Import a folder's own code, where it has any.

    transformers copies it into a cache of modules first; processes that load one encoder together do so one by one.

    Raises:
        InputError: there is code and ``trust_remote_code`` is false, or it is another repository's, or fails.
    """
    classes = own_classes(folder)
    if not classes:
        return
    files = ", ".join(sorted({f"{name.rpartition('--')[2].partition('.')[0]}.py" for name in classes}))
    if not params.trust_remote_code:
        raise InputError(
            f"params.yaml: encoder.trust_remote_code: {folder}: its architecture is in Python code of its own "
            f"({files}); read it, and say true to have it run"
        )
    if foreign := [name for name in classes if "--" in name]:
        raise InputError(
            f"{folder}: expected code in the folder itself, found {foreign[0]!r}, code of another repository that no "
            f"revision pins; put {files} beside the weights and take what is before -- out of auto_map"
        )
    from transformers import dynamic_module_utils

    cache = Path(dynamic_module_utils.HF_MODULES_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "codiemb.lock").open("w") as lock, failures_told(folder):
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in classes:
            dynamic_module_utils.get_class_from_dynamic_module(name, folder)


@contextmanager
def failures_told(folder: Path) -> Iterator[None]:
    """Turn what a folder's own code raises into an error that names it; what has no code of its own raises as it does.

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
            f"{folder}: its own code does not run under transformers {transformers.__version__}: {reason}; such code "
            f"is written for the version that its model card names"
        ) from error
