"""What a decision may read beside its own enrollment: the site's calendar, so far."""

from __future__ import annotations

from msgspec import Struct

from kat_workflow.program.clock import Site


class Around(Struct, frozen=True):
    """A read-only view of the streams around an enrollment."""

    site: Site = Site()
