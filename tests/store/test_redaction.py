"""No secret survives, and what is none is left as it was."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote, quote_plus, urlsplit

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from harness.store.redaction import redacted

# What a URL in a text may hold without being torn apart: no blank, no quote that ends it.
IN_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters='"<>`*'), min_size=3)
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), min_size=6).filter(lambda s: "*" not in s)
SCHEMES = st.sampled_from(["https", "postgresql", "postgresql+psycopg", "git+ssh", "redis"])


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://user:password@host/x", "https://***@host/x"),
        ("https://ghp_0123456789@github.com/x", "https://***@github.com/x"),
        ("redis://:password@host", "redis://***@host"),
        ("postgresql+psycopg://me:a/b:c%40d@db:5432/runs?sslmode=require", "postgresql+psycopg://***@db:5432/runs?sslmode=require"),
        ("https://me:p@ss@host/x", "https://***@host/x"),
        ("a http://a:b@c and http://d:e@f, too", "a http://***@c and http://***@f, too"),
        ('["http://a:b@c","http://d:e@f"]', '["http://***@c","http://***@f"]'),
        ("http://a:b@c,http://d:e@f", "http://***@c,http://***@f"),
        ("git+https://me:token@github.com/a/b@v1.2", "git+https://***@github.com/a/b@v1.2"),
        ("https://h/x?token=abc&page=2", "https://h/x?token=***&page=2"),
        ("https://h/x?page=2&apiKey=abc#top", "https://h/x?page=2&apiKey=***#top"),
        ("https://h/x?X-Amz-Signature=abc&X-Amz-Date=2026", "https://h/x?X-Amz-Signature=***&X-Amz-Date=2026"),
        ("https://h/x?AWSAccessKeyId=AKIA&amp;sig=a%2Fb", "https://h/x?AWSAccessKeyId=***&amp;sig=***"),
        ("https://h/x?client_secret=a&access_token=b", "https://h/x?client_secret=***&access_token=***"),
        ("AccountName=me;AccountKey=abc==;Suffix=net", "AccountName=me;AccountKey=***;Suffix=net"),
    ],
)  # fmt: skip
def test_what_a_url_keeps(text, clean):
    assert redacted(text, {}) == clean


@pytest.mark.parametrize(
    "text",
    [
        "",
        "***",
        "someone@example.org wrote @pytest.fixture\n@dataclass",
        "https://unpkg.com/react@18/umd and https://medium.com/@someone/a-post",
        "pip install git+https://github.com/a/b@main",
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=0123abcd",
        "sqlite:////home/me/project/mlflow.db",
        "http://host:8080/ then mail a@b",
        "https://h/x?max_tokens=100&tokenizer=bpe&keyword=x&sort_key=y&author=me",
        "if (flags &token==1) password = ask()  # password: see token",
        "s3://bucket/key?versionId=3, batch_size=64 reduction=sum",
    ],
)
def test_ordinary_text_is_left_alone(text):
    assert redacted(text, {}) == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="@=")))
def test_text_that_can_hold_no_secret_is_left_alone(text):
    assert redacted(text, {"HOME": "/root", "LANG": "C.UTF-8", "EDITOR": text}) == text


def is_read_as(url, password):
    """Whether a program that is given the URL would use this password."""
    readers = [lambda: urlsplit(url).password, lambda: make_url(url).password]
    for read in readers:
        try:
            if read() == password:
                return True
        except (ValueError, ArgumentError):
            pass
    return False


@given(SCHEMES, IN_TEXT, IN_TEXT)
@example("https", "a/b@c", " ")
def test_no_password_in_a_url_survives(scheme, password, around):
    url = f"{scheme}://us3r:{password}@h/runs"
    assume(is_read_as(url, password) and password not in f"{scheme}://***@h/runs {around}")
    assert password not in redacted(f"{around} {url} {around}", {})


@given(SCHEMES, ANYTHING)
def test_no_encoded_password_in_a_url_survives(scheme, password):
    assert redacted(f"{scheme}://us3r:{quote(password, safe='')}@h/runs", {}) == f"{scheme}://***@h/runs"


@given(
    st.sampled_from(["password", "token", "client_secret", "key", "X-Signature", "api-key", "accessToken"]), ANYTHING
)
def test_no_secret_parameter_survives(name, value):
    assert redacted(f"see https://h/?a=1&{name}={quote(value)}&b=2", {}) == f"see https://h/?a=1&{name}=***&b=2"


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD", "MLFLOW_TRACKING_PASSWORD", "PGPASSWORD", "MYSQL_PWD", "DB_PASSWD", "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "OPENAI_API_KEY", "APIKEY", "MLFLOW_FLASK_SERVER_SECRET_KEY",
        "AZURE_CREDENTIAL", "REDISCLI_AUTH", "npm_config__authToken", "FERNET_KEY",
    ],
)  # fmt: skip
def test_names_of_secrets(name):
    assert redacted("say hunter22 twice: hunter22", {name: "hunter22"}) == "say *** twice: ***"


@pytest.mark.parametrize(
    "name",
    [
        "RAY_AUTH_MODE",
        "TOKENIZERS_PARALLELISM",
        "PWD",
        "AUTHOR",
        "SECRETARY",
        "PASSWORD_FILE",
        "KEYBOARD",
        "MAX_TOKENS",
    ],
)
def test_names_of_no_secret(name):
    assert redacted("feature disabled", {name: "disabled"}) == "feature disabled"


@given(ANYTHING, st.text(max_size=10))
@example("two lines\nof a key", "")
def test_no_secret_of_the_environment_survives(secret, around):
    assume(secret not in around + "***" + around and not os.path.exists(secret))
    environ = {"SOME_PASSWORD": secret}
    assert secret not in redacted(around + secret + around, environ)
    assert redacted(f"https://h/{quote(secret, safe='')}/x", environ) == "https://h/***/x"


@pytest.mark.parametrize("spelt", [json.dumps, repr, lambda value: json.dumps(value, ensure_ascii=False)])
def test_a_secret_with_escapes_is_found_in_json_and_python(spelt):
    secret = "a\\b\"c\té'd"
    assert redacted(f"x = {spelt(secret)}", {"A_SECRET": secret})[5:-1] == "***"


def test_a_secret_of_several_lines_is_found_in_a_diff():
    key = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nqx4bGmJk9wTz\n-----END KEY-----\n"
    diff = "".join(f"+    {line}\n" for line in key.splitlines())
    assert redacted(diff, {"DEPLOY_PRIVATE_KEY": key}) == "+    ***\n" * 4


def test_a_longer_secret_is_taken_out_before_a_shorter_one_that_it_holds():
    environ = {"A_TOKEN": "hunter", "B_TOKEN": "hunter-the-second"}
    assert redacted("hunter-the-second, hunter", environ) == "***, ***"


def test_a_path_is_no_secret(tmp_path):
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path), "OTHER_CREDENTIALS": str(tmp_path / "absent")}
    assert redacted(f"{tmp_path} {tmp_path}/absent", environ) == f"{tmp_path} ***"


def test_short_values_would_take_ordinary_words_with_them():
    assert redacted("a test of 12345", {"A_TOKEN": "test", "B_TOKEN": "12345", "C_TOKEN": ""}) == "a test of 12345"


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_URI", "DATABASE_URL"])
def test_the_password_of_a_url_in_the_environment(name):
    environ = {name: "postgresql://me:pass%2Fword 1@db:5432/runs"}
    text = 'me:pass%2Fword 1, pass%2Fword 1; FATAL: "pass/word 1" is wrong for user me at db:5432/runs'
    assert redacted(text, environ) == '***, ***; FATAL: "***" is wrong for user me at db:5432/runs'


def test_a_password_with_an_at_sign_in_the_environment():
    assert redacted("p@ssword is wrong", {"REMOTE": "https://me:p@ssword@host/x"}) == "*** is wrong"


@pytest.mark.parametrize("encoded", [quote, quote_plus, lambda value: quote(value, safe="")])
def test_a_secret_is_found_as_a_url_spells_it(encoded):
    secret = "a b/c?d+é"
    assert redacted(f"PUT /x/{encoded(secret)}", {"A_SECRET": secret}) == "PUT /x/***"


def test_the_token_of_a_url_in_the_environment():
    environ = {"REMOTE": "https://ghp_0123456789abcdefghij@github.com/a/b", "OTHER": "ssh://deploy@host"}
    assert redacted("deploy with ghp_0123456789abcdefghij", environ) == "deploy with ***"


def test_the_environment_of_the_process_is_the_default(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "hunter22")
    assert redacted("hunter22") == "***"
    assert redacted("hunter22", {}) == "hunter22"


def test_an_environment_that_is_no_utf8():
    assert redacted("x caf\udce9-secret y", {"A_TOKEN": "caf\udce9-secret"}) == "x *** y"


NASTY = st.text("*:/@?&=a ;.", max_size=40)


@given(
    st.lists(NASTY | st.sampled_from(["://", "://a:b@c", "?token=", "&key=abc", "hunter22"])).map("".join),
    st.lists(NASTY, max_size=3),
)
@example("://a:b@hosts", ["***@hos"])
def test_redacting_twice_changes_nothing(text, secrets):
    environ = {f"S{i}_TOKEN": secret for i, secret in enumerate(secrets)}
    once = redacted(text, environ)
    assert redacted(once, environ) == once


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "megabyte",
    [
        "+    cost = network.costs(X, Y).mean()  # @ http://h/x?a=b&c=d\n" * 16_000,
        "http://a:1/x" * 83_000,
        "://" * 333_000,
        "://:" * 250_000,
        "://a:b@c" * 125_000,
        "://" + ":/@" * 333_000,
        "@" * 1_000_000,
        "?" + "token_" * 166_000,
        "?a" * 500_000,
        "x" * 1_000_000,
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_megabyte_is_no_trouble(megabyte):
    environ = {f"S{i}_TOKEN": f"hunter22-{i}" for i in range(20)}
    started = time.process_time()
    redacted(megabyte, environ)
    assert time.process_time() - started < 3  # a fraction of a second; what grows with the square takes minutes


# Beside a name.


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("API_TOKEN=abc", "API_TOKEN=***"),
        ("export API_TOKEN='a b c'; ls", "export API_TOKEN='***'; ls"),
        ('DB_PASSWORD="hunter2" python x.py', 'DB_PASSWORD="***" python x.py'),
        ("MYSQL_PWD=hunter2", "MYSQL_PWD=***"),
        ("DB_PASS=hunter2, next", "DB_PASS=***, next"),
        ("OPENAI_API_KEY=x1y2z3 SORT_KEY=id", "OPENAI_API_KEY=*** SORT_KEY=id"),
        ("SECRET_2=x1y2z3", "SECRET_2=***"),
        ("DB_PASSWORD_PROD=x1y2z3", "DB_PASSWORD_PROD=***"),
        ("password=hunter", "password=***"),
        ("python -m harness +store.password=hunter", "python -m harness +store.password=***"),
        ("['+store.password=hunter', 'seed=1']", "['+store.password=***', 'seed=1']"),
        ("password = hunter2", "password = ***"),
        ("password = hunter", "password = ***"),
        ("[server]\ntoken = a1b2c3d4 ; mine", "[server]\ntoken = *** ; mine"),
        ("token: abc-def-1", "token: ***"),
        ("  password: hunter  # mine\n  user: me", "  password: ***  # mine\n  user: me"),
        ("+  client_secret: a1b2c3\n", "+  client_secret: ***\n"),
        ("-    token: a1b2c3\n", "-    token: ***\n"),
        ('{"token": "abc", "user": "me"}', '{"token": "***", "user": "me"}'),
        ('{"accessToken":"abc","n":1}', '{"accessToken":"***","n":1}'),
        (r'"{\"token\": \"abc\", \"n\": 1}"', r'"{\"token\": \"***\", \"n\": 1}"'),
        ("{'password': 'a\\'b', 'x': 1}", "{'password': '***', 'x': 1}"),
        ("x = dict(password='hunter2', user='me')", "x = dict(password='***', user='me')"),
        ('+PASSWORD = "hunter2"', '+PASSWORD = "***"'),
        ('api_key = b"abc"', 'api_key = b"***"'),
        ("mysql --user me --password hunter2 runs", "mysql --user me --password *** runs"),
        ("mlflow --api-key=a1b2c3 x", "mlflow --api-key=*** x"),
        ('["--token", "hunter2", "x"]', '["--token", "***", "x"]'),
        ("Authorization: Bearer abcdef", "Authorization: Bearer ***"),
        ("curl -H 'Authorization: Basic dXNlcjpwdw==' h", "curl -H 'Authorization: Basic ***' h"),
        ('{"Authorization": "token abcdef"}', '{"Authorization": "token ***"}'),
        ("authorization=abcdefgh", "authorization=***"),
        ("Proxy-Authorization: Basic abcdefgh", "Proxy-Authorization: Basic ***"),
        ("X-Api-Key: 0123-abc", "X-Api-Key: ***"),
        ("Set-Cookie: session=abcdef", "Set-Cookie: ***"),
        ("machine h login me password hunter2", "machine h login me password ***"),
        ("//registry/:_authToken=abc-123", "//registry/:_authToken=***"),
        ("aws_access_key_id = AKIAABCDEFGHIJKLMNOP", "aws_access_key_id = ***"),
        ("aws_secret_access_key = wJalr/K7MDENG+b", "aws_secret_access_key = ***"),
        ("seen: AKIAABCDEFGHIJKLMNOP.", "seen: ***."),
        ("sent eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl back", "sent *** back"),
        ("said Bearer abcdefghijklmnop0123", "said Bearer ***"),
        ("use ghp_0123456789abcdefghijABCDEFGHIJ0123", "use ***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nx", "***\nx"),
        ("KeyError: token='a1b2c3'", "KeyError: token='***'"),
        ("Authorization: SSWS 00a1b2c3", "Authorization: ***"),
        ("dataset.name='Authorization: Bot a1' seed=1", "dataset.name='Authorization: ***' seed=1"),
        ("Cookie: theme=dark; session=a1b2\nHost: h", "Cookie: ***\nHost: h"),
        ('Authorization: Digest username="me", response="a1b2"', "Authorization: Digest ***"),
        (r'{"Cookie": "a=\"b\"; s=c", "n": 1}', '{"Cookie": "***", "n": 1}'),
        ("X-Vault-Token: one two", "X-Vault-Token: ***"),
        ("h = 'Bearer ' + 'a1b2c3'", "h = 'Bearer ' + '***'"),
        ("password='''a1b2'''", "password='''***'''"),
        ('API_TOKEN="""a1\nb2"""', 'API_TOKEN="""***"""'),
        ("password='a1b2", "password='***"),
        ("password=$00a1b2", "password=***"),
        ("password=$a1$b2", "password=***"),
        ("password=%a1b2", "password=***"),
        ("password=${PASSWORD:-a1b2}", "password=***"),
        ("password=a1b2(y) x", "password=*** x"),
        ("passwords=[hunter,other]", "passwords=[***]"),
        ("api_tokens=(a1b2,c3d4)", "api_tokens=(***)"),
        ("passwords={me: a1b2}", "passwords={***}"),
        ("--password 'a b'", "--password '***'"),
        ('bash -c "mysql --password a1b2"', 'bash -c "mysql --password ***"'),
    ],
)  # fmt: skip
def test_what_a_name_announces(text, clean):
    assert redacted(text, {}) == clean


READABLE = [
    "key=value sort_key=y keyboard=qwerty primary_key=12",
    "author=Ada authors: Ada and Grace; authority=none",
    "token_count=3 max_tokens=4096 tokenizer=bpe tokens: 12 n_tokens: 5",
    "token=3 password_length=12 passwords=2 secretary=me",
    "password_file=/run/secrets/x TOKEN_TTL=3600 AUTH_MODE=basic",
    "signature: 0123456789abcdef",
    "signature=0123456789abcdef code=fedcba9876543210 data=aa",
    "PASS=12 FAIL=0; pass: 3; passes=4",
    "PWD=/home/me",
    "token: str, password: str | None = None, api_key: Optional[str]",
    "password: str",
    "token: None",
    'password = os.environ["DB_PASSWORD"]',
    "token = next(tokens)",
    "token = self.token",
    "token = parser.token  # the present one",
    "connect(token=token, password=self.password)",
    "token={token} password=${PASSWORD} secret=$SECRET api_key=<yours>",
    "token: ${oc.env:TOKEN}",
    "if token == 'x' or password != other: return",
    "password=ask()",
    "the password: see the page of the token",
    "secrets:\n  - one",
    "secret:\n  user: me",
    "https://h/#token",
    "digits B=64 η=0.1 mean seeds=10 final/train_cost=0.0123456789 1.2345e-05",
    "time/update_us: 52.1 [50.2, 55.3]; sizes: [64, 32]",
    "model=mlp model.hidden=[64,32] optimizer=adam optimizer.beta2=0.999",
    "def authorization(request): ...",
    "Bearer of bad news",
    "sk-learn and sk-image",
    "password=$DB_PASSWORD password=%DB_PASSWORD% password=%s token=$token secret=${SECRET}",
    "Authorization: Bearer $TOKEN",
    'headers = {"Authorization": f"Bearer {token}"}',
    "tokens = [bos, eos, 17]",
    "0123456789abcdef0123456789abcdef 6c5508b8dc3a4a37a8c8ff62767afc0c",
    '"?token=" + token + "&page=2"',
]


@pytest.mark.parametrize("text", READABLE, ids=range(len(READABLE)))
def test_what_is_named_alike_is_left_alone(text):
    assert redacted(text, {}) == text


ROOT = Path(__file__).parents[2]


def test_the_sources_and_settings_of_this_project_stay_readable():
    """As they are in a diff of the checkout; only a URL with a user in the docstring of the redaction itself goes."""
    files = [*ROOT.glob("harness/**/*.py"), *ROOT.glob("conf/**/*.yaml"), *ROOT.glob("experiments/*.*")]
    files += [*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "pyproject.toml", *ROOT.glob("benchmarks/**/*.py")]
    assert len(files) > 150
    for file in files:
        text = "".join(f"+{line}\n" for line in file.read_text(encoding="utf8").splitlines() if "://" not in line)
        assert redacted(text, {}) == text, file


def test_the_configuration_of_every_dataset_stays_as_it_is():
    from harness.app.composition import compose_cells

    for dataset in ("iris", "blobs", "california_housing"):
        ((config, _),) = compose_cells([f"dataset={dataset}"]).cells
        text = yaml.safe_dump(asdict(config), sort_keys=False)
        assert redacted(text, {}) == text


@given(st.sampled_from(["API_TOKEN", "client_secret", "password", "--password", "x.api_key"]), st.sampled_from("=:"),
       st.text("abcdefghij0123456789+/_-", min_size=8))  # fmt: skip
@example("API_TOKEN", "=", "a-b_c/d+e")
def test_no_value_beside_the_name_of_a_secret_survives(name, sign, value):
    assume(any(sign in value for sign in "0123456789+/"))
    line = f"{name}{sign} {value}" if sign == ":" else f"{name}={value}"
    assert redacted(f"{line}\nnext line", {}) == f"{line[: -len(value)]}***\nnext line"


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "megabyte",
    [
        "token=" * 166_000, "token='" * 140_000, "token: x\n" * 110_000, "-----BEGIN PRIVATE KEY-----\n" * 36_000,
        "--token " * 125_000, "eyJ" * 330_000, "eyJabcdefgh." * 80_000, "authorization: " * 66_000, "a='\\\"" * 160_000,
        "login x " * 125_000, "password" * 125_000, "t=\\" * 250_000, "token = " + " " * 1_000_000,
        "tokens=[" * 125_000, "authorization: f(" * 62_000, "token=1(" * 125_000, "bearer'" + " " * 1_000_000,
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_megabyte_of_names_is_no_trouble(megabyte):
    started = time.process_time()
    redacted(megabyte, {})
    assert time.process_time() - started < 5
