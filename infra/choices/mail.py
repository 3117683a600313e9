"""Mail over SMTP: the request to confirm a consent, and the headers with which any mail lets a person unsubscribe."""

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from urllib.parse import unquote, urlsplit

from domain.kernel import Invalid
from infra.settings import Settings

SECONDS = 15.0


class MailNotSent(Exception):
    """The mail server did not take the message; the reason is in `why`, without the address."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class NoMailServer(Invalid):
    """No mail server is set here. Whoever runs this installation names one in CHANCERY_SMTP_URL, and the sender in CHANCERY_MAIL_FROM."""


@dataclass(frozen=True, slots=True)
class Mailer:
    """Sends through one server: `smtp://` (with STARTTLS when the server offers it, or when a password is to be told) or `smtps://`."""

    url: str
    sender: str

    def send(self, to: str, subject: str, text: str, headers: dict[str, str] | None = None) -> None:
        """Send one message. Raises MailNotSent; then nothing was accepted."""
        message = EmailMessage()
        message["From"], message["To"] = self.sender, _line(to)
        message["Subject"] = _line(subject)
        message["Date"], message["Message-ID"] = (
            formatdate(),
            make_msgid(domain=parseaddr(self.sender)[1].partition("@")[2] or None),
        )
        message["Auto-Submitted"] = "auto-generated"
        for name, value in (headers or {}).items():
            message[name] = value
        message.set_content(text)
        parts = urlsplit(self.url)
        host, password = parts.hostname or "localhost", unquote(parts.password or "")
        context = ssl.create_default_context()
        try:
            with (
                smtplib.SMTP_SSL(host, parts.port or 465, timeout=SECONDS, context=context)
                if parts.scheme == "smtps"
                else smtplib.SMTP(host, parts.port or 25, timeout=SECONDS)
            ) as server:
                if parts.scheme == "smtp":
                    server.ehlo()
                    if server.has_extn("starttls"):
                        server.starttls(context=context)
                        server.ehlo()
                    elif password:
                        raise MailNotSent("the server offers no encryption, and the password is not told without it")
                if parts.username:
                    server.login(unquote(parts.username), password)
                server.send_message(message)
        except (smtplib.SMTPException, OSError, ValueError) as e:
            raise MailNotSent(type(e).__name__) from e


def _line(text: str) -> str:
    """Text for a header: nothing in it begins another."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def mailer(settings: Settings) -> Mailer:
    """The mailer that is set. Raises NoMailServer."""
    if settings.smtp_url is None or settings.mail_from is None:
        raise NoMailServer
    return Mailer(settings.smtp_url.get_secret_value(), settings.mail_from)


def unsubscribe_headers(url: str) -> dict[str, str]:
    """What a mail carries so that one click unsubscribes (RFC 2369, RFC 8058)."""
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
