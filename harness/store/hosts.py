"""Which places of artifacts a store may name: MLflow's client opens them with the user's own accounts."""

from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit

from harness.config import ConfigError
from harness.store.redaction import redacted

BUCKETS = ("s3", "gs")  # the host is the cloud's, whatever the address says
AZURE = ("wasbs", "abfss")
OF_A_HOST = ("", "file", "mlflow-artifacts", "http", "https", "hdfs", "viewfs", "dbfs")  # the host is in the address


CLIENTS = {  # the module that MLflow needs for a scheme, and what pip installs
    "s3": ("boto3", "boto3"), "gs": ("google.cloud.storage", "google-cloud-storage"),
    "wasbs": ("azure.storage.blob", "azure-storage-blob"),
    "abfss": ("azure.storage.filedatalake", "azure-storage-file-datalake azure-identity"),
}  # fmt: skip


def is_allowed(place: str | None, store_uri: str) -> bool:
    """Whether MLflow may open a place of artifacts: it sends the user's token to the host that a place names.

    So that host is this machine, the store's own or a cloud's. Not looked at: which folder or bucket it is.
    """
    if not isinstance(place, str) or "\0" in place:
        return False
    try:
        parts, store = urlsplit(place), urlsplit(store_uri)
        if ".." in parts.path.split("/"):
            return False
        scheme = parts.scheme if len(parts.scheme) > 1 else ""  # C:\... of Windows
        if scheme in AZURE:
            return (parts.hostname or "").endswith(".core.windows.net")
        return scheme in BUCKETS or (scheme in OF_A_HOST and _host(parts) in _own_hosts(scheme, store))
    except ValueError:  # of urlsplit, for brackets and ports that are none
        return False


def _host(parts: SplitResult) -> tuple[str, int | None]:
    return parts.hostname or "", parts.port


def _own_hosts(scheme: str, store: SplitResult) -> set[tuple[str, int | None]]:
    """Hosts that a place of this scheme may name; no host is the store's. None for what only another store serves."""
    is_server = store.scheme in ("http", "https")
    if scheme in ("http", "https", "mlflow-artifacts") and not is_server:
        return set()
    if scheme == "dbfs" and not (is_server or (store.scheme or store.path).startswith("databricks")):
        return set()
    own = {_host(store)} if scheme in ("http", "https", "mlflow-artifacts") else set()
    return own if scheme in ("http", "https") else own | {("", None)}


def check_place(what: str, place: str | None, store_uri: str) -> None:
    """Raises ConfigError."""
    if not is_allowed(place, store_uri):
        allowed = "artifacts on this machine, on the store's own server or in a cloud's bucket"
        raise ConfigError(what, allowed, place and redacted(str(place)))


def check_library(what: str, place: str) -> None:
    """Raises ConfigError where the library that reaches a place is not installed: no cell could hand in its files."""
    module, package = CLIENTS.get(urlsplit(place).scheme, ("", ""))
    try:
        missing = bool(module) and find_spec(module) is None
    except ModuleNotFoundError:  # of the package that holds it
        missing = True
    if missing:
        raise ConfigError(
            what, f"a place of artifacts whose library is installed (pip install {package})", redacted(place)
        )
