"""Frames and messages of RFC 6455, sections 5, 6 and 8, on raw bytes."""

import asyncio
import unittest

from ocpp.websocket import ConnectionClosed, WebSocket
from wire import Script, failure, frame, frames, run

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
CHUNKS = (1, 3, 1 << 20)  # what arrives byte by byte, in pieces, or all at once, means the same


def websocket(script, max_size=16384):
    return WebSocket(script, "ocpp1.6", max_size, 1000)


def received(*incoming, **options):
    """Return all messages that a stream of frames makes before it ends."""
    results = []
    for chunk in CHUNKS:
        script = Script(b"".join(incoming), chunk)
        results.append(run(_receive_all(websocket(script, **options))))
        assert script.closed
    assert results[0] == results[1] == results[2]
    return results[0]


async def _receive_all(ws):
    messages = []
    try:
        while True:
            messages.append(await ws.receive())
    except ConnectionClosed as error:
        assert error.code == 1006, error
        return messages


def violation(*incoming, **options):
    """Return the code that a stream of frames ends with, after checking that the server gets it in one Close frame."""
    codes = []
    for chunk in CHUNKS:
        script = Script(b"".join(incoming), chunk)
        error = run(failure(_receive_all_of_it(websocket(script, **options))))
        assert script.closed
        ((opcode, payload),) = [sent for sent in frames(script.sent) if sent[0] != PONG]
        assert opcode == CLOSE and payload == error.code.to_bytes(2, "big") + error.reason.encode()
        codes.append(error.code)
    assert codes[0] == codes[1] == codes[2]
    return codes[0]


async def _receive_all_of_it(ws):
    while True:
        await ws.receive()


def sent(send):
    """Return the bytes that `await send(websocket)` writes."""
    script = Script(ends=False)
    run(send(websocket(script)))
    return script.sent


class ReceiveTest(unittest.TestCase):
    def test_a_text_message_is_a_str(self):
        self.assertEqual(received(frame(TEXT, b'[2,"1","Heartbeat",{}]')), ['[2,"1","Heartbeat",{}]'])

    def test_a_binary_message_is_bytes(self):
        self.assertEqual(received(frame(BINARY, b"\0\xff")), [b"\0\xff"])

    def test_an_empty_message_is_a_message(self):
        self.assertEqual(received(frame(TEXT), frame(BINARY), frame(TEXT)), ["", b"", ""])

    def test_messages_keep_their_order(self):
        self.assertEqual(received(*[frame(TEXT, b"%d" % n) for n in range(20)]), [str(n) for n in range(20)])

    def test_each_form_of_the_length_is_understood(self):
        for length in (0, 1, 125, 126, 127, 255, 256, 511, 512, 513):
            self.assertEqual(received(frame(BINARY, bytes(length))), [bytes(length)])

    def test_a_length_of_64_bits_is_understood(self):
        header = b"\x82\x7f\0\0\0\0\0\1\0\0"  # more than fits into this heap, so only whether it would be accepted
        self.assertEqual(violation(header, max_size=65535), 1009)

    def test_what_was_last_received_is_known(self):
        script = Script()
        script.last_received = 12345
        self.assertEqual(websocket(script).last_received, 12345)


class FragmentTest(unittest.TestCase):
    def test_fragments_make_one_message(self):
        self.assertEqual(
            received(frame(TEXT, b"ab", False), frame(CONTINUATION, b"cd", False), frame(CONTINUATION, b"e")),
            ["abcde"],
        )
        self.assertEqual(received(frame(BINARY, b"\1", False), frame(CONTINUATION, b"\2")), [b"\1\2"])

    def test_fragments_may_be_empty(self):
        self.assertEqual(
            received(frame(TEXT, b"", False), *[frame(CONTINUATION, b"", False)] * 50, frame(CONTINUATION, b"")), [""]
        )
        self.assertEqual(
            received(frame(TEXT, b"a", False), frame(CONTINUATION, b"", False), frame(CONTINUATION, b"b")), ["ab"]
        )

    def test_a_message_may_come_in_a_thousand_fragments(self):
        message = [frame(TEXT, b"x", False)] + [frame(CONTINUATION, b"x", False)] * 998 + [frame(CONTINUATION, b"x")]
        self.assertEqual(run(websocket(Script(b"".join(message))).receive()), "x" * 1000)

    def test_control_frames_between_fragments_change_nothing(self):
        self.assertEqual(
            received(
                frame(TEXT, b"ab", False),
                frame(PING, b"!?"),
                frame(CONTINUATION, b"cd", False),
                frame(PONG, b"x" * 125),
                frame(CONTINUATION, b"ef"),
                frame(TEXT, b"next"),
            ),
            ["abcdef", "next"],
        )

    def test_a_ping_between_fragments_is_answered_before_the_message_ends(self):
        script = Script(frame(TEXT, b"ab", False) + frame(PING, b"now"), ends=False)

        async def test():
            task = asyncio.create_task(websocket(script).receive())
            while not script.sent:
                await asyncio.sleep_ms(0)
            self.assertEqual(frames(script.sent), [(PONG, b"now")])
            script.incoming += frame(CONTINUATION, b"c")
            self.assertEqual(await task, "abc")

        run(test())

    def test_a_continuation_without_a_beginning_is_refused(self):
        for final in (True, False):
            self.assertEqual(violation(frame(CONTINUATION, b"a", final)), 1002)
        self.assertEqual(violation(frame(TEXT, b"a"), frame(CONTINUATION, b"b")), 1002)

    def test_a_message_inside_another_one_is_refused(self):
        for opcode in (TEXT, BINARY):
            for final in (True, False):
                self.assertEqual(violation(frame(TEXT, b"a", False), frame(opcode, b"b", final)), 1002)


class HeaderTest(unittest.TestCase):
    def test_reserved_bits_are_refused(self):
        for flags in (0x40, 0x20, 0x10, 0x70):
            for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
                self.assertEqual(violation(frame(opcode, flags=flags)), 1002)
            self.assertEqual(violation(frame(TEXT, b"a", False), frame(CONTINUATION, b"b", flags=flags)), 1002)

    def test_reserved_opcodes_are_refused(self):
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            self.assertEqual(violation(frame(opcode, b"a")), 1002)

    def test_a_masked_frame_of_a_server_is_refused(self):
        for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
            self.assertEqual(violation(bytes([0x80 | opcode, 0x81, 1, 2, 3, 4, 0x60])), 1002)

    def test_a_length_has_to_be_in_its_shortest_form(self):
        for length, form in ((0, 126), (125, 126), (0, 127), (126, 127), (65535, 127)):
            length = length.to_bytes(2 if form == 126 else 8, "big")
            self.assertEqual(violation(bytes([0x80 | TEXT, form]), length), 1002)

    def test_the_top_bit_of_a_length_has_to_be_0(self):
        self.assertEqual(violation(b"\x81\x7f\x80\0\0\0\0\0\0\1"), 1002)
        self.assertEqual(violation(b"\x81\x7f" + b"\xff" * 8), 1002)

    def test_a_long_control_frame_is_refused(self):
        for opcode in (PING, PONG, CLOSE):
            self.assertEqual(violation(frame(opcode, bytes(126))), 1002)
            self.assertEqual(violation(frame(opcode, bytes(5), form=127)), 1002)

    def test_a_fragmented_control_frame_is_refused(self):
        for opcode in (PING, PONG, CLOSE):
            self.assertEqual(violation(frame(opcode, b"", False)), 1002)

    def test_nothing_is_received_after_a_violation(self):
        script = Script(frame(TEXT, b"good") + frame(3) + frame(TEXT, b"late") + frame(PING, b"late"))
        ws = websocket(script)
        self.assertEqual(run(ws.receive()), "good")
        self.assertEqual(run(failure(ws.receive())).code, 1002)
        self.assertEqual(run(failure(ws.receive())).code, 1006)
        self.assertEqual([sent[0] for sent in frames(script.sent)], [CLOSE])


class SizeTest(unittest.TestCase):
    def test_a_message_may_be_as_large_as_allowed(self):
        self.assertEqual(received(frame(TEXT, b"x" * 200), max_size=200), ["x" * 200])
        self.assertEqual(
            received(frame(TEXT, b"x" * 100, False), frame(CONTINUATION, b"x" * 100), max_size=200), ["x" * 200]
        )

    def test_a_larger_message_is_refused_before_its_payload_comes(self):
        header = frame(TEXT, bytes(201))[:4]
        self.assertEqual(violation(header, max_size=200), 1009)
        self.assertEqual(violation(b"\x01" + header[1:], max_size=200), 1009)  # the first of several fragments

    def test_fragments_count_together(self):
        script = (frame(TEXT, b"x" * 100, False), frame(CONTINUATION, b"x" * 100, False), frame(CONTINUATION, b"x"))
        self.assertEqual(violation(*script, max_size=200), 1009)

    def test_the_largest_length_is_refused_without_taking_memory(self):
        self.assertEqual(violation(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), 1009)

    def test_a_message_that_memory_has_no_room_for_is_refused(self):
        script = Script(b"\x82\x7f\0\0\0\0\x10\0\0\0")
        error = run(failure(websocket(script, max_size=1 << 29).receive()))
        self.assertEqual(error.code, 1009)
        self.assertTrue(script.closed)


class TextTest(unittest.TestCase):
    GOOD = (
        "",
        "κόσμε",
        "\x7f\x80\u07ff\u0800\uffff\U00010000",
        "\ud7ff\ue000\ufffd\ufffe\uffff",
        "\U0010ffff\U000f0000",
        "à\u0e01\u1000\ucfff\ue0e0\U00040000",
        "\0",
    )
    BAD = (
        b"\x80",
        b"\xbf\xbf",
        b"a\xc3",
        b"\xc3a",
        b"\xe2\x82",
        b"\xe2\x82a",
        b"\xf0\x9f\x98",
        b"\xf0\x9f\x98a",
        b"\xc0\x80",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf6\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xfe",
        b"\xff",
    )

    def test_text_is_utf_8(self):
        for text in self.GOOD:
            self.assertEqual(received(frame(TEXT, text.encode())), [text])

    def test_text_that_is_not_utf_8_is_refused(self):
        for bad in self.BAD:
            for before, after in ((b"", b""), ("aß€".encode(), b"z"), ("\u0e01\ud55c\U00010348".encode(), b"")):
                self.assertEqual(violation(frame(TEXT, before + bad + after)), 1007)

    def test_fragments_may_split_a_character(self):
        text = "ß€\U0001f600à\ud55c\U0010fffd"
        data = text.encode()
        for split in range(len(data) + 1):
            self.assertEqual(received(frame(TEXT, data[:split], False), frame(CONTINUATION, data[split:])), [text])

    def test_all_fragments_together_have_to_be_utf_8(self):
        self.assertEqual(violation(frame(TEXT, b"\xf4", False), frame(CONTINUATION, b"\x90\x80\x80")), 1007)
        self.assertEqual(violation(frame(TEXT, "ß".encode(), False), frame(CONTINUATION, b"\xe0\x80\x80")), 1007)
        self.assertEqual(violation(frame(TEXT, b"\xe2\x82", False), frame(CONTINUATION, b"")), 1007)

    def test_binary_messages_may_be_anything(self):
        for data in self.BAD:
            self.assertEqual(received(frame(BINARY, data)), [data])


class PingTest(unittest.TestCase):
    def answers(self, *incoming):
        script = Script(b"".join(incoming))
        run(failure(websocket(script).receive()))
        return frames(script.sent)

    def test_a_ping_is_answered_with_its_payload(self):
        for payload in (b"", b"ping", b"\0\xff\x80", bytes(range(125))):
            self.assertEqual(self.answers(frame(PING, payload)), [(PONG, payload)])

    def test_every_ping_is_answered_in_order(self):
        pings = [b"", b"1", b"22", b"333"]
        self.assertEqual(self.answers(*[frame(PING, ping) for ping in pings]), [(PONG, ping) for ping in pings])

    def test_a_pong_is_not_answered(self):
        self.assertEqual(self.answers(frame(PONG), frame(PONG, b"unasked")), [])

    def test_a_ping_can_be_sent(self):
        self.assertEqual(frames(sent(lambda ws: ws.ping())), [(PING, b"")])
        self.assertEqual(frames(sent(lambda ws: ws.ping(bytes(125)))), [(PING, bytes(125))])

    def test_a_ping_longer_than_a_control_frame_is_refused(self):
        with self.assertRaises(ValueError):
            sent(lambda ws: ws.ping(bytes(126)))


class SendTest(unittest.TestCase):
    def test_a_message_is_one_masked_text_frame_with_the_shortest_length(self):
        for length in (0, 1, 125, 126, 127, 503, 504, 505, 506, 507, 512, 1015, 1016, 1017, 1100):
            text = "".join([chr(33 + n % 90) for n in range(length)])
            self.assertEqual(frames(sent(lambda ws, text=text: ws.send(text))), [(TEXT, text.encode())])

    def test_lengths_around_64_kib_are_in_their_shortest_form(self):
        for length, header in ((65535, b"\x81\xfe\xff\xff"), (65536, b"\x81\xff\0\0\0\0\0\1\0\0")):
            script = Counter()
            run(websocket(script)._send(TEXT, Zeros(length)))
            self.assertEqual(script.start[: len(header)], header)
            self.assertEqual(script.total, len(header) + 4 + length)

    def test_text_is_sent_as_utf_8(self):
        text = "Ladesäule €\U0001f600" * 50
        self.assertEqual(frames(sent(lambda ws: ws.send(text))), [(TEXT, text.encode())])

    def test_every_frame_has_a_fresh_mask(self):
        async def send(ws):
            for _ in range(8):
                await ws.send("")

        data = sent(send)
        masks = {data[start + 2 : start + 6] for start in range(0, len(data), 6)}
        self.assertTrue(len(masks) > 4)

    def test_masking_leaves_the_payload_as_it_was(self):
        payload = bytearray(b"payload")
        sent(lambda ws: ws.ping(payload))
        self.assertEqual(payload, b"payload")

    def test_frames_of_several_senders_do_not_mix(self):
        script = Script(ends=False)

        async def test():
            ws = websocket(script)
            texts = [chr(65 + n) * 700 for n in range(5)]
            tasks = [asyncio.create_task(ws.send(text)) for text in texts]
            tasks.append(asyncio.create_task(ws.ping(b"?")))
            for task in tasks:
                await task
            self.assertEqual(frames(script.sent), [(TEXT, text.encode()) for text in texts] + [(PING, b"?")])

        run(test())


class Zeros:
    """A payload too large for this heap."""

    def __init__(self, length):
        self._length = length

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        return 0


class Counter(Script):
    """Counts what is written, and keeps its beginning."""

    start = b""
    total = 0

    async def write(self, data):
        self.start = self.start or bytes(data)
        self.total += len(data)


if __name__ == "__main__":
    unittest.main()
