"""Our HTTP/1.1 server and upstream client, on httptools and asyncio's transports.

`server` listens, parses and has each request answered by a coroutine; `client` keeps connections to
upstreams; `asgi` lets an ASGI application be served by the same server. Nothing else of ours is imported
here.
"""
