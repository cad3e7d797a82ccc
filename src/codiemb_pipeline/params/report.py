"""The ``report`` section."""

from pydantic import Field

from codiemb_pipeline.params.base import CountOrZero, Section


class ReportParams(Section):
    """The report page."""

    title: str = Field(min_length=1)
    mining_samples: CountOrZero
