"""Which cells a command needs, their runs, the parent run with its answer, recovery after faults, verification.

Joins `training`, `analysis`, `report` and `store`; may import every room but `app`.
"""

from harness.runs.answered import Answered
from harness.runs.archive import Archive
from harness.runs.archive_packing import pack
from harness.runs.archive_unpacking import unpack
from harness.runs.cell_files import cell_tables
from harness.runs.forecast import Forecast, announcement, forecast_of, plan, timed
from harness.runs.grid import GridCell
from harness.runs.jobs import Assignment, Job, Pack, SweepContext
from harness.runs.kept import load_dataset
from harness.runs.loading import check_run_id, find_run, load_runs
from harness.runs.models import add_models
from harness.runs.papers import check_folder, write_paper
from harness.runs.parent import Told, draw_stored, tell_cell, write_answer
from harness.runs.progress import SweepProgress, Watch
from harness.runs.recording import record_cell, weights
from harness.runs.recovery import recover
from harness.runs.rounds import Rounds, in_store
from harness.runs.timing import measure_again
from harness.runs.verification import verify
