"""A location, taken apart by sources.parse_url, in words again."""


def authority(address):
    """Return host, host:port or [IPv6]:port; the scheme's own port is left out."""
    scheme, _, _, host, port, _ = address
    if ":" in host:
        host = "[%s]" % host
    return host if port == (443 if scheme == "https" else 80) else "%s:%d" % (host, port)


def name_of(address):
    """Return the URL for logs and errors: without userinfo and query, where passwords and signatures stand."""
    path, mark, _ = address[5].partition("?")
    hidden = "://" if address[1] is None else "://***@"
    return address[0] + hidden + authority(address) + path + (mark and "?***")
