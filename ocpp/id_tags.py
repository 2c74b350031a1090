"""What is known here about idTags, as lines of files: of the authorization cache and of the local list (3.5).

An entry is (AuthorizationStatus, parentIdTag or None, Unix seconds when it expires or None).
"""

import json

LIST = "local_list"
CACHE = "id_cache"
STATUSES = ("Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx")
VALID = ("Accepted", "ConcurrentTx")  # 3.5.2: the identifier is all right, whether or not it is in use


def key(tag):
    """Return how the line of an idTag begins. They are case-insensitive, and may have any character (3.9)."""
    return json.dumps(tag.lower()) + "\t"


def line(tag, entry):
    """Return the line of an entry."""
    status, parent, expiry = entry
    return key(tag) + "\t".join((status, json.dumps(parent), json.dumps(expiry)))


def parse(text):
    """Return the entry of a line."""
    _, status, parent, expiry = text.split("\t")
    return status, json.loads(parent), json.loads(expiry)


def read(info):
    """Return the entry that an IdTagInfo (7.27) of the central system gives, None for what is no IdTagInfo.

    An expiryDate that can't be read counts as long past: such an entry is good for now, but not to be relied on later.
    """
    if not isinstance(info, dict) or info.get("status") not in STATUSES:
        return None
    parent = info.get("parentIdTag")
    if not (isinstance(parent, str) and 0 < len(parent) <= 20):
        parent = None
    expiry = info.get("expiryDate")
    if expiry is not None:
        from .timestamps import parse_time

        try:
            expiry = parse_time(expiry)
        except (TypeError, ValueError):
            expiry = 0
    return info["status"], parent, expiry


def expired(charge_point, entry):
    """Whether an entry was valid once; it is taken for valid as long as the clock isn't set."""
    now = charge_point.clock.now()
    return entry[0] in VALID and entry[2] is not None and now is not None and entry[2] <= now


def find(charge_point, name, tag):
    """Return the entry of an idTag in that file, as it is by now; None if there is none."""
    start = key(tag)
    found = None
    for text in charge_point.files.lines(name):  # to the end, so that the file is closed
        if text.startswith(start):
            found = parse(text)
    if found and expired(charge_point, found):
        found = "Expired", found[1], found[2]
    return found
