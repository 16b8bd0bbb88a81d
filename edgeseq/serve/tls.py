"""https: a certificate that is given, or one made here once for this machine's names and addresses.

Browsers give a microphone to secure pages only, so a phone needs https even in one's own house. A certificate made here is
signed by nobody whom a browser knows: it warns once, and the fingerprint, shown on the terminal, tells whether it is the right
one.
"""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseq.errors import MissingExtraError, UsageError
from edgeseq.whole_file import write_whole

if TYPE_CHECKING:
    from cryptography import x509

logger = logging.getLogger(__name__)

SELF_SIGNED = "self-signed"
"""what `--tls` takes instead of files"""
VALID_DAYS = 800
"""of a certificate made here; Apple's devices take none that lives longer than 825"""
RENEWED_DAYS = 60
"""before its end a certificate made here is replaced"""
FILES = ("certificate.pem", "key.pem")
SHORT_LIVED = ("docker", "br-", "veth", "virbr")
"""Beginnings of the names of networks inside this machine; nobody reaches it by their addresses."""


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, checked: they belong together."""

    path: Path
    key: Path
    fingerprint: str
    """SHA-256 of the certificate, as browsers show it: 32 pairs of hexadecimal digits with colons"""
    names: tuple[str, ...]
    """host names and addresses that it is good for"""
    begins: datetime.datetime
    ends: datetime.datetime
    is_made_here: bool

    @property
    def trouble(self) -> str | None:
        """Why clients will not take it today, None if nothing is known against it."""
        now = _now()
        if now > self.ends:
            return f"{self.path}: expired on {self.ends:%Y-%m-%d}; browsers warn of it. Renew it."
        if now < self.begins:
            return f"{self.path}: valid from {self.begins:%Y-%m-%d}, and the clock here says {now:%Y-%m-%d}. Is it right?"
        return None


def find(choice: Sequence[str], folder: Path | None = None) -> Certificate:
    """Read the certificate and the key that were given, or find or make one: `choice` is `(CERT, KEY)` or `("self-signed",)`.

    An expired certificate is served, with a warning: other programs of this server must not stop for it.
    Raises UsageError for files that cannot be read, are none, or do not belong together.
    """
    if list(choice) == [SELF_SIGNED]:
        return self_signed(state_folder() if folder is None else folder)
    if len(choice) != 2:
        raise UsageError(f"--tls {' '.join(choice)}: wanted a certificate and its key (two PEM files), or '{SELF_SIGNED}'.")
    certificate = _read(Path(choice[0]).expanduser(), Path(choice[1]).expanduser(), is_made_here=False)
    if certificate.trouble is not None:
        logger.warning("%s", certificate.trouble)
    return certificate


def make_context(certificate: Certificate) -> ssl.SSLContext:
    """Prepare TLS 1.2 and later with this certificate. Raises UsageError when it cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(context, certificate.path, certificate.key)
    return context


def refresh(context: ssl.SSLContext, certificate: Certificate) -> Certificate:
    """Replace a certificate that was changed on disk or nears its end; open connections keep the old one.

    For a server that runs for months: call it once a day. A file that has become unusable is reported, and the old one stays.
    """
    try:
        if certificate.is_made_here:
            newer = self_signed(certificate.path.parent)
        else:
            newer = _read(certificate.path, certificate.key, is_made_here=False)
        if newer.fingerprint != certificate.fingerprint:
            _load(context, newer.path, newer.key)
            logger.info("https: a new certificate until %s, SHA-256 %s", f"{newer.ends:%Y-%m-%d}", newer.fingerprint)
    except (UsageError, OSError) as fault:
        logger.warning("https: the certificate stays the old one. %s", fault)
        return certificate
    return newer


def self_signed(folder: Path) -> Certificate:
    """Give the certificate that lies in `folder`; make a new one if there is none, it ends soon, or lacks an address of today.

    The key's file is for its owner alone. Raises UsageError when the folder cannot be written.
    """
    path, key = (folder / name for name in FILES)
    try:
        kept = _read(path, key, is_made_here=True)
    except UsageError:
        kept = None
    names = own_names()
    if kept is not None and set(names) <= set(kept.names) and kept.ends - _now() > datetime.timedelta(days=RENEWED_DAYS):
        return kept
    try:
        _make(path, key, names)
    except OSError as fault:
        raise UsageError(
            f"{folder}: a certificate cannot be kept here ({fault.strerror}).\n"
            "  Set XDG_STATE_HOME to a folder that can be written."
        ) from fault
    return _read(path, key, is_made_here=True)


def state_folder() -> Path:
    """Name the folder in which certificates made here are kept."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "edgeseq" / "tls"


def own_names() -> tuple[str, ...]:
    """List the names and addresses by which this machine is reached: `localhost`, its host name, that with `.local`, IPv4."""
    host = socket.gethostname().rstrip(".").lower()
    hosts = [host, f"{host.split('.')[0]}.local"] if _is_host_name(host) and host != "localhost" else []
    return tuple(dict.fromkeys(["localhost", *hosts, "127.0.0.1", "::1", *_addresses()]))


def outer_address() -> str | None:
    """Give the address by which others in the same network most likely reach this machine, None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # chooses a route; nothing is sent
        except OSError:
            return next((one for one in _addresses() if not ipaddress.ip_address(one).is_loopback), None)
        address: str = probe.getsockname()[0]
        return address


def qr_code(address: str) -> str:
    """Draw an address as a QR code for a terminal, in half blocks. Raises MissingExtraError without segno.

    >>> qr_code("https://192.168.1.7:8080/").count(chr(10)) > 10
    True
    """
    import io

    try:
        import segno
    except ImportError as fault:
        raise _missing() from fault
    drawn = io.StringIO()
    segno.make(address, micro=False, error="l").terminal(drawn, border=2, compact=True)
    return drawn.getvalue()


def _make(path: Path, key_path: Path, names: Sequence[str]) -> None:
    """Write a new key and a certificate for `names`; what was there is replaced."""
    with _needs_cryptography():
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edgeseq on {socket.gethostname()}"[:64])])
    now = _now()
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    signing = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
        **dict.fromkeys(unused, False),
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(signing, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(key_path, secret, 0o600)
    write_whole(path, built.public_bytes(serialization.Encoding.PEM), 0o644)


def _read(path: Path, key: Path, *, is_made_here: bool) -> Certificate:
    """Read a certificate (the first of a chain) and check that the key is its own. Raises UsageError."""
    with _needs_cryptography():
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
    try:
        found = x509.load_pem_x509_certificate(_read_bytes(path))
    except ValueError as fault:
        raise UsageError(f"{path}: no certificate; wanted a PEM file that begins with -----BEGIN CERTIFICATE-----.") from fault
    _read_bytes(key)
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), path, key)
    return Certificate(
        path,
        key,
        found.fingerprint(hashes.SHA256()).hex(":").upper(),
        _names_of(found),
        found.not_valid_before_utc,
        found.not_valid_after_utc,
        is_made_here,
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise UsageError(f"{path}: {fault.strerror}; wanted a PEM file that this user may read.") from fault


def _load(context: ssl.SSLContext, path: Path, key: Path) -> None:
    def refuse_password() -> str:
        raise UsageError(f"{key}: the key has a password, and nobody is there to type it.\n  Save it without: openssl pkey.")

    try:
        context.load_cert_chain(path, key, password=refuse_password)
    except ssl.SSLError as fault:
        if fault.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(f"{key}: not the key of {path}; wanted the two files that were made together.") from fault
        raise UsageError(f"{key}: no usable key for {path} ({fault.reason}); wanted a PEM file with a private key.") from fault


def _names_of(found: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_host_name(host: str) -> bool:
    labels = host.split(".")
    return host.isascii() and all(0 < len(one) < 64 and one.replace("-", "").isalnum() for one in labels)


def _addresses() -> list[str]:
    """List this machine's IPv4 addresses; those of IPv6 change by the day, for privacy."""
    import ifaddr

    lasting = (one for one in ifaddr.get_adapters() if not one.nice_name.startswith(SHORT_LIVED))
    found = sorted(str(ip.ip) for adapter in lasting for ip in adapter.ips if ip.is_IPv4)
    return [one for one in found if not ipaddress.ip_address(one).is_link_local]


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@contextmanager
def _needs_cryptography() -> Iterator[None]:
    try:
        yield
    except ImportError as fault:
        raise _missing() from fault


def _missing() -> MissingExtraError:
    return MissingExtraError("https needs the serve extra: pip install 'edgeseq[serve]'")
