"""An observer made with aiocoap alone (its command line goes silent after the first answer). Run by aiocoap's environment.

aiocoap_observer.py URI [CREDENTIALS]       prints one payload a line, until it is ended
"""

import asyncio
import json
import sys
from pathlib import Path

import aiocoap


async def main(uri, credentials):
    context = await aiocoap.Context.create_client_context()
    context.client_credentials.load_from_dict(credentials)
    request = context.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
    first = await request.response
    print(first.payload.decode("latin1"), flush=True)
    async for notification in request.observation:
        print(notification.payload.decode("latin1"), flush=True)


asyncio.run(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else {}))
