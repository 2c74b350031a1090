import unittest

from firmware.http import name_of
from firmware.source import SourceError
from firmware.sources import parse_url


class ParseUrlTest(unittest.TestCase):
    def refused(self, url):
        try:
            parse_url(url)
        except SourceError as error:
            self.assertTrue(error.permanent)
            return error.args[1]
        self.fail(url)

    def test_a_plain_url_gets_the_scheme_s_port(self):
        self.assertEqual(parse_url("http://host/a/b.bin"), ("http", None, None, "host", 80, "/a/b.bin"))
        self.assertEqual(parse_url("https://host/a"), ("https", None, None, "host", 443, "/a"))

    def test_ftp_has_its_own_port_and_a_type_is_left_out(self):
        self.assertEqual(parse_url("ftp://host/a%20b;type=i"), ("ftp", None, None, "host", 21, "/a%20b"))
        self.assertEqual(parse_url("FTP://u:p@[::1]:2121/%2Fa?b#c")[1:], (b"u", b"p", "::1", 2121, "/%2Fa?b"))
        self.assertEqual(parse_url("http://host/a;type=i")[5], "/a;type=i")

    def test_what_would_end_a_command_of_ftp_is_refused(self):
        for rest in ("u%0a@host/a", "u:p%0D@host/a", "host/a%0D%0ADELE%20b", "host/%00"):
            self.assertIn("control character", self.refused("ftp://" + rest))
        self.assertEqual(parse_url("http://u:%0a@host/%0a")[2], b"\n")
        self.assertIn("%25", self.refused("ftp://host/100%"))

    def test_scheme_and_host_lose_their_case_and_the_path_keeps_it(self):
        self.assertEqual(parse_url("HTTP://HoSt:8080/A?B=C"), ("http", None, None, "host", 8080, "/A?B=C"))

    def test_no_path_is_the_root(self):
        for url in ("http://host", "http://host/", "http://host:", "http://host:80", "http://host#top"):
            self.assertEqual(parse_url(url)[3:], ("host", 80, "/"))

    def test_a_query_without_a_path_belongs_to_the_root(self):
        self.assertEqual(parse_url("http://host?a=/b@c:1")[3:], ("host", 80, "/?a=/b@c:1"))

    def test_the_fragment_is_dropped(self):
        self.assertEqual(parse_url("http://host/a?b#c/d?e")[5], "/a?b")

    def test_an_ipv6_address_loses_its_brackets(self):
        self.assertEqual(parse_url("http://[::1]/a")[3:5], ("::1", 80))
        self.assertEqual(parse_url("https://u@[2001:DB8::1]:8443/a")[3:5], ("2001:db8::1", 8443))

    def test_userinfo_is_percent_decoded(self):
        self.assertEqual(parse_url("http://us%40er:p%3Aa:s%2Fs%25@host/")[1:4], (b"us@er", b"p:a:s/s%", "host"))
        self.assertEqual(parse_url("http://m%C3%BCller:%ff@host/")[1:3], (b"m\xc3\xbcller", b"\xff"))

    def test_a_user_without_a_password_has_an_empty_one(self):
        self.assertEqual(parse_url("http://user@host/")[1:3], (b"user", b""))
        self.assertEqual(parse_url("http://user:@host/")[1:3], (b"user", b""))

    def test_an_at_sign_in_the_path_is_no_userinfo(self):
        self.assertEqual(parse_url("http://host/a@b")[1:], (None, None, "host", 80, "/a@b"))

    def test_a_long_signed_url_is_accepted_and_an_endless_one_is_not(self):
        path = "/file?sig=" + "x" * 1500
        self.assertEqual(parse_url("https://host" + path)[5], path)
        self.assertIn("longer", self.refused("http://host/" + "x" * 4000))

    def test_other_schemes_are_refused_with_the_ones_that_work(self):
        for url in ("gopher://host/a", "file:///etc/passwd", "host/a", "/a", "http:/host/a", "http:host", "://host"):
            self.assertIn("https://", self.refused(url))

    def test_an_empty_location_is_refused(self):
        self.refused("")

    def test_what_would_end_the_request_line_is_refused(self):
        for bad in (" ", "\r", "\n", "\r\nHost: evil", "\t", "\0", "\x7f", "\x80", "ü", "\u20ac"):
            for url in ("http://host/a%sb", "http://ho%sst/", "http://u%s@host/", "ht%stp://host/", "http://host/?%s"):
                self.assertIn("percent-encode", self.refused(url % bad))

    def test_impossible_hosts_and_ports_are_refused(self):
        places = ":80 [] [::1 ::1 ::1] [::1]80 a:b:80 [::1]]:x u@ u:pa/ss@h h:0 h:65536 h:-1 h:+80 h:8o h:123456 h:8_0"
        for place in [""] + places.split():
            self.refused("http://%s/" % place)

    def test_a_broken_escape_in_the_userinfo_is_refused(self):
        for userinfo in ("a%", "a%4", "a%zz", "a:100%", "%%41", "a:%+1"):
            self.assertIn("%25", self.refused("http://%s@host/" % userinfo))

    def test_no_refusal_shows_the_password(self):
        for rest in (
            "me:secret@host:x/",
            "me:secret%zz@host/",
            "me:secret /@host/",
            "me:secret/x@host/",
            "me:secret@",
            "me:x/secret@host/a",
            "me:x?secret@host/a",
            "me:x#secret@h/a",
            "h:x/?sig=secret",
            "me:secret@" + "x" * 4000,
        ):
            self.hidden("http://" + rest)
        for url in ("gopher://me:secret@host/", "me:secret@host/a", "http:/me:secret@host"):
            self.hidden(url)

    def hidden(self, url):
        self.assertFalse("secret" in self.refused(url), url)


def name_of_url(url):
    return name_of(parse_url(url))


class NameTest(unittest.TestCase):
    def test_a_url_without_secrets_is_shown_as_it_is(self):
        for url in ("http://host/a.bin", "https://host:8443/a@b", "http://[::1]:8080/a@b", "http://[::1]/a"):
            self.assertEqual(name_of_url(url), url)

    def test_userinfo_is_hidden(self):
        self.assertEqual(name_of_url("http://user:pass@host:81/a"), "http://***@host:81/a")
        self.assertEqual(name_of_url("http://user@[::1]/a"), "http://***@[::1]/a")

    def test_the_query_is_hidden_because_signed_urls_carry_their_key_there(self):
        self.assertEqual(name_of_url("https://user:pass@host/a?token=x@y"), "https://***@host/a?***")
        self.assertEqual(name_of_url("https://host?token=x@y:z"), "https://host/?***")


if __name__ == "__main__":
    unittest.main()
