"""Files over FTP (RFC 959; SIZE, MDTM and REST of RFC 3659; EPSV of RFC 2428): an update file, or an upload."""

from binascii import unhexlify

from micropython import const

from . import lines
from .source import Source, SourceError

_MAX_TALK = const(16384)  # bytes of all replies together
_PIECE = const(1024)


async def open(address, dial, *, offset=0, validator=None, expected_length=None, timeout=60_000, log=print):
    """Ask for a file from byte ``offset`` on, and return it as a Source.

    Everything is as with http.open; the validator is the file's date and size. Only the server that was dialled is
    ever connected to, whatever address it names. The path begins at the user's folder, one with %2F first at the root.
    """
    name = name_of(address)
    path = _path(address)
    session = Source(name, await dial(address[3], address[4], False, timeout=timeout), timeout)
    connection = None
    started = False
    try:
        await _login(session, address)
        length = await _fact(session, b"SIZE", path)
        length = int(length) if length.isdigit() and len(length) <= 10 else None
        date = await _fact(session, b"MDTM", path)
        current = None
        if length is not None and date[:14].isdigit() and 14 <= len(date) <= 24:
            current = "%s %d" % (date.decode(), length)
        connection = await _data_connection(session, address, dial, timeout)
        source = Source(name, connection, timeout)
        source.session = session
        if offset and not (
            length is not None
            and length > offset
            and expected_length in (None, length)
            and validator in (None, current)
            and (await _ask(session, b"REST", b"%d" % offset))[0] == 350
        ):
            log("The server cannot resume here: starting over")
            offset = 0
        await _ask(session, b"RETR", path, 125, 150)
        session.connection.limit(None)  # it is silent for as long as the transfer takes

        async def is_end():
            return (await lines.read(session))[:3] in (b"226", b"250")

        source.start(offset, length, current, is_end=is_end)
        started = True
        return source
    finally:
        if not started:
            session.close()
            if connection:
                connection.close()


async def store(address, name, dial, read, *, timeout=60_000, log=print):
    """Upload a stream as a new file ``name`` (text) into the folder ``address``.

    read(view) puts the next bytes into a memoryview and returns their number, 0 at the end; it is a plain function.
    Returns when the server has confirmed the whole file. Raises SourceError, or OSError when the network fails.
    """
    folder = address[5]
    if folder[-1:] != "/" and folder[-3:].upper() != "%2F":
        folder += "/"
    address = address[:5] + (folder + name.replace("%", "%25"),)
    name = name_of(address)
    path = _path(address)
    session = Source(name, await dial(address[3], address[4], False, timeout=timeout), timeout)
    connection = None
    try:
        await _login(session, address)
        connection = await _data_connection(session, address, dial, timeout)
        await _ask(session, b"STOR", path, 125, 150)
        session.connection.limit(None)
        view = memoryview(bytearray(_PIECE))
        total = 0
        failure = None
        try:
            count = read(view)
            while count:
                connection.limit(2 * timeout)
                await connection.write(view[:count])
                total += count
                count = read(view)
        except OSError as error:
            failure = error
        connection.close()
        session.arm()
        code, _ = await _reply(session)  # it says why, if it was the server that ended it
        if code not in (226, 250):
            raise _refusal(session, code)
        if failure:
            raise failure
        log("%d bytes are stored as %s" % (total, name))
    finally:
        session.close()
        if connection:
            connection.close()


def name_of(address):
    """Return the URL for logs and errors: without user and password."""
    _, user, _, host, port, path = address
    hidden = "" if user is None else "***@"
    return ("ftp://%s[%s]:%d%s" if ":" in host else "ftp://%s%s:%d%s") % (hidden, host, port, path)


def _path(address):
    first, *escaped = address[5][1:].encode().split(b"%")
    return first + b"".join([unhexlify(part[:2]) + part[2:] for part in escaped])


async def _login(session, address):
    session.budget = _MAX_TALK
    code = 120  # ready in some minutes
    while code == 120:
        code, _ = await _reply(session)
    if code != 220:
        raise _refusal(session, code)
    user, password = address[1:3]
    if user is None:
        user, password = b"anonymous", b"arus@"
    code, _ = await _ask(session, b"USER", user, 230, 331)
    if code == 331:
        await _ask(session, b"PASS", password, 202, 230)
    await _ask(session, b"TYPE", b"I", 200)


async def _fact(session, command, path):
    """Ask for something about the file; b"" if the server does not know or not tell."""
    code, line = await _ask(session, command, path)
    return line[4:].strip() if code == 213 else b""


async def _data_connection(session, address, dial, timeout):
    """Have the server open a port and connect to it."""
    failure = None
    for command in (b"EPSV", b"PASV"):
        code, line = await _ask(session, command)
        if code == 229 or code == 227:
            port = _port(line)
            if not 0 < port < 65536:
                raise session.malformed("port")
            try:
                return await dial(address[3], port, False, timeout=timeout)
            except OSError as error:
                failure = error  # some firewalls follow PASV only
                session.arm()
        if code == 421 or ":" in address[3]:  # PASV is for IPv4
            break
    raise failure or _refusal(session, code)


def _port(line):
    """The port in "229 … (|||port|)" or "227 … h1,h2,h3,h4,p1,p2"; 0 if there is none."""
    inside = line.partition(b"(")[2].partition(b")")[0]
    try:
        if line[:3] == b"229":
            return int(inside.split(inside[:1])[3])
        high, low = (inside or line).split(b",")[4:]
        return int(high) * 256 + int(low.strip(b". \r\n"))
    except (ValueError, IndexError):
        return 0


async def _ask(session, command, argument=None, *good):
    """Send a command; return the code of the reply, which has to be one of ``good`` if given, and its last line."""
    if argument is not None:
        command += b" " + argument
        if min(command) < 0x20:  # parse_url lets none through: the last line of defence
            raise session.malformed("command")
    await session.connection.write(command + b"\r\n")
    code, line = await _reply(session)
    if good and code not in good:
        raise _refusal(session, code)
    return code, line


async def _reply(session):
    """Read a reply of one or several lines (RFC 959, 4.2): its code and its last line."""
    line = await lines.read(session)
    code = line[:3]
    if not code.isdigit() or not b"1" <= code[:1] <= b"5" or line[3] not in b" -\r\n":
        raise session.malformed("reply")
    if line[3] == 45:  # a hyphen: more lines follow
        while line[:3] != code or line[3] not in b" \r\n":
            line = await lines.read(session)
    return int(code), line


def _refusal(session, code):
    later = code // 100 == 4
    if code == 530:
        text = "correct user and password in the location"
    elif code == 550 or code == 553:
        text = "no such file or folder, or no permission: check the location"
    elif code == 552 or code == 452:
        text = "no space left: make room on the server"
    elif later:
        text = "the server has a problem: try again later"
    else:
        text = "check location and server"
    return SourceError(session.name, "FTP %d, %s" % (code, text), not later)
