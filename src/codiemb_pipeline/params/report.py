"""The ``report`` section."""

from __future__ import annotations

from pydantic import Field

from codiemb_pipeline.params.base import Section


class ReportParams(Section):
    """The report page.

    Attributes:
        title: its heading.
        mining_samples: queries shown with their mined negatives.
    """

    title: str = Field(min_length=1)
    mining_samples: int = Field(ge=0)
