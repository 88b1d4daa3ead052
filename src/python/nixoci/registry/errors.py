"""What can go wrong between here and a registry: one sentence each, with the way out.

No text that a registry sends gets into a message before `printable` has cut and cleaned it, and taken out
the secrets that are known.
"""

from __future__ import annotations

from typing import Optional, Sequence

from nixoci.errors import NixOciError
from nixoci.errors import printable as printable
from nixoci.image.reference import Reference
from nixoci.secrets import without_secrets


class RegistryError(NixOciError):
    """Base of all errors about a registry.

    :param registry: `host` or `host:port`.
    """

    def __init__(self, registry: str, message: str) -> None:
        # Also out of the names of hosts, which a registry can choose.
        self.registry = without_secrets(registry)
        super().__init__(without_secrets(message))


class ConnectionFailedError(RegistryError):
    """The registry cannot be reached, or the connection broke; another attempt may succeed.

    :param registry: or its token server, or where it sends one to.
    :param lasting: waiting does not help, unless the host was there a moment ago.
    """

    def __init__(self, registry: str, why: str, *, lasting: bool = False) -> None:
        self.why = why
        self.lasting = lasting
        super().__init__(registry, self._message(registry))

    def _message(self, registry: str) -> str:
        return (
            f"The connection to the registry {registry} failed: {self.why}; check its address, the "
            "network, and the proxy variables (HTTPS_PROXY, NO_PROXY) of the environment."
        )


class TlsRefusedError(ConnectionFailedError):
    """The two sides do not agree on how to speak TLS, or who may.

    :param why: what OpenSSL says.
    """

    def __init__(self, registry: str, why: str) -> None:
        super().__init__(registry, why, lasting=True)

    def _message(self, registry: str) -> str:
        return (
            f"The registry {registry} and this machine do not agree on TLS: {self.why}; if the "
            "registry asks for a certificate of its clients, give one as `client_certificate` of the "
            "registry, else look at the versions of TLS that it speaks."
        )


class UntrustedCertificateError(RegistryError):
    """The certificate of the registry is not signed by an authority that is trusted."""

    def __init__(self, registry: str, why: str) -> None:
        self.why = why
        super().__init__(
            registry,
            f"The certificate of the registry {registry} is not trusted: {why}; give the file of "
            "its certificate authority as `ca_file` of the registry.",
        )


class WrongProtocolError(RegistryError):
    """One side speaks TLS and the other does not.

    :param speaks_tls: whether the registry does.
    """

    def __init__(self, registry: str, *, speaks_tls: bool) -> None:
        self.speaks_tls = speaks_tls
        if speaks_tls:
            message = (
                f"The registry {registry} speaks HTTPS, and was asked in plain HTTP; take "
                "`plain_http` out of its settings."
            )
        else:
            message = (
                f"The registry {registry} does not speak HTTPS; if it is meant to be used without "
                "encryption, set `plain_http` in its settings."
            )
        super().__init__(registry, message)


class AuthenticationError(RegistryError):
    """The registry does not let this user in (status 401), or no token was to be had.

    :param searched: the files in which credentials were looked for.
    :param source: the file or the program that has the credentials, if there are some.
    """

    def __init__(
        self,
        registry: str,
        *,
        user_known: bool,
        why: str,
        searched: Sequence[str] = (),
        source: str = "",
    ) -> None:
        self.user_known = user_known
        self.why = why
        self.searched = tuple(searched)
        self.source = source
        if user_known:
            place = f" in {source}" if "/" in source else f" by {source}" if source else ""
            message = (
                f"The registry {registry} refuses the credentials that were found for it{place} ({why}); "
                f"log in again, for example with `docker login {registry}`."
            )
        else:
            places = f" in {', '.join(searched)}" if searched else ""
            message = (
                f"The registry {registry} asks for credentials, and none were found for it"
                f"{places} ({why}); log in, for example with `docker login {registry}`."
            )
        super().__init__(registry, message)


class IdentityTokenError(RegistryError):
    """There is an identity token for a registry that has no use for one.

    :param source: the file or the program that has it.
    """

    def __init__(self, registry: str, source: str, why: str) -> None:
        self.source = source
        self.why = why
        super().__init__(
            registry,
            f"The registry {registry} does not take the identity token that {source} has for it: {why}; "
            "replace it by a name and a password, or an access token in place of the password: "
            f"`docker logout {registry}`, then `docker login --username NAME {registry}`.",
        )


class UnencryptedTokenServerError(RegistryError):
    """The registry wants credentials sent to a token server over plain HTTP."""

    def __init__(self, registry: str, token_server: str) -> None:
        self.token_server = without_secrets(token_server)
        super().__init__(
            registry,
            f"The registry {registry} wants the credentials for it sent to {token_server} in plain HTTP, where "
            "others could read them; if that is meant to be so, add that host to the registries, with "
            "`plain_http` in its settings.",
        )


class PermissionDeniedError(RegistryError):
    """The registry knows the user, who may not do this (status 403, or 401 for a fresh token).

    :param writes: whether it was for writing.
    """

    def __init__(self, registry: str, repository: str, why: str, *, writes: bool = True) -> None:
        self.repository = repository
        self.why = why
        deed, permission = ("write to", "push") if writes else ("read", "pull")
        super().__init__(
            registry,
            f"The registry {registry} does not let this user {deed} the repository {repository} "
            f"({why}); ask its owner for the permission to {permission}, or log in as another user.",
        )


class ManifestUnknownError(RegistryError):
    """The registry has no such manifest (status 404).

    :param name: a tag or a digest.
    """

    def __init__(self, registry: str, repository: str, name: str, why: str) -> None:
        self.repository = repository
        self.name = name
        self.why = why
        separator = "@" if ":" in name else ":"
        super().__init__(
            registry,
            f"The registry {registry} has no image {repository}{separator}{name} ({why}); check the name, and "
            "whether it was deleted there.",
        )


class ImageUnknownError(RegistryError):
    """The registry has no such tag (status 404)."""

    def __init__(self, registry: str, reference: Reference, why: str) -> None:
        self.reference = str(reference)
        self.why = why
        super().__init__(
            registry,
            f"The registry {registry} has no image {reference} ({why}); check the name. As long as "
            "no image was published, leave the field `previous` of the target out.",
        )


class RepositoryUnknownError(RegistryError):
    """The registry does not have the repository, and does not make it (status 404)."""

    def __init__(self, registry: str, repository: str, why: str) -> None:
        self.repository = repository
        self.why = why
        super().__init__(
            registry,
            f"The registry {registry} has no repository {repository} and does not make one by "
            f"itself ({why}); create it there, or check the name.",
        )


class UnexpectedAnswerError(RegistryError):
    """The registry answers what the distribution specification does not provide for.

    :param status: HTTP status; None if the answer was wrong in another way.
    :param what: what was asked for, as `to write the manifest`.
    """

    def __init__(
        self, registry: str, repository: str, what: str, why: str, status: Optional[int] = None
    ) -> None:
        self.repository = repository
        self.what = what
        self.why = why
        self.status = status
        super().__init__(
            registry,
            f"The registry {registry} was asked {what} in the repository {repository}, and "
            f"answered {why}; its log should tell more.",
        )


class CredentialsError(NixOciError):
    """A file or a program that should give credentials does not.

    :param source: the file or the program.
    """

    def __init__(self, source: str, why: str, way_out: str) -> None:
        self.source = source
        self.why = why
        super().__init__(f"{source} gives no credentials: {why}; {way_out}.")


class PushCancelledError(NixOciError):
    """Another part of the same push failed first; nobody gets to see this one."""

    def __init__(self) -> None:
        super().__init__("The push was given up.")
