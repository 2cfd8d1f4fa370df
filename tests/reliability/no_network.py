"""Imported first: from then on nothing in this process gets at a network, and it is noted down.

Python tells such a hook of every connection and every name that is looked up, whoever asks.
To make a socket, and to ask for a port of this machine, touches no network: libraries find out
so what the machine can do.
"""

import sys

FAMILIES = ("socket", "urllib", "http", "ftplib", "smtplib")
ALLOWED = ("socket.__new__", "socket.bind", "socket.gethostname")
touched = []


def refuse(event, arguments):
    if event.split(".")[0] in FAMILIES and event not in ALLOWED:
        touched.append((event, repr(arguments)[:80]))
        raise OSError("there is no network")


sys.addaudithook(refuse)
