"""esp32.NVS: small values that survive resets and power cuts, with the errors of ESP-IDF's nvs_flash.

The layout is not ESP-IDF's. The partition's pages of 4 KiB form one log: of all records with the same name the last one
counts. One page is always free: when the log gets there, what still counts of the oldest page is copied to its end, and
that page becomes the free one. A value of any length becomes one or more chunks, then a record that makes them count:
so a power cut leaves the old value or the new one.
"""

import struct
from binascii import crc32

import partitions
from soc import flash, memory, whole

_PAGE = 4096
_PAGE_HEADER = 8  # <II: sequence number of the page, its CRC
_SEED = 1  # of that CRC: with 0 blank flash would be sound
_HEADER = 8  # <IBBH: CRC of what follows, kind, length of the name, length of the value
_CHUNK_SIZE = 512

# Kinds of records.
_NUMBER = 1
_BLOB = 2  # <IBB: length, version (of the chunks' names), number of chunks
_CHUNK = 3  # its name is that of the blob, "\0", version, number
_ERASED = 4

_LONGEST_NAME = 15  # of a namespace, of a key
_LONGEST_NAMES = 2 * _LONGEST_NAME + 4  # with what _chunk_name adds


class _Log:
    def __init__(self, address, size):
        self._address = address
        self._buffer = memory(_HEADER + _LONGEST_NAMES + _CHUNK_SIZE)
        self.pending = None  # the chunks' name without the number, of a blob that is being written
        self.pages = size // _PAGE
        self._sequences = [self._sequence(page) for page in range(self.pages)]  # 0: the page is free
        self._ends = [0] * self.pages  # of the sound records in a page
        self._free = _PAGE  # where in the newest page the next record goes
        if 0 not in self._sequences:
            # The power failed while the oldest page was copied: the newest has nothing but copies.
            newest = self._newest()
            flash.erase(self._address + newest * _PAGE, _PAGE)
            self._sequences[newest] = 0
        for page in self._pages():
            self._ends[page], self._free = self._scan(page)

    def find(self, name):
        """Return the address of the record that counts and its (kind, length of the value), or None."""
        found = None
        for page in self._pages():
            for address, kind, name_length, length in self._records(page):
                if name_length == len(name) and self._buffer[_HEADER : _HEADER + name_length] == name:
                    found = address, kind, length
        return found

    def read(self, name, kind, buffer):
        """Fill the start of `buffer` with the value of the record that counts; return its length or None."""
        found = self.find(name)
        if not found or found[1] != kind:
            return None
        flash.read(found[0] + _HEADER + len(name), memoryview(buffer)[: found[2]])
        return found[2]

    def append(self, kind, name, value):
        """Write a record."""
        size = _HEADER + len(name) + len(value)
        for _ in range(2 * self.pages):
            if self._free + size <= _PAGE:
                break
            self._turn_page()
        else:
            raise OSError(-4357, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
        record = self._buffer[:size]
        struct.pack_into("<BBH", record, 4, kind, len(name), len(value))
        record[_HEADER : _HEADER + len(name)] = name
        record[_HEADER + len(name) :] = value
        struct.pack_into("<I", record, 0, crc32(record[4:]))
        self._program(record)

    def _program(self, record):
        page = self._newest()
        flash.program(self._address + page * _PAGE + self._free, record)
        self._free += len(record)
        self._ends[page] = self._free

    def _newest(self):
        return self._sequences.index(max(self._sequences))

    def _pages(self):
        """Return the pages in use, the oldest first."""
        return [self._sequences.index(sequence) for sequence in sorted(self._sequences) if sequence]

    def _sequence(self, page):
        header = bytearray(_PAGE_HEADER)
        flash.read(self._address + page * _PAGE, header)
        sequence, crc = struct.unpack("<II", header)
        return sequence if crc == crc32(header[:4], _SEED) else 0

    def _records(self, page):
        """Yield (address, kind, length of the name, length of the value); header and name are in the buffer."""
        address = self._address + page * _PAGE
        end = address + self._ends[page]
        address += _PAGE_HEADER
        head = self._buffer[: _HEADER + _LONGEST_NAMES]
        while address < end:
            flash.read(address, head)
            kind, name_length, length = struct.unpack_from("<BBH", head, 4)
            yield address, kind, name_length, length
            address += _HEADER + name_length + length

    def _scan(self, page):
        """Return where the sound records of a page end, and where the next one may go."""
        start = self._address + page * _PAGE
        position = _PAGE_HEADER
        while position + _HEADER <= _PAGE:
            flash.read(start + position, self._buffer[:_HEADER])
            crc, kind, name_length, length = struct.unpack_from("<IBBH", self._buffer)
            if kind == 0xFF:
                return position, position
            size = _HEADER + name_length + length
            if size > len(self._buffer) or position + size > _PAGE:
                break
            record = self._buffer[:size]
            flash.read(start + position, record)
            if crc != crc32(record[4:]):
                break
            position += size
        return position, _PAGE  # nothing goes behind a torn record

    def _turn_page(self):
        self._open_page()
        if 0 not in self._sequences:
            self._free_page(self._pages()[0])

    def _open_page(self):
        page = self._sequences.index(0)
        address = self._address + page * _PAGE
        part, blank = self._buffer[:64], b"\xff" * 64
        for start in range(address, address + _PAGE, 64):
            flash.read(start, part)
            if part != blank:
                flash.erase(address, _PAGE)
                break
        self._sequences[page] = max(self._sequences) + 1
        sequence = struct.pack("<I", self._sequences[page])
        self._free = 0
        self._program(sequence + struct.pack("<I", crc32(sequence, _SEED)))

    def _free_page(self, page):
        """Copy what counts of the oldest page, then erase it."""
        for address, kind, name_length, length in self._records(page):
            name = bytes(self._buffer[_HEADER : _HEADER + name_length])
            if self._counts(address, kind, name):
                record = self._buffer[: _HEADER + name_length + length]
                flash.read(address, record)
                self._program(record)
        flash.erase(self._address + page * _PAGE, _PAGE)
        self._sequences[page] = 0

    def _counts(self, address, kind, name):
        if kind == _ERASED or self.find(name)[0] != address:
            return False
        if kind != _CHUNK or name[:-1] == self.pending:
            return True
        blob = bytearray(6)
        if self.read(name[:-3], _BLOB, blob) is None:
            return False
        return blob[4] == name[-2] and blob[5] > name[-1]


def _open():
    found = partitions.find(flash, partitions.DATA, label="nvs")
    return _Log(found[0][2], found[0][3]) if found else None


_log = _open()


class NVS:
    """A namespace of NVS. What is set is on flash when the call returns; commit() has nothing left to do."""

    def __init__(self, namespace):
        if not _log:
            raise OSError(-4367, "ESP_ERR_NVS_PART_NOT_FOUND")
        self._namespace = _checked(namespace) + b"\0"

    def set_i32(self, key, value):
        """Store a number."""
        if not -0x80000000 < value < 0x80000000:
            raise OverflowError("overflow converting long int to machine word")
        with whole:
            name, number = self._name(key), struct.pack("<i", value)
            stored = bytearray(4)
            if _log.read(name, _NUMBER, stored) is None or stored != number:
                _log.append(_NUMBER, name, number)

    def get_i32(self, key):
        """Return a number."""
        with whole:
            number = bytearray(4)
            if _log.read(self._name(key), _NUMBER, number) is None:
                _not_found()
            return struct.unpack("<i", number)[0]

    def set_blob(self, key, value):
        """Store bytes."""
        with whole:
            name, value = self._name(key), memoryview(value)
            if len(value) > (_log.pages - 1) * 4000:
                raise OSError(-4366, "ESP_ERR_NVS_VALUE_TOO_LONG")
            length, version, _ = self._blob(name)
            if length == len(value) and self._is_stored(name, version, value):
                return
            version = 1 - version
            chunks = 0
            _log.pending = _chunk_name(name, version, 0)[:-1]
            try:
                for start in range(0, len(value), _CHUNK_SIZE):
                    _log.append(_CHUNK, _chunk_name(name, version, chunks), value[start : start + _CHUNK_SIZE])
                    chunks += 1
                _log.append(_BLOB, name, struct.pack("<IBB", len(value), version, chunks))
            finally:
                _log.pending = None

    def get_blob(self, key, buffer):
        """Fill the start of `buffer`; return the length of the value."""
        with whole:
            name = self._name(key)
            length, version, chunks = self._blob(name)
            if length is None:
                _not_found()
            if length > len(buffer):
                raise OSError(-4364, "ESP_ERR_NVS_INVALID_LENGTH")
            view = memoryview(buffer)
            for chunk in range(chunks):
                _log.read(_chunk_name(name, version, chunk), _CHUNK, view[chunk * _CHUNK_SIZE :])
            return length

    def erase_key(self, key):
        """Forget a value."""
        with whole:
            name = self._name(key)
            found = _log.find(name)
            if not found or found[1] == _ERASED:
                _not_found()
            _log.append(_ERASED, name, b"")

    def commit(self):
        """Return when everything is on flash."""

    def _name(self, key):
        return self._namespace + _checked(key)

    def _blob(self, name):
        """Return (length or None, version, number of chunks)."""
        blob = bytearray(6)
        if _log.read(name, _BLOB, blob) is None:
            return None, 1, 0
        return struct.unpack("<IBB", blob)

    def _is_stored(self, name, version, value):
        chunk = bytearray(_CHUNK_SIZE)
        for start in range(0, len(value), _CHUNK_SIZE):
            length = _log.read(_chunk_name(name, version, start // _CHUNK_SIZE), _CHUNK, chunk)
            if memoryview(chunk)[:length] != value[start : start + _CHUNK_SIZE]:
                return False
        return True


def _checked(name):
    name = name.encode()
    if len(name) > _LONGEST_NAME:
        raise OSError(-4361, "ESP_ERR_NVS_KEY_TOO_LONG")
    return name


def _chunk_name(name, version, number):
    return name + bytes((0, version, number))


def _not_found():
    raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
