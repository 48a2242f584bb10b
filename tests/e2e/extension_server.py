#!/usr/bin/env python3
"""An extension API server for the aggregation cases: group ext.example.com/v1 with the resource `widgets`.

usage: extension_server.py PORT CERTIFICATE KEY CLIENT_CA
Widgets live in memory; `status.askedBy` says who asked, by the headers of the aggregator, whose certificate is required.
"""
import http.server, json, queue, ssl, sys, threading

port, certificate, key, client_ca = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
GV = "ext.example.com/v1"
widgets, watchers, lock, revision = {}, [], threading.Lock(), [1]
RESOURCES = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GV, "resources": [
    {"name": "widgets", "singularName": "widget", "namespaced": True, "kind": "Widget", "shortNames": ["wd"],
     "verbs": ["create", "delete", "get", "list", "watch"]}]}
OPENAPI = {"openapi": "3.0.0", "info": {"title": "ext", "version": "1"}, "paths": {}, "components": {"schemas": {
    "com.example.ext.v1.Widget": {"type": "object", "x-kubernetes-group-version-kind": [{"group": "ext.example.com", "version": "v1", "kind": "Widget"}]}}}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def asker(self):
        extra = {k.lower()[len("x-remote-extra-"):]: v for k, v in self.headers.items() if k.lower().startswith("x-remote-extra-")}
        return {"user": self.headers.get("X-Remote-User"), "groups": self.headers.get_all("X-Remote-Group") or [], "extra": extra,
                "authorization": self.headers.get("Authorization"), "impersonate": self.headers.get("Impersonate-User")}

    def watch(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        mine = queue.Queue()
        with lock:
            watchers.append(mine)
        while True:
            line = (json.dumps(mine.get()) + "\n").encode()
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
            except OSError:
                return

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/apis/" + GV:
            return self.answer(200, RESOURCES)
        if path == "/openapi/v3":
            return self.answer(200, {"paths": {"apis/" + GV: {"serverRelativeURL": "/openapi/v3/apis/" + GV + "?hash=1"}}})
        if path == "/openapi/v3/apis/" + GV:
            return self.answer(200, OPENAPI)
        if path == "/openapi/v2":
            return self.answer(200, {"swagger": "2.0", "paths": {"/apis/" + GV + "/namespaces/{namespace}/widgets": {"get": {"operationId": "listWidget"}}},
                                     "definitions": {"com.example.ext.v1.Widget": {"type": "object"}}})
        parts = path.strip("/").split("/")
        if "widgets" not in parts:
            return self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})
        name = parts[-1] if parts[-1] != "widgets" else None
        if name is None and "watch=" in query and "watch=false" not in query:
            return self.watch()
        with lock:
            found = {k: dict(v, status={"askedBy": self.asker()}) for k, v in widgets.items()}
        if name is None:
            return self.answer(200, {"kind": "WidgetList", "apiVersion": GV, "metadata": {"resourceVersion": str(revision[0])}, "items": list(found.values())})
        if name in found:
            return self.answer(200, found[name])
        self.answer(404, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
                          "message": 'widgets.ext.example.com "%s" not found' % name, "details": {"name": name, "group": "ext.example.com", "kind": "widgets"}})

    def do_POST(self):
        widget = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            revision[0] += 1
            widget["metadata"]["resourceVersion"] = str(revision[0])
            widgets[widget["metadata"]["name"]] = widget
            for w in watchers:
                w.put({"type": "ADDED", "object": widget})
        self.answer(201, widget)

    def do_DELETE(self):
        name = self.path.split("?")[0].split("/")[-1]
        with lock:
            gone = widgets.pop(name, None)
        self.answer(200 if gone else 404, {"kind": "Status", "apiVersion": "v1", "status": "Success" if gone else "Failure"})


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.load_verify_locations(client_ca)
context.verify_mode = ssl.CERT_REQUIRED
server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler)
server.daemon_threads = True
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
