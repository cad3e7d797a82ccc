"""The ``report`` section."""

from pydantic import Field

from codiemb_pipeline.params.base import Section


class ReportParams(Section):
    """The report page."""

    title: str = Field(min_length=1)
    mining_samples: int = Field(ge=0)
