"""A cache of results, keyed by everything a result depends on; mteb's own cache is keyed by names and can be stale.

Files are written atomically. A damaged file is deleted, logged and computed again.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codiemb_pipeline.jsonl import write_json

logger = logging.getLogger(__name__)


class ResultCache:
    """JSON results below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the result for ``key``, computing it only when it is missing."""
        path = self._path(key)
        found = self._read(path)
        if found is not None:
            return found
        result = compute()
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        write_json(draft, result)
        os.replace(draft, path)
        return result

    def holds(self, key: dict[str, Any]) -> bool:
        """Return whether the result for ``key`` is stored."""
        return self._read(self._path(key)) is not None

    def _path(self, key: dict[str, Any]) -> Path:
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self._folder / f"{name}.json"

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            logger.info("deleted the damaged result %s; it is computed again", path.name)
            path.unlink()
            return None
        return found
