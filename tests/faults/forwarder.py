"""Forwards a port of this machine to another, until it is killed: a server that can be gone."""

import asyncio
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(2**16):
            writer.write(block)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(port: int) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", int(sys.argv[2]))
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(serve(int(sys.argv[1])))
