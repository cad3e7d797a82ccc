"""The ``report`` section."""

from __future__ import annotations

from codiemb_pipeline.params.base import Section


class ReportParams(Section):
    """The report page.

    Attributes:
        title: its heading.
        mining_samples: queries shown with their mined negatives.
    """

    title: str
    mining_samples: int
