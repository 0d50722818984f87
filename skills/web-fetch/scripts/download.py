"""Downloads a file, all of it or nothing."""

import argparse
import hashlib
import json

from common import run, whole_file
from http_get import content_type, fetched, pieces

SECONDS = 900


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--url", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--max-mib", type=int, required=True)
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()
    digest, size = hashlib.sha256(), 0
    with whole_file(args.out, args.overwrite) as name, open(name, "wb") as file, fetched(args.url, "*/*", SECONDS) as response:
        for piece in pieces(response, args.max_mib * 2**20):
            file.write(piece)
            digest.update(piece)
            size += len(piece)
        result = {"path": args.out, "url": response.url, "type": content_type(response), "bytes": size, "sha256": digest.hexdigest()}
    print(json.dumps(result))


run(main)
