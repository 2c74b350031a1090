"""Frames and messages of RFC 6455, sections 5, 6 and 8, on raw bytes."""

import asyncio
import gc
import unittest

import ocpp.websocket as module
from ocpp.websocket import ConnectionClosed, WebSocket
from wire import Script, failure, frame, frames, run, settle

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


class PartialReadTest(unittest.TestCase):
    """TCP knows no frames: a read may end anywhere."""

    STREAM = (
        frame(TEXT, "ß€".encode())
        + frame(PING, b"!?")
        + frame(BINARY, b"x" * 130)
        + frame(TEXT, b"a", False)
        + frame(PONG)
        + frame(CONTINUATION, "\U0001f600".encode())
    )
    MESSAGES = ["ß€", b"x" * 130, "a\U0001f600"]

    def test_two_reads_may_part_a_stream_at_every_byte(self):
        for at in range(1, len(self.STREAM)):
            run(self.receive_in_two(self.STREAM[:at], self.STREAM[at:]))

    async def receive_in_two(self, first, second):
        script = Script(first, ends=False)
        task = asyncio.create_task(_receive_all(websocket(script)))
        while script.incoming:
            await asyncio.sleep_ms(0)
        script.incoming = second
        script.ends = True
        self.assertEqual(await task, self.MESSAGES)
        self.assertEqual(frames(script.sent), [(PONG, b"!?")])

    def test_a_stream_may_end_at_every_byte_and_is_then_lost(self):
        for end in range(len(self.STREAM)):
            script = Script(self.STREAM[:end])
            messages = run(_receive_all(websocket(script)))  # which checks that it is 1006
            self.assertEqual(messages, self.MESSAGES[: len(messages)])
            self.assertFalse(CLOSE in [opcode for opcode, _ in frames(script.sent)])
            self.assertTrue(script.closed)


class ExampleTest(unittest.TestCase):
    """The examples of section 5.7, byte by byte."""

    def test_the_frames_of_section_5_7_are_understood(self):
        self.assertEqual(received(b"\x81\x05\x48\x65\x6c\x6c\x6f"), ["Hello"])
        self.assertEqual(received(b"\x01\x03\x48\x65\x6c", b"\x80\x02\x6c\x6f"), ["Hello"])
        self.assertEqual(received(b"\x82\x7e\x01\x00" + bytes(256)), [bytes(256)])
        script = Script(b"\x89\x05\x48\x65\x6c\x6c\x6f")
        run(failure(websocket(script).receive()))
        self.assertEqual(frames(script.sent), [(PONG, b"Hello")])

    def test_the_masked_frame_of_section_5_7_is_what_is_sent(self):
        system = module.os
        module.os = SameMask
        try:
            self.assertEqual(sent(lambda ws: ws.send("Hello")), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
        finally:
            module.os = system


class SameMask:
    """The random numbers of section 5.7."""

    @staticmethod
    def urandom(count):
        return b"\x37\xfa\x21\x3d"


class LimitTest(unittest.TestCase):
    """How long a message may take as a whole. Between messages there is no limit."""

    def limits(self, *incoming):
        results = []
        for chunk in CHUNKS:
            script = Script(b"".join(incoming) + b"\x81", chunk, ends=False)
            run(self.receive_all(script))
            results.append([limit is not None and limit == script.timeout for limit in script.limits])
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0], results[2])
        return results[0]

    async def receive_all(self, script):
        receiving = asyncio.create_task(failure(_receive_all_of_it(websocket(script))))
        while script.incoming:
            await asyncio.sleep_ms(0)
        await settle()
        script.ends = True
        await receiving

    def test_a_message_has_one_limit_from_its_first_byte_to_its_last(self):
        self.assertEqual(self.limits(frame(TEXT, b"x" * 300)), [True, False, True])

    def test_fragments_and_what_is_between_them_do_not_renew_the_limit(self):
        parts = [frame(CONTINUATION, b"b", False), frame(PING, b"!"), frame(CONTINUATION, final=False)] * 3
        self.assertEqual(self.limits(frame(TEXT, b"a", False), *parts, frame(CONTINUATION)), [True, False, True])

    def test_a_control_frame_has_a_limit_too(self):
        self.assertEqual(self.limits(frame(PING, b"?"), frame(PONG)), [True, False, True, False, True])


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
        late = frame(TEXT, b"late") + frame(PING, b"late") + frame(CLOSE, b"\x03\xe8")
        script = Script(frame(TEXT, b"good") + frame(3) + late)
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

    def test_what_is_too_large_takes_no_memory(self):
        for stream in (
            b"\x82\x7e\x40\x01",
            b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\x01\x7e\x40\x01",
            frame(TEXT, b"ab", False) + b"\0\x7e\x3f\xff",
            frame(TEXT, b"ab", False) + b"\x80\x7f\0\0\0\0\1\0\0\0",
        ):
            script = Script(stream)
            gc.collect()
            before = gc.mem_alloc()
            gc.disable()
            try:
                error = run(failure(websocket(script, max_size=16384).receive()))
                taken = gc.mem_alloc() - before
            finally:
                gc.enable()
            self.assertEqual((error.code, error.reason), (1009, "more than 16384 bytes"))
            self.assertTrue(taken < 16384, taken)  # all of it for the event loop and for listing descriptors

    def test_the_payload_of_what_is_too_large_is_left_unread_as_frames(self):
        script = Script(b"\x82\x7e\x04\x01" + frame(PING, b"x" * 100) * 10)
        error = run(failure(websocket(script, max_size=1024).receive()))
        self.assertEqual(error.code, 1009)
        self.assertEqual(frames(script.sent), [(CLOSE, b"\x03\xf1more than 1024 bytes")])
        self.assertEqual(script.incoming, b"")

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
    BAD = (  # with how many bytes can still become UTF-8
        (b"\x80", 0),
        (b"\xbf\xbf", 0),
        (b"a\xc3", 2),
        (b"\xc3a", 1),
        (b"\xc3\x80\x80", 2),
        (b"\xe2\x82", 2),
        (b"\xe2\x82a", 2),
        (b"\xe2\x82\xac\x80", 3),
        (b"\xf0\x9f\x98", 3),
        (b"\xf0\x9f\x98a", 3),
        (b"\xf0\x9f\x98\x80\xbf", 4),
        (b"\xc0\x80", 0),
        (b"\xc0\xaf", 0),
        (b"\xc1\xbf", 0),
        (b"\xe0\x80\x80", 1),
        (b"\xe0\x9f\xbf", 1),
        (b"\xf0\x80\x80\x80", 1),
        (b"\xf0\x8f\xbf\xbf", 1),
        (b"\xed\xa0\x80", 1),
        (b"\xed\xbf\xbf", 1),
        (b"\xf4\x90\x80\x80", 1),
        (b"\xf5\x80\x80\x80", 0),
        (b"\xf6\x80\x80\x80", 0),
        (b"\xf7\xbf\xbf\xbf", 0),
        (b"\xf8\x88\x80\x80\x80", 0),
        (b"\xfc\x84\x80\x80\x80\x80", 0),
        (b"\xfe", 0),
        (b"\xff", 0),
    )

    # Section 4 of RFC 3629: first bytes, second bytes, how many more
    SEQUENCES = (
        (0x00, 0x7F, None, None, 0),
        (0xC2, 0xDF, 0x80, 0xBF, 0),
        (0xE0, 0xE0, 0xA0, 0xBF, 1),
        (0xE1, 0xEC, 0x80, 0xBF, 1),
        (0xED, 0xED, 0x80, 0x9F, 1),
        (0xEE, 0xEF, 0x80, 0xBF, 1),
        (0xF0, 0xF0, 0x90, 0xBF, 2),
        (0xF1, 0xF3, 0x80, 0xBF, 2),
        (0xF4, 0xF4, 0x80, 0x8F, 2),
    )

    def test_text_is_utf_8(self):
        for text in self.GOOD:
            self.assertEqual(received(frame(TEXT, text.encode())), [text])

    def test_text_that_is_not_utf_8_is_refused(self):
        for bad, _ in self.BAD:
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
        for data, _ in self.BAD:
            self.assertEqual(received(frame(BINARY, data)), [data])

    def test_every_first_and_second_byte_is_judged_as_rfc_3629_does(self):
        for first in range(256):
            good = [entry for entry in self.SEQUENCES if entry[0] <= first <= entry[1]]
            for second in (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF):
                data = bytes([first])
                allowed = bool(good)
                if good and first >= 0x80:
                    _, _, low, high, more = good[0]
                    data += bytes([second]) + b"\x80" * more
                    allowed = low <= second <= high
                self.assertEqual(self.outcome(frame(TEXT, b"<" + data + b">")), 1006 if allowed else 1007, data)

    def outcome(self, stream):
        return run(failure(_receive_all_of_it(websocket(Script(stream))))).code

    def test_text_is_refused_with_the_fragment_that_makes_it_invalid(self):
        for bad, good in self.BAD:
            if good < len(bad):
                head = frame(TEXT, b"\xce\xba" + bad[:good], False)
                self.refused_at_the_end_of(head + frame(CONTINUATION, bad[good : good + 1], False))

    def test_text_is_refused_with_the_byte_that_makes_it_invalid_in_the_middle_of_a_frame(self):
        for bad, good in self.BAD:
            if good < len(bad):
                self.refused_at_the_end_of(b"\x81\x7d" + b"\xce\xba" + bad[: good + 1])  # the first bytes of 125
                self.refused_at_the_end_of(b"\x81\x7e\x40\x00" + bad[: good + 1])  # of 16384

    def refused_at_the_end_of(self, stream):
        """The last byte is what makes it invalid: it is noticed at once, though nothing more comes, and not before."""
        for chunk in CHUNKS:
            run(self.refuse_last_byte(stream, chunk))

    async def refuse_last_byte(self, stream, chunk):
        script = Script(stream[:-1], chunk, ends=False)
        task = asyncio.create_task(failure(websocket(script).receive()))
        while script.incoming:
            await asyncio.sleep_ms(0)
        await settle()
        self.assertEqual(script.sent, b"")
        script.incoming = stream[-1:]
        while not script.sent:
            await asyncio.sleep_ms(0)
        script.ends = True
        self.assertEqual((await task).code, 1007)
        self.assertEqual(frames(script.sent), [(CLOSE, b"\x03\xefinvalid UTF-8")])

    def test_control_frames_inside_a_character_change_nothing(self):
        self.assertEqual(
            received(frame(TEXT, b"\xf0\x9f", False), frame(PING, b"\xff"), frame(CONTINUATION, b"\x98\x80")),
            ["\U0001f600"],
        )

    def test_a_character_may_come_one_byte_per_fragment(self):
        data = "aß€\U0001f600z".encode()
        fragments = [frame(CONTINUATION, data[i : i + 1], False) for i in range(1, len(data))]
        self.assertEqual(received(frame(TEXT, data[:1], False), *fragments, frame(CONTINUATION)), ["aß€\U0001f600z"])


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
