"""A mail server on 127.0.0.1 that takes what it is sent, and remembers it."""

from __future__ import annotations

import base64
import contextlib
import datetime
import email
import email.policy
import ipaddress
import socketserver
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "feilun", "correct horse"


class SmtpHost:
    """`mails` has every message, oldest first; `answers` replaces the answer to a command;
    `said` has every line that came in, marked with whether it was encrypted."""

    def __init__(self, port: int, certificate: Path) -> None:
        self.port = port
        self.certificate = certificate
        self.mails: list[EmailMessage] = []
        self.said: list[tuple[bool, str]] = []
        self.answers: dict[str, str] = {}
        self.starttls = True


@contextlib.contextmanager
def smtp_host(folder: Path, *, tls: bool = False) -> Iterator[SmtpHost]:
    """A server on a free port, gone after the block; with `tls` encrypted from the beginning."""
    certificate = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connection = self.request
            connection.settimeout(10)
            with contextlib.suppress(OSError, ssl.SSLError):
                if tls:
                    connection = context.wrap_socket(connection, server_side=True)
                with contextlib.closing(_Line(host, connection, context, tls)) as line:
                    _talk(line)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_arguments: Any) -> None:
            return

    with Server(("127.0.0.1", 0), Handler) as server:
        host = SmtpHost(server.server_address[1], certificate)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()


class _Line:
    """One connection, which may become encrypted."""

    def __init__(self, host: SmtpHost, connection: Any, context: ssl.SSLContext, secure: bool):
        self.host = host
        self.connection = connection
        self.context = context
        self.secure = secure

    def close(self) -> None:
        self.connection.close()

    def encrypt(self) -> None:
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.secure = True

    def say(self, text: str) -> None:
        self.connection.sendall(text.encode() + b"\r\n")

    def hear(self) -> str:
        data = b""
        while not data.endswith(b"\r\n"):
            piece = self.connection.recv(1)
            if not piece:
                raise ConnectionError
            data += piece
        text = data.decode().rstrip("\r\n")
        self.host.said.append((self.secure, text))
        return text


def _talk(line: _Line) -> None:
    host = line.host
    line.say("220 here")
    while True:
        text = line.hear()
        word = text.split(" ")[0].upper()
        if word in host.answers:
            line.say(host.answers[word])
        elif word == "EHLO":
            offers = ["250-localhost"]
            if host.starttls and not line.secure:
                offers.append("250-STARTTLS")
            line.say("\r\n".join([*offers, "250 AUTH PLAIN"]))
        elif word == "STARTTLS":
            line.say("220 go")
            line.encrypt()
        elif word == "AUTH":
            given = base64.b64decode(text.split(" ")[2]).split(b"\0")[1:]
            right = given == [USER.encode(), PASSWORD.encode()]
            line.say("235 welcome" if right else "535 no")
        elif word == "DATA":
            line.say("354 go on")
            lines = []
            while (text := line.hear()) != ".":
                lines.append(text.removeprefix("."))
            content = "\r\n".join(lines).encode()
            mail = email.message_from_bytes(content, policy=email.policy.default)
            assert isinstance(mail, EmailMessage)
            host.mails.append(mail)
            line.say("250 taken")
        elif word == "QUIT":
            line.say("221 bye")
            return
        else:
            line.say("250 ok")


def _certificate(folder: Path) -> Path:
    """A key and a certificate for localhost and 127.0.0.1, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "smtp.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path
