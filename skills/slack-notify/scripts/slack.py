"""Posts to Slack by its Web API: message (text on standard input), file. The token is in SLACK_BOT_TOKEN and is never printed."""

import argparse
import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

MAX_TEXT_CHARS = 40_000
MAX_FILE_BYTES = 100 * 1024 * 1024
MAX_ANSWER_BYTES = 1024 * 1024
MAX_SHOWN_CHARS = 300
TIMEOUT_SECONDS = 60
ADVICE = {
    "missing_scope": "the Slack app lacks a scope",
    "channel_not_found": "no such channel, or a private one that the bot is not in",
    "not_in_channel": "the bot is not in the channel: somebody must /invite it there",
    "is_archived": "the channel is archived",
    "restricted_action": "the workspace doesn't let the bot post there",
    "msg_too_long": "the text is too long",
    "no_text": "the text is empty",
    "thread_not_found": "there is no such message to answer",
    "invalid_auth": "Slack doesn't accept the token",
    "not_authed": "Slack got no token",
    "token_expired": "the token has expired",
    "token_revoked": "the token was revoked",
    "account_inactive": "the bot's account is deactivated",
}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        fail(message, 2)


class Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would carry the token elsewhere."""

    def redirect_request(self, *_):
        return None


# With a proxy where the environment names one.
OPENER = urllib.request.build_opener(Straight)


def main():
    given = arguments()
    token = os.environ.get("SLACK_BOT_TOKEN", "")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        fail("there is no SLACK_BOT_TOKEN: policy must bind this secret to slack.com")
    answer = message(given, token) if given.command == "message" else file(given, token)
    print(json.dumps(answer))


def arguments():
    parser = Parser(prog="slack-notify", allow_abbrev=False)
    parser.add_argument("--api", type=address, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    message = commands.add_parser("message", allow_abbrev=False)
    message.add_argument("--channel", type=text(r"#?[\w.-]{1,81}", "a channel's id or name"), required=True)
    file = commands.add_parser("file", allow_abbrev=False)
    file.add_argument("--files", type=address, required=True)
    file.add_argument("--channel", type=text(r"[CDGU][A-Z0-9]{7,29}", "a channel's id (C0123456789)"), required=True)
    file.add_argument("--path", required=True)
    file.add_argument("--title")
    file.add_argument("--comment")
    for command in (message, file):
        command.add_argument("--thread", type=text(r"[0-9]{1,13}\.[0-9]{6}", "a message's timestamp (1700000000.000100)"))
    return parser.parse_args()


def text(pattern, what):
    def check(value):
        if not re.fullmatch(pattern, value):
            raise argparse.ArgumentTypeError(f"{value[:MAX_SHOWN_CHARS]!r} is not {what}")
        return value

    return check


def address(value):
    if urllib.parse.urlsplit(value).scheme not in ("https", "http"):
        raise argparse.ArgumentTypeError("must be an https address")
    return value.rstrip("/")


def message(given, token):
    written = sys.stdin.buffer.read(4 * MAX_TEXT_CHARS + 1).decode("utf-8", errors="replace")
    if written.strip() == "":
        fail("text: is empty", 2)
    if len(written) > MAX_TEXT_CHARS:
        fail(f"text: has more than {MAX_TEXT_CHARS} characters", 2)
    body = {"channel": given.channel, "text": written, "unfurl_links": False, "unfurl_media": False}
    answer = call(given.api, "chat.postMessage", token, body | ({"thread_ts": given.thread} if given.thread else {}))
    return {"channel": answer.get("channel"), "ts": answer.get("ts")}


def file(given, token):
    try:
        with open(given.path, "rb") as content:
            size = os.fstat(content.fileno()).st_size
            if not 0 < size <= MAX_FILE_BYTES:
                fail(f"path: {given.path} has {size} bytes; Slack gets 1 to {MAX_FILE_BYTES}", 2)
            body = content.read(size)
    except OSError as error:
        fail(f"path: can't read {given.path}: {error.strerror}", 2)
    name = os.path.basename(given.path)
    place = call(given.api, "files.getUploadURLExternal", token, form={"filename": name, "length": str(len(body))})
    url, id = place.get("upload_url"), place.get("file_id")
    if not isinstance(url, str) or not isinstance(id, str) or not url.startswith(f"{given.files}/"):
        fail("Slack names a place for the file that is not its own")
    # The address is the permission: the token stays out of it.
    send(urllib.request.Request(url, data=body, headers={"Content-Type": "application/octet-stream"}, method="POST"), "the upload")
    share = {"files": [{"id": id, "title": given.title or name}], "channel_id": given.channel}
    share |= {"initial_comment": given.comment} if given.comment else {}
    share |= {"thread_ts": given.thread} if given.thread else {}
    call(given.api, "files.completeUploadExternal", token, share)
    return {"channel": given.channel, "file": id, "bytes": len(body)}


def call(api, method, token, body=None, form=None):
    """What a method of the API answers, if it is `ok`. Some take JSON and some don't."""
    data = urllib.parse.urlencode(form).encode() if form else json.dumps(body).encode()
    kind = "application/x-www-form-urlencoded" if form else "application/json; charset=utf-8"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    received = send(urllib.request.Request(f"{api}/{method}", data=data, headers=headers, method="POST"), method)
    try:
        answer = json.loads(received)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        fail(f"{method}: the answer is not Slack's")
    if answer.get("ok") is not True:
        fail(f"{method}: {explained(answer)}")
    return answer


def explained(answer):
    code = plain(answer.get("error")) or "unknown_error"
    scopes = f": it needs {plain(answer.get('needed'))}, has {plain(answer.get('provided'))}" if answer.get("needed") else ""
    return f"{code}{f' ({ADVICE[code]}{scopes})' if code in ADVICE else ''}"


def send(request, what):
    try:
        with OPENER.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return answer.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        if error.code == 429:
            fail(f"{what}: ratelimited: Slack takes more after {plain(error.headers.get('Retry-After')) or 'some'} seconds")
        fail(f"{what}: the answer is HTTP {error.code}: {plain(error.read(MAX_SHOWN_CHARS).decode(errors='replace'))}")
    except (OSError, http.client.HTTPException) as error:
        # urllib's own errors are OSErrors.
        fail(f"{what}: no answer: {plain(getattr(error, 'reason', None) or error)}")


def plain(value):
    """In one line, and short."""
    return " ".join(re.sub(r"[\x00-\x20\x7f-\x9f]+", " ", "" if value is None else str(value)).split())[:MAX_SHOWN_CHARS]


def fail(problem, code=1):
    # An answer may say the token back.
    print(f"slack-notify: {problem}".replace(os.environ.get("SLACK_BOT_TOKEN") or "\0", "*"), file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
