"""Streams that are closed, full, without a reader, or without an η: nothing is raised, and the reason is known."""

import errno
import io
import os
import sys

import pytest

from harness.app.terminal import PLAIN, lenient_streams


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_letters_that_an_encoding_lacks_are_spelled(encoding):
    with lenient_streams():
        stream = io.TextIOWrapper(io.BytesIO(), encoding, PLAIN)
    stream.write("digits B=64 η=0.1 λ_max − 3 ≤ ½ … 日 \udcff")
    stream.flush()
    written = stream.buffer.getvalue().decode(encoding)
    assert written.startswith("digits B=64 eta=0.1 lamda_max - 3 <= ")
    assert written.endswith(" \\u65e5 \\udcff")


@pytest.fixture
def real_stream(monkeypatch):
    """Makes a descriptor the process's own stdout or stderr, as Python would have opened it."""
    opened = []

    def install(name, number):
        stream = io.TextIOWrapper(os.fdopen(number, "wb"), "utf8", write_through=True)
        opened.append(stream)
        monkeypatch.setattr(sys, name, stream)
        monkeypatch.setattr(sys, f"__{name}__", stream)
        return stream

    yield install
    for stream in opened:
        stream.close()


@pytest.mark.parametrize(("name", "number"), [("stdout", 1), ("stderr", 2)])
def test_a_reader_that_ends_stops_nothing(name, number, real_stream):
    reader, writer = os.pipe()
    os.close(reader)
    before, kept = os.dup(number), real_stream(name, writer)
    os.dup2(writer, number)
    try:
        with lenient_streams() as unwritten:
            print("one", file=getattr(sys, name))
            getattr(sys, name).flush()
            assert unwritten() is None
        assert getattr(sys, name) is kept
    finally:
        os.dup2(before, number)
        os.close(before)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_a_full_disk_is_told_of_answers_only(real_stream):
    full = os.open("/dev/full", os.O_WRONLY)
    before = [os.dup(number) for number in (1, 2)]
    try:
        for name, number in (("stdout", 1), ("stderr", 2)):
            real_stream(name, os.dup(full))
            os.dup2(full, number)
        with lenient_streams() as unwritten:
            print("an answer")
            print("a message", file=sys.stderr)
            failure = unwritten()
        os.close(full)
    finally:
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)
            os.close(kept)
    assert failure.errno == errno.ENOSPC


def test_streams_that_somebody_replaced_stay(capsys):
    before = sys.stdout, sys.stderr
    with lenient_streams() as unwritten:
        assert (sys.stdout, sys.stderr) == before
        print("seen")
        assert unwritten() is None
    assert capsys.readouterr().out == "seen\n"
