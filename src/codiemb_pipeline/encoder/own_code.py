"""Python code that comes with a model: run only if params.yaml allows it, and its failures in words."""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import transformers
from transformers import dynamic_module_utils

from codiemb_pipeline.encoder.native import native_config, read_config
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.jsonl import read_object
from codiemb_pipeline.params.encoder import EncoderParams

LOADED = {"config.json": ("AutoConfig", "AutoModel"), "tokenizer_config.json": ("AutoTokenizer",)}
"""The classes that are loaded from a folder, by the file that names them."""
CLASS = re.compile(r"([\w.-]+/[\w.-]+--)?\w+(\.\w+)+")


def own_classes(folder: Path, files: tuple[str, ...] = tuple(LOADED)) -> list[str]:
    """Return the classes of a folder's own code that loading it would run, as ``<module>.<class>``."""
    found = []
    for file in files:
        if file == "config.json":
            named = read_config(folder).get("auto_map")
        else:
            named = read_object(folder / file).get("auto_map") if (folder / file).exists() else None
        for kind in LOADED[file] if isinstance(named, dict) else ():
            entry = named.get(kind)
            found += [name for name in (entry if isinstance(entry, list) else [entry]) if name]
        for name in found:
            if not CLASS.fullmatch(str(name)):
                raise InputError(f"{folder / file}: auto_map: expected <module>.<class>, found {name!r}")
    return found


def runs_own_code(folder: Path, params: EncoderParams) -> bool:
    """Return whether loading a folder runs Python code that lies in it."""
    return params.trust_remote_code and bool(own_classes(folder))


def prepare_own_code(folder: Path, params: EncoderParams) -> None:
    """Import the code in an encoder folder, if there is any and it may run.

    transformers first copies it into a cache of modules; a lock keeps processes from doing so at the same time.

    Raises:
        InputError: the folder needs code and ``trust_remote_code`` is false, or the code lies in another repository, or
            fails.
    """
    classes = own_classes(folder)
    if not classes:
        return
    files = ", ".join(sorted({f"{name.rpartition('--')[2].partition('.')[0]}.py" for name in classes}))
    if not params.trust_remote_code:
        _refuse_unless_native(folder, files)
        return
    if foreign := [name for name in classes if "--" in name]:
        raise InputError(
            f"{folder}: expected code in the folder itself, found {foreign[0]!r}, code of another repository that no "
            f"revision pins; put {files} beside the weights and remove everything before -- from auto_map"
        )
    cache = Path(dynamic_module_utils.HF_MODULES_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "codiemb.lock").open("w") as lock, own_code_errors(folder, params):
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in classes:
            dynamic_module_utils.get_class_from_dynamic_module(name, folder)


def _refuse_unless_native(folder: Path, files: str) -> None:
    """Raise an InputError unless a folder with own code loads without it."""
    reason = ""
    if not own_classes(folder, ("tokenizer_config.json",)):
        try:
            native_config(folder)
            return
        except InputError as error:
            reason = f" ({error})"
    raise InputError(
        f"params.yaml: encoder.trust_remote_code: {folder}: its architecture or tokenizer is in Python code of its own "
        f"({files}){reason}; read it, and set this key to true to run it"
    )


@contextmanager
def own_code_errors(folder: Path, params: EncoderParams) -> Iterator[None]:
    """Turn exceptions from a folder's own code into errors that name the folder; other exceptions pass.

    Raises:
        InputError: the code failed.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if not runs_own_code(folder, params):
            raise
        reason = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
        raise InputError(
            f"{folder}: its own code does not run under transformers {transformers.__version__}: {reason}; its model "
            f"card names the version that it was written for"
        ) from error
