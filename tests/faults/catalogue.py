"""All faults, and the laboratory in which they are tried."""

import uuid
from dataclasses import replace
from pathlib import Path
from random import Random

from . import commands_fail, deliveries, hostile, openings, outages, surroundings, together, travel, workers  # noqa: F401 - they register faults
from .fault import FAULTS as FAULTS
from .fault import Fault
from .fault import NotHere as NotHere
from .records import Tally
from .servers import Site
from .trial import Reference, ServerTrial, Trial


class Laboratory:
    """What trials share: the undisturbed sweep, and the servers, started when first needed."""

    def __init__(self, folder: Path, reference: Reference | None = None) -> None:
        self.folder, self._reference = folder, reference
        self._site: Site | None = None

    @property
    def reference(self) -> Reference:
        self._reference = self._reference or Reference.make(self.folder / "reference")
        return self._reference

    @property
    def site(self) -> Site:
        if self._site is None:
            self._site = Site(self.folder / "site")
            self._site.wait()
        return self._site

    def attempt(self, one: Fault, seed: int) -> Tally:
        """One trial. Raises NotHere."""
        folder, rng = self.folder / f"{one.name}-{uuid.uuid4().hex[:8]}", Random(f"{one.name} {seed}")
        reference = self.reference
        sites = [self.site] if one.group == "server" else []
        with (ServerTrial if sites else Trial)(reference, folder, rng) as trial:
            tally = one.try_it(trial, *sites)
            tracebacks = 0 if one.bug else trial.n_tracebacks()
            return replace(tally, tracebacks=tracebacks, executed=trial.n_executed)

    def close(self) -> None:
        if self._site:
            self._site.stop()
