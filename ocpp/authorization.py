"""Who may charge (3.5, 4.1): by the local list, the authorization cache, the central system, and the rules for offline.

The cache is a file of lines as in id_tags.py, the one that came last first.
"""

from micropython import const

from .id_tags import CACHE, LIST, VALID, expired, find, key, line, parse, read
from .rpc import CallError

_MOST = const(40)  # idTags in the cache
_RECENT = const(20)  # the first of them, which aren't moved to the front each time they come: that would wear the flash


async def authorize(charge_point, tag):
    """Return (AuthorizationStatus (7.2), parentIdTag or None) of an idTag that somebody wants to charge with."""
    get = charge_point.configuration.get
    session = charge_point.session
    entry = _listed(charge_point, tag)
    if not entry and get("AuthorizationCacheEnabled"):
        entry = find(charge_point, CACHE, tag)
    valid = entry and entry[0] in VALID
    parent = entry and entry[1]
    if session.registered:
        # One that isn't Accepted here may be by now: the central system is asked (3.5.1).
        if entry and entry[0] == "Accepted" and get("LocalPreAuthorize"):
            return "Accepted", parent
        try:
            answer = await session.call("Authorize", {"idTag": tag})
        except CallError as error:
            charge_point.log("Authorize was answered with %s" % error)
            answer = {}
        except OSError:
            answer = None  # the link was lost meanwhile
        if answer is not None:
            info = answer.get("idTagInfo")
            asked = read(info)
            if asked:
                remember(charge_point, tag, info)
                return asked[:2]
            return ("Accepted", parent) if valid else ("Invalid", None)
    if entry and not valid:
        return entry[:2]  # 3.5.4: not as an unknown one, either
    if valid and get("LocalAuthorizeOffline"):
        return "Accepted", parent
    return ("Accepted", parent) if get("AllowOfflineTxForUnknownId") else ("Invalid", None)


def remember(charge_point, tag, info):
    """Note what the central system says of an idTag, in the cache or, as a contradiction, against the local list.

    info: IdTagInfo of Authorize.conf, StartTransaction.conf or StopTransaction.conf, in whatever shape it came.
    """
    entry = read(info)
    if not entry:
        return
    listed = _listed(charge_point, tag)
    if listed:
        if (listed[0] in VALID) != (entry[0] in VALID):
            _report_conflict(charge_point, tag, listed[0])
    elif charge_point.configuration.get("AuthorizationCacheEnabled"):
        try:
            _keep(charge_point, tag, entry)
        except OSError as error:
            charge_point.log("the authorization cache can't be written: %s" % error)


def clear(charge_point):
    """Forget the cache (ClearCache, 5.4); OSError if that fails."""
    charge_point.files.remove(CACHE)


def _listed(charge_point, tag):
    """Return the entry of the local list, which has priority over the cache (3.5.3)."""
    return find(charge_point, LIST, tag) if charge_point.configuration.get("LocalAuthListEnabled") else None


def _report_conflict(charge_point, tag, status):
    """3.5.2: the central system contradicts its local list. It is told; it alone may change the list."""
    whole = charge_point.connectors[0]
    before = whole.error, whole.info
    whole.error, whole.info = "LocalListConflict", "the list has %s for %s" % (status, tag)
    charge_point.report(0)
    whole.error, whole.info = before


def _keep(charge_point, tag, entry):
    """Put an entry at the front of the cache, unless all that would change is its place."""
    start, new = key(tag), line(tag, entry)
    place = count = valid = 0
    for text in charge_point.files.lines(CACHE):
        count += 1
        if text.startswith(start):
            if text == new and count <= _RECENT:
                return
            place = count
        else:
            valid += _lasts(charge_point, text)
    full = not place and count >= _MOST
    charge_point.files.write(CACHE, _pieces(charge_point, start, new, full, min(valid, _MOST - 1) if full else count))


def _pieces(charge_point, start, new, full, most):
    """The cache with the new line. Where it is full the entries that aren't valid go, then the oldest (3.5.1)."""
    yield new + "\n"
    for text in charge_point.files.lines(CACHE):
        if most and not text.startswith(start) and (not full or _lasts(charge_point, text)):
            most -= 1
            yield text + "\n"


def _lasts(charge_point, text):
    entry = parse(text)
    return entry[0] in VALID and not expired(charge_point, entry)
