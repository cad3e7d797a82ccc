"""What is put before a text. The only place where a text is altered; mining, training, evaluation and export ask here.

The released code words the same instruction in three ways (reference, defect 8); here one book
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
        """Return every prefix by the names under which an exported folder is asked for it.

        ``query``, ``document``, ``sts`` and a source's or benchmark's own name are for who encodes with
        sentence-transformers. mteb's wrapper asks by benchmark and prompt type, then by benchmark, by type of task, by
        prompt type (``get_prompt_name`` in mteb/models/abs_encoder.py), and names no prompt type in similarity. So
        ``<name>-query`` and ``<name>-document`` keep an instruction from documents, and ``STS`` stands for similarity
        benchmarks without one of their own.
        """
        query, document = self.prefix("ir", "query", "ir"), self.prefix("ir", "document", "ir")
        similar = self.prefix("sts", "query", "sts")
        named: dict[str, str] = {}
        for name in sorted(set(self._params.instructions) - set(TASKS)):
            own = self.prefix("ir", "query", name)
            named |= {name: own, f"{name}-query": own, f"{name}-document": document}
        return {**named, "query": query, "document": document, "sts": similar, "STS": similar}

    def digest(self) -> str:
        """Return a hash of everything that decides a prefix and whether it is pooled."""
        return _hash(self._params.model_dump())

    def text_digest(self) -> str:
        """Return a hash of everything that decides a prefix: all that token ids depend on."""
        return _hash(self._params.model_dump(exclude={"in_pooling"}))


def _hash(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
