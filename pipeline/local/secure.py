"""The local stack closed by default: its CA and certificate, its users, and what Kafka is told of them."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.access import ADMIN, BY_NAME, ROLES, grant, keep, new_password, tell_password
from pipeline.errors import StackError
from pipeline.settings import Settings, load

BROKER = "broker"  # brokers among themselves
NODE = "kafka"  # name in the certificate of every node
DAYS = 3650

BROKER_PROPERTIES = {
    "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:SSL",
    "inter.broker.listener.name": "CLIENTS",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
    "listener.name.controller.ssl.client.auth": "required",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "ssl.enabled.protocols": "TLSv1.3,TLSv1.2",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": f"User:{ADMIN};User:{BROKER};User:CN={NODE}",
}


class Secrets:
    """Certificates and passwords of a home. `tls/ca.pem` may be given to everybody, `secrets/` is its owner's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ca = home / "tls" / "ca.pem"
        self.certificate = home / "tls" / "server.pem"
        self.key = home / "secrets" / "server-key.pem"  # with the certificate in it, as Kafka wants it
        self._ca_key = home / "secrets" / "ca-key.pem"

    @property
    def there(self) -> bool:
        """Whether this home is a secure one."""
        return self.ca.exists()

    def password(self, user: str) -> str:
        """The password of a user of Kafka, made up when it has none."""
        path = self.home / "secrets" / f"kafka_{user}"
        if not path.exists():
            keep(path, new_password())
        return path.read_text().strip()

    def make(self) -> None:
        """Make what is missing: CA, certificate of 127.0.0.1, passwords."""
        if not (self.ca.exists() and self.key.exists()):
            self.ca.parent.mkdir(parents=True, exist_ok=True)
            ca, server = _authority(), _key()
            keep(self._ca_key, _pem(ca[1]))
            certificate = _text(_signed(server, NODE, ca))
            keep(self.key, _pem(server) + certificate)
            self.certificate.write_text(certificate)
            self.ca.write_text(_text(ca[0]))  # last: it says that the rest is there
        for user in (ADMIN, BROKER, *(role.name for role in ROLES)):
            self.password(user)

    def properties(self) -> dict[str, str]:
        """What the brokers are configured with; holds the password that they use among themselves."""
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
        return {
            **BROKER_PROPERTIES,
            "ssl.keystore.location": str(self.key),
            "ssl.truststore.location": str(self.ca),
            "listener.name.clients.scram-sha-512.sasl.jaas.config":
                f'{login} username="{BROKER}" password="{self.password(BROKER)}";',
        }  # fmt: skip

    def first_users(self) -> list[str]:
        """Arguments of Kafka's storage tool that make the users who make the others; secrets, so not for a command."""
        return [
            part
            for user in (ADMIN, BROKER)
            for part in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={self.password(user)}]")
        ]


def require_kind(home: Path, secure: bool) -> None:
    """StackError when a home that was made open is to be secure, or the other way round."""
    is_secure = Secrets(home).there
    if is_secure and not secure:
        raise StackError(f"{home} was made with --secure: `openoee up --secure` starts it; another home may be open")
    if secure and not is_secure and ((home / "kafka" / "cluster.json").exists() or (home / "store").exists()):
        raise StackError(
            f"{home} was made without --secure, and its data are open: use another home (OPENOEE_HOME), or `make clean`"
            " to drop the data"
        )


def as_role(settings: Settings, name: str) -> Settings:
    """The settings with which a role (or `admin`) reaches the secure stack of this home."""
    home = settings.home
    user = "openoee" if name == ADMIN else BY_NAME[name].store
    password = home / "secrets" / ("store" if name == ADMIN else f"store_{user}")
    values: dict[str, Any] = {
        **settings.values,
        "kafka_security": "sasl_ssl",
        "kafka_user": name,
        "kafka_password": "",
        "kafka_password_file": str(home / "secrets" / f"kafka_{name}"),
        "kafka_ca": str(home / "tls" / "ca.pem"),
        "store": f"https://{urlsplit(settings['store']).netloc}",
        "store_ca": str(home / "tls" / "ca.pem"),
        "store_user": user,
        "store_password": settings["store_password"] if name == ADMIN else "",
        "store_password_file": str(password),
    }
    return load(values, {})


def write_roles(settings: Settings, bootstrap: str) -> list[Path]:
    """A file of environment variables per role in `<home>/roles`: where everything is, and who to be. No secrets."""
    folder = settings.home / "roles"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in (ADMIN, *(role.name for role in ROLES)):
        variables = as_role(settings, name).environment() | {"OPENOEE_KAFKA": bootstrap}
        asked = [line for line in sorted(variables.items()) if line[0].startswith(_variables(name))]
        path = folder / f"{name}.env"
        path.write_text("".join(f"{variable}='{value}'\n" for variable, value in asked))
        written.append(path)
    return written


def _variables(role: str) -> tuple[str, ...]:
    reach = ("OPENOEE_HOME", "OPENOEE_KAFKA", "OPENOEE_TOPIC_PREFIX")
    stored = role == ADMIN or BY_NAME[role].store
    return (*reach, "OPENOEE_STORE", "OPENOEE_DATABASE") if stored else reach


def introduce(settings: Settings) -> None:
    """Tell a Kafka that answers who its users are and what they may do. Raises AccessRefused, BrokerUnavailable."""
    secrets = Secrets(settings.home)
    for role in ROLES:
        tell_password(settings, role.name, secrets.password(role.name))
    grant(settings)


def arguments_file(folder: Path, arguments: Iterable[str]) -> Path:
    """A file with a tool's arguments, one a line, that only its owner may read; for secrets. Remove it afterwards."""
    path = folder / "arguments"
    keep(path, "\n".join(arguments))
    return path


def _key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _authority() -> tuple[Any, Any]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    key = _key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"openoee {os.urandom(4).hex()}")])
    may = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(may, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return made.sign(key, hashes.SHA256()), key


def _signed(key: Any, name: str, authority: tuple[Any, Any]) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509 import oid

    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    uses = [oid.ExtendedKeyUsageOID.SERVER_AUTH, oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    may = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    identity = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority[1].public_key())
    made = (
        _builder(own, authority[0].subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(may, critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectAlternativeName(places), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(identity, critical=False)
    )
    return made.sign(authority[1], hashes.SHA256())


def _builder(subject: Any, issuer: Any, key: Any) -> Any:
    from cryptography import x509

    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    return made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=DAYS))


def _pem(key: Any) -> str:
    from cryptography.hazmat.primitives import serialization as form

    return str(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode())


def _text(certificate: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return str(certificate.public_bytes(Encoding.PEM).decode())
