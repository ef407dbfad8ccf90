"""What the fork server of joblib's workers imports before it makes them: importing this module imports all of it."""

from contextlib import suppress

from harness.app.engines import import_all

with suppress(Exception):  # a worker meets it again, and says it
    import_all()
