"""Where an HTTP redirect leads (RFC 3986, 5.2)."""

from .source import SourceError
from .sources import parse_url
from .urls import authority, name_of


def follow(address, location):
    """Return the address (as of parse_url) that a Location header leads to, seen from the one before.

    SourceError when it leads nowhere, or to where it must not lead.
    """
    scheme = address[0]
    head = location[: max(location.find("://"), 0)]
    if location[:2] == "//":
        location = scheme + ":" + location
    elif not head.isalpha():
        if location[0] != "/":
            location = _beside(address[5].partition("?")[0], location)
        location = scheme + "://" + authority(address) + location
    try:
        target = parse_url(location)
    except SourceError as error:
        raise SourceError(name_of(address), "redirects to a " + error.args[1])
    if target[0] != scheme and target[0] != "https":
        raise SourceError(name_of(address), "redirects from %s to %s: give another location" % (scheme, target[0]))
    # The password is for this host only: no other one gets it.
    if target[1] is None and target[0] == scheme and target[3:5] == address[3:5]:
        target = address[:5] + target[5:]
    return target


def _beside(path, relative):
    """Where ``relative`` leads from ``path``, dots resolved."""
    relative, mark, query = relative.partition("?")
    if relative:
        path = path[: path.rfind("/") + 1] + relative
    segments = []
    for segment in path.split("/"):
        if segment == "..":
            segments = segments[:-1] or segments
        elif segment != ".":
            segments.append(segment)
    return "/".join(segments) + mark + query
