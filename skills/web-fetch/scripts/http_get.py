"""One GET request, with few redirects, an end to its time and its size, and the proxy's words when it refuses."""

import contextlib
import functools
import http.client
import signal
import ssl
import urllib.error
import urllib.parse
import urllib.request
import zlib

from common import Problem

MAX_REDIRECTS = 5
# Of one wait for the server; `within` ends the whole.
SILENCE_SECONDS = 30
CHUNK_BYTES = 64 * 1024
# Of an error's body, which is shown.
MAX_WORDS = 600
USER_AGENT = "glovebox-web-fetch/1.0"


@contextlib.contextmanager
def fetched(url, accept, seconds):
    """The open response of `url`, for as long as the block runs, which has `seconds`."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise Problem("only http and https addresses can be fetched")
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept": accept, "Accept-Encoding": "identity"})
    with within(seconds):
        try:
            with opener().open(request, timeout=SILENCE_SECONDS) as response:
                yield response
        except urllib.error.HTTPError as error:
            with error:
                raise Problem(f"{error.url} answered with status {error.code}{words(error)}") from None
        except urllib.error.URLError as error:
            raise Problem(f"{url} can't be fetched: {error.reason}") from None
        except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError, UnicodeError) as error:
            raise Problem(f"{url} can't be fetched: {type(error).__name__}: {str(error)[:200]}") from None


def opener():
    """No handlers but these: none for files, FTP and data addresses, no cookies."""
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        Redirects(),
    ):
        director.add_handler(handler)
    return director


class Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS
    max_repeats = 2

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (scheme == "http" and req.type == "https"):
            raise Problem(f"{req.full_url} redirects to {newurl[:200]}, which is not followed: only https, or http to http and https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req, fp, code, msg, headers):
        visited = getattr(req, "redirect_dict", {})
        if sum(visited.values()) >= MAX_REDIRECTS:
            raise Problem(f"more than {MAX_REDIRECTS} redirects, the last to {headers.get('location', '')[:200]}")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class HTTPSHandler(urllib.request.HTTPSHandler):
    def https_open(self, req):
        return self.do_open(functools.partial(Connection, context=ssl.create_default_context()), req)


class Connection(http.client.HTTPSConnection):
    """Where a proxy refuses CONNECT, the standard library drops the body that says why; this one passes it on."""

    def __init__(self, *args, context, **options):
        super().__init__(*args, context=context, **options)
        self.tls = context
        self.destination = None

    def set_tunnel(self, host, port=None, headers=None):
        self.destination = (host if port is None else f"{host}:{port}", headers or {})

    def connect(self):
        if self.destination is None:
            super().connect()
            return
        http.client.HTTPConnection.connect(self)
        where = urllib.parse.urlsplit(f"//{self.destination[0]}")
        name = f"[{where.hostname}]" if ":" in where.hostname else where.hostname
        target = f"{name}:{where.port or 443}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *(f"{key}: {value}" for key, value in self.destination[1].items())]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = http.client.HTTPResponse(self.sock, method="CONNECT")
        try:
            answer.begin()
            if answer.status != 200:
                raise Problem(f"the proxy refuses {target} with status {answer.status}{words(answer)}")
        finally:
            answer.close()
        self.sock = self.tls.wrap_socket(self.sock, server_hostname=where.hostname)


def words(response):
    """The beginning of a body that is text."""
    kind = (response.headers.get("content-type") or "text/plain").lower()
    if not kind.startswith("text/") and "json" not in kind:
        return ""
    try:
        text = response.read(4096).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""
    return f": {' '.join(text.split())[:MAX_WORDS]}" if text.strip() else ""


def content_type(response):
    """Lower case, without parameters; empty when the server doesn't say."""
    return (response.headers.get("content-type") or "").split(";")[0].strip().lower()


def pieces(response, max_bytes):
    """The body, unpacked, in pieces. Refused as soon as it is known to be larger."""
    too_large = Problem(f"{response.url} is larger than {max_bytes // 2**20} MiB; fetch something smaller, or use downloadFile with maxMiB")
    said = response.headers.get("content-length", "")
    length = int(said) if said.isascii() and said.isdigit() and len(said) < 20 else None
    if length is not None and length > max_bytes:
        raise too_large
    unpack, received, given = unpacker(response), 0, 0
    while chunk := response.read1(CHUNK_BYTES):
        received += len(chunk)
        while chunk:
            piece, chunk = unpack(chunk)
            given += len(piece)
            if max(received, given) > max_bytes:
                raise too_large
            yield piece
    if length is not None and received != length:
        raise Problem(f"{response.url} broke off after {received} of {length} bytes; try again")


def unpacker(response):
    """A function of packed bytes: some unpacked bytes, never many, and the packed ones that are left."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return lambda data: (data, b"")
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Problem(f"{response.url} is packed with {encoding[:40]}, which was not asked for and can't be read")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def unpack(data):
        try:
            piece = inflater.decompress(data, CHUNK_BYTES)
        except zlib.error as error:
            raise Problem(f"{response.url} can't be unpacked: {error}") from None
        return piece, inflater.unconsumed_tail

    return unpack


@contextlib.contextmanager
def within(seconds):
    """A server may send a byte now and then for ever."""

    def late(*_):
        raise Problem(f"it took more than {seconds} seconds; try again later")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
