"""How a JSON file that a stage writes becomes a typed object for the stages that read it, and a part that two share."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json


class Artifact(BaseModel):
    """The content of a JSON file, or a part of one.

    Attributes:
        written_by: the stage that writes it, for messages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    written_by: ClassVar[str] = ""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read ``file``.

        Raises:
            InputError: the file is missing, is not JSON, or lacks a field; names the file and the field.
        """
        content = read_json(file)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(map(str, fault["loc"]))
            raise InputError(
                f"{file}: field {field!r}: {fault['msg']}; stage {cls.written_by} of another version may have written "
                f"it: run that stage again"
            ) from None

    def write(self, file: Path) -> None:
        """Write ``file``; the same content gives the same bytes."""
        write_json(file, self.model_dump(mode="json", exclude_unset=True))


class SourceOrigin(Artifact):
    """A repository that a registered source is read from.

    Attributes:
        repository: ``<owner>/<name>`` on the hub, or ``github.com/<owner>/<name>``.
        revision: the commit that was read, 40 hexadecimal digits; ``None`` for files of which it is not known.
        licence: as the repository states it.
    """

    repository: str
    revision: str | None
    licence: str
