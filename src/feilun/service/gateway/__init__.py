"""The gateway: chats passed on to another server, masked, logged, counted and remembered.

`relay` is the whole of it; `asked` reads what came in, `masking` takes personal data out and
puts it back, `upstream` calls the server, `completion` and `sse` know the shapes, `cache` keeps
answers, `chat` holds one chat from its request to its row in the log.
"""
