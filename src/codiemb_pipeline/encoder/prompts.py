"""What is put before a text. The only place where a text is altered; mining, training, evaluation and export ask here.

Knows nothing of tokens. The released code words the same instruction in three ways (reference, defect 8); here one book
renders it, and its digest goes into every artefact.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from codiemb_pipeline.params.encoder import PromptParams
from codiemb_pipeline.schema import TASKS, Task

Role = Literal["query", "document"]


class PromptBook:
    """Renders instructions into prefixes."""

    def __init__(self, params: PromptParams) -> None:
        self._params = params

    def instruction(self, task: Task, name: str) -> str:
        """Return the instruction of source or benchmark ``name``, or its task's where it has none of its own."""
        instructions = self._params.instructions
        return instructions.get(name, instructions.get(task, ""))

    def prefix(self, task: Task, role: Role, name: str) -> str:
        """Return what is put before a text; empty when there is no instruction.

        In retrieval the query bears the instruction and a document the fixed document prefix; in similarity both texts
        are alike, so both have role ``query``.
        """
        if task == "ir" and role == "document":
            return self._params.document_prefix
        instruction = self.instruction(task, name)
        return self._params.template.replace("{instruction}", instruction) if instruction else ""

    def named_prefixes(self) -> dict[str, str]:
        """Return every prefix by the name under which sentence-transformers finds it in an exported folder."""
        names = sorted(set(self._params.instructions) - set(TASKS))
        own = {name: self.prefix("sts", "query", name) for name in names}
        query, document = self.prefix("ir", "query", "ir"), self.prefix("ir", "document", "ir")
        return {"query": query, "document": document, "sts": self.prefix("sts", "query", "sts"), **own}

    def digest(self) -> str:
        """Return a hash of everything that decides a prefix and whether it is pooled."""
        return _hash(self._params.model_dump())

    def text_digest(self) -> str:
        """Return a hash of everything that decides a prefix: all that token ids depend on."""
        return _hash(self._params.model_dump(exclude={"in_pooling"}))


def _hash(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
