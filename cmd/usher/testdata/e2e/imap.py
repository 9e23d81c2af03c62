"""Python's imaplib as a client: log in, append, search, fetch, expunge."""
import imaplib
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
if mode == "imaps":
    c = imaplib.IMAP4_SSL(host, int(port), ssl_context=context)
else:
    c = imaplib.IMAP4(host, int(port))
    assert "LOGINDISABLED" in c.capabilities, c.capabilities
    assert c.starttls(context)[0] == "OK"
assert "LOGINDISABLED" not in c.capabilities, c.capabilities
assert c.login(user, password)[0] == "OK"
text = b"Subject: from imaplib\r\n\r\nbody\r\n"
assert c.append("INBOX", None, None, text)[0] == "OK"
kind, data = c.select("INBOX")
assert kind == "OK" and int(data[0]) >= 1, data
kind, data = c.search(None, "SUBJECT", '"from imaplib"')
number = data[0].split()[-1]
kind, data = c.fetch(number, "(BODY[])")
assert data[0][1] == text, data
assert c.store(number, "+FLAGS", "\\Deleted")[0] == "OK"
assert c.expunge()[0] == "OK"
assert c.logout()[0] == "BYE"
print("imaplib is content")
