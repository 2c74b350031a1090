"""The LocalAuthListManagement profile: the list of idTags that the central system keeps here (3.5.2).

It is a file: its version in the first line, then an idTag a line as in id_tags.py. No file: the list is empty.
"""

from micropython import const

from .id_tags import LIST, STATUSES, key, line, read
from .rpc import CallError

_MOST = const(200)  # idTags in a message of 16 KiB, with hardly anything about them


def _get_version(charge_point, payload):
    """-1: local lists aren't supported, 0: the list is empty (5.10)."""
    enabled = charge_point.configuration.get("LocalAuthListEnabled")
    return {"listVersion": _version(charge_point) if enabled else -1}


def _send(charge_point, payload):
    if not charge_point.configuration.get("LocalAuthListEnabled"):
        return {"status": "NotSupported"}
    full = payload["updateType"] == "Full"
    items = payload.get("localAuthorizationList", ())
    if len(items) > charge_point.configuration.get("SendLocalListMaxLength"):
        raise CallError("OccurenceConstraintViolation", "more idTags than SendLocalListMaxLength")
    changes = {}  # {beginning of the line: line, or None to remove it}
    for item in items:
        tag, info = item["idTag"], item.get("idTagInfo")
        if full and not info:
            raise CallError("OccurenceConstraintViolation", "idTagInfo is missing in a Full update")
        if key(tag) in changes:
            return _failed(charge_point, "an idTag comes twice")
        changes[key(tag)] = info and line(tag, read(info))
    version = payload["listVersion"]
    if not full and version <= _version(charge_point):
        return {"status": "VersionMismatch"}
    size = sum(1 for text in _merged(charge_point, full, changes))
    if size > charge_point.configuration.get("LocalAuthListMaxLength"):
        return _failed(charge_point, "%d idTags are more than LocalAuthListMaxLength" % size)
    if size and not version:
        return _failed(charge_point, "version 0 is that of an empty list")
    try:
        if size:
            charge_point.files.write(LIST, _pieces(charge_point, version, full, changes))
        else:
            charge_point.files.remove(LIST)
    except OSError as error:
        return _failed(charge_point, error)
    return {"status": "Accepted"}


def _failed(charge_point, reason):
    charge_point.log("the local authorization list stays as it was: %s" % reason)
    return {"status": "Failed"}


def _version(charge_point):
    version = 0
    for text in charge_point.files.lines(LIST):  # to the end, so that the file is closed
        version = version or int(text)
    return version


def _merged(charge_point, full, changes):
    """The lines of the new list, one after the other: the whole list would be too much for the heap."""
    old = None if full else charge_point.files.lines(LIST)
    for number, text in enumerate(old or ()):
        if number and text[: text.find("\t") + 1] not in changes:
            yield text
    for text in changes.values():
        if text:
            yield text


def _pieces(charge_point, version, full, changes):
    yield "%d\n" % version
    for text in _merged(charge_point, full, changes):
        yield text + "\n"


_INFO = {
    "expiryDate": (str, "date-time", False),
    "parentIdTag": (str, 20, False),
    "status": (str, STATUSES, True),
}
_ITEM = {"idTag": (str, 20, True), "idTagInfo": (dict, _INFO, False)}

HANDLERS = {
    "GetLocalListVersion": ({}, _get_version),
    "SendLocalList": (
        {
            "listVersion": (int, 0x7FFFFFFF, True),
            "localAuthorizationList": (list, (dict, _ITEM, _MOST), False),
            "updateType": (str, ("Differential", "Full"), True),
        },
        _send,
    ),
}
