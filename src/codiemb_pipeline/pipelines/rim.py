"""What all stage nodes share: a place to write, and readable errors."""

import errno
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click import ClickException
from kedro.pipeline import Pipeline, node
from tqdm.contrib.logging import logging_redirect_tqdm

from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.launch.work_dir import hold

FULL = {errno.ENOSPC, errno.EDQUOT}


def stage_pipeline(function: Callable[..., Any], inputs: list[str] | dict[str, str], outputs: Any) -> Pipeline:
    """Return the one-node pipeline of a stage, named after the stage function.

    A :class:`PipelineError`, or what the file system refuses, ends the run with its message alone; any other error
    keeps its traceback.
    """

    @functools.wraps(function)
    def readable(*arguments: Any, **named: Any) -> Any:
        try:
            with logging_redirect_tqdm():  # log lines go above progress bars, not through them
                return function(*arguments, **named)
        except PipelineError as error:
            raise ClickException(str(error)) from error
        except OSError as error:
            raise ClickException(refusal(error)) from error

    return Pipeline([node(readable, inputs, outputs, name=function.__name__)])


def refusal(error: OSError) -> str:
    """Return in a line what the file system refused, and what helps."""
    place = error.filename or "a file"
    if error.errno in FULL:
        return (
            f"{place}: its disk is full: make room, or set CODIEMB_WORK, the folder of unfinished work, to a larger one"
        )
    return f"{place}: {error.strerror or error}: expected a place where this user may read and write"


def draft(work: Path, name: str) -> Path:
    """Return an empty folder in which a stage builds output ``name``; the catalog moves it into place when finished.

    It is this process's until it ends.

    Raises:
        PipelineError: another process builds the same output.
    """
    folder = work / "drafts" / name
    hold(folder, name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
