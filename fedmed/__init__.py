"""fedmed: hospitals train medical-imaging AI together; no image ever leaves its hospital."""

__version__ = "0.1.0"
