"""OTLP JSON in: rows of spans, logs and samples, and metrics derived from spans and logs.

Rule: good records are kept and bad ones are named. `Ingest` is the way in for live telemetry, `import_files` for
files; both end in one embedded store (`stores.segments`).
"""

from __future__ import annotations

from federation_core.connectors.otlp.files import import_files
from federation_core.connectors.otlp.ingest import Ingest
from federation_core.connectors.otlp.report import ImportReport, Rejection

__all__ = ["ImportReport", "Ingest", "Rejection", "import_files"]
