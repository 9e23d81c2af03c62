"""Python's poplib as a client: log in, list, fetch, delete."""
import poplib
import socket
import ssl
import sys

mode, host, port, source, ca, user, password = sys.argv[1:]
plain_connect = socket.create_connection


def connect(address, *args, **kwargs):
    kwargs["source_address"] = (source, 0)
    return plain_connect(address, *args, **kwargs)


socket.create_connection = connect
context = ssl.create_default_context(cafile=ca)
if mode == "pop3s":
    c = poplib.POP3_SSL(host, int(port), context=context)
else:
    c = poplib.POP3(host, int(port))
    assert "STLS" in c.capa(), c.capa()
    c.stls(context)
c.user(user)
c.pass_(password)
count, size = c.stat()
assert count >= 1 and size > 0, (count, size)
assert "UIDL" in c.capa(), c.capa()
assert len(c.uidl()[1]) == count
lines = c.retr(count)[1]
assert b"Subject: for poplib" in lines, lines
c.dele(count)
c.quit()
print("poplib is content")
