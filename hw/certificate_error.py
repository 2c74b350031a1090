"""Why TLS refused a certificate, in an operator's words. It is rarely needed, and not on the heap until it is."""

_REASONS = (  # words of mbedTLS, and ours
    ("(CN)", "issued for another host name than the URL's"),
    ("expired", "expired, or the clock is wrong"),
    ("future", "not valid yet, or the clock is not set"),
    ("trusted", "not issued by the configured CA"),
    ("Usage", "not meant for a server (key usage), or malformed"),
)


def explain(text):
    """Return the reasons that mbedTLS means by `text`."""
    reasons = [words for mark, words in _REASONS if mark in text]
    return ", and ".join(reasons) or text.strip()
