"""What the fork server of joblib's workers imports before it makes them: importing this module imports all of it."""

import ctypes
import signal
from contextlib import suppress

PR_SET_PDEATHSIG = 1  # of prctl: the signal that this process gets when the command ends, also while it still imports

signal.signal(signal.SIGINT, signal.SIG_IGN)
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
with suppress(Exception):  # a worker meets it again, and says it
    from harness.app.engines import import_all

    import_all()
