"""What is written about clients' faults: a line, without their bytes."""

import logging
import warnings

import pytest

pytest.importorskip("aiohttp")
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web import RequestPayloadError

from edgeseq.serve.service_log import log_to_stderr


@pytest.fixture
def as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:], root.level = handlers, level


FAULTS = [BadHttpMessage("b'Authorization: Bearer s3cret'"), ConnectionResetError("s3cret"), RequestPayloadError("s3cret")]


@pytest.mark.parametrize("fault", FAULTS)
def test_bytes_of_clients_stay_out_of_the_log(fault, as_it_was, capfd):
    log_to_stderr()
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "10.0.0.7", exc_info=fault)
    said = capfd.readouterr().err
    assert "s3cret" not in said and "Traceback" not in said and said.count("\n") == 1
    assert "10.0.0.7" in said and type(fault).__name__ in said and " INFO " in said


def test_faults_of_the_servers_own_are_told_whole(as_it_was, capfd):
    log_to_stderr()
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "10.0.0.7", exc_info=KeyError("missing"))
    logging.getLogger("edgeseq.serve").error("failed", exc_info=ConnectionResetError("peer"))
    said = capfd.readouterr().err
    assert "KeyError: 'missing'" in said and "ConnectionResetError: peer" in said and said.count(" ERROR ") == 2


def test_warnings_of_aiohttp_are_not_printed(as_it_was):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        log_to_stderr()
        warnings.warn_explicit("form-data; name=s3cret", UserWarning, "multipart.py", 1, module="aiohttp.multipart")
        warnings.warn_explicit("something else", UserWarning, "other.py", 1, module="other")
    assert [str(warning.message) for warning in told] == ["something else"]
