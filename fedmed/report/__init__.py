"""The report of a run: `report.json` read back and drawn as one offline page."""

from fedmed.report.page import write_report

__all__ = ["write_report"]
