"""Secrets that a text names, as `API_TOKEN=...`, `password: ...`, `--token ...` do, and those that have a known form.

What is written in a program for a secret is not one: `token = next(tokens)`, `token: str`, `f(password=password)`.
"""

import re
from collections.abc import Callable

MARK = "***"
Span = tuple[int, int]
WORDS = (
    "[A-Z]*PASSWORD|PASSWD|PASS|PASSPHRASE|SECRET|TOKEN|JWT|CREDENTIALS?|AUTH|"
    "(?:API|ACCESS|SECRET|PRIVATE|ACCOUNT|SUBSCRIPTION|SIGNING|ENCRYPTION|MASTER)_?KEY"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

# A name of a secret ends with one of the words: token_count and password_file are none. PASS alone is a word of tests.
_NAME = re.compile(rf"(?:^(?!PASS$)|_)(?:{WORDS}|(?<=_)PWD)(?:_ID|_VALUE|_PROD|_DEV|_TEST|_OLD|_NEW|_?\d+)?$")
_MEMORABLE = re.compile(r"(?:PASSWORD|PASSWD|PASSPHRASE|PWD)\w*$")  # people choose these, so a word may be one
_ASSIGNED = re.compile(r"""(?<![\w.-])([\w.-]{1,100})(?:\\{0,3}["'])?([ \t]{0,8}(?::|=>|=)(?!=)[ \t]{0,8})""")
_TRIPLE = re.compile(r"""([bBrRuUfF]{0,2}(\\{0,3}(?:"{3}|'{3})))((?:(?!\2)[\s\S]){1,4000})\2""")
_QUOTED = re.compile(r"""([bBrRuUfF]{0,2}(\\{0,3}["']))((?:(?!\2)(?:\\.|.)){1,4000})\2""")
_BARE = re.compile(r"""([^\s"'`<>,;&|(){}\[\]=\\]+)([ \t]*(?:\\n|.)?)""")
_BRACKETED = re.compile(
    r"""(?=[^\s"'`]{0,200}[\d$%])([^\s"'`<>,;&|(){}\[\]=\\]{1,200})[(\[{][^\s"'`]{0,4000}"""
)  # p4ss(word)
_UNCLOSED = re.compile(r"""\\{0,3}["']([^\s"'`,;)+\]}][^\s"'`]*)$""", re.M)
_LIST = re.compile(
    r"""\\{0,3}["']?[(\[]([^()\[\]{}\n]{1,4000})[)\]]|\{([^()\[\]{}\n]{1,200}:[^()\[\]{}\n]{1,4000})\}"""
)
_ITEM = re.compile(r"[,:][ \t]+|,")
_FLAG = re.compile(r"""(?<![\w.-])(--?[\w.-]{2,100})(?:[ \t]+["']?|["'],[ \t]*["'])(?![-\s,)+\]])""")
_ARGUMENT = re.compile(r"""(?<=")[^"\n]{1,4000}|(?<=')[^'\n]{1,4000}|[^\s"'`<>,]+""")
# A header's value is the rest of its line, up to the quote that was open before the name or is open before the value.
_HEADER = re.compile(
    r"""(?i)(\\{0,3}["'])?\b(?:(?:authorization|cookie2?)(?:\\{0,3}["'])?[ \t]{0,8}[:=](?!=)|"""
    r"""(?:x-(?:\w{1,40}-){0,3}|(?:api|auth|access|private|subscription)-)(?:key|token|secret|auth|password)"""
    r"""(?:\\{0,3}["'])?[ \t]{0,8}:)[ \t]{0,8}"""
)
_OPEN = re.compile(r"""[bBrRuUfF]{0,2}(\\{0,3}(?:"{3}|'{3}|["']))""")
_SCHEME = re.compile(r"(?i)(?:(?:bearer|basic|token|digest|negotiate)[ \t]+)?")
_GOES_ON = re.compile(r"""\\{0,3}["']{1,3}[ \t]*[+"']""")  # what is put together of several
_JOINED = re.compile(r"""(?i)(\bbearer[ \t]{0,8}["'][ \t]{0,8}\+?[ \t]{0,8}["'])([^\s"'*][^\s"']+)""")
_PROGRAM = re.compile(
    r"[A-Za-z_][\w.]*[(\[]|[({\[]|(?:str|bytes|bool|Any|None)(?:[,)]|[ \t]*[|=][ \t]|$)|\*{3}(?![\s;])"
)
_LOGIN = re.compile(r"(\blogin[ \t]+\S{1,200}[ \t]+password[ \t]+)\S+")  # of .netrc
_FORMS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:(?!-----BEGIN)[\s\S]){0,20000}?-----END [A-Z ]*PRIVATE KEY-----"
    r"|(?<![\w-])(?:"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}"  # Amazon
    r"|eyJ[\w-]{8,2000}\.[\w-]{8,4000}\.[\w-]{0,2000}"  # JSON web token
    r"|gh[pousr]_[0-9A-Za-z]{20,255}|github_pat_\w{22,255}|glpat-[\w-]{20,255}"
    r"|xox[abeoprs]-[\w-]{10,255}|hf_[0-9A-Za-z]{30,255}|AIza[\w-]{35}|pypi-AgE[\w-]{20,500}"
    r"|sk-[\w-]{20,255}|sk_live_\w{16,255}|dapi[0-9a-f]{32}"
    r")(?![\w-])"
    r"|(?<=[Bb]earer )[\w.~+/-]{16,4000}=*"
)
_NOTHING = re.compile(  # what stands for a value, or says that there is none
    r"\*+|\.+|\$(?:[A-Z_][A-Z0-9_]*|[A-Za-z_]+\d?)|\$\{[\w.:]+\}|\$\(.*|%\w?|%\w+%|%\(\w+\)\w|\{.*\}|(?i:null|none|nil|true|false|yes|no|on|off|undefined|required|optional|empty|hidden)"
    r"|str|int|bytes|bool|float|object|string|Any|SecretStr|-?\d{1,3}"
)
MOST_OF_LINE = 8000  # letters: servers take no longer header
_CODE = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)*")  # names of a program, without a digit


def without_named(text: str) -> str:
    """`text` with *** in place of the secrets that have a name or a known form."""
    text = _JOINED.sub(rf"\g<1>{MARK}", _without(_HEADER, _header_value, _FORMS.sub(MARK, text)))
    text = _without(_FLAG, _argument, _LOGIN.sub(rf"\g<1>{MARK}", text))
    return _without(_ASSIGNED, _value, text)


def _without(names: re.Pattern[str], value_of: Callable[[re.Match[str], str], Span | None], text: str) -> str:
    """With *** in place of the value of each name that has one."""
    kept, at = [], 0
    for found in names.finditer(text):
        if found.start() >= at and (value := value_of(found, text)):
            kept += [text[at : value[0]], MARK]
            at = value[1]
    return "".join([*kept, text[at:]])


def _header_value(found: re.Match[str], text: str) -> Span | None:
    most = min(len(text), found.end() + MOST_OF_LINE)
    line_end = text.find("\n", found.end(), most)
    line_end = most if line_end < 0 else line_end
    opened = _OPEN.match(text, found.end())
    begin = end = _SCHEME.match(text, opened.end() if opened else found.end()).end()  # type: ignore[union-attr]
    if quote := opened[1] if opened else found[1]:
        closed = re.compile(rf"(?<!\\){re.escape(quote)}").search(text, begin, line_end)
        end = line_end if closed is None or _GOES_ON.match(text, closed.start()) else closed.start()
    else:
        end = line_end
    value = text[begin:end].strip()
    is_none = not value or _NOTHING.fullmatch(value[:200]) or (not opened and _PROGRAM.match(value))
    return None if is_none else (begin, end)


def as_variable(name: str) -> str:
    """A name as environment variables are written: `X-Api-Key` and `apiKey` -> X_API_KEY, API_KEY."""
    return re.sub(r"[-.]", "_", _CAMEL.sub("_", name)).upper()


def _is_secret(name: str) -> bool:
    return bool(_NAME.search(as_variable(name)))


def _argument(found: re.Match[str], text: str) -> Span | None:
    value = _ARGUMENT.match(text, found.end()) if _is_secret(found[1]) else None
    return value.span() if value and not _NOTHING.fullmatch(value[0]) else None


def _value(found: re.Match[str], text: str) -> Span | None:
    """Where the value of a name of a secret stands; None if that is no value, or no such name."""
    name, sign = found.groups()
    is_one = _is_secret(name)
    if not (is_one or _is_secret(re.sub("[sS]$", "", name))):
        return None
    if (some := _LIST.match(text, found.end())) and _are_values(name, some[some.lastindex or 0]):
        return some.span(some.lastindex or 0)
    if not is_one:
        return None
    if quoted := _TRIPLE.match(text, found.end()) or _QUOTED.match(text, found.end()):
        ended = sign == "=" and quoted[3][0] in " ,)+]"  # "?token=" + token: it is the quote that ends
        return None if ended or _NOTHING.fullmatch(quoted[3]) else quoted.span(3)
    if unclosed := _UNCLOSED.match(text, found.end()):
        return unclosed.span(1) if _is_value(name, sign, unclosed[1], "") else None
    bracketed = _BRACKETED.match(text, found.end())
    if bracketed and not _NOTHING.fullmatch(bracketed[0]) and not _CODE.fullmatch(bracketed[1]):
        return bracketed.span()
    bare = _BARE.match(text, found.end())
    return bare.span(1) if bare and _is_value(name, sign, *bare.groups()) else None


def _are_values(name: str, items: str) -> bool:
    """Whether one of the items of a list is a secret, of which passwords may be words."""
    words = [item.strip().strip("\\\"'") for item in _ITEM.split(items)]
    no_secret = _NOTHING if _MEMORABLE.search(as_variable(name).removesuffix("S")) else _CODE
    return any(
        word and " " not in word and not _NOTHING.fullmatch(word) and not no_secret.fullmatch(word) for word in words
    )


def _is_value(name: str, sign: str, bare: str, after: str) -> bool:
    """Whether what follows a name is a value, not a part of a program: an expression, a type, a name."""
    if _NOTHING.fullmatch(bare) or after[:1] in tuple("([{") or bare.startswith("*"):
        return False
    ends = not after.strip() or after.strip()[0] in "#\"'`;&\\"
    if ":" in sign and not (ends and sign != ":"):  # several words, a type among arguments, a slice or Python's :=
        return False
    if _CODE.fullmatch(bare):
        memorable = bool(_MEMORABLE.search(as_variable(name)))
        tight = sign == "=" and (after[:1] in tuple(" \t\"'`;&\\") or not after)
        return (tight and bare.lower() != name.lower()) or (memorable and ends and not bare[0].isupper())
    return True
