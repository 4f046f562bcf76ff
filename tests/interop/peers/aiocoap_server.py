"""A server made with aiocoap alone: a peer for the interop tests and the benchmarks. Run by aiocoap's own environment.

    aiocoap_server.py PORT [CREDENTIALS] [--debug]      prints "ready" when it listens; DTLS, if enabled, is on PORT + 1

It says what it saw: one line for each request, unless --quiet is given.
"""

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

import aiocoap
import aiocoap.resource
import cbor2
import cbor_diag
from aiocoap.credentials import CredentialsMap
from aiocoap.oscore_sitewrapper import OscoreSiteWrapper

CHANGED = aiocoap.CHANGED
options = argparse.Namespace()


def saw(request, path):
    if not options.quiet:
        claims = ",".join(request.remote.authenticated_claims)
        observe = "" if request.opt.observe is None else f" observe={request.opt.observe}"
        print(f"{request.code} /{path} {len(request.payload)} claims={claims}{observe}", flush=True)


class Hello(aiocoap.resource.Resource):
    async def render_get(self, request):
        saw(request, "hello")
        return aiocoap.Message(payload=b"hello")


class Echo(aiocoap.resource.Resource):
    async def render_post(self, request):
        saw(request, "echo")
        return aiocoap.Message(code=CHANGED, payload=request.payload)

    render_put = render_post


class Large(aiocoap.resource.Resource):
    async def render_get(self, request):
        saw(request, "large")
        return aiocoap.Message(payload=bytes(i % 251 for i in range(65536)))


class Store(aiocoap.resource.Resource):
    body = b""

    async def render_get(self, request):
        saw(request, "store")
        return aiocoap.Message(payload=self.body)

    async def render_put(self, request):
        saw(request, "store")
        self.body = request.payload
        return aiocoap.Message(code=CHANGED)


class Obs(aiocoap.resource.ObservableResource):
    value = b"00000"

    async def render_get(self, request):
        saw(request, "obs")
        return aiocoap.Message(payload=self.value)

    async def render_put(self, request):
        saw(request, "obs")
        self.value = request.payload
        self.updated_state()
        return aiocoap.Message(code=CHANGED)


class Whoami(aiocoap.resource.Resource):
    async def render_get(self, request):
        saw(request, "whoami")
        return aiocoap.Message(payload=json.dumps(list(request.remote.authenticated_claims)).encode())


def load(path):
    known = CredentialsMap()
    text = Path(path).read_text()
    if path.endswith(".diag"):  # what has whole numbers as keys, as EDHOC's credentials
        known.load_from_dict(cbor2.loads(cbor_diag.diag2cbor(text)))
    else:
        known.load_from_dict(json.loads(text))
    return known


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("credentials", nargs="?")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--debug", action="store_true", help="aiocoap's own log, on stdout")
    parser.parse_args(namespace=options)
    if options.debug:
        logging.basicConfig(stream=sys.stdout, level=logging.DEBUG)
    site = aiocoap.resource.Site()
    for name, resource in (
        ("hello", Hello),
        ("echo", Echo),
        ("large", Large),
        ("store", Store),
        ("obs", Obs),
        ("whoami", Whoami),
    ):
        site.add_resource([name], resource())
    known = None
    if options.credentials:
        known = load(options.credentials)
        site = OscoreSiteWrapper(site, known)
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", options.port), server_credentials=known)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
