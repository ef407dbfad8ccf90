"""Secrets that a text names, as `API_TOKEN=...`, `password: ...`, `--token ...` do, and those that have a known form.

What is written in a program for a secret is not one: `token = next(tokens)`, `token: str`, `f(password=password)`.
"""

import re

MARK = "***"
WORDS = (
    "[A-Z]*PASSWORD|PASSWD|PASS|PASSPHRASE|SECRET|TOKEN|JWT|CREDENTIALS?|AUTH|"
    "(?:API|ACCESS|SECRET|PRIVATE|ACCOUNT|SUBSCRIPTION|SIGNING|ENCRYPTION|MASTER)_?KEY"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

# A name of a secret ends with one of the words: token_count and password_file are none. PASS alone is a word of tests.
_NAME = re.compile(rf"(?:^(?!PASS$)|_)(?:{WORDS}|(?<=_)PWD)(?:_ID|_VALUE|_PROD|_DEV|_TEST|_OLD|_NEW|_?\d+)?$")
_MEMORABLE = re.compile(r"(?:PASSWORD|PASSWD|PASSPHRASE|PWD)\w*$")  # people choose these, so a word may be one
_ASSIGNED = re.compile(r"""(?<![\w.-])([\w.-]{1,100})(?:\\{0,3}["'])?([ \t]{0,8}(?::|=>|=)(?!=)[ \t]{0,8})""")
_QUOTED = re.compile(r"""([bBrRuU]?(\\{0,3}["']))((?:(?!\2)(?:\\.|.)){1,4000})\2""")
_BARE = re.compile(r"""([^\s"'`<>,;&|(){}\[\]=\\]+)([ \t]*(?:\\n|.)?)""")
_FLAG = re.compile(r"""(?<![\w.-])(--?[\w.-]{2,100})([ \t]+|["'],[ \t]*["'])(?!-)([^\s"'`<>,]+)""")
_HEADER = re.compile(
    r"""(?i)\b((?:authorization|cookie)["']?[ \t]*[:=][ \t]*["']?(?:(?:bearer|basic|token|digest|negotiate)[ \t]+)?)"""
    r"""(?!\*\*\*|(?:bearer|basic|token|digest|negotiate)[ \t])[^\s"',(){}<>]{4,}(?!\()"""
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
    r"\*+|\.+|\$\{?\w.*|\{.*\}|%.*|(?i:null|none|nil|true|false|yes|no|on|off|undefined|required|optional|empty|hidden)"
    r"|str|int|bytes|bool|float|object|string|Any|SecretStr|-?\d{1,3}"
)
_CODE = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)*")  # names of a program, without a digit


def without_named(text: str) -> str:
    """`text` with *** in place of the secrets that have a name or a known form."""
    text = _HEADER.sub(rf"\g<1>{MARK}", _FORMS.sub(MARK, text))
    text = _FLAG.sub(_without_argument, _LOGIN.sub(rf"\g<1>{MARK}", text))
    kept, at = [], 0
    for found in _ASSIGNED.finditer(text):
        if found.start() >= at and _is_secret(found[1]) and (value := _value(found, text)):
            kept += [text[at : value[0]], MARK]
            at = value[1]
    return "".join([*kept, text[at:]])


def as_variable(name: str) -> str:
    """A name as environment variables are written: `X-Api-Key` and `apiKey` -> X_API_KEY, API_KEY."""
    return re.sub(r"[-.]", "_", _CAMEL.sub("_", name)).upper()


def _is_secret(name: str) -> bool:
    return bool(_NAME.search(as_variable(name)))


def _without_argument(found: re.Match[str]) -> str:
    flag, between, value = found.groups()
    return f"{flag}{between}{MARK}" if _is_secret(flag) and not _NOTHING.fullmatch(value) else found[0]


def _value(found: re.Match[str], text: str) -> tuple[int, int] | None:
    """Where the value of a name of a secret stands; None if that is no value."""
    name, sign = found.groups()
    if quoted := _QUOTED.match(text, found.end()):
        ended = sign == "=" and quoted[3][0] in " ,)+]"  # "?token=" + token: it is the quote that ends
        return None if ended or _NOTHING.fullmatch(quoted[3]) else quoted.span(3)
    bare = _BARE.match(text, found.end())
    return bare.span(1) if bare and _is_value(name, sign, *bare.groups()) else None


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
