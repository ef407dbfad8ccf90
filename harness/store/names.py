"""Names of tags that people need not see."""

PREFIX = "mlflow.harness."  # the UI shows no tag whose name begins with `mlflow.`
BOOKKEEPING = {
    "journal", "heartbeat", "closed_by", "claim", "claimed", "arithmetic", "code", "data_digest", "launcher", "varied",
    "answered",
}  # fmt: skip
PROCESS = "process."


def hidden(key: str) -> str:
    """The name in the store of a tag."""
    return f"{PREFIX}{key}" if key in BOOKKEEPING or key.startswith(PROCESS) else key


def plain(key: str) -> str:
    """The name that `hidden` was given."""
    return key.removeprefix(PREFIX)
