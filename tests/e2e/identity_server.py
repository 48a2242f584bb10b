#!/usr/bin/env python3
"""Everything outside that identity may ask: an OpenID Connect issuer, and webhooks for tokens, access and audit events.

usage: identity_server.py PORT CERTIFICATE KEY SIGNING_KEY DIRECTORY
  /.well-known/openid-configuration, /keys    the issuer https://10.99.0.1:PORT; its tokens are made by `make_token` (openssl)
  /token                                      TokenReview: "hook-token" is wanda of hook-users
  /access                                     SubjectAccessReview: wanda may get configmaps; nobody may touch "secret-name"
  /audit                                      EventList: appended to DIRECTORY/events
  /images                                     ImageReview: whatever is not called evil
Every question is appended to DIRECTORY/asked.
"""
import base64, http.server, json, re, ssl, subprocess, sys

port, certificate, key, signing_key, directory = int(sys.argv[1]), *sys.argv[2:6]
ISSUER = "https://10.99.0.1:%d" % port


def jwks():
    text = subprocess.run(["openssl", "pkey", "-in", signing_key, "-pubout", "-text", "-noout"], capture_output=True, text=True, check=True).stdout
    modulus = bytes.fromhex("".join(re.search(r"Modulus:\n((?:\s+[0-9a-f:]+\n)+)", text)[1].split()).replace(":", "")).lstrip(b"\0")
    return {"keys": [{"kty": "RSA", "use": "sig", "kid": "k1", "alg": "RS256", "e": "AQAB", "n": base64.urlsafe_b64encode(modulus).rstrip(b"=").decode()}]}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/keys":
            return self.answer(jwks())
        self.answer({"issuer": ISSUER, "jwks_uri": ISSUER + "/keys"})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(directory + "/asked", "a") as f:
            f.write(self.path + " " + json.dumps(asked) + "\n")
        if self.path == "/token":
            good = asked["spec"]["token"] == "hook-token"
            asked["status"] = {"authenticated": good, "user": {"username": "wanda", "uid": "w1", "groups": ["hook-users"], "extra": {"via": ["hook"]}} if good else {}}
        elif self.path == "/access":
            spec = asked["spec"]
            what = spec.get("resourceAttributes", {})
            asked["status"] = {"allowed": spec["user"] == "wanda" and what.get("resource") == "configmaps" and what.get("verb") in ("get", "list"),
                               "denied": what.get("name") == "secret-name", "reason": "the hook says so"}
        elif self.path == "/images":
            evil = any("evil" in c["image"] for c in asked["spec"]["containers"])
            asked["status"] = {"allowed": not evil, "reason": "evil is not for us" if evil else "", "auditAnnotations": {"verdict": "evil" if evil else "fine"}}
        else:
            with open(directory + "/events", "a") as f:
                for event in asked["items"]:
                    f.write(json.dumps(event) + "\n")
            asked = {}
        self.answer(asked)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler)
server.daemon_threads = True
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
