#!/usr/bin/python3 -IS
# /// bench
# title   = "A static file over HTTP from nginx, driven by wrk"
# area    = "application"
# needs   = ["python3", "nginx", "wrk"]
# [args]
# role = "both"
# address = ""
# cpu = -1
# server_cpu = -1
# connections = 8
# length = 1024
# seconds = 1
# [metrics."app.rate"]
# unit = "1/s"
# better = "higher"
# [metrics."app.requests"]
# unit = "1"
# better = "higher"
# [metrics."app.latency.p50"]
# unit = "s"
# better = "lower"
# [metrics."app.latency.p99"]
# unit = "s"
# better = "lower"
# [metrics."placement.pinned"]
# unit = "1"
# ///
"""A file of `length` bytes, asked for over so many connections that are kept open.

One process serves; it writes no log of requests. `seconds` is whole: wrk takes no other.
"""

import os
import re
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "_shared")]
from _application import Server, drive, run  # noqa: E402
from _program import arguments  # noqa: E402

NAME = "file"
CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {host}:{port};
        root {directory}/files;
    }}
}}
"""
_FACTORS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def serve(args, host, port, directory):
    os.mkdir(f"{directory}/files")
    with open(f"{directory}/files/{NAME}", "wb") as file:
        file.write(b"x" * args["length"])
    with open(f"{directory}/conf", "w") as file:
        file.write(CONFIGURATION.format(directory=directory, host=host, port=port))
    return Server(["nginx", "-e", "stderr", "-p", directory, "-c", f"{directory}/conf"])


def translate(output):
    """Observations of wrk's report; ValueError where requests failed or there is no number."""
    failed = re.search(r"^ *(Non-2xx or 3xx responses|Socket errors): .*", output, re.MULTILINE)
    rate = re.search(r"^Requests/sec: *([0-9.]+)", output, re.MULTILINE)
    requests = re.search(r"^ *([0-9]+) requests in ", output, re.MULTILINE)
    if failed or not rate or not requests:
        raise ValueError(f"wrk: {failed[0].strip() if failed else 'it told no rate'}")
    found = {"app.rate": float(rate[1]), "app.requests": float(requests[1])}
    for share, metric in (("50", "app.latency.p50"), ("99", "app.latency.p99")):
        told = re.search(rf"^ *{share}% *([0-9.]+)(us|ms|s|m)$", output, re.MULTILINE)
        found[metric] = float(told[1]) * _FACTORS[told[2]] if told else None
    return found


def measure(args, host, port, directory):
    words = ["wrk", "-t", "1", "-c", str(args["connections"]), "-d", f"{args['seconds']}s", "--latency"]
    return translate(drive([*words, f"http://{host}:{port}/{NAME}"], args["seconds"]))


def main():
    args = arguments({
        "role": "both", "address": "", "cpu": -1, "server_cpu": -1,
        "connections": 8, "length": 1024, "seconds": 1,
    })  # fmt: skip
    run(args, serve, measure)


if __name__ == "__main__":
    main()
