"""The prefixes of texts. Only this module alters a text; mining, training, evaluation and export all use it.

The released code words the same instruction in three ways (reference, defect 8). Here one class renders it, and a
digest of its parameters goes into every artefact.
"""

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
        """Return the instruction of source or benchmark ``name``; without one of its own, that of its task."""
        instructions = self._params.instructions
        return instructions.get(name, instructions.get(task, ""))

    def prefix(self, task: Task, role: Role, name: str) -> str:
        """Return the prefix of a text; empty without an instruction.

        In retrieval, queries get the instruction and documents the fixed document prefix. In similarity both texts have
        role ``query``.
        """
        if task == "ir" and role == "document":
            return self._params.document_prefix
        instruction = self.instruction(task, name)
        return self._params.template.replace("{instruction}", instruction) if instruction else ""

    def named_prefixes(self) -> dict[str, str]:
        """Return every prefix by the name of its prompt in an exported folder.

        Users of sentence-transformers ask for ``query``, ``document``, ``sts``, or a source or benchmark. mteb's
        wrapper (``get_prompt_name`` in mteb/models/abs_encoder.py) looks for benchmark and prompt type, then benchmark,
        type of task, prompt type; in similarity there is no prompt type. So ``<name>-query`` and ``<name>-document``
        keep instructions away from documents, and ``STS`` serves similarity benchmarks without their own instruction.
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
        """Return a hash of everything that decides a prefix, and so the token ids."""
        return _hash(self._params.model_dump(exclude={"in_pooling"}))


def _hash(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
