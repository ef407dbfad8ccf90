"""Runs and how they reach MLflow: journal, delivery, queries, provenance, redaction of secrets, signals.

The home of MLflow and psutil. Knows runs and their cells, not how a sweep is trained. May import `network`, `compiled`,
`config`, `data`, `training`, `inference`, `analysis` and `report`.
"""

from harness.store.bulk import Bulk, NewRun, add_run
from harness.store.claims import LeaseWatch, TakenError
from harness.store.connection import COMMIT_TAG, UnreachableError, note_tags, print_failure, query, set_defaults
from harness.store.forms import odd_tag
from harness.store.interrupts import INTERRUPTS, Interrupted, when_continued
from harness.store.models import save_model
from harness.store.opening import check_exists, check_here, holds_journals, is_there
from harness.store.outage import OUTAGE_SECONDS
from harness.store.pages import serving
from harness.store.processes import command_lines, described
from harness.store.provenance import ARITHMETIC, arithmetic, commit, environment, uncommitted_diff
from harness.store.reading import Fingerprints, FinishedRun, first_line, read_run, stored_json, stored_yaml
from harness.store.redaction import redacted
from harness.store.searching import sweep_tag
from harness.store.tracking import ORIGIN, Delivery, Store
from harness.store.writer import RunWriter
