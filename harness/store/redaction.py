"""Replaces secrets in a text before it goes to a run, a log or a report.

Three kinds of secret are known: what stands where a URL keeps one (`scheme://user:password@host`, `?token=...`), the
values of environment variables that are named like a secret or hold such a URL, and what stands beside a name or in a
form that only secrets have (see `assignments`). In doubt harmless characters go too.
"""

import json
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote

from harness.config import visible
from harness.store.assignments import MARK, WORDS, as_variable, without_named

SHORTEST = 6  # characters; a shorter value of an environment variable may be an ordinary word
SHORTEST_TOKEN = 20  # characters of a URL's user info without a password; a shorter one is a user's name

_ABOUT = "FILE|PATH|DIR|SOCK|URL|URI|MODE|TYPE|METHOD|PROVIDER|BACKEND|HELPER|NAME|USER|USERNAME|ENABLED|TTL|TIMEOUT"
_VARIABLE = re.compile(rf"(?:^|_)(?:{WORDS})(?:_|$)(?!(?:\w*_)?(?:{_ABOUT})$)|_(?:KEY|PWD)$")
_QUERY_NAME = re.compile(rf"(?:^|_)(?:{WORDS}|SIGNATURE)(?:_|$)|^(?:KEY|SIG|PWD)$")

# The two ways in which programs read user info. SQLAlchemy ends a password at the next @, so it may hold / : ? #;
# everybody else ends the authority at the first / ? # and the user info at the last @ before that.
_USER_INFO = re.compile(r"(?<=://)(?:[^:/@]*:[^@]*@(?:[^/?#]*@)?|[^/?#]+@)")
_URLS = re.compile(r'://[^\s"<>`]*')
_QUERY = re.compile(r"""(?<=[?&;])([\w.-]+)=(?!=)[^\s"'<>`&#;]+""")


def redacted(text: str, environ: Mapping[str, str] | None = None) -> str:
    """`text` with *** in place of each secret; environ: by default that of the process.

    Not recognised: a password with a blank, a quote, < or > in a URL that no environment variable holds; a secret
    without a name and of no known form that no environment variable holds.
    """
    secrets = _secrets(tuple((os.environ if environ is None else environ).items()))
    before = None
    while text != before:  # what has become *** may make a new match
        before = text
        for secret in secrets:
            text = text.replace(secret, MARK)
        text = without_named(_QUERY.sub(_without_value, _URLS.sub(_without_user_info, text)))
    return text


def print_traceback(error: BaseException) -> None:
    """On stderr, without secrets and without signs that move the cursor."""
    sys.stderr.write(visible(redacted("".join(traceback.format_exception(error))), kept="\n\t"))


def _without_user_info(urls: re.Match[str]) -> str:
    """From the :// of a URL to the next blank or quote. What follows the last @ is no secret; so the time is linear."""
    before, at, after = urls[0].rpartition("@")
    return _USER_INFO.sub(f"{MARK}@", before + at) + after


def _without_value(query: re.Match[str]) -> str:
    return f"{query[1]}={MARK}" if _QUERY_NAME.search(as_variable(query[1])) else query[0]


@lru_cache(maxsize=4)
def _secrets(environ: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Every spelling of every secret of the environment, the longest first: a secret may be a part of another."""
    values = [value for name, item in environ for value in _secret_values(name, item)]
    forms = {form for value in values for form in _spellings(value) if len(form) >= SHORTEST}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _secret_values(name: str, value: str) -> Iterator[str]:
    """The value of a variable that is named like a secret, unless it is an existing path; the user info of its URLs."""
    if _VARIABLE.search(as_variable(name)) and not (os.path.isabs(value) and os.path.exists(value)):
        yield value
    for match in _USER_INFO.finditer(value):
        user_info = match[0].removesuffix("@")
        _, colon, password = user_info.partition(":")
        if colon:
            yield from (user_info, password, unquote(password))
        elif len(user_info) >= SHORTEST_TOKEN:
            yield from (user_info, unquote(user_info))


def _spellings(value: str) -> Iterator[str]:
    """The value as it is, line by line (a diff puts a character before each), in a URL, in JSON, in Python source."""
    yield value
    yield from (line.strip() for line in value.splitlines())
    yield from (quote(value, safe=safe, errors="surrogateescape") for safe in ("", "/"))
    yield quote_plus(value, errors="surrogateescape")
    yield from (json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    yield repr(value)[1:-1]
