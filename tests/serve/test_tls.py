"""Certificates: made once, kept, renewed in time, for this machine's names; those given are checked."""

import datetime
import re
import socket
import ssl
import stat
import subprocess
import threading

import pytest

pytest.importorskip("cryptography")
pytest.importorskip("ifaddr")

from edgeseq.errors import UsageError
from edgeseq.serve import tls


def shake_hands(context, trusted, name):
    """Connect by TLS as a client that trusts `trusted` alone; returns the certificate that it was shown."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        with connection, context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    client = ssl.create_default_context(cafile=str(trusted))
    with socket.create_connection(listener.getsockname()) as plain, client.wrap_socket(plain, server_hostname=name) as secure:
        shown = secure.getpeercert(binary_form=True)
        secure.send(b".")
    thread.join(10)
    listener.close()
    return shown


@pytest.fixture
def made(tmp_path):
    return tls.find([tls.SELF_SIGNED], tmp_path / "tls")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_one_made_here_proves_the_machines_names(made, name):
    shown = shake_hands(tls.make_context(made), made.path, name)
    assert ssl.DER_cert_to_PEM_cert(shown).split() == made.path.read_text().split()


def test_it_is_for_no_other_name(made):
    client = ssl.create_default_context(cafile=str(made.path))
    server_side, client_side = socket.socketpair()

    def answer():
        with pytest.raises(OSError):
            tls.make_context(made).wrap_socket(server_side, server_side=True)

    thread = threading.Thread(target=answer)
    thread.start()
    with client_side, pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        client.wrap_socket(client_side, server_hostname="example.org")
    thread.join(10)
    server_side.close()


def test_the_fingerprint_is_what_openssl_says(made):
    try:
        said = subprocess.run(
            ["openssl", "x509", "-in", made.path, "-noout", "-fingerprint", "-sha256"], capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert said.strip().partition("=")[2] == made.fingerprint


def test_it_is_made_once_and_its_key_is_private(made, monkeypatch):
    folder = made.path.parent
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert tls.find([tls.SELF_SIGNED], folder) == made
    assert sorted(path.name for path in folder.iterdir()) == sorted(tls.FILES)
    lived = made.ends - made.begins
    assert datetime.timedelta(days=tls.VALID_DAYS) <= lived <= datetime.timedelta(days=825)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder.parent))
    assert tls.state_folder() == folder.parent / "edgeseq" / "tls"


def test_it_is_renewed_before_its_end(made, monkeypatch):
    context = tls.make_context(made)
    assert tls.refresh(context, made) == made
    late = made.ends - datetime.timedelta(days=tls.RENEWED_DAYS - 1)
    monkeypatch.setattr(tls, "_now", lambda: late)
    renewed = tls.refresh(context, made)
    assert renewed.fingerprint != made.fingerprint and renewed.ends > made.ends
    monkeypatch.undo()
    assert made.path == renewed.path


def test_a_renewed_one_is_served_without_a_restart(made):
    context = tls.make_context(made)
    made.path.unlink()
    renewed = tls.refresh(context, made)
    assert renewed.fingerprint != made.fingerprint
    shake_hands(context, renewed.path, "localhost")


def test_it_is_made_anew_when_the_addresses_change(made, monkeypatch):
    folder = made.path.parent
    monkeypatch.setattr(tls, "_addresses", lambda: ["127.0.0.1", "198.51.100.7"])
    moved = tls.find([tls.SELF_SIGNED], folder)
    assert moved.fingerprint != made.fingerprint and "198.51.100.7" in moved.names
    shake_hands(tls.make_context(moved), moved.path, "198.51.100.7")
    monkeypatch.setattr(tls, "_addresses", lambda: ["127.0.0.1"])
    assert tls.find([tls.SELF_SIGNED], folder) == moved, "an address less does no harm"


def test_damaged_files_are_replaced(made):
    made.key.write_text("nonsense")
    assert tls.find([tls.SELF_SIGNED], made.path.parent).fingerprint != made.fingerprint


def test_files_that_are_given(made, tmp_path):
    given = tls.find([str(made.path), str(made.key)])
    assert given.fingerprint == made.fingerprint and not given.is_made_here and given.trouble is None
    other = tls.find([tls.SELF_SIGNED], tmp_path / "other")
    text = tmp_path / "text.pem"
    text.write_text("hello")
    for choice, message in (
        ([made.path, other.key], r"key\.pem: not the key of .*certificate\.pem"),
        ([tmp_path / "none.pem", made.key], r"none\.pem: No such file"),
        ([made.path, tmp_path / "none.pem"], r"none\.pem: No such file"),
        ([text, made.key], r"text\.pem: no certificate"),
        ([made.path, text], r"text\.pem: no usable key"),
        ([made.path, made.path], r"certificate\.pem: no usable key"),
        ([made.path], r"wanted a certificate and its key .* or 'self-signed'"),
    ):
        with pytest.raises(UsageError, match=message):
            tls.find([str(one) for one in choice])


def test_a_key_with_a_password_is_refused(made, tmp_path):
    from cryptography.hazmat.primitives import serialization as forms

    key = forms.load_pem_private_key(made.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(b"x")))
    with pytest.raises(UsageError, match=r"locked\.pem: the key has a password"):
        tls.find([str(made.path), str(locked)])


def test_an_expired_one_is_served_with_a_warning(made, monkeypatch, caplog):
    monkeypatch.setattr(tls, "_now", lambda: made.ends + datetime.timedelta(days=1))
    tls.make_context(tls.find([str(made.path), str(made.key)]))
    assert re.search(r"certificate\.pem: expired on 20\d\d-", caplog.text)
    monkeypatch.setattr(tls, "_now", lambda: made.begins - datetime.timedelta(days=1))
    assert "clock" in tls.find([str(made.path), str(made.key)]).trouble


def test_a_given_file_that_breaks_later_leaves_the_old_one_in_use(made, caplog):
    given = tls.find([str(made.path), str(made.key)])
    context = tls.make_context(given)
    kept = made.path.read_text()
    made.path.write_text("half of")
    assert tls.refresh(context, given) == given and "stays the old one" in caplog.text
    made.path.write_text(kept)
    shake_hands(context, made.path, "localhost")


def test_the_qr_code_holds_the_address():
    pytest.importorskip("segno")
    address = "https://192.168.1.7:8080/?token=abc"
    lines = tls.qr_code(address).strip("\n").splitlines()
    import segno

    modules = [list(row) for row in segno.make(address, micro=False, error="l").matrix_iter(border=2)]
    assert [[HALVES[mark][0] for mark in line] for line in lines] == modules[::2]
    assert [[HALVES[mark][1] for mark in line] for line in lines][: len(modules) // 2] == modules[1::2]


HALVES = {" ": (1, 1), "▀": (0, 1), "▄": (1, 0), "█": (0, 0)}
"""light and dark modules, the upper half first: drawn for light text on a dark terminal"""


def test_this_machines_names():
    names = tls.own_names()
    assert names[0] == "localhost" and {"127.0.0.1", "::1"} <= set(names)
    assert len(set(names)) == len(names)
    address = tls.outer_address()
    assert address is None or re.fullmatch(r"\d+(\.\d+){3}", address)
